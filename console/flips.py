"""Flips, switches and undo: the changes of flags.

Rules of this file:

1. A flip is validated whole before anything is written; what is wrong is sorted into its kind of problem.
2. Raising new's share asks the gates, and ``complete`` the ledger; force goes over both, needs a reason and is marked.
   A cohort is not gated: it is few people who are named in the configuration and know what they try, and their
   requests are evidence, too. One that is everybody by its addresses is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from config.spec import RouteSpec
from config.tolerance import as_mapping
from console.change import Answer, Changing, Done, on_newest_truth
from console.commits import Caller
from console.journal import moment_text
from console.judged import admission_as_json
from console.ledger import ask_ledger, require_quiet
from console.probe import PROBE_S, places, unreachable
from console.problem import ProblemError, invalid, unknown
from console.shapes import Json, copying_as_json
from console.state import ControlState
from rules.flag import Flag, Stage, flag_from_json
from rules.snapshot import EVERYWHERE
from rules.stage import FlipError, can_carry, plan_flip, plan_journey, stages_of
from store.database import StoreError
from store.entries import Entry

_CONTACTS_NEW = frozenset((Stage.SHADOW, Stage.CANARY, Stage.LIVE, Stage.COMPLETE))

UNDONE: Final = frozenset(("flip", "rollback", "shadow", "tolerate", "untolerate", "undo"))

NO_WAY_BACK: Final[Mapping[str, str]] = {
    "autopilot": "switch it with `matapalo autopilot ROUTE on` or `off`",
    "evidence": "what was counted before counts no more; the gate passes again on what is compared now",
    "hold": "a hold is taken away with `matapalo release`, when its reason is gone",
    "release": "what was released is held again with `matapalo hold` or `matapalo rollback`",
    "deployed": "say with `matapalo deployed` what runs now",
    "triage": "decide again, with PATCH /api/v1/divergences/{id}",
    "token": "values are not kept; make a new token with `matapalo token create`",
    "reload": "put the former file back and reload",
    "start": "put the former file back and reload",
    "forget": "a node that lives comes back by itself",
}
"""Kinds of entries that undo leaves alone, and what there is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipAsk:
    """Hold what one flip asks for."""

    stage: str
    percent_bp: int | None = None
    sample_bp: int | None = None
    cohort: str | None = None
    """Whose stage is meant; ``None``: the route's own."""
    reason: str = ""
    force: bool = False
    if_revision: int | None = None


class Flips(Changing):
    """Carry out flips, switches and undo."""

    async def flip(self, name: str, ask: FlipAsk, caller: Caller) -> Answer:
        """Flip one route."""
        return await self._flip(ask, caller, name=name)

    async def flip_journey(self, journey: str, ask: FlipAsk, caller: Caller) -> Answer:
        """Flip all routes of a journey together."""
        return await self._flip(ask, caller, journey=journey)

    @on_newest_truth
    async def _flip(self, ask: FlipAsk, caller: Caller, *, name: str = "", journey: str = "") -> Answer:
        state = self.state
        require_reason(ask.reason, force=ask.force)
        with suppress(ProblemError):  # what cannot be planned is refused under the turn
            routes = self._members(journey) if journey else (state.route(name),)
            await state.gates.hear(self._planned(routes, ask, journey))
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            await self.check_revision(ask.if_revision)
            routes = self._members(journey) if journey else (state.route(name),)
            planned = self._planned(routes, ask, journey)
            require_own_flags(state, routes[0])
            caller, asked = await self._admit(planned, caller, force=ask.force)
            probe = asyncio.create_task(self._warn(routes, planned), name="probe new")
            try:
                done = await self.write_flags("flip", planned, ask.reason, caller)
            except BaseException:
                probe.cancel()
                raise
        notes = (
            *done.notes,
            *_cohort_notes(ask, done.after, gated=bool(asked)),
            *self._gone_notes(done.after),
            *self._uncopied_notes(done.after),
            *await probe,
        )
        return await self.answer(replace(done, notes=notes, extra={**done.extra, **asked}))

    def _gone_notes(self, after: Mapping[str, Flag]) -> tuple[str, ...]:
        """Say when legacy last answered what nobody answers any more."""
        last = {name: self.state.totals.last_legacy(name) for name, flag in after.items() if flag.stage is Stage.GONE}
        return tuple(
            f"legacy last answered route {name} at {moment_text(at)}; whoever asks again gets 410"
            for name, at in last.items()
            if at is not None
        )

    def _uncopied_notes(self, after: Mapping[str, Flag]) -> tuple[str, ...]:
        """Say where a switch keeps back the copies that a flag asks for."""
        off = self.state.spec.copying_off
        return tuple(
            f"copying of {name} is switched off, so nothing is compared until `matapalo shadow on {name}`"
            for name, flag in after.items()
            if flag.sample_bp and (name in off or EVERYWHERE in off)
        )

    async def _admit(self, planned: Mapping[str, Flag], caller: Caller, *, force: bool) -> tuple[Caller, Json]:
        """Ask the ledger and the gates; give the caller that carries their evidence, and what the answer says of it.

        Raises: ProblemError ``ledger`` and ``gate``, ``database`` before them: without it no flip can be made.
        """
        state = self.state
        if (error := state.database_error()) is not None:
            raise ProblemError("database", f"Nothing was changed: {error}. A rollback works without the database.")
        told = await ask_ledger(state, planned)
        if not force:
            require_quiet(told)
        admission = await state.gates.admit(planned, force=force)
        admission = replace(admission, ledger=told, forced=admission.forced or any(not one.is_quiet for one in told))
        shown = admission_as_json(admission)
        return admission.on(caller), {} if shown is None else {"gate": shown}

    async def _warn(self, routes: Sequence[RouteSpec], planned: Mapping[str, Flag]) -> tuple[str, ...]:
        """Say that a flip sends requests to a service that nobody can reach; it is made all the same."""
        names = {route.new for route in routes if stages_of(planned[route.name]) & _CONTACTS_NEW}
        silent = await unreachable(self.state.config.backends, names)
        if not silent:
            return ()
        return (f"{places(silent)} does not accept connections within {PROBE_S:g} s; start it, or roll back",)

    def _planned(self, routes: Sequence[RouteSpec], ask: FlipAsk, journey: str) -> dict[str, Flag]:
        """Plan a flip, and sort what is wrong with it into its kind of problem."""
        state = self.state
        shares = {
            "stage": ask.stage,
            "percent_bp": ask.percent_bp,
            "sample_bp": ask.sample_bp,
            "cohort": self._cohort(ask),
        }
        try:
            if journey:
                return plan_journey(journey, state.config.routes, state.spec.flags, **shares)  # type: ignore[arg-type]  # a bundle of keywords
            return {route.name: plan_flip(route, state.flag(route), **shares) for route in routes}  # type: ignore[arg-type]  # a bundle of keywords
        except FlipError as error:
            if error.where:
                raise invalid([{"where": error.where, "detail": f"{error}."}]) from error
            if not journey and routes[0].journey is not None:
                raise ProblemError("journey", f"{error}.", extra={"journey": routes[0].journey}) from error
            raise ProblemError("refused", f"{error}.") from error

    def _cohort(self, ask: FlipAsk) -> str | None:
        """Find the cohort that is meant.

        Raises: ProblemError ``unknown-cohort``.
        """
        known = {cohort.name for cohort in self.state.config.cohorts}
        if ask.cohort is not None and ask.cohort not in known:
            raise unknown("cohort", ask.cohort, known)
        return ask.cohort

    def _members(self, journey: str) -> tuple[RouteSpec, ...]:
        """Find the routes of a journey.

        Raises: ProblemError ``unknown-journey``.
        """
        routes = self.state.config.routes
        members = tuple(route for route in routes if route.journey == journey)
        if not members:
            raise unknown("journey", journey, {route.journey for route in routes if route.journey})
        return members

    @on_newest_truth
    async def shadow(self, on: bool, name: str | None, *, reason: str, caller: Caller) -> Answer:
        """Switch copying on or off, for one route or all."""
        state = self.state
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            if name is not None:
                state.route(name)
            before = frozenset(state.spec.copying_off)
            after = _switched(before, on, name, [route.name for route in state.config.routes])
            done = await self.write_switches("shadow", before, after, reason, caller, () if name is None else (name,))
        return await self.answer(replace(done, extra={"copying": copying_as_json(state.spec.copying_off)}))

    @on_newest_truth
    async def undo(self, audit_id: int, *, reason: str, force: bool, if_revision: int | None, caller: Caller) -> Answer:
        """Restore the flags or switches that one audit entry found."""
        state = self.state
        require_reason(reason, force=force)
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            await self.check_revision(if_revision)
            entry = await self._entry(audit_id)
            undo = self._way_back(entry)
            done = await undo(entry, reason or f"undo of a-{entry.id}", caller, force=force)
        return await self.answer(replace(done, extra={**done.extra, "undid": f"a-{audit_id}"}))

    def _way_back(self, entry: Entry) -> Callable[..., Coroutine[Any, Any, Done]]:
        """Say how an entry is undone: by what it changed, so that an undo is undone like anything else.

        Raises: ProblemError ``undo`` with the way that there is instead.
        """
        if entry.kind not in UNDONE or not entry.before:
            instead = NO_WAY_BACK.get(entry.kind, "it changed no flag, no switch and no tolerance")
            raise ProblemError(
                "undo", f"a-{entry.id} is of the kind {entry.kind}, which undo does not take back: {instead}."
            )
        if "copying" in entry.before:
            return self._undo_shadow
        return self._undo_tolerance if all(name.startswith("t-") for name in entry.before) else self._undo_flags

    async def _undo_tolerance(self, entry: Entry, reason: str, caller: Caller, *, force: bool) -> Done:
        state = self.state
        require_own_flags(state)
        ((name, before),) = entry.before.items()
        held = {one.id: one for one in state.spec.tolerate}
        now = as_mapping(held[name]) if name in held else None
        if now != entry.after[name] and not force:
            raise ProblemError(
                "undo", f"The tolerance {name} has changed since a-{entry.id}; look at it, or undo with force."
            )
        if before is None:
            held.pop(name, None)
        else:
            from config.tolerate import parse_tolerance  # the YAML reader, which control does not have at its start

            held[name] = parse_tolerance(before, entry.routes[0] if entry.routes else "")
        return await self.write_tolerances("undo", name, held, reason, caller)

    async def _undo_flags(self, entry: Entry, reason: str, caller: Caller, *, force: bool) -> Done:
        state = self.state
        require_own_flags(state)
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
            cohorts = {cohort.name for cohort in state.config.cohorts}
            flag = replace(flag, cohorts={key: own for key, own in flag.cohorts.items() if key in cohorts})
            if not can_carry(route, flag):
                raise ProblemError("undo", f"Route {name!r} no longer has the backends for {flag.stage.value}.")
            planned[name] = replace(flag, salt=now.salt)
        caller, asked = await self._admit(planned, caller, force=force)
        done = await self.write_flags("undo", planned, reason, caller)
        return replace(done, extra={**done.extra, **asked})

    async def _undo_shadow(self, entry: Entry, reason: str, caller: Caller, *, force: bool) -> Done:
        now = frozenset(self.state.spec.copying_off)
        if now != _off_from_json(entry.after) and not force:
            raise ProblemError("undo", f"Copying was switched again since a-{entry.id}; switch it, or undo with force.")
        done = await self.write_switches("undo", now, _off_from_json(entry.before), reason, caller, ())
        return replace(done, extra={"copying": copying_as_json(self.state.spec.copying_off)})

    async def _entry(self, number: int) -> Entry:
        store = self.state.flag_store
        if store is None:
            raise ProblemError("database", f"The audit cannot be read: {self.state.flag_error}.")
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


def require_reason(reason: str, *, force: bool) -> None:
    """Let nobody go over a gate without saying why.

    Raises: ProblemError ``invalid-request``.
    """
    if force and not reason.strip():
        raise invalid([{"where": "reason", "detail": "reason is missing; force needs one, and it stays in the audit."}])


def _cohort_notes(ask: FlipAsk, after: Mapping[str, Flag], *, gated: bool) -> tuple[str, ...]:
    """Say what a flip of a cohort does not ask, and whom a flip of a route does not reach."""
    if ask.cohort is not None:
        return (
            (f"no gate was asked: cohort {ask.cohort} is few people who know what they try",)
            if after and not gated and ask.stage in (Stage.CANARY.value, Stage.LIVE.value)
            else ()
        )
    return tuple(
        f"cohort {cohort} of route {name} keeps its own stage: {own.stage.value}"
        for name, flag in after.items()
        for cohort, own in flag.cohorts.items()
    )


def require_own_flags(state: ControlState, route: RouteSpec | None = None) -> None:
    """Refuse a flip where somebody else rules the flags, and say who and where.

    Raises: ProblemError ``flags-in-file`` and ``flags-in-provider``.
    """
    config = state.config
    name = "the route" if route is None else repr(route.name)
    if config.flags == "file":
        raise ProblemError(
            "flags-in-file",
            f"With `flags: file` the configuration rules the stages; change `stage` of {name} in "
            f"{state.config_path} and reload. A rollback works here too.",
        )
    if config.openfeature is not None:
        flag = "its flag"
        if route is not None:
            flag = f"the flag {config.openfeature.prefix}{route.journey or route.name}"
        raise ProblemError(
            "flags-in-provider",
            f"With `flags: openfeature` the provider {config.openfeature.provider} rules the stages; change {flag} "
            "there. A rollback works here too.",
        )


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
