"""The changes that people ask for: flip, rollback, hold, release, shadow on and off, undo.

Rules of this file:

1. Validate everything, then commit with the audit entry, then push, then wait for workers: an answer never promises
   more than is true.
2. A rollback asks the supervisor for the hold before it looks at anything that may be broken.
3. Nothing waits for workers or for the supervisor while it holds ``turn``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from config.spec import RouteSpec
from console.journal import now_text
from console.ledger import require_quiet
from console.peers import Spread
from console.problem import ProblemError, invalid, unknown
from console.state import Caller, ControlState, Pushed
from console.supervised import SupervisorError
from rules.flag import Flag, Hold, Stage
from rules.snapshot import EVERYWHERE
from rules.stage import FlipError, is_possible, plan_flip, plan_journey, plan_rollback, stage_from
from shadow import link
from store.database import StoreError
from store.flags import Commit, Entry, Key, flag_as_json, flag_from_json, hold_as_json

PROBE_S: Final = 1.0
"""How long a rollback waits for legacy to accept a connection: it may delay 3 am by no more."""

MAX_PROBES: Final = 64

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipAsk:
    """Hold what one flip asks for."""

    stage: str
    percent_bp: int | None = None
    sample_bp: int | None = None
    reason: str = ""
    force: bool = False
    if_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackAsk:
    """Hold what one rollback asks for."""

    to: str = Stage.LEGACY.value
    reason: str = ""
    anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Name the routes of one call: one by its name, or several by what they have in common."""

    routes: tuple[RouteSpec, ...]
    single: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold an answer: its status, its body, and whether it was given before under the same key."""

    status: int
    body: Json
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """Hold what was changed, before anybody waited for workers."""

    pushed: Pushed
    audit_id: int | None
    before: Mapping[str, Flag] = field(default_factory=dict)
    after: Mapping[str, Flag] = field(default_factory=dict)
    flags_written: bool = True
    notes: tuple[str, ...] = ()
    extra: Json = field(default_factory=dict)


class Changes:
    """Carry out the changes on one :class:`ControlState`.

    Raises: every method ProblemError, and then nothing has changed unless the sentence says so.
    """

    def __init__(self, state: ControlState) -> None:
        self._state = state

    def choose(self, name: str) -> Chosen:
        """Choose one route by its name."""
        return Chosen(routes=(self._state.route(name),), single=True)

    def choose_many(
        self,
        *,
        all_routes: bool = False,
        journey: str | None = None,
        backend: str | None = None,
        routes: Sequence[str] | None = None,
    ) -> Chosen:
        """Choose routes by exactly one of: all, journey, backend, names."""
        config = self._state.config
        asked = [all_routes, journey is not None, backend is not None, routes is not None]
        if sum(asked) != 1:
            raise invalid(
                [{"where": "", "detail": 'Expected exactly one of "all": true, "journey", "backend" and "routes".'}]
            )
        if routes is not None:
            return Chosen(routes=tuple(self._state.route(name) for name in dict.fromkeys(routes)), single=False)
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

    async def flip(self, name: str, ask: FlipAsk, caller: Caller) -> Answer:
        """Flip one route."""
        return await self._flip(ask, caller, name=name)

    async def flip_journey(self, journey: str, ask: FlipAsk, caller: Caller) -> Answer:
        """Flip all routes of a journey together."""
        return await self._flip(ask, caller, journey=journey)

    async def _flip(self, ask: FlipAsk, caller: Caller, *, name: str = "", journey: str = "") -> Answer:
        state = self._state
        async with state.turn:
            if (replay := await self._replay(caller)) is not None:
                return replay
            self._check_revision(ask.if_revision)
            routes = self.choose_many(journey=journey).routes if journey else (state.route(name),)
            planned = self._planned(routes, ask, journey)
            if state.config.flags == "file":
                raise ProblemError(
                    "flags-in-file",
                    f"With `flags: file` the configuration rules the stages; change `initial_stage` of "
                    f"{routes[0].name!r} in {state.config_path} and reload. A rollback works here too.",
                )
            for route in routes:
                if planned[route.name].stage is Stage.COMPLETE and not ask.force:
                    await require_quiet(state, route)
            done = await self._write_flags("flip", planned, ask.reason, caller)
        return await self._answer(done)

    def _planned(self, routes: Sequence[RouteSpec], ask: FlipAsk, journey: str) -> dict[str, Flag]:
        """Plan a flip, and sort what is wrong with it into its kind of problem."""
        state = self._state
        shares = {"stage": ask.stage, "percent_bp": ask.percent_bp, "sample_bp": ask.sample_bp}
        try:
            stage = stage_from(ask.stage)
        except FlipError as error:
            raise invalid([{"where": "stage", "detail": f"{error}."}]) from error
        try:
            if journey:
                return plan_journey(journey, state.config.routes, state.spec.flags, **shares)  # type: ignore[arg-type]  # a bundle of keywords
            return {route.name: plan_flip(route, state.flag(route), **shares) for route in routes}  # type: ignore[arg-type]  # a bundle of keywords
        except FlipError as error:
            if not journey and routes[0].journey is not None:
                raise ProblemError("journey", f"{error}.", extra={"journey": routes[0].journey}) from error
            if not all(is_possible(route, stage) for route in routes):
                raise ProblemError("refused", f"{error}.") from error
            where = "percent" if "percent" in str(error) else "sample"
            raise invalid([{"where": where, "detail": f"{error}."}]) from error

    async def rollback(self, chosen: Chosen, ask: RollbackAsk, caller: Caller) -> Answer:
        """Take routes back to legacy: the hold first, then the flags if they can be written."""
        state = self._state
        if ask.to not in (Stage.LEGACY.value, Stage.SHADOW.value):
            raise invalid([{"where": "to", "detail": f"to is {ask.to!r}; expected legacy or shadow."}])
        if (replay := await self._replay_if_possible(caller)) is not None:
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
        changed = await self._change_holds(add=holds)
        async with state.turn:
            done = await self._write_rollback(routes, ask, caller, holds)
        return await self._answer(replace(done, notes=(*notes, *done.notes)), changed)

    async def _write_rollback(
        self, routes: Sequence[RouteSpec], ask: RollbackAsk, caller: Caller, holds: Sequence[Hold]
    ) -> _Done:
        """Let the flags follow the holds that are already in force."""
        state = self._state
        planned = {route.name: _rolled_back(route, state.flag(route), ask.to) for route in routes}
        names = tuple(route.name for route in routes)
        note = ""
        if state.config.flags == "file":
            planned = {}
            note = "with `flags: file` the flags stay as the file says; the hold stays until it is released"
        try:
            done = await self._write_flags("rollback", planned, ask.reason, caller, routes=names, always=True)
        except ProblemError as error:
            note = f"the hold is in force, but the flags and the audit could not be written: {error.detail}"
            done = _Done(pushed=_pushed(state), audit_id=None)
        if note:
            return replace(done, flags_written=False, notes=(note,))
        return done

    async def hold(self, chosen: Chosen, *, reason: str, keep_copying: bool, caller: Caller) -> Answer:
        """Hold routes on legacy without touching their flags."""
        if (replay := await self._replay_if_possible(caller)) is not None:
            return replay
        routes, notes = _with_legacy(chosen, "held")
        holds = [
            Hold(route=route.name, keep_copying=keep_copying, reason=reason, actor=caller.actor, at=now_text())
            for route in routes
        ]
        before = dict(self._state.holds)
        changed = await self._change_holds(add=holds)
        return await self._note_holds("hold", [route.name for route in routes], before, reason, caller, changed, notes)

    async def release(self, chosen: Chosen, *, reason: str, caller: Caller) -> Answer:
        """Take holds away; the flags stay where they are."""
        if (replay := await self._replay_if_possible(caller)) is not None:
            return replay
        before = dict(self._state.holds)
        names = [route.name for route in chosen.routes if route.name in before]
        if not names:
            done = _Done(pushed=_pushed(self._state), audit_id=None, notes=("nothing was held",))
            return await self._answer(done, link.HoldsChanged(request="", ok=True))
        changed = await self._change_holds(remove=names)
        return await self._note_holds("release", names, before, reason, caller, changed, ())

    async def shadow(self, on: bool, name: str | None, *, reason: str, caller: Caller) -> Answer:
        """Switch copying on or off, for one route or all."""
        state = self._state
        async with state.turn:
            if (replay := await self._replay(caller)) is not None:
                return replay
            if name is not None:
                state.route(name)
            before = frozenset(state.spec.copying_off)
            after = _switched(before, on, name, [route.name for route in state.config.routes])
            done = await self._write_switches("shadow", before, after, reason, caller, () if name is None else (name,))
        return await self._answer(replace(done, extra={"copying": copying_as_json(state.spec.copying_off)}))

    async def undo(self, audit_id: int, *, reason: str, force: bool, if_revision: int | None, caller: Caller) -> Answer:
        """Restore the flags or switches that one audit entry found."""
        state = self._state
        async with state.turn:
            if (replay := await self._replay(caller)) is not None:
                return replay
            self._check_revision(if_revision)
            entry = await self._entry(audit_id)
            if entry.kind == "shadow":
                done = await self._undo_shadow(entry, reason, caller, force=force)
            elif entry.kind in ("flip", "rollback", "undo") and entry.before:
                done = await self._undo_flags(entry, reason, caller, force=force)
            else:
                raise ProblemError(
                    "undo",
                    f"a-{audit_id} is a {entry.kind}, which left no flag to restore; expected a flip, undo, rollback "
                    "or shadow entry (a hold is taken away with release).",
                )
        return await self._answer(replace(done, extra={**done.extra, "undid": f"a-{audit_id}"}))

    async def _undo_flags(self, entry: Entry, reason: str, caller: Caller, *, force: bool) -> _Done:
        state = self._state
        if state.config.flags == "file":
            raise ProblemError("flags-in-file", f"With `flags: file` the stages stand in {state.config_path}.")
        planned: dict[str, Flag] = {}
        for name, shown in entry.before.items():
            route, flag = state.route(name), flag_from_json(shown)
            now = state.flag(route)
            if now != flag_from_json(entry.after[name]) and not force:
                raise ProblemError(
                    "undo",
                    f"Route {name!r} has changed since a-{entry.id} (it is now {now.stage.value}); look at the audit, "
                    "then flip it, or undo with force.",
                )
            if not is_possible(route, flag.stage):
                raise ProblemError("undo", f"Route {name!r} no longer has the backends for {flag.stage.value}.")
            if flag.stage is Stage.COMPLETE and not force:
                await require_quiet(state, route)
            planned[name] = replace(flag, salt=now.salt)
        return await self._write_flags("undo", planned, reason or f"undo of a-{entry.id}", caller)

    async def _undo_shadow(self, entry: Entry, reason: str, caller: Caller, *, force: bool) -> _Done:
        now = frozenset(self._state.spec.copying_off)
        if now != _off_from_json(entry.after) and not force:
            raise ProblemError("undo", f"Copying was switched again since a-{entry.id}; switch it, or undo with force.")
        done = await self._write_switches(
            "undo", now, _off_from_json(entry.before), reason or f"undo of a-{entry.id}", caller, ()
        )
        return replace(done, extra={"copying": copying_as_json(self._state.spec.copying_off)})

    async def _entry(self, number: int) -> Entry:
        store = self._state.flag_store
        if store is None:
            raise ProblemError("database", f"The audit cannot be read: {self._state.flag_error}.")
        try:
            entry = await store.entry(number)
        except StoreError as error:
            raise ProblemError("database", f"The audit cannot be read: {error}.") from error
        if entry is None:
            raise ProblemError(
                "unknown-audit",
                f"There is no audit entry a-{number}; `matapalo audit` lists them.",
                extra={"known": []},
            )
        return entry

    async def _write_flags(
        self,
        kind: str,
        planned: Mapping[str, Flag],
        reason: str,
        caller: Caller,
        *,
        routes: tuple[str, ...] | None = None,
        always: bool = False,
    ) -> _Done:
        """Commit and push flags; without a difference nothing is written, unless *always* an entry is due."""
        state = self._state
        before = {name: state.spec.flags[name] for name in planned}
        after = {name: flag for name, flag in planned.items() if flag != before[name]}
        before = {name: before[name] for name in after}
        if not after and not always:
            return _Done(pushed=_pushed(state), audit_id=None)
        revision = state.next_revision() if after else state.revision
        entry = _entry_for(kind, routes or tuple(planned), reason, caller)
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
            holds=state.holds if kind == "rollback" else None,
            key=_key(caller, revision, before, after),
        )
        number, pushed = await state.commit(change, spec)
        for name in entry.routes:
            state.flips[name, caller.source] = state.flips.get((name, caller.source), 0) + 1
        self._say(kind, number, entry)
        return _Done(pushed=pushed, audit_id=number, before=before, after=after)

    async def _write_switches(
        self,
        kind: str,
        before: frozenset[str],
        after: frozenset[str],
        reason: str,
        caller: Caller,
        routes: tuple[str, ...],
    ) -> _Done:
        state = self._state
        if before == after:
            return _Done(pushed=_pushed(state), audit_id=None)
        revision = state.next_revision()
        entry = replace(
            _entry_for(kind, routes, reason, caller),
            before={"copying": copying_as_json(before)},
            after={"copying": copying_as_json(after)},
        )
        change = Commit(revision=revision, entry=entry, copying_off=after, key=_key(caller, revision, {}, {}))
        number, pushed = await state.commit(
            change, replace(state.spec, revision=revision, copying_off=tuple(sorted(after)))
        )
        self._say(kind, number, entry)
        return _Done(pushed=pushed, audit_id=number)

    async def _change_holds(self, *, add: Sequence[Hold] = (), remove: Sequence[str] = ()) -> link.HoldsChanged:
        state = self._state
        if state.supervisor is None:
            raise ProblemError("supervisor", "This control process has no supervisor, which owns the holds.")
        try:
            changed = await state.supervisor.change(add=add, remove=remove)
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
        names: Sequence[str],
        before: Mapping[str, Hold],
        reason: str,
        caller: Caller,
        changed: link.HoldsChanged,
        notes: tuple[str, ...],
    ) -> Answer:
        """Write holds that are already in force to the audit, if there is one."""
        state = self._state
        entry = replace(
            _entry_for(kind, tuple(names), reason, caller),
            before={name: _hold_json(before.get(name)) for name in names},
            after={name: _hold_json(state.holds.get(name)) for name in names},
        )
        async with state.turn:
            change = Commit(
                revision=state.revision,
                entry=entry,
                holds=state.holds,
                key=_key(caller, state.revision, {}, {}),
            )
            try:
                number, pushed = await state.commit(change, state.spec)
                done = _Done(pushed=pushed, audit_id=number, notes=notes)
            except ProblemError as error:
                note = f"it is in force, but it could not be written to the audit: {error.detail}"
                done = _Done(pushed=_pushed(state), audit_id=None, flags_written=False, notes=(*notes, note))
        self._say(kind, done.audit_id, entry)
        return await self._answer(done, changed)

    async def _answer(self, done: _Done, holds: link.HoldsChanged | None = None) -> Answer:
        """Wait for the workers, then say what is true."""
        state = self._state
        spread = await state.settled(done.pushed)
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
            "routes": _routes_json(done.before, done.after),
            "workers": {
                "acked": list(spread.acked),
                "missing": [*spread.missing, *(slot for slot, _ in spread.refused)],
            },
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
                notes.append(f"workers {_list(holds.missing)} have not acknowledged the hold yet")
            partly = partly or bool(holds.missing)
        return Answer(status=202 if partly else 200, body=body)

    async def _replay(self, caller: Caller) -> Answer | None:
        """Answer again what was answered under the same Idempotency-Key."""
        state = self._state
        if caller.key is None or state.flag_store is None:
            return None
        try:
            held = await state.flag_store.recall(caller.key, caller.actor)
        except StoreError as error:
            raise ProblemError("database", f"The Idempotency-Key cannot be looked up: {error}.") from error
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
        answer |= {"changed": True, "gate": None, "flags_written": True, "notes": []}
        answer["held"] = [shown["route"] for shown in answer["routes"] if shown["route"] in state.holds]
        return Answer(status=202 if spread.missing else 200, body=answer, replayed=True)

    async def _replay_if_possible(self, caller: Caller) -> Answer | None:
        """Like :meth:`_replay`, for changes that must work without a database."""
        try:
            return await self._replay(caller)
        except ProblemError as error:
            if error.kind == "database":
                return None
            raise

    def _check_revision(self, if_revision: int | None) -> None:
        revision = self._state.revision
        if if_revision is not None and if_revision != revision:
            raise ProblemError(
                "stale-revision",
                f"if_revision is {if_revision}, but the revision is {revision}: somebody changed something since; look "
                "at the routes again, then repeat with the new revision.",
                extra={"revision": revision},
            )

    async def _probe(self, routes: Iterable[RouteSpec]) -> None:
        """Try to reach legacy where it may be switched off already."""
        state = self._state
        off = (Stage.COMPLETE, Stage.GONE)
        names = {route.legacy for route in routes if state.flag(route).stage in off and route.legacy is not None}
        backends = [backend for backend in state.config.backends if backend.name in names][:MAX_PROBES]
        reached = await asyncio.gather(*(_accepts(backend.host, backend.port) for backend in backends))
        silent = [backend for backend, ok in zip(backends, reached, strict=True) if not ok]
        if silent:
            what = ", ".join(f"{backend.name} ({backend.host}:{backend.port})" for backend in silent)
            raise ProblemError(
                "legacy-unreachable",
                f"Legacy {what} does not accept connections within {PROBE_S:g} s, so a rollback would answer errors; "
                "start it, or repeat with anyway.",
                extra={"backends": [backend.name for backend in silent]},
            )

    def _say(self, kind: str, number: int | None, entry: Entry) -> None:
        self._state.journal.say(
            f"change.{kind}",
            f"{kind} of {_list(entry.routes) or 'all'} by {entry.actor}",
            audit_id=None if number is None else f"a-{number}",
            routes=entry.routes,
            reason=entry.reason,
        )


def copying_as_json(off: Iterable[str]) -> Json:
    """Show the switches: ``on`` is false when everything is off."""
    names = sorted(off)
    return {"on": EVERYWHERE not in names, "off": [name for name in names if name != EVERYWHERE]}


def _off_from_json(shown: Mapping[str, Any]) -> frozenset[str]:
    copying = shown["copying"]
    return frozenset(copying["off"]) | (frozenset() if copying["on"] else {EVERYWHERE})


def _switched(before: frozenset[str], on: bool, name: str | None, names: Sequence[str]) -> frozenset[str]:
    """Give the switched-off routes after one switch."""
    if name is None:
        return frozenset() if on else before | {EVERYWHERE}
    if not on:
        return before | {name}
    # One route back on while all are off: the others stay off, by name.
    whole = frozenset(names) if EVERYWHERE in before else before
    return whole - {name}


def _rolled_back(route: RouteSpec, flag: Flag, to: str) -> Flag:
    """Plan one rollback; a route that copies nothing yet does not begin to."""
    return flag if flag.stage is Stage.LEGACY else plan_rollback(route, flag, stage=to)


def _with_legacy(chosen: Chosen, verb: str) -> tuple[list[RouteSpec], tuple[str, ...]]:
    """Keep the routes that have a legacy side to go to."""
    able = [route for route in chosen.routes if route.legacy is not None]
    left = [route.name for route in chosen.routes if route.legacy is None]
    if not able:
        what = f"Route {left[0]!r} has" if left and chosen.single else "The chosen routes have"
        raise ProblemError("refused", f"{what} no legacy side (legacy: none), so nothing can be {verb}.")
    return able, (f"without a legacy side, not {verb}: {_list(left)}",) if left else ()


def _entry_for(kind: str, routes: tuple[str, ...], reason: str, caller: Caller) -> Entry:
    return Entry(
        kind=kind,
        source=caller.source,
        actor=caller.actor,
        routes=routes,
        reason=reason,
        at=now_text(),
        before={},
        after={},
    )


def _key(caller: Caller, revision: int, before: Mapping[str, Flag], after: Mapping[str, Flag]) -> Key | None:
    if caller.key is None:
        return None
    answer = {"revision": revision, "routes": _routes_json(before, after)}
    return Key(key=caller.key, actor=caller.actor, digest=caller.digest, answer=answer)


def _routes_json(before: Mapping[str, Flag], after: Mapping[str, Flag]) -> list[Json]:
    return [
        {"route": name, "before": flag_as_json(before[name]), "after": flag_as_json(flag)}
        for name, flag in after.items()
    ]


def _hold_json(hold: Hold | None) -> Json | None:
    return None if hold is None else hold_as_json(hold)


def _pushed(state: ControlState) -> Pushed:
    return Pushed(revision=state.revision, peers=tuple(state.peers.workers()))


def _spread_notes(spread: Spread, revision: int, state: ControlState) -> list[str]:
    serving = {peer.hello.slot: peer.acked for peer in state.peers.workers()}
    notes = [
        f"worker {slot} has not acknowledged revision {revision} yet; it serves {serving.get(slot, 'nothing')}"
        for slot in spread.missing
    ]
    notes += [f"worker {slot} refused revision {revision}: {reason}" for slot, reason in spread.refused]
    if spread.lost:
        notes.append(f"workers {_list(spread.lost)} went away meanwhile; their successors begin with this revision")
    return notes


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


async def _accepts(host: str, port: int) -> bool:
    """Say whether somebody accepts a TCP connection there."""
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
