"""The gates of all routes: evidence fetched, judged, remembered for a second, and asked before new gets more clients.

Rules of this file:

1. Only what gives new more clients asks a gate; whatever takes clients away from it never does. A flip by hand or by
   the autopilot needs the gate's pass; a file or a provider rules, so its flips are made, and
   :func:`console.judged.objections` says what stands against them.
2. Nothing is known that cannot be read: a broken evidence file makes every gate inconclusive, not open.
3. What a flip was allowed on, or went over, stands in its audit entry.
4. A pass is of the build that new runs now. Comparisons name it too late for whoever deploys and flips at once, so new
   is asked first (:mod:`console.builds`); one that cannot be asked passes nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from config.cohort import is_everybody
from config.spec import GateSpec, RouteSpec
from console.builds import Word, unasked_note
from console.judged import Admission, Judged, refusal, unjudged, without
from rules.flag import Flag
from rules.gate import GateEvidence, GateVerdict, about, judge
from rules.leg import Leg, leg_at, recent_legs
from rules.stage import raises_new_share
from store.database import StoreError

if TYPE_CHECKING:
    from console.state import ControlState

FRESH_S: Final = 1.0
"""How old a verdict may be that a flip rests on."""

HEARD_S: Final = 10.0
"""How old new's own word on its build may be for who only looks at a gate; before a flip new is always asked."""

SHOWN_S: Final = 5.0
"""How old one may be that is only shown."""

SHOWN_PER_ROUTE_S: Final = 0.06
"""So much older per route that there is: judging one takes 3 ms of CPU, so lists that are asked for again and again
take a twentieth of a core however many routes they have. Of 1,000 routes a verdict is a minute old at most."""

LIST_S: Final = 1.0
"""How long one list asks gates: after a start nothing is known of 1,000 routes, and 5 ms of CPU are needed for each."""

ASK_S: Final = 5.0
"""How long one change asks gates; a journey has a few, a file may move every route at once."""

NOTE: Final = "evidence:"
"""Before a route's name, as a key of the notes: since when its evidence counts."""

MAX_BEGINNINGS: Final = 10_000
"""Beginnings of builds that are remembered; beyond it all are read again."""


class Evidence(Protocol):
    """Be what knows the evidence of all nodes (:class:`console.gate_evidence.EvidenceReader`)."""

    def current_build(self, route: str) -> str:
        """Name the build of new that a route compares now; empty: nobody says."""
        ...

    def current_basis(self, route: str) -> str:
        """Name what a route compares with what now (:mod:`rules.basis`)."""
        ...

    async def ask_build(self, route: RouteSpec, heard_s: float) -> Word:
        """Let new say which build it is now, unless it said so within *heard_s*."""
        ...

    async def gate_evidences(self, route: str, build: str, sinces: Sequence[float]) -> Sequence[GateEvidence]:
        """Sum up since each of some moments in Unix time; raises StoreError."""
        ...

    async def client_classes(self, route: str, since: float) -> Mapping[tuple[str, str], int]:
        """Say how clients were answered: (side, class) to requests; raises StoreError."""
        ...

    async def requests(self, route: str, since: float) -> tuple[int, int]:
        """Say how many requests came, and how many of them could be copied; raises StoreError."""
        ...


class Gates:
    """Judge routes, and keep what was judged for a moment.

    Runs: on control's loop.
    """

    def __init__(self, state: ControlState, evidence: Evidence) -> None:
        self._state, self._evidence = state, evidence
        self._judged: dict[str, tuple[tuple[object, ...], Judged]] = {}
        self._beginnings: dict[tuple[str, str, str, float], float] = {}
        self._words: dict[str, tuple[float, Word]] = {}
        """By route: what new said of its build when it was asked last, and when, in monotonic time."""

    async def verdict(self, route: str) -> GateVerdict:
        """Say whether a route may get more clients; at most a second old.

        Raises: ProblemError ``unknown-route``.
        """
        return (await self.judge(route)).verdict

    async def judge(self, route: str, *, age_s: float = FRESH_S) -> Judged:
        """Give the verdict with its evidence, at most *age_s* old.

        Raises: ProblemError ``unknown-route``.
        """
        return await self._judge_now(self._state.route(route), age_s, HEARD_S)

    async def shown(self, routes: Sequence[str]) -> dict[str, Judged]:
        """Give the verdicts for a list, older the more routes there are.

        Bound: LIST_S; then those that are known are shown whatever their age, and the others are inconclusive.
        Raises: ProblemError ``unknown-route``.
        """
        ends = time.monotonic() + LIST_S
        age_s = max(SHOWN_S, SHOWN_PER_ROUTE_S * len(self._state.config.routes))
        found = {}
        for name in routes:
            route = self._state.route(name)
            if time.monotonic() < ends:
                found[name] = await self._judge(route, age_s)
            elif route.gate is None or route.legacy is None or name in self._judged:
                found[name] = await self._judge(route, inf)
            else:
                found[name] = unjudged(route, f"this list asked gates for {LIST_S:g} s; the next one asks on")
        return found

    async def admit(self, planned: Mapping[str, Flag], *, force: bool) -> Admission:
        """Ask the gates of all routes that would get more clients.

        Raises: ProblemError ``gate`` with every verdict, unless it is forced.
        """
        routes = [self._state.route(name) for name in planned]
        asked = await self.ask(routes, {route.name: self._state.flag(route) for route in routes}, planned)
        if asked.shut and not force:
            raise refusal(asked)
        return replace(asked, forced=bool(asked.shut))

    async def ask(
        self,
        routes: Iterable[RouteSpec],
        before: Mapping[str, Flag],
        after: Mapping[str, Flag],
        *,
        anew: Collection[str] = (),
    ) -> Admission:
        """Judge those of some routes that would get more clients, and refuse none.

        Shape: a route without a flag before is born, which asks nothing; of a route in *anew* nothing was compared.
        Bound: ASK_S; what was not judged by then is inconclusive.
        """
        judged, ends = [], time.monotonic() + ASK_S
        for route in self._raised(routes, before, after):
            if route.gate is not None and route.name in anew:
                judged.append(unjudged(route, "nothing was compared yet as the new file has it"))
            elif time.monotonic() >= ends:
                judged.append(unjudged(route, f"many gates were asked at once, for {ASK_S:g} s"))
            else:
                judged.append(await self._judge_now(route, FRESH_S, FRESH_S))
        return Admission(judged=tuple(judged))

    async def hear(self, planned: Mapping[str, Flag]) -> None:
        """Let new say its builds before a flip takes the turn: nobody who rolls back waits for a new that hangs."""
        routes = [self._state.route(name) for name in planned]
        raised = self._raised(routes, {route.name: self._state.flag(route) for route in routes}, planned)
        await asyncio.gather(*(self._word(route, 0.0) for route in raised if route.gate is not None))

    def _raised(
        self, routes: Iterable[RouteSpec], before: Mapping[str, Flag], after: Mapping[str, Flag]
    ) -> list[RouteSpec]:
        """Choose the routes with a legacy side whose new side would get more clients."""
        everybody = [cohort.name for cohort in self._state.config.cohorts if is_everybody(cohort)]
        return [
            route
            for route in routes
            if route.legacy is not None
            and (old := before.get(route.name)) is not None
            and (new := after.get(route.name)) is not None
            and raises_new_share(old, new, everybody)
        ]

    def forget(self, routes: Iterable[str]) -> None:
        """Judge anew whoever asks next."""
        for route in routes:
            self._judged.pop(route, None)

    def results(self) -> dict[str, str]:
        """Give the results that are known now, for metrics: asking would cost more than a scrape may."""
        names = {route.name for route in self._state.config.routes}
        return {name: one.verdict.result for name, (_, one) in self._judged.items() if name in names}

    def _reset(self, route: str) -> float:
        note = self._state.notes.get(f"{NOTE}{route}")
        return 0.0 if note is None else float(json.loads(note)["since"])

    async def _judge(self, route: RouteSpec, age_s: float) -> Judged:
        """Judge a route as a configuration has it, which may not be in force yet."""
        now = time.time()
        if route.gate is None or route.legacy is None:
            return without(route, now)
        # What a verdict depends on but the evidence; a change of any of it makes the verdict worthless.
        evidence = self._evidence
        compared = (evidence.current_build(route.name), evidence.current_basis(route.name))
        rests_on = (route.gate, route.tolerate, self._state.flag(route), *compared, self._reset(route.name))
        known = self._judged.get(route.name)
        if known is not None and known[0] == rests_on and now - age_s <= known[1].at <= now:
            return known[1]
        judged = await self._judge_anew(route, route.gate, now)
        self._judged[route.name] = rests_on, judged
        return judged

    async def _judge_now(self, route: RouteSpec, age_s: float, heard_s: float) -> Judged:
        """Judge the build that new says it is now (rule 4)."""
        if route.gate is None or route.legacy is None:
            return await self._judge(route, age_s)
        word = await self._word(route, heard_s)
        judged = await self._judge(route, age_s)
        verdict = judged.verdict
        if word.trouble and verdict.result == "pass":
            verdict = replace(verdict, result="inconclusive", sentence=f"{word.trouble}; {verdict.sentence}")
        elif word.note:
            verdict = replace(verdict, sentence=f"{verdict.sentence}; {word.note}")
        return replace(judged, verdict=verdict)

    async def _word(self, route: RouteSpec, heard_s: float) -> Word:
        """Give what new says of its build, at most *heard_s* old."""
        known = self._words.get(route.name)
        if known is None or time.monotonic() - known[0] > heard_s:
            word = await self._evidence.ask_build(route, heard_s)
            known = self._words[route.name] = time.monotonic(), word
        return known[1]

    async def _judge_anew(self, route: RouteSpec, spec: GateSpec, now: float) -> Judged:
        name = route.name
        build = self._evidence.current_build(name)
        try:
            leg, evidence, recent = await self._gather(name, build, spec.over_ns / 1e9, now)
        except StoreError as error:
            verdict = GateVerdict(result="inconclusive", sentence=f"the evidence cannot be read: {error}")
            return Judged(route=name, spec=spec, verdict=verdict, evidence=GateEvidence(build=build), at=now)
        verdict = judge(
            spec,
            evidence,
            now,
            leg=leg,
            recent=recent,
            build=build,
            tolerances=self._tolerances(route),
            today=time.strftime("%Y-%m-%d", time.gmtime(now)),
        )
        said = f"{verdict.sentence}{self._since_reset(name, now)}"
        backend = next((one for one in self._state.config.backends if one.name == route.new), None)
        if verdict.result == "pass" and (note := unasked_note(backend, build)):
            said = f"{said}; {note}"
        return Judged(
            route=name, spec=spec, verdict=replace(verdict, sentence=said), evidence=evidence, leg=leg, at=now
        )

    def _since_reset(self, route: str, now: float) -> str:
        """Say who took away what was counted before: whoever resets until it passes should be seen."""
        note = self._state.notes.get(f"{NOTE}{route}")
        if note is None:
            return ""
        reset = json.loads(note)
        times = reset.get("times", 1)
        often = f", {times} times so far" if times > 1 else ""
        return f"; {reset.get('actor') or 'somebody'} reset the evidence {about(now - reset['since'])} ago{often}"

    async def _gather(
        self, route: str, build: str, over_s: float, now: float
    ) -> tuple[Leg, GateEvidence, tuple[GateEvidence, ...]]:
        """Fetch the evidence of the leg that counts now, and of the short ones.

        Raises: StoreError.
        """
        reader, reset = self._evidence, self._reset(route)
        began = await self._beginning(route, build, reset)
        if not began:
            return leg_at(now, now, over_s), GateEvidence(build=build), ()
        leg = leg_at(began, now, over_s)
        # What lies before the build's first comparison is its evidence, too: the part of an hour that holds it.
        since = reset if leg.since <= began else leg.since
        short = [one.since for one in recent_legs(began, now, over_s) if one.since > leg.since]
        evidence, *recent = await reader.gate_evidences(route, build, (since, *short))
        classes = await reader.client_classes(route, since)
        clients = {code: count for (side, code), count in classes.items() if side == "legacy"}
        asked, comparable = await reader.requests(route, since)
        return leg, replace(evidence, clients=clients, asked=asked, comparable=comparable), tuple(recent)

    async def _beginning(self, route: str, build: str, reset: float) -> float:
        """Say when a build was first compared since its evidence counts; 0.0: it never was."""
        key = (route, build, self._evidence.current_basis(route), reset)
        if not self._beginnings.get(key):
            if len(self._beginnings) >= MAX_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[key] = (await self._evidence.gate_evidences(route, build, (reset,)))[0].since
        return self._beginnings[key]

    def _tolerances(self, route: RouteSpec) -> dict[str, str]:
        everywhere = [*self._state.config.tolerate, *self._state.spec.tolerate]
        return {spec.id: spec.expires for spec in (*route.tolerate, *everywhere) if spec.route in ("", route.name)}
