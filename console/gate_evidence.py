"""What gates, watchdog and autopilot are told about a route: the sum over all nodes, of one build, since a moment.

Rules of this file:

1. Every answer counts what all nodes have written, this one until now; other nodes write each two seconds.
2. Evidence since a moment holds nothing from before it. Parts of the evidence begin with each hour, and with each flip
   of the route, build of new and reset; so an answer may lack up to an hour at its beginning, and less than three
   seconds after a flip or a reset. Whoever resets lets the recorder write first.
3. Evidence belongs to the build of new that answered, and to the basis that the route had: what it took, and whom it
   asked (:mod:`rules.basis`). A route that goes back to an earlier build or basis has that one's evidence again, as far
   as ``since`` reaches. New that never names a build has one build, the empty one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.spec import RouteSpec
from console.builds import Word, ask_new
from console.recorder import Recorder
from console.state import ControlState
from rules.distinct import estimate
from rules.gate import GateEvidence
from store.database import StoreError
from store.evidence import EvidenceStore
from store.gatehours import HOUR_S, Part

LATE_S: Final = 60.0
"""An hour is over for all nodes so long after its end: they write each two seconds, by clocks that differ a little."""

MAX_KEPT: Final = 8_192
"""Sums over past hours that are remembered, 2 KB each."""

SIDES: Final = frozenset(("legacy", "new"))

_NOT_SKIPPED: Final = ("dropped", "queued")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """Hold the sum over hours that are over."""

    until_hour: int
    below: float
    """The sum is the same for every moment after this one …"""
    up_to: float
    """… and not after this one."""
    total: Part


class EvidenceReader:
    """Sum evidence up for whoever judges a route.

    Runs: on control's loop.
    Cost: 1 ms when the past hours are known, 5 ms for a week of one node that are not.
    """

    def __init__(self, state: ControlState, recorder: Recorder) -> None:
        self._state, self._recorder = state, recorder
        self._past: dict[tuple[str, str | None, str, int], _Past] = {}
        """By route, build, basis and the hour since when: whoever judges asks for a few moments again and again."""

    def current_build(self, route: str) -> str:
        """Name the build of new that a route compares now; empty: nobody says."""
        return self._recorder.builds_of_new(time.time())(route)

    async def ask_build(self, route: RouteSpec, heard_s: float) -> Word:
        """Let new say which build it is, unless its answers said so on this route within *heard_s*.

        Shape: what new says is from then on :meth:`current_build`.
        Bound: :data:`console.builds.ASK_S`.
        """
        if time.time() - self._recorder.heard_at(route.name) <= heard_s:
            return Word()
        known, word = self.current_build(route.name), await ask_new(self._state.config, route)
        if word.outcome:
            self._state.build_questions[route.name, word.outcome] += 1
        if word.build:
            self._recorder.hear({route.name: word.build})
        return word if not known or word.build != known else Word()

    def current_basis(self, route: str) -> str:
        """Name what a route compares with what now."""
        return self._recorder.basis_of(route)

    async def gate_evidence(self, route: str, build: str, since: float) -> GateEvidence:
        """Say what was compared of one build of new since a moment in Unix time, on all nodes.

        Raises: StoreError when the evidence cannot be read.
        """
        return (await self.gate_evidences(route, build, (since,)))[0]

    async def gate_evidences(self, route: str, build: str, sinces: Sequence[float]) -> list[GateEvidence]:
        """Say it for several moments, for little more than for one of them.

        Raises: StoreError when the evidence cannot be read.
        """
        return [evidence_from(build, total) for total in await self._sums(route, build, sinces)]

    async def client_classes(self, route: str, since: float) -> dict[tuple[str, str], int]:
        """Say how clients were answered since a moment, whatever the build: (side, class) to requests.

        Shape: beside sides there is ``none``: answered by Matapalo itself. Requests have no method here: what was
        compared has (:attr:`rules.gate.GateEvidence.classes`), and what was skipped (``uncopied``).
        Raises: StoreError when the evidence cannot be read.
        """
        counts = (await self._sums(route, None, (since,)))[0].counts
        return {(side, code): count for (side, code), count in _under(counts, "requests").items() if count > 0}

    async def requests(self, route: str, since: float) -> tuple[int, int]:
        """Say how many requests clients made since a moment, whatever the build, and how many could be copied.

        Raises: StoreError when the evidence cannot be read.
        """
        counts = (await self._sums(route, None, (since,)))[0].counts
        answers = sum(count for (side, _), count in _under(counts, "requests").items() if side in SIDES)
        return max(0, answers), max(0, min(counts.get("eligible", 0), answers))

    async def _sums(self, route: str, build: str | None, sinces: Sequence[float]) -> list[Part]:
        """Add all parts up that began at or after each of some moments."""
        await self._recorder.flush()
        evidence = self._state.evidence
        if evidence is None:
            raise StoreError(f"the evidence is not kept: {self._state.evidence_error}")
        now, basis = time.time(), self.current_basis(route)
        over = int((now - LATE_S) // HOUR_S)
        totals = []
        try:
            late = await evidence.gate_hours.parts(route, build, basis, (over, int(now // HOUR_S) + 2))
            for since in sinces:
                first = int(since // HOUR_S)
                total = Part(began=since)
                if first < over:
                    total.add((await self._past_of(evidence, (route, build, basis, first), since, over)).total)
                for part in late:
                    if part.began >= since:
                        total.add(part)
                totals.append(total)
        except ValueError as error:
            raise StoreError(f"the evidence has hours that this version cannot read: {error}") from error
        return totals

    async def _past_of(
        self, evidence: EvidenceStore, key: tuple[str, str | None, str, int], since: float, hour: int
    ) -> _Past:
        """Give the sum over the hours before *hour*; from memory as far as it was asked for before."""
        route, build, basis, first = key
        known = self._past.get(key)
        if known is not None and not known.below < since <= known.up_to:
            known = None
        if known is not None and known.until_hour == hour:
            return known
        total, below, up_to = Part(began=since), since - since % HOUR_S - 1e-6, None
        if known is not None and known.until_hour < hour:
            # What is over does not change, so only the hours that have ended since then are read.
            first, below, up_to = known.until_hour, known.below, known.up_to
            total.add(known.total)
        for part in await evidence.gate_hours.parts(route, build, basis, (first, hour)):
            if part.began < since:
                below = max(below, part.began)
            else:
                up_to = part.began if up_to is None else min(up_to, part.began)
                total.add(part)
        found = _Past(until_hour=hour, below=below, up_to=since if up_to is None else up_to, total=total)
        if len(self._past) >= MAX_KEPT:
            self._past.clear()
        self._past[key] = found
        return found


def evidence_from(build: str, total: Part) -> GateEvidence:
    """Turn summed counts into what a gate judges."""
    counts = Counter({cell: count for cell, count in total.counts.items() if count > 0})
    undecided = {reason: count for (reason,), count in _under(counts, "undecided").items()}
    return GateEvidence(
        build=build,
        since=total.first,
        until=total.last,
        identical=counts["identical"],
        tolerated=counts["tolerated"],
        divergent=counts["divergent"],
        undecided=sum(undecided.values()),
        eligible=counts["eligible"],
        skipped=counts["skipped"],
        dropped=sum(undecided.get(reason, 0) for reason in _NOT_SKIPPED),
        errored={side: count for (side,), count in _under(counts, "errored").items()},
        tolerated_by={name: count for (name,), count in _under(counts, "tolerance_hits").items()},
        classes={(method, legacy, new): count for (method, legacy, new), count in _under(counts, "paired").items()},
        uncopied={method: count for (method,), count in _under(counts, "uncopied").items()},
        distinct=estimate(total.bits),
        latency=dict(total.bins),
        fallbacks=counts["fallbacks"],
    )


def _under(counts: Mapping[str, int], family: str) -> dict[tuple[str, ...], int]:
    """Give the counts of one family by their labels."""
    start = f"{family}|"
    return {tuple(cell[len(start) :].split("|")): count for cell, count in counts.items() if cell.startswith(start)}
