"""How a change becomes true: written with its audit entry, then in memory and pushed, then said.

Rules of this file:

1. Memory changes only after the database said yes, and in the same step as the push: no await stands between.
2. Without a database nothing that it would have to remember is changed; holds are the supervisor's and always work.
3. Where several nodes share a database, a change is planned on the newest truth or not made: :class:`OvertakenError`
   says that another node was faster, and ``console.change.on_newest_truth`` plans it again (docs/decisions/0022).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from config.errors import MatapaloError
from console.problem import ProblemError
from console.state import ControlState, Pushed
from rules.snapshot import SnapshotSpec
from store.chain import GENESIS
from store.database import StoreError
from store.entries import Entry
from store.flags import Commit, StaleRevisionError, name_of_hold

_WITHOUT_ROUTES: Final = {"reload": "the configuration", "start": "a node", "shadow": "all routes"}
"""What a change is about that names no route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Say who asks for a change, from where, and under which Idempotency-Key."""

    actor: str
    source: str = "api"
    address: str = ""
    """The IP address that the call came from; empty: it did not come over the network."""
    key: str | None = None
    digest: str = ""
    """Of the call, so that a key cannot stand for two different ones."""
    evidence: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    """What a part of control that flips by itself rests on; stands in the audit."""
    notes: Mapping[str, str | None] = field(default_factory=dict)
    """What it wants remembered with the change (``store.flags.Commit.remember``)."""
    forced: bool = False
    """The change goes over what a gate or the ledger says; stands in the audit for ever."""


class OvertakenError(MatapaloError):
    """Another node changed the truth since this change was planned; nothing was written."""


async def commit(state: ControlState, change: Commit, spec: SnapshotSpec) -> tuple[int, Pushed]:
    """Write one change durably, then make it true here and push it; returns its audit number.

    Shape: without a new revision (a hold) nothing is pushed.
    Raises: ProblemError ``database``, OvertakenError; nothing has changed then.
    Runs: under ``turn``; a caller that is cancelled leaves it whole.
    """
    return await asyncio.shield(state.start(_commit(state, change, spec)))


async def _commit(state: ControlState, change: Commit, spec: SnapshotSpec) -> tuple[int, Pushed]:
    if state.flag_store is None:
        raise ProblemError("database", f"Flags cannot be changed: {state.flag_error}.")
    if state.replicas is not None and state.replicas.away:
        raise ProblemError("database", f"Flags cannot be changed: {state.replicas.away}.")
    if state.replicas is not None and _is_planned(change):
        change = replace(change, base=state.base)
    try:
        written = await state.flag_store.commit(change)
    except StaleRevisionError as error:
        raise OvertakenError(str(error)) from error
    except StoreError as error:
        state.journal.say("database.failed", str(error))
        raise ProblemError(
            "database", f"Nothing was changed: {error}. A rollback works without the database."
        ) from error
    _note(state, change, written)
    for entry in written:
        state.events.tell("change", _told(entry))
    say(state, written)
    return written[0].id, state.adopt(spec)


async def confirm(state: ControlState) -> None:
    """Make sure that what an answer says without changing anything is true on every node.

    Raises: OvertakenError when another node changed something, ProblemError ``database``.
    """
    if state.replicas is None:
        return
    try:
        if state.flag_store is None:
            raise StoreError(state.flag_error)
        position = await state.flag_store.position()
    except StoreError as error:
        raise ProblemError("database", f"Whether that is so on every node is not known: {error}.") from error
    if not state.knows(position):
        raise OvertakenError("another node changed something since")


async def catch_up(state: ControlState) -> None:
    """Take over what other nodes changed.

    Raises: ProblemError ``database``.
    """
    assert state.replicas is not None, "who is alone is never overtaken"
    try:
        await state.replicas.catch_up()
    except StoreError as error:
        raise ProblemError("database", f"Nothing was changed: {error}.") from error


def say(state: ControlState, written: Iterable[Entry]) -> None:
    """Note changes in the log, each with its entry's hash: who keeps the log elsewhere can verify the audit by it.

    Shape: a change that could not be written has neither number nor hash.
    """
    for entry in written:
        what = ", ".join(entry.routes) or _WITHOUT_ROUTES.get(entry.kind) or ", ".join(entry.after) or "all"
        state.journal.say(
            f"change.{entry.kind}",
            f"{entry.kind} of {what} by {entry.actor}",
            audit_id=f"a-{entry.id}" if entry.id else None,
            hash=entry.hash or None,
            routes=entry.routes,
            reason=entry.reason,
        )


def count_flips(state: ControlState, entry: Entry) -> None:
    """Count what an entry did to each of its routes, by who did it, for ``flips_total``."""
    for name in entry.routes:
        state.flips[name, entry.source] = state.flips.get((name, entry.source), 0) + 1


def _told(entry: Entry) -> dict[str, object]:
    """Say of an audit entry what a listener needs to know whether it matters."""
    return {
        "id": f"a-{entry.id}",
        "kind": entry.kind,
        "routes": list(entry.routes),
        "actor": entry.actor,
        "source": entry.source,
        "reason": entry.reason,
        "forced": entry.forced,
        "at": entry.at,
    }


def _note(state: ControlState, change: Commit, written: Sequence[Entry]) -> None:
    """Remember what the database knows now."""
    # Otherwise somebody else's entries stand between, or in place of those that we know: the replicas read them,
    # and ours again.
    if (written[0].id, written[0].previous) == (state.position + 1, state.head or GENESIS):
        state.position, state.head = written[-1].id, written[-1].hash
    for note, value in change.remember.items():
        if value is None:
            state.notes.pop(note, None)
        else:
            state.notes[note] = value
    for hold in change.hold:
        state.written[hold.route] = hold
        state.heard[hold.route] = state.heard.get(hold.route, frozenset()) | {name_of_hold(hold)}
    for route in change.release:
        state.written.pop(route, None)


def _is_planned(change: Commit) -> bool:
    """Say whether a change replaces something whole, and so rests on what was there; holds and entries only add."""
    return bool(
        change.set_flags
        or change.drop_flags
        or change.deploys
        or change.copying_off is not None
        or change.tolerate is not None
        or change.remember
    )
