"""How every change becomes an answer: replayed, committed with its audit entry, pushed, waited for.

Rules of this file:

1. Validate everything, then commit with the audit entry, then push, then wait for workers: an answer never promises
   more than is true.
2. Nothing waits for workers or for the supervisor while it holds ``turn``.
3. What changes flags, switches, tolerances or deploys stands under :func:`on_newest_truth`, outside of ``turn``: where
   another node was faster it is planned again on what that node left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from config.spec import ToleranceSpec
from config.tolerance import as_mapping
from console.commits import Caller, OvertakenError, catch_up, commit, confirm, count_flips
from console.journal import now_text
from console.peers import Spread
from console.problem import ProblemError, invalid
from console.shapes import Json, copying_as_json, reached_as_json, routes_as_json
from console.state import ControlState, Pushed
from rules.flag import Flag, Hold, flag_as_json
from shadow import link
from store.database import StoreError
from store.entries import Entry
from store.flags import Commit, Key

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="Changing")

RECALL_S: Final = 0.5
"""How long a rollback looks for an answer that it gave before; then it is made, once more if need be."""

OVERTAKEN: Final = 10
"""How often a change is planned again because another node was faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold an answer: its status, its body, and whether it was given before under the same key."""

    status: int
    body: Json
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Hold what was changed, before anybody waited for workers."""

    pushed: Pushed
    audit_id: int | None
    before: Mapping[str, Flag] = field(default_factory=dict)
    after: Mapping[str, Flag] = field(default_factory=dict)
    flags_written: bool = True
    notes: tuple[str, ...] = ()
    extra: Json = field(default_factory=dict)


class Changing:
    """Share what flips and holds have in common: one state, one way to commit, one way to answer.

    Raises: every method ProblemError, and then nothing has changed unless the sentence says so.
    """

    def __init__(self, state: ControlState) -> None:
        self.state = state

    async def replay(self, caller: Caller) -> Answer | None:
        """Answer again what was answered under the same Idempotency-Key."""
        state = self.state
        if caller.key is None or state.flag_store is None:
            return None
        try:
            held = await state.flag_store.recall(caller.key, caller.actor)
        except StoreError as error:
            raise ProblemError(
                "database", f"Nothing was changed: {error}. A rollback works without the database."
            ) from error
        if held is None:
            return None
        if held.digest != caller.digest:
            raise invalid(
                [
                    {
                        "where": "Idempotency-Key",
                        "detail": f"The key {caller.key!r} was used for another call; expected a new key.",
                    }
                ]
            )
        answer = dict(held.answer)
        spread = await state.peers.spread(answer["revision"], state.peers.workers(), 0)
        answer["workers"] = {"acked": list(spread.acked), "missing": list(spread.missing)}
        others = () if state.replicas is None else await state.replicas.reached(answer["revision"])
        answer["nodes"] = [reached_as_json(node, answer["revision"]) for node in others]
        answer |= {"changed": True, "gate": None, "flags_written": True, "notes": []}
        answer["held"] = [shown["route"] for shown in answer["routes"] if shown["route"] in state.holds]
        return Answer(status=202 if spread.missing else 200, body=answer, replayed=True)

    async def replay_if_possible(self, caller: Caller) -> Answer | None:
        """Like :meth:`replay`, for changes that must work without a database, and soon."""
        if self.state.replicas is not None and self.state.replicas.away:
            return None
        try:
            async with asyncio.timeout(RECALL_S):
                return await self.replay(caller)
        except TimeoutError:
            return None
        except ProblemError as error:
            if error.kind == "database":
                return None
            raise

    async def check_revision(self, if_revision: int | None) -> None:
        """Refuse a change that was made up for another revision.

        Raises: ProblemError ``stale-revision``.
        """
        revision = self.state.revision
        if if_revision is not None and if_revision != revision:
            await confirm(self.state)
            raise ProblemError(
                "stale-revision",
                f"if_revision is {if_revision}, but the revision is {revision}: somebody changed something since; look "
                "at the routes again, then repeat with the new revision.",
                extra={"revision": revision},
            )

    async def write_flags(
        self,
        kind: str,
        planned: Mapping[str, Flag],
        reason: str,
        caller: Caller,
        *,
        routes: tuple[str, ...] | None = None,
        always: bool = False,
    ) -> Done:
        """Commit and push flags; without a difference nothing is written, unless *always* an entry is due."""
        state = self.state
        before = {name: state.spec.flags[name] for name in planned}
        after = {name: flag for name, flag in planned.items() if flag != before[name]}
        before = {name: before[name] for name in after}
        if not after and not always:
            await confirm(state)
            return Done(pushed=pushed_now(state), audit_id=None)
        revision = state.next_revision() if after else state.revision
        entry = entry_for(kind, routes or tuple(planned), reason, caller, state)
        entry = replace(
            entry,
            before={name: flag_as_json(flag) for name, flag in before.items()},
            after={name: flag_as_json(flag) for name, flag in after.items()},
        )
        spec = replace(state.spec, revision=revision, flags={**state.spec.flags, **after})
        change = Commit(
            revision=revision,
            entry=entry,
            set_flags=after,
            hold=held_of(state, entry.routes) if kind == "rollback" else (),
            key=key_for(caller, revision, before, after),
            remember=caller.notes,
        )
        number, pushed = await commit(state, change, spec)
        count_flips(state, entry)
        return Done(pushed=pushed, audit_id=number, before=before, after=after)

    async def write_switches(
        self,
        kind: str,
        before: frozenset[str],
        after: frozenset[str],
        reason: str,
        caller: Caller,
        routes: tuple[str, ...],
    ) -> Done:
        """Commit and push which routes are copied; without a difference nothing is written.

        Runs: under ``turn``.
        """
        state = self.state
        if before == after:
            return Done(pushed=pushed_now(state), audit_id=None)
        revision = state.next_revision()
        entry = replace(
            entry_for(kind, routes, reason, caller, state),
            before={"copying": copying_as_json(before)},
            after={"copying": copying_as_json(after)},
        )
        change = Commit(revision=revision, entry=entry, copying_off=after, key=key_for(caller, revision, {}, {}))
        number, pushed = await commit(
            state, change, replace(state.spec, revision=revision, copying_off=tuple(sorted(after)))
        )
        return Done(pushed=pushed, audit_id=number)

    async def write_tolerances(
        self, kind: str, name: str, held: Mapping[str, ToleranceSpec], reason: str, caller: Caller
    ) -> Done:
        """Commit and push the whole set of applied tolerances, of which *name* is new or gone.

        Runs: under ``turn``.
        """
        state = self.state
        before = {one.id: one for one in state.spec.tolerate}
        after = tuple(held[one] for one in sorted(held))
        if after == state.spec.tolerate:
            return Done(pushed=pushed_now(state), audit_id=None)
        route = (held.get(name) or before[name]).route
        revision = state.next_revision()
        entry = replace(
            entry_for(kind, (route,) if route else (), reason, caller, state),
            before={name: as_mapping(before[name]) if name in before else None},
            after={name: as_mapping(held[name]) if name in held else None},
        )
        change = Commit(revision=revision, entry=entry, tolerate=after, key=key_for(caller, revision, {}, {}))
        number, pushed = await commit(state, change, replace(state.spec, revision=revision, tolerate=after))
        return Done(pushed=pushed, audit_id=number)

    async def answer(self, done: Done, holds: link.HoldsChanged | None = None) -> Answer:
        """Wait for the workers, then say what is true."""
        state = self.state
        spread = await state.settled(done.pushed)
        others = () if state.replicas is None else await state.replicas.reached(done.pushed.revision)
        names = dict.fromkeys([*done.after, *(holds.routes if holds else ())])
        notes = [*done.notes, *_spread_notes(spread, done.pushed.revision, state)]
        if done.after and not holds:
            notes += [
                f"route {name} is held on legacy; the flag rules again after `matapalo release {name}`"
                for name in done.after
                if name in state.holds
            ]
        body: Json = {
            "changed": done.audit_id is not None or bool(holds and holds.routes),
            "revision": done.pushed.revision,
            "audit_id": None if done.audit_id is None else f"a-{done.audit_id}",
            "routes": routes_as_json(done.before, done.after),
            "workers": {
                "acked": list(spread.acked),
                "missing": [*spread.missing, *(slot for slot, _ in spread.refused)],
            },
            "nodes": [reached_as_json(node, done.pushed.revision) for node in others],
            "held": [name for name in names if name in state.holds],
            "gate": None,
            "flags_written": done.flags_written,
            "notes": notes,
            **done.extra,
        }
        partly = bool(body["workers"]["missing"])
        if holds is not None:
            body["holds"] = {"acked": list(holds.acked), "missing": list(holds.missing)}
            if holds.missing:
                notes.append(f"workers {listed(holds.missing)} have not acknowledged the hold yet")
            partly = partly or bool(holds.missing)
        return Answer(status=202 if partly else 200, body=body)


def on_newest_truth(
    change: Callable[Concatenate[C, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[C, P], Coroutine[Any, Any, R]]:
    """Plan a change again, on the new truth, as long as other nodes are faster.

    Raises: ProblemError ``database`` when the new truth cannot be read, ``overtaken`` after :data:`OVERTAKEN` tries.
    """

    async def planned(self: C, *args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(OVERTAKEN):
            try:
                return await change(self, *args, **kwargs)
            except OvertakenError:
                await catch_up(self.state)
        raise ProblemError(
            "overtaken",
            f"Nothing was changed: other nodes changed something {OVERTAKEN} times meanwhile; look at the routes "
            "again, then repeat.",
        )

    return wraps(change)(planned)  # type: ignore[return-value]  # what wraps gives is called, never looked at


def entry_for(kind: str, routes: tuple[str, ...], reason: str, caller: Caller, state: ControlState) -> Entry:
    """Begin an audit entry; what was before and after is filled in by the change."""
    return Entry(
        kind=kind,
        source=caller.source,
        actor=caller.actor,
        address=caller.address,
        evidence=caller.evidence,
        forced=caller.forced,
        builds=state.builds(),
        config=state.config.digest,
        routes=routes,
        reason=reason,
        at=now_text(),
        before={},
        after={},
    )


def held_of(state: ControlState, names: Iterable[str]) -> tuple[Hold, ...]:
    """Give the holds that are in force here on some routes."""
    return tuple(state.holds[name] for name in names if name in state.holds)


def key_for(caller: Caller, revision: int, before: Mapping[str, Flag], after: Mapping[str, Flag]) -> Key | None:
    """Remember a change under its Idempotency-Key, if there is one, with the part of the answer that stays true."""
    if caller.key is None:
        return None
    answer = {"revision": revision, "routes": routes_as_json(before, after)}
    return Key(key=caller.key, actor=caller.actor, digest=caller.digest, answer=answer)


def pushed_now(state: ControlState) -> Pushed:
    """Wait for nothing new: for the workers that are linked now, and the revision in force."""
    return Pushed(revision=state.revision, peers=tuple(state.peers.workers()))


def _spread_notes(spread: Spread, revision: int, state: ControlState) -> list[str]:
    serving = {peer.hello.slot: peer.acked for peer in state.peers.workers()}
    notes = [
        f"worker {slot} has not acknowledged revision {revision} yet; it serves {serving.get(slot, 'nothing')}"
        for slot in spread.missing
    ]
    notes += [f"worker {slot} refused revision {revision}: {reason}" for slot, reason in spread.refused]
    if spread.lost:
        notes.append(f"workers {listed(spread.lost)} went away meanwhile; their successors begin with this revision")
    return notes


def listed(items: Iterable[object]) -> str:
    """Join names for a sentence."""
    return ", ".join(map(str, items))
