"""Play the gate's statistics against streams whose truth is known, beside the rules of Diffy and Flagger.

Run ``python -m bench.gates`` from the repository root for the tables of ``docs/gates.md``. Every figure of ours comes
out of :func:`rules.gate.judge` with the shipped defaults, looked at every minute; nothing here computes a bound.

Theory: a stream is a steady number of comparisons per minute, each divergent with a chance of its own, and the first
look at which a rule says *pass* promotes. Weeks of looks are judged without asking at each of them, because of one
property of :func:`judge` that a test holds: a clean comparison more never takes a pass away. So between two divergent
comparisons a gate can only begin to pass, and where it begins (:meth:`Judging.reach`) is found by asking it a few
times. A look that may be the first pass is then asked itself, with the short legs of the last day and hour.
"""

from __future__ import annotations

import random
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import comb, isqrt, log, log1p
from statistics import median
from typing import Final

from bench.drills import Judgement
from bench.rounds import Bench
from config.spec import GateSpec
from rules.gate import GateEvidence, GateVerdict, judge
from rules.leg import Leg, leg_at, recent_legs

SPEC: Final = GateSpec()
OVER_S: Final = SPEC.over_ns / 1e9
LIMIT: Final = SPEC.divergent_max_bp / 10_000
MINUTE_S: Final = 60.0
WEEK: Final = 7 * 24 * 60
"""Looks, one per minute."""

DAY: Final = 24 * 60

RATES: Final = {"1/min": 1, "10/min": 10, "1/s": 60, "10/s": 600, "100/s": 6_000}
"""Comparisons between two looks."""

SOON: Final = 10_000
"""Comparisons within which a good build has to pass."""

BEGAN_S: Final = 1_800_000_000.0
NEVER: Final = 1 << 62
BUILD: Final = "v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Be what is compared of one build, from the first comparison on."""

    rate: int
    """Comparisons between two looks."""
    looks: int
    divergent: Sequence[int]
    """Which comparisons are divergent, counted from 1, rising."""
    began_s: float = BEGAN_S
    """Unix time of the first one."""

    def between(self, after: int, until: int) -> int:
        """Count the divergent comparisons behind one look, up to another one."""
        return bisect_right(self.divergent, until * self.rate) - bisect_right(self.divergent, after * self.rate)

    def stretches(self, start: int, end: int) -> list[tuple[int, int]]:
        """Cut looks where something divergent arrived: (first, last look), each with the same number of them."""
        places = self.divergent[
            bisect_right(self.divergent, start * self.rate) : bisect_right(self.divergent, end * self.rate)
        ]
        arrivals = sorted({start, *(-(-place // self.rate) for place in places)})
        return [(first, then - 1) for first, then in pairwise([*arrivals, end + 1])]


def divergent(chance: random.Random, share: float, *, count: int, after: int = 0) -> list[int]:
    """Draw which comparisons are divergent, from one comparison to another, each with the same chance."""
    found: list[int] = []
    if share <= 0.0:
        return found
    scale, place = 1.0 / log1p(-share), after
    while (place := place + 1 + int(log(1.0 - chance.random()) * scale)) <= count:
        found.append(place)
    return found


def stream(chance: random.Random, share: float, rate: int, looks: int) -> Stream:
    """Draw a stream that begins at any time of a week."""
    began_s = BEGAN_S + chance.randrange(WEEK) * MINUTE_S
    return Stream(rate=rate, looks=looks, divergent=divergent(chance, share, count=rate * looks), began_s=began_s)


# --- our rule ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Judging:
    """Ask the real gate, and remember where it begins to pass."""

    spec: GateSpec = SPEC
    fails: bool = False
    """What is divergent is a failure of new, too."""
    _reach: dict[tuple[int, int], int] = field(default_factory=dict)
    _short: dict[tuple[int, int], int] = field(default_factory=dict)
    """By leg and number of divergent ones: so many comparisons are known not to pass."""

    def verdict(self, now: Stream, look: int) -> GateVerdict:
        """Judge what was seen until a look, in the leg that counts then and the short ones."""
        moment_s = now.began_s + look * MINUTE_S
        over_s = self.spec.over_ns / 1e9
        leg = leg_at(now.began_s, moment_s, over_s)
        recent = [short for short in recent_legs(now.began_s, moment_s, over_s) if short.since > leg.since]
        legs = [self._since(now, one.since, look) for one in (leg, *recent)]
        return self._judge(legs[0], moment_s, leg, legs[1:])

    def passes(self, number: int, bad: int, count: int) -> bool:
        """Say whether a leg passes with so many comparisons, some divergent, and without the short legs."""
        now_s = BEGAN_S + OVER_S
        leg = Leg(since=BEGAN_S, number=number, over_s=self.spec.over_ns / 1e9)
        return self._judge(self._evidence(count, bad, BEGAN_S, now_s), now_s, leg, ()).result == "pass"

    def reach(self, number: int, bad: int) -> int:
        """Find the fewest comparisons of a leg with so many divergent ones that pass."""
        key = (number, bad)
        if key not in self._reach:
            low = self._short.get(key, bad)
            high = max(2 * low, self._reach.get((number, bad - 1), 0), 1_000)
            while not self.passes(number, bad, high):
                low, high = high, 2 * high
                if high > 10**10:
                    return self._reach.setdefault(key, NEVER)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self.passes(number, bad, middle) else (middle, high)
            self._reach[key] = high
        return self._reach[key]

    def first_pass(self, now: Stream) -> int:
        """Find the first look at which the gate passes; NEVER: at none."""
        for leg, start, end in self._legs(now):
            skipped = round((leg.since - now.began_s) / MINUTE_S) if leg.since > now.began_s else 0
            for first, last in now.stretches(start, end):
                bad = now.between(skipped, first)
                if self._is_short(leg.number, bad, (last - skipped) * now.rate):
                    continue
                needed = self.reach(leg.number, bad)
                for look in range(max(first, skipped - (-needed // now.rate)), last + 1):
                    if self.verdict(now, look).result == "pass":
                        return look
        return NEVER

    def first_fail(self, now: Stream, *, after: int = 0, until: int) -> int:
        """Find the first look behind one and up to another at which the gate fails; NEVER: at none.

        Shape: a gate begins to fail where something divergent arrived, or where an hour began and took good ones away.
        """
        looks = {first for first, _ in now.stretches(after, until)}
        looks.update(look for look in range(0, until + 1, 60) if now.between(look - DAY, look))
        for look in sorted(looks):
            if look > after and self.verdict(now, look).result == "fail":
                return look
        return NEVER

    def _is_short(self, number: int, bad: int, count: int) -> bool:
        """Say whether so many comparisons are known not to pass; more divergent ones never pass earlier."""
        key = (number, bad - bad % max(1, isqrt(bad) // 4))
        if count > self._short.get(key, 0):
            far = count + count // 4
            self._short[key] = self.reach(*key) - 1 if self.passes(*key, far) else far
        return count <= self._short.get(key, 0)

    def _legs(self, now: Stream) -> list[tuple[Leg, int, int]]:
        """Name the legs of a stream, each with its first and last look."""
        over_s = self.spec.over_ns / 1e9
        found: list[tuple[Leg, int, int]] = []
        look = 1
        while look <= now.looks:
            leg = leg_at(now.began_s, now.began_s + look * MINUTE_S, over_s)
            low, high = look, now.looks + 1
            while high - low > 1:
                middle = (low + high) // 2
                same = leg_at(now.began_s, now.began_s + middle * MINUTE_S, over_s) == leg
                low, high = (middle, high) if same else (low, middle)
            found.append((leg, look, low))
            look = low + 1
        return found

    def _since(self, now: Stream, since_s: float, look: int) -> GateEvidence:
        skipped = max(0, round((since_s - now.began_s) / MINUTE_S))
        bad = now.between(skipped, look)
        return self._evidence(
            (look - skipped) * now.rate, bad, max(since_s, now.began_s), now.began_s + look * MINUTE_S
        )

    def _evidence(self, count: int, bad: int, since_s: float, until_s: float) -> GateEvidence:
        """Make the evidence of a route that is fine but for what is divergent, and as fast as legacy."""
        times = [count * share // 64 for share in _TIMES]
        times[5] += count - sum(times)
        answered = count - bad if self.fails else count
        return GateEvidence(
            build=BUILD,
            since=since_s,
            until=until_s,
            identical=count - bad,
            divergent=bad,
            eligible=count,
            classes={("GET", "2xx", "2xx"): answered, ("GET", "2xx", "5xx"): count - answered},
            clients={"2xx": count},
            distinct=min(count, 1_000),
            latency={"legacy": times, "new": times},
        )

    def _judge(self, seen: GateEvidence, now_s: float, leg: Leg, recent: Sequence[GateEvidence]) -> GateVerdict:
        return judge(self.spec, seen, now_s, leg=leg, recent=recent, build=BUILD)


_TIMES: Final = (*[0] * 52, 1, 2, 4, 7, 9, 10, 9, 7, 5, 4, 2, 2, 1, 1)
"""Of 64 answers, how many fall into each bin of ``rules.latency``: around 10 to 30 ms."""


# --- their rules ------------------------------------------------------------------------------------------------------


def diffy_pass(now: Stream, *, least: int = 1) -> int:
    """Find the first look at which Diffy shows no difference: at most 0.03 % of all, from *least* comparisons on.

    Shape: nothing differs between legacy and itself here, so its other condition (20 % more than that) always holds.
    """
    for first, last in now.stretches(1, now.looks):
        bad = now.between(0, first)
        look = max(first, -(-max(least, -(-bad * 10_000 // 3)) // now.rate))
        if look <= last:
            return look
    return NEVER


ROW: Final = 10
"""Flagger's way from nothing to half of the traffic in steps of 5 %."""


def flagger_pass(now: Stream) -> int:
    """Find the look at which ten intervals in a row have held our own limit, each by its own samples."""
    good_since = 0
    arrivals = sorted({-(-place // now.rate) for place in now.divergent})
    for look in [*arrivals, now.looks + 1]:
        if look - 1 - good_since >= ROW:
            break
        if now.between(look - 1, look) > LIMIT * now.rate:
            good_since = look
    return good_since + ROW if good_since + ROW <= now.looks else NEVER


# --- counting ---------------------------------------------------------------------------------------------------------


def most(cases: int, runs: int, doubt: float = 0.01) -> float:
    """Bound from above how often something happens that happened in some of the runs (Clopper and Pearson)."""
    return _where(lambda share: _at_most(cases, runs, share) > doubt)


def least(cases: int, runs: int, doubt: float = 0.01) -> float:
    """Bound it from below."""
    return 1.0 - most(runs - cases, runs, doubt)


def _at_most(cases: int, runs: int, share: float) -> float:
    if share >= 1.0:
        return float(cases >= runs)
    return sum(comb(runs, one) * share**one * (1.0 - share) ** (runs - one) for one in range(cases + 1))


def _where(holds: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


# --- the tables -------------------------------------------------------------------------------------------------------

BAD: Final = 0.01
RUNS: Final = {0.0: 200, 0.000_1: 1_000, 0.001: 200, LIMIT: 500, BAD: 200}
"""True share of divergent pairs to the streams that are drawn per rate; what bears a bar has most."""

FAILS: Final = 100
"""Streams of each truth and rate that are looked through for a fail: each look has to be judged."""

LOOKED_FOR_FAIL: Final = 20_000
"""Comparisons within which it is looked for."""

HISTORY: Final = 0.000_1
"""Share of divergent pairs before something becomes bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Hold what became of the streams of one truth and one rate."""

    share: float
    rate: int
    runs: int
    passed: Sequence[int]
    """Comparisons until the first pass, of those that passed, rising."""
    failed: Sequence[int]
    """Comparisons until the first fail, of those that failed before they passed."""
    fails: int
    """Streams that were looked through for one."""
    diffy: int
    diffy_late: int
    """Promoted where nobody looks before ``gate.comparisons`` were made."""
    flagger: int

    @property
    def soon(self) -> int:
        """Count the streams that passed within 10,000 comparisons."""
        return bisect_right(self.passed, SOON)

    @property
    def holds(self) -> bool:
        """Say whether the bar holds here: beyond the noise of so many runs, with a doubt of 1 %."""
        if self.share >= LIMIT:
            return most(len(self.passed), self.runs) <= 0.05
        return self.share > HISTORY or least(self.soon, self.runs) >= 0.95


def play(judging: Judging, share: float, rate: int, *, runs: int, looks: int = WEEK, fails: int = 0) -> Cell:
    """Draw streams of one truth and one rate, always the same ones, and put all rules to them.

    Shape: *fails* is how many of them are looked through for a fail, too.
    """
    chance = random.Random(f"{share}/{rate}")
    passed: list[int] = []
    failed: list[int] = []
    theirs = [0, 0, 0]
    for number in range(runs):
        now = stream(chance, share, rate, looks)
        look = judging.first_pass(now)
        if look != NEVER:
            passed.append(look * rate)
        if number < fails:
            fail = judging.first_fail(now, until=min(looks, look, -(-LOOKED_FOR_FAIL // rate)))
            failed += [] if fail == NEVER else [fail * rate]
        found = (diffy_pass(now), diffy_pass(now, least=SPEC.comparisons), flagger_pass(now))
        theirs = [count + (one != NEVER) for count, one in zip(theirs, found, strict=True)]
    return Cell(
        share=share,
        rate=rate,
        runs=runs,
        passed=sorted(passed),
        failed=sorted(failed),
        fails=min(fails, runs),
        diffy=theirs[0],
        diffy_late=theirs[1],
        flagger=theirs[2],
    )


def turned(chance: random.Random, share: float, rate: int) -> tuple[Stream, int]:
    """Draw a stream that becomes bad after seven to ten good days; give it with the last good look."""
    good = WEEK + chance.randrange(WEEK // 2)
    looks = good + 3 * WEEK // 7
    worse = min(looks * rate, good * rate + 180 * rate + LOOKED_FOR_FAIL)
    bad = divergent(chance, HISTORY, count=good * rate)
    bad += divergent(chance, share, count=worse, after=good * rate)
    began_s = BEGAN_S + chance.randrange(WEEK) * MINUTE_S
    return Stream(rate=rate, looks=-(-worse // rate), divergent=bad, began_s=began_s), good


def minutes_until_fail(judging: Judging, share: float, rate: int, *, runs: int) -> list[int]:
    """Say how long after a good build became bad its gate fails, rising."""
    chance = random.Random(f"turned {share}/{rate}")
    took = []
    for _ in range(runs):
        now, good = turned(chance, share, rate)
        took.append(judging.first_fail(now, after=good, until=now.looks) - good)
    return sorted(took)


def table(say: Callable[[str], None]) -> list[Cell]:
    """Play every truth at every rate for a week."""
    judging, cells = Judging(), []
    for share, runs in RUNS.items():
        for name, rate in RATES.items():
            cells.append(play(judging, share, rate, runs=runs, fails=FAILS))
            one = cells[-1]
            say(
                f"gates: {share:.2%} at {name}: of {runs} promoted {len(one.passed)} ({one.soon} soon), "
                f"Diffy {one.diffy} ({one.diffy_late}), Flagger {one.flagger}; failed {len(one.failed)} of {one.fails}"
            )
    return cells


def hold_bars(bench: Bench) -> Judgement:
    """Judge the bars of the gates over the whole table."""
    cells = table(bench.say)
    over = max(cells, key=lambda cell: len(cell.passed) / cell.runs if cell.share >= LIMIT else -1.0)
    good = min(cells, key=lambda cell: cell.soon / cell.runs if cell.share <= HISTORY else 2.0)
    return Judgement(
        passed=all(cell.holds for cell in cells),
        figures=f"at most {len(over.passed)} of {over.runs} promoted at or over the limit; "
        f"at least {good.soon} of {good.runs} good ones within {SOON:,} comparisons",
    )


def main() -> int:
    """Print the tables of ``docs/gates.md``; exit 1 when a bar does not hold."""
    cells = table(lambda text: print(text, file=sys.stderr, flush=True))
    names = list(RATES)
    print("| truly divergent | rule |", " | ".join(names), "|")
    print("|---|---|" + "---|" * len(names))
    for share in RUNS:
        row = [cell for cell in cells if cell.share == share]
        for rule, count in _PROMOTED.items():
            shown = " | ".join(_percent(count(cell), cell.runs) for cell in row)
            print(f"| {share * 100:g} % ({row[0].runs:,}) | {rule} | {shown} |")
        for what, counts in (
            ("passes", [(cell.passed, cell.runs) for cell in row]),
            ("fails before", [(cell.failed, cell.fails) for cell in row]),
        ):
            shown = " | ".join(
                f"{_percent(len(found), runs)} after {median(found):,.0f}" if found else "never"
                for found, runs in counts
            )
            print(f"| {share * 100:g} % | {what}, comparisons | {shown} |")
    judging = Judging()
    for share in (0.01, 0.05, 0.5):
        took = [minutes_until_fail(judging, share, rate, runs=100) for rate in RATES.values()]
        shown = " | ".join(f"{median(one):,.0f} min ({one[len(one) * 95 // 100]:,})" for one in took)
        print(f"| {share:.0%} after good days | fails within | {shown} |")
    return 0 if all(cell.holds for cell in cells) else 1


_PROMOTED: Final[dict[str, Callable[[Cell], int]]] = {
    "Matapalo": lambda cell: len(cell.passed),
    f"Matapalo, within {SOON:,}": lambda cell: cell.soon,
    "Diffy": lambda cell: cell.diffy,
    f"Diffy, from {SPEC.comparisons:,} on": lambda cell: cell.diffy_late,
    f"Flagger, {ROW} in a row": lambda cell: cell.flagger,
}


def _percent(cases: int, runs: int) -> str:
    return f"{cases / runs * 100:.3g} %"


if __name__ == "__main__":
    sys.exit(main())
