"""The calls about differences: list the divergences, show one, show a comparison, decide about one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from console.asks import limit_of
from console.call import Asked, Reply
from console.change import entry_for
from console.commits import Caller, commit
from console.divergence import (
    Json,
    comparison_as_json,
    cursor_of,
    divergence_as_json,
    folded_paths,
    kept_as_json,
    standing_of,
)
from console.encodings import advice_on
from console.noise import beside
from console.problem import ProblemError, invalid
from console.recorder import Recorder, decode_finding
from console.state import ControlState
from store.database import StoreError
from store.divergences import Decision, Divergence, DivergenceStore, Wanted
from store.flags import Commit
from store.triage import State


class Reading:
    """Answer what people ask about differences, and take down what they decide.

    Raises: every method ProblemError.
    """

    def __init__(self, state: ControlState, recorder: Recorder) -> None:
        self._state, self._recorder = state, recorder

    async def divergences(self, asked: Asked) -> Reply:
        """List groups of differences, most severe first."""
        values = asked.values
        if values["route"] is not None:
            self._state.route(values["route"])
        limit = limit_of(values)
        after = None if values["cursor"] is None else standing_of(values["cursor"])
        wanted = Wanted(
            route=values["route"],
            cause=values["cause"],
            state=None if values["state"] is None else State(values["state"]),
            paths=None if values["path"] is None else folded_paths(values["path"]),
            request=values["request"],
        )
        async with self._evidence() as store:
            found = await store.page(wanted, after=after, limit=limit + 1)
            page = found[:limit]
            notes = await self._beside(page)
        return Reply(
            body={
                "divergences": [
                    {**divergence_as_json(divergence), **note} for divergence, note in zip(page, notes, strict=True)
                ],
                "next": cursor_of(page[-1].standing) if len(found) > limit else None,
            }
        )

    async def divergence(self, asked: Asked) -> Reply:
        """Show one group with its examples, the newest one in full."""
        async with self._evidence() as store:
            found = await store.one(asked.name)
            if found is None:
                raise _unknown(asked.name)
            examples = await store.examples(asked.name)
            newest = await store.comparison(examples[0].id) if examples else None
            (note,) = await self._beside([found])
        return Reply(
            body={
                **divergence_as_json(found),
                **note,
                "examples": [kept_as_json(kept) for kept in examples],
                "example": None if newest is None else self._shown_if_open(examples[0].id, newest[1]),
            }
        )

    async def comparison(self, asked: Asked) -> Reply:
        """Show one comparison."""
        async with self._evidence() as store:
            found = await store.comparison(asked.name)
        if found is None:
            raise ProblemError(
                "unknown-comparison",
                f"There is no comparison {asked.name[:100]!r}: of each divergence only the first, the newest and the "
                "smallest one are kept; `matapalo diff d-…` names them.",
                extra={"known": [], "did_you_mean": None},
            )
        return Reply(body=self._shown(asked.name, found[1]))

    async def encoding(self, asked: Asked) -> Reply:
        """Plan how one route's new service comes to write like its legacy one, with the code."""
        self._state.route(asked.name)
        async with self._evidence() as store:
            advice = await advice_on(store, self._state.sealing, asked.name, asked.values["like"] or "")
        return Reply(body=advice.as_json())

    async def triage(self, asked: Asked) -> Reply:
        """Accept a divergence or open it again, with a note and a ticket."""
        values = asked.values
        if all(values[name] is None for name in ("state", "note", "ticket")):
            raise invalid([{"where": "state", "detail": "Nothing to change; expected state, note or ticket."}])
        decision = Decision(
            state=None if values["state"] is None else State(values["state"]),
            note=values["note"],
            ticket=values["ticket"],
            by=asked.caller.actor,
            at=time.time(),
        )

        async def note_down(before: Divergence, after: Divergence) -> tuple[Divergence, int]:
            return after, await self._audit(before, after, asked.caller)

        async with self._state.turn, self._evidence() as store:
            done = await store.decide(asked.name, decision, note_down)
        if done is None:
            raise _unknown(asked.name)
        after, number = done
        return Reply(body={**divergence_as_json(after), "audit_id": f"a-{number}"})

    async def _audit(self, before: Divergence, after: Divergence, caller: Caller) -> int:
        entry = replace(
            entry_for("triage", (after.route,), after.note, caller, self._state),
            before={after.id: _decided(before)},
            after={after.id: _decided(after)},
        )
        state = self._state
        number, _ = await commit(state, Commit(revision=state.revision, entry=entry), state.spec)
        state.journal.say(f"divergence.{after.state.value}", f"{after.id} {after.state.value} by {caller.actor}")
        return number

    async def _beside(self, found: Sequence[Divergence]) -> list[Json]:
        assert self._state.evidence is not None, "the divergences were just read from it"
        return await beside(self._state.evidence, found)

    def _shown_if_open(self, name: str, kept: bytes) -> Json | None:
        """Show one example, or nothing where it cannot be read: asked for by its own name, it says why."""
        try:
            return self._shown(name, kept)
        except ProblemError:
            return None

    def _shown(self, name: str, kept: bytes) -> Json:
        """Show one example.

        Raises: ProblemError ``evidence`` where it is encrypted with an unknown key, or by another version.
        """
        try:
            return comparison_as_json(name, decode_finding(self._state.sealing.open(kept)))
        except ValueError as error:
            raise ProblemError("evidence", f"The comparison {name} cannot be read: {error}.") from error

    @asynccontextmanager
    async def _evidence(self) -> AsyncIterator[DivergenceStore]:
        """Give the divergences with everything written that is known.

        Raises: ProblemError ``evidence`` where they cannot be read or written.
        """
        await self._recorder.flush()
        if self._state.evidence is None:
            raise ProblemError("evidence", f"The evidence cannot be read: {self._state.evidence_error}.")
        try:
            yield self._state.evidence.divergences
        except StoreError as error:
            raise ProblemError("evidence", f"The evidence cannot be read: {error}.") from error


def _decided(divergence: Divergence) -> Json:
    return {"state": divergence.state.value, "note": divergence.note, "ticket": divergence.ticket}


def _unknown(name: str) -> ProblemError:
    return ProblemError(
        "unknown-divergence",
        f"There is no divergence {name[:100]!r}; `matapalo diffs` lists them.",
        extra={"known": [], "did_you_mean": None},
    )
