"""Walk canaries up their steps while their gates pass: the clock, the notes and the flips around rules.autopilot.

Rules of this file:

1. What is decided stands in :mod:`rules.autopilot`; here is where verdicts, holds and notes come from, and what is
   done.
2. One leader walks (``ControlState.is_leader``), so that many nodes make one step once.
3. Progress is a note in the database, written with the flip that it belongs to: a restart goes on where it was, and
   without a database nothing moves.
4. A move names the revision that it was decided on, and switching the autopilot is a revision, too: whoever changed
   something meanwhile wins, on whatever node.
5. Routes of a journey walk as one; the worst of their gates counts.
6. No look waits for a webhook: a step up is asked for in a task of its own and made by a later look, if that comes to
   the same step. So nobody's step back waits for somebody else's receiver, and what happens meanwhile is seen.
7. What breaks on one route is said and stops no other one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from config.spec import RouteSpec
from console.call import Asked, Reply
from console.change import Answer, Changing, entry_for, on_newest_truth, pushed_now
from console.change import Done as Changed
from console.commits import Caller, commit, confirm
from console.flips import FlipAsk, Flips
from console.problem import ProblemError
from console.shapes import Json
from console.state import ControlState, Pushed
from console.watchdog import cools_down_until
from console.webhooks import Webhooks
from rules.autopilot import WAITS, Move, Progress, Step, begun, due_at, is_already, next_move, paused, step_after
from rules.flag import Stage
from rules.gate import GateVerdict
from store.flags import Commit

LOOK_S: Final = 1.0
"""Between two looks; bake times are minutes and hours."""

AGAIN_S: Final = 30.0
"""Between two tries of a step up that was held back: by a webhook, the gate at the flip, or the database."""

ACTOR: Final = "autopilot"

NOTE: Final = "autopilot:"
"""Before a route's or journey's name, as a key of the notes: its :class:`rules.autopilot.Progress`."""

TOPIC: Final = "autopilot"
"""Of the complaint about what broke."""

_WORST: Final = {"fail": 0, "inconclusive": 1, "pass": 2}


@dataclass(slots=True)
class _Asked:
    """Hold which step the webhooks are asked about."""

    step: Step
    since: float
    """When the flag that the step begins from began to bake: another one is another question."""
    why_not: str | None = None
    """What they say; ``None``: not yet, empty: nobody objects."""


class Verdicts(Protocol):
    """Be what judges whether a route may have more clients."""

    async def verdict(self, route: str) -> GateVerdict:
        """Give the verdict of a route's gate, a second old at most."""
        ...


class Autopilot(Changing):
    """Look at every route with an autopilot once a second, and make the next move.

    Runs: :meth:`run` as one task on control's loop.
    """

    def __init__(
        self,
        state: ControlState,
        flips: Flips,
        gates: Verdicts,
        webhooks: Webhooks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(state)
        self._flips, self._gates, self._webhooks, self._clock = flips, gates, webhooks, clock
        self._said: dict[str, str] = {}
        """Unit to what it does now, in a sentence."""
        self._tried_at: dict[str, float] = {}
        self._asked: dict[str, _Asked] = {}
        self._broken: dict[str, str] = {}
        """Unit to what of ours broke when it was last moved."""

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Make the next move of every unit, where there is one to make."""
        if not self.state.is_leader:
            self._said.clear()
            self._asked.clear()
            self._broken.clear()
            self._complain()
            return
        units = self._units()
        for unit, routes in units.items():
            try:
                await self._move(unit, routes)
            except ProblemError as error:
                self._said[unit] = f"cannot go on: {error.detail}"
                if error.kind == "stale-revision":
                    self._tried_at.pop(unit, None)  # somebody was faster; the next look sees what is now
            except Exception as error:  # the border of one move: an error of ours must not keep the others on new
                self._broken[unit] = self._said[unit] = f"cannot go on: {error!r}"
        self._broken = {unit: why for unit, why in self._broken.items() if unit in units}
        self._complain()

    def _complain(self) -> None:
        """Let the status say what is broken, and the log when that is news."""
        complaints = self.state.complaints
        broken = [f"the autopilot of {unit} {why}" for unit, why in sorted(self._broken.items())]
        if not broken:
            complaints.pop(TOPIC, None)
            return
        why = f"{'; '.join(broken)}; flip by hand, and report it"
        if complaints.get(TOPIC) != why:
            self.state.journal.say("autopilot.failed", why)
        complaints[TOPIC] = why

    async def autopilot(self, asked: Asked) -> Reply:
        """Switch one route's autopilot."""
        values = asked.values
        answer = await self.switch(asked.name, on=values["on"], reason=values["reason"], caller=asked.caller)
        return Reply(status=answer.status, body=answer.body, replayed=answer.replayed)

    # --- switch ----------------------------------------------------------------------------------------------------

    @on_newest_truth
    async def switch(self, name: str, *, on: bool, reason: str, caller: Caller) -> Answer:
        """Let a route's autopilot go on from where the route is, or pause it; what it does already is no change."""
        state = self.state
        route = state.route(name)
        unit = route.journey or route.name
        routes = self._units().get(unit)
        if route.autopilot is None:
            raise ProblemError(
                "refused", f"Route {name!r} has no `autopilot` in the configuration; add one and reload."
            )
        if routes is None:
            raise ProblemError("refused", f"Route {name!r} has one side only: no autopilot can walk to the other one.")
        if on and (held := self._held_by(routes)) is not None:
            raise ProblemError("refused", f"Route {name!r} is held on legacy by {held or '?'}; release it first.")
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            if is_already(progress_of(state.notes, unit), state.flag(route), on=on):
                await confirm(state)
                done = Changed(pushed=pushed_now(state), audit_id=None)
            else:
                done = await self._switch(unit, routes, route, on=on, reason=reason, caller=caller)
        return await self.answer(replace(done, extra={"autopilot": self.shown(name)}))

    async def _switch(
        self, unit: str, routes: Sequence[RouteSpec], route: RouteSpec, *, on: bool, reason: str, caller: Caller
    ) -> Changed:
        """Write a switch under a revision of its own, which is what a move that was decided before it fails on.

        Runs: under ``turn``.
        """
        state = self.state
        progress = begun(state.flag(route), self._clock())
        said = WAITS if progress.phase == "waiting" else "goes on"
        if not on:
            why = f"switched off by {caller.actor}{f': {reason}' if reason else ''}"
            progress, said = replace(progress, phase="paused", why=why), paused(why, route.name)
        reason = reason or ("on" if on else "off")
        number, pushed = await self._remember(unit, routes, progress, reason, caller, state.next_revision())
        self._said[unit] = said
        self._tried_at.pop(unit, None)
        return Changed(pushed=pushed, audit_id=number)

    # --- moves -----------------------------------------------------------------------------------------------------

    async def _move(self, unit: str, routes: Sequence[RouteSpec]) -> None:
        state, first, now = self.state, routes[0], self._clock()
        assert first.autopilot is not None
        revision, flag = state.revision, state.flag(first)
        move = next_move(
            first.autopilot,
            flag,
            progress_of(state.notes, unit),
            await self._verdict(routes) if flag.stage is Stage.CANARY else None,
            route=first.name,
            now=now,
            held_by=self._held_by(routes),
            cools_until=self._cools_until(routes),
        )
        if move.kind == "raise" and now - self._tried_at.get(unit, float("-inf")) < AGAIN_S:
            return  # the step is held back; why stands in what was said
        self._broken.pop(unit, None)
        self._said[unit] = move.sentence
        if move.kind != "raise":
            self._asked.pop(unit, None)
        elif not self._is_agreed(unit, routes, move):
            return
        if move.progress is None:
            return
        self._tried_at[unit] = now
        if move.step is not None:
            await self._step(unit, routes, move, move.step, move.progress, revision)
        else:
            await self._note(unit, routes, move.progress, move.sentence, revision)
        self._tried_at.pop(unit, None)

    async def _step(
        self, unit: str, routes: Sequence[RouteSpec], move: Move, step: Step, progress: Progress, revision: int
    ) -> None:
        """Flip, and tell."""
        state = self.state
        names, told = [route.name for route in routes], self._told(routes, move, step)
        if move.kind == "back":
            self._webhooks.tell("autopilot.before", told)  # nobody may keep new at a share at which its gate fails
        note = json.dumps(asdict(progress))
        caller = replace(self._caller(), evidence={"autopilot": told}, notes={f"{NOTE}{unit}": note})
        ask = FlipAsk(
            stage=step.stage.value,
            percent_bp=step.percent_bp if step.stage is Stage.CANARY else None,
            reason=move.sentence,
            if_revision=revision,
        )
        if routes[0].journey:
            answer = await self._flips.flip_journey(routes[0].journey, ask, caller)
        else:
            answer = await self._flips.flip(routes[0].name, ask, caller)
        state.journal.say("autopilot.step", f"{unit}: {move.sentence}", routes=names)
        self._webhooks.tell("autopilot.after", {**told, "audit_id": answer.body["audit_id"]})

    def _is_agreed(self, unit: str, routes: Sequence[RouteSpec], move: Move) -> bool:
        """Ask the webhooks before a step up, unless they were asked; tell whether all agree.

        Raises: ProblemError ``refused``; whoever asks again after that asks them anew.
        """
        progress = progress_of(self.state.notes, unit)
        assert move.step is not None
        assert progress is not None
        asked = self._asked.get(unit)
        if asked is None or (asked.step, asked.since) != (move.step, progress.since):
            asked = self._asked[unit] = _Asked(step=move.step, since=progress.since)
            if not self._webhooks.has("autopilot.before"):
                asked.why_not = ""
            else:
                told = self._told(routes, move, move.step)
                self.state.start(self._ask(asked, told), f"asks before {unit} steps up")
        if asked.why_not is None:
            self._said[unit] = f"asks the webhooks before {move.sentence}"
            return False
        del self._asked[unit]
        if asked.why_not:
            self._tried_at[unit] = self._clock()
            raise ProblemError("refused", f"{move.step.words} is held back: {asked.why_not}")
        return True

    async def _ask(self, asked: _Asked, told: Json) -> None:
        asked.why_not = await self._webhooks.ask("autopilot.before", told)

    def _told(self, routes: Sequence[RouteSpec], move: Move, step: Step) -> Json:
        """Say in a message which step it is."""
        flag = self.state.flag(routes[0])
        return {
            "routes": [route.name for route in routes],
            "step": move.kind,
            "from": _step_as_json(Step(stage=flag.stage, percent_bp=flag.percent_bp)),
            "to": _step_as_json(step),
            "reason": move.sentence,
        }

    @on_newest_truth
    async def _note(self, unit: str, routes: Sequence[RouteSpec], progress: Progress, why: str, revision: int) -> None:
        """Remember a move that needs no flip."""
        async with self.state.turn:
            await self.check_revision(revision)
            await self._remember(unit, routes, progress, why, self._caller(), revision)

    async def _remember(
        self, unit: str, routes: Sequence[RouteSpec], progress: Progress, why: str, caller: Caller, revision: int
    ) -> tuple[int, Pushed]:
        """Write progress that needs no flip, with its audit entry.

        Runs: under ``turn``.
        """
        state = self.state
        entry = replace(
            entry_for("autopilot", tuple(route.name for route in routes), why, caller, state),
            after={"autopilot": asdict(progress)},
        )
        change = Commit(revision=revision, entry=entry, remember={f"{NOTE}{unit}": json.dumps(asdict(progress))})
        return await commit(state, change, replace(state.spec, revision=revision))

    # --- what is known ---------------------------------------------------------------------------------------------

    def _units(self) -> dict[str, list[RouteSpec]]:
        """Group routes with an autopilot by what flips together."""
        units: dict[str, list[RouteSpec]] = {}
        for route in self.state.config.routes:
            if route.autopilot is not None and route.legacy is not None and route.new is not None:
                units.setdefault(route.journey or route.name, []).append(route)
        return units

    async def _verdict(self, routes: Sequence[RouteSpec]) -> GateVerdict:
        """Give the worst of the routes' gates, with the route that it is of in a journey."""
        found = [(await self._gates.verdict(route.name), route.name) for route in routes]
        verdict, name = min(found, key=lambda one: _WORST[one[0].result])
        return verdict if len(routes) == 1 else replace(verdict, sentence=f"{name}: {verdict.sentence}")

    def _held_by(self, routes: Sequence[RouteSpec]) -> str | None:
        held = [self.state.holds[route.name] for route in routes if route.name in self.state.holds]
        return held[0].actor if held else None

    def _cools_until(self, routes: Sequence[RouteSpec]) -> float:
        notes = self.state.notes
        return max(
            (cools_down_until(notes, route.name, route.watchdog) for route in routes if route.watchdog), default=0.0
        )

    def _caller(self) -> Caller:
        return Caller(actor=ACTOR, source=ACTOR)

    def walk(self, route: RouteSpec) -> tuple[str, float]:
        """Name a route's phase, empty where there is none, and the Unix time at which its step has baked, or 0.0."""
        progress = progress_of(self.state.notes, route.journey or route.name)
        if route.autopilot is None or progress is None:
            return "", 0.0
        return progress.phase, due_at(route.autopilot, self.state.flag(route), progress)

    def shown(self, name: str) -> Json | None:
        """Show what the autopilot of a route does; ``None``: it has none."""
        route = self.state.route(name)
        if route.autopilot is None:
            return None
        unit = route.journey or route.name
        progress, flag = progress_of(self.state.notes, unit), self.state.flag(route)
        after = step_after(route.autopilot, flag) if flag.stage is Stage.CANARY else None
        sentence = self._said.get(unit, "not looked at yet" if self.state.is_leader else "the leader walks")
        return {
            "on": progress is None or progress.phase != "paused",
            "phase": "waiting" if progress is None else progress.phase,
            "sentence": sentence,
            "next": None if after is None else _step_as_json(after),
        }


def progress_of(notes: Mapping[str, str], unit: str) -> Progress | None:
    """Read what is remembered of a unit; ``None``: nothing yet."""
    note = notes.get(f"{NOTE}{unit}")
    if note is None:
        return None
    kept: dict[str, Any] = json.loads(note)  # Any: JSON
    return Progress(**kept)


def _step_as_json(step: Step) -> Json:
    return {"stage": step.stage.value, "percent": step.percent_bp / 100}
