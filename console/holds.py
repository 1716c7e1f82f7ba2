"""Rollback, hold and release: what the supervisor does for us, and works when the database does not.

Rules of this file:

1. A rollback asks the supervisor for the hold before it looks at anything that may be broken.
2. What is in force is answered as done, with a note about what could not be written.
3. Where nodes share a database a hold goes the same way, here first; a release goes the other way round: the database
   first, because a release that the others do not hear would be taken back by theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from config.spec import RouteSpec
from console.change import (
    Answer,
    Changing,
    Done,
    entry_for,
    held_of,
    key_for,
    listed,
    on_newest_truth,
    pushed_now,
)
from console.commits import Caller, commit, say
from console.journal import now_text
from console.probe import PROBE_S, places, unreachable
from console.problem import ProblemError, invalid, unknown
from console.renames import under_every_name
from console.shapes import held_as_json
from console.supervised import SupervisorError
from rules.flag import Flag, Hold, Stage
from rules.stage import plan_rollback
from shadow import link
from store.flags import Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackAsk:
    """Hold what one rollback asks for."""

    to: str = Stage.LEGACY.value
    reason: str = ""
    anyway: bool = False
    join: bool = False
    """Whoever asks, asks on every node: what another node has written already is not written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Name the routes of one call: one by its name, or several by what they have in common."""

    routes: tuple[RouteSpec, ...]
    single: bool


class Holds(Changing):
    """Carry out rollbacks, holds and releases."""

    def choose(self, name: str) -> Chosen:
        """Choose one route by its name."""
        return Chosen(routes=(self.state.route(name),), single=True)

    def choose_many(
        self,
        *,
        all_routes: bool = False,
        journey: str | None = None,
        backend: str | None = None,
        routes: Sequence[str] | None = None,
    ) -> Chosen:
        """Choose routes by exactly one of: all, journey, backend, names."""
        config = self.state.config
        asked = [all_routes, journey is not None, backend is not None, routes is not None]
        if sum(asked) != 1:
            raise invalid(
                [{"where": "", "detail": 'Expected exactly one of "all": true, "journey", "backend" and "routes".'}]
            )
        if routes is not None:
            return Chosen(routes=tuple(self.state.route(name) for name in dict.fromkeys(routes)), single=False)
        if journey is not None:
            found = tuple(route for route in config.routes if route.journey == journey)
            if not found:
                raise unknown("journey", journey, {route.journey for route in config.routes if route.journey})
            return Chosen(routes=found, single=False)
        if backend is not None:
            if backend not in {known.name for known in config.backends}:
                raise unknown("backend", backend, (known.name for known in config.backends))
            return Chosen(
                routes=tuple(route for route in config.routes if backend in (route.legacy, route.new)), single=False
            )
        return Chosen(routes=config.routes, single=False)

    async def rollback(self, chosen: Chosen, ask: RollbackAsk, caller: Caller) -> Answer:
        """Take routes back to legacy: the hold first, then the flags if they can be written."""
        state = self.state
        if ask.to not in (Stage.LEGACY.value, Stage.SHADOW.value):
            raise invalid([{"where": "to", "detail": f"to is {ask.to!r}; expected legacy or shadow."}])
        if (replay := await self.replay_if_possible(caller)) is not None:
            return replay
        routes, notes = _with_legacy(chosen, "rolled back")
        if not ask.anyway:
            await self._probe(routes)
        holds = [
            Hold(
                route=route.name,
                keep_copying=ask.to == Stage.SHADOW.value,
                reason=ask.reason,
                actor=caller.actor,
                at=now_text(),
            )
            for route in routes
        ]
        with state.changing(route.name for route in routes):
            changed = await self._change_holds(add=holds)
            done = await self._write_rollback(routes, ask, caller)
        return await self.answer(replace(done, notes=(*notes, *self._left_behind(routes), *done.notes)), changed)

    def _left_behind(self, routes: Sequence[RouteSpec]) -> tuple[str, ...]:
        """Say which routes of a journey still have clients on new while others of it were taken back."""
        state = self.state
        journeys = {route.journey for route in routes if route.journey}
        behind = [
            route
            for route in state.config.routes
            if route.journey in journeys
            and route.name not in state.holds
            and state.flag(route).stage in (Stage.CANARY, Stage.LIVE, Stage.COMPLETE)
        ]
        return tuple(
            f"route {route.name} of journey {route.journey} still is {state.flag(route).stage.value}; "
            f"`matapalo rollback --journey {route.journey}` takes all of it back"
            for route in behind
        )

    async def _write_rollback(self, routes: Sequence[RouteSpec], ask: RollbackAsk, caller: Caller) -> Done:
        """Let the flags follow the holds that are already in force."""
        state = self.state
        names = tuple(route.name for route in routes)
        try:
            done = await self._write_flags_of(routes, ask, caller)
        except ProblemError as error:
            why = error.__cause__ or error.detail
            note = f"the hold is in force, but the flags and the audit could not be written: {why}"
            notes = (note, *self._unheard(names))
            return Done(pushed=pushed_now(state), audit_id=None, flags_written=False, notes=notes)
        if state.config.flags != "database":
            ruler = "the file says" if state.config.flags == "file" else "the provider says"
            note = f"with `flags: {state.config.flags}` the flags stay as {ruler}; the hold stays until it is released"
            return replace(done, flags_written=False, notes=(note,))
        return done

    @on_newest_truth
    async def _write_flags_of(self, routes: Sequence[RouteSpec], ask: RollbackAsk, caller: Caller) -> Done:
        state = self.state
        async with state.turn:
            planned = {route.name: _rolled_back(route, state.flag(route), ask.to) for route in routes}
            if state.config.flags != "database":
                planned = {}
            names = tuple(route.name for route in routes)
            if ask.join and self._is_written(names, ask, caller):
                return Done(pushed=pushed_now(state), audit_id=None, extra={"joined": True})
            return await self.write_flags("rollback", planned, ask.reason, caller, routes=names, always=True)

    def _is_written(self, names: Sequence[str], ask: RollbackAsk, caller: Caller) -> bool:
        """Tell whether another node was faster with the same rollback."""
        if self.state.replicas is None:
            return False
        holds = [self.state.written.get(name) for name in names]
        return all(
            hold is not None and hold.actor == caller.actor and hold.keep_copying <= (ask.to == Stage.SHADOW.value)
            for hold in holds
        )

    def _unheard(self, names: Sequence[str]) -> tuple[str, ...]:
        """Say that other nodes do not know of a hold, and how to reach them."""
        replicas = self.state.replicas
        if replicas is None or not replicas.others:
            return ()
        places = ", ".join(f"{node.name} (--url http://{node.address})" for node in replicas.others)
        return (
            f"other nodes have not heard of it and go on as before until the database is back: {places}; "
            f"repeat the call there for {listed(names)}",
        )

    async def hold(self, chosen: Chosen, *, reason: str, keep_copying: bool, caller: Caller) -> Answer:
        """Hold routes on legacy without touching their flags."""
        if (replay := await self.replay_if_possible(caller)) is not None:
            return replay
        routes, notes = _with_legacy(chosen, "held")
        holds = [
            Hold(route=route.name, keep_copying=keep_copying, reason=reason, actor=caller.actor, at=now_text())
            for route in routes
        ]
        before = dict(self.state.holds)
        with self.state.changing(route.name for route in routes):
            changed = await self._change_holds(add=holds)
            done = await self._note_holds("hold", holds, (), before, reason, caller)
        return await self.answer(replace(done, notes=(*notes, *done.notes)), changed)

    async def release(self, chosen: Chosen, *, reason: str, caller: Caller) -> Answer:
        """Take holds away; the flags stay where they are."""
        if (replay := await self.replay_if_possible(caller)) is not None:
            return replay
        # What another node has just held may not be in force here yet.
        before = {**self.state.written, **self.state.holds} if self.state.replicas else dict(self.state.holds)
        names = [route.name for route in chosen.routes if route.name in before]
        if not names:
            done = Done(pushed=pushed_now(self.state), audit_id=None, notes=("nothing was held",))
            return await self.answer(done, link.HoldsChanged(request="", ok=True))
        with self.state.changing(names):
            if self.state.replicas is None:
                changed = await self._change_holds(remove=names)
                done = await self._note_holds("release", (), names, before, reason, caller)
            else:
                done = await self._release_everywhere(names, before, reason, caller)
                changed = await self._change_holds(remove=names)
        return await self.answer(done, changed)

    async def _release_everywhere(
        self, names: Sequence[str], before: Mapping[str, Hold], reason: str, caller: Caller
    ) -> Done:
        """Let the database release first: the other nodes follow it, and so do we.

        Raises: ProblemError ``database``; nothing is released then.
        """
        state = self.state
        entry = replace(
            entry_for("release", tuple(names), reason, caller, state),
            before={name: held_as_json(before[name]) for name in names},
            after=dict.fromkeys(names),
        )
        key = key_for(caller, state.revision, {}, {})
        async with state.turn:
            # Holds that the database has not heard of are told with their release: nobody brings them back then.
            change = Commit(
                revision=state.revision, entry=entry, hold=held_of(state, names), release=tuple(names), key=key
            )
            number, pushed = await commit(state, change, state.spec)
        return Done(pushed=pushed, audit_id=number)

    async def _change_holds(self, *, add: Sequence[Hold] = (), remove: Sequence[str] = ()) -> link.HoldsChanged:
        state = self.state
        if state.supervisor is None:
            raise ProblemError("supervisor", "This control process has no supervisor, which owns the holds.")
        try:
            changed = await state.supervisor.change(add=add, remove=under_every_name(state, remove))
        except SupervisorError as error:
            raise ProblemError("supervisor", f"{error}.") from error
        gone = set(remove)
        state.set_holds(
            {name: hold for name, hold in state.holds.items() if name not in gone} | {hold.route: hold for hold in add}
        )
        return changed

    async def _note_holds(
        self,
        kind: str,
        hold: Sequence[Hold],
        release: Sequence[str],
        before: Mapping[str, Hold],
        reason: str,
        caller: Caller,
    ) -> Done:
        """Write holds that are already in force to the audit, if there is one."""
        state = self.state
        names = (*(one.route for one in hold), *release)
        entry = replace(
            entry_for(kind, names, reason, caller, state),
            before={name: held_as_json(before.get(name)) for name in names},
            after={name: held_as_json(state.holds.get(name)) for name in names},
        )
        async with state.turn:
            change = Commit(
                revision=state.revision,
                entry=entry,
                hold=tuple(hold),
                release=tuple(release),
                key=key_for(caller, state.revision, {}, {}),
            )
            try:
                number, pushed = await commit(state, change, state.spec)
                done = Done(pushed=pushed, audit_id=number)
            except ProblemError as error:
                note = f"it is in force, but it could not be written to the audit: {error.__cause__ or error.detail}"
                notes = (note, *self._unheard(names))
                done = Done(pushed=pushed_now(state), audit_id=None, flags_written=False, notes=notes)
                say(state, [entry])
        return done

    async def _probe(self, routes: Iterable[RouteSpec]) -> None:
        """Try to reach legacy where it may be switched off already."""
        state = self.state
        off = (Stage.COMPLETE, Stage.GONE)
        names = {route.legacy for route in routes if state.flag(route).stage in off and route.legacy is not None}
        silent = await unreachable(state.config.backends, names)
        if silent:
            raise ProblemError(
                "legacy-unreachable",
                f"Legacy {places(silent)} does not accept connections within {PROBE_S:g} s, so a rollback would answer "
                "errors; start it, or repeat with anyway.",
                extra={"backends": [backend.name for backend in silent]},
            )


def _rolled_back(route: RouteSpec, flag: Flag, to: str) -> Flag:
    """Plan one rollback; a route that copies nothing yet does not begin to, but its cohorts go back, too."""
    return replace(flag, cohorts={}) if flag.stage is Stage.LEGACY else plan_rollback(route, flag, stage=to)


def _with_legacy(chosen: Chosen, verb: str) -> tuple[list[RouteSpec], tuple[str, ...]]:
    """Keep the routes that have a legacy side to go to."""
    able = [route for route in chosen.routes if route.legacy is not None]
    left = [route.name for route in chosen.routes if route.legacy is None]
    if not able:
        what = f"Route {left[0]!r} has" if left and chosen.single else "The chosen routes have"
        raise ProblemError("refused", f"{what} no legacy side (legacy: none), so nothing can be {verb}.")
    return able, (f"without a legacy side, not {verb}: {listed(left)}",) if left else ()
