"""The plan: which causes to take away first, so that the most recorded pairs become identical.

A pair becomes identical when its last cause is gone. The plan takes the set of causes that brings the most pairs per
cause still to be fixed, again and again, and within a set the cause that most pairs have. What no encoder setting can
fix is left, with its places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shadow.causes import CAUSES, Severity

Causes = frozenset[str]

SPELLABLE: Final = frozenset(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC) | {
    "number.integral_float",
    "number.negative_zero",
    "number.nonfinite",
    "time.fraction",
    "time.zone",
    "time.format",
    "type.duration",
    "null.empty_array",
    "null.empty_object",
}
"""Causes that how the new service encodes can take away, without a value of its own being wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Hold one fix and what it brings."""

    cause: str
    pairs: int
    """Recorded pairs that have this cause."""
    identical: int
    """Recorded pairs that are identical once this and all steps before are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Hold one cause that no step takes away."""

    cause: str
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold the steps in their order, and what is left behind the last one."""

    pairs: int
    """Recorded pairs that differ."""
    steps: tuple[Step, ...]
    left: tuple[Left, ...]
    """Most frequent first."""

    def share(self, step: Step) -> float:
        """Give the share of the recorded pairs that are identical after a step, in percent."""
        return 100 * step.identical / self.pairs


def plan_of(sets: Mapping[Causes, int]) -> Plan:
    """Plan how to make the recorded pairs identical.

    Shape: *sets* counts pairs by their causes.
    Cost: square in the number of different sets, which a route has a few dozen of.
    """
    reachable = {causes: count for causes, count in sets.items() if causes <= SPELLABLE}
    frequency = _frequency(sets)
    done: set[str] = set()
    steps: list[Step] = []
    while ahead := {causes - done for causes in reachable if not causes <= done}:
        now = _identical(reachable, done)
        aim = min(ahead, key=lambda one: (-(_identical(reachable, done | one) - now) / len(one), len(one), sorted(one)))
        for cause in sorted(aim, key=lambda one: (-frequency[one], one)):
            done.add(cause)
            steps.append(Step(cause=cause, pairs=frequency[cause], identical=_identical(reachable, done)))
    # What stands only beside a wrong value brings nothing yet, and is needed all the same.
    for cause in sorted(frequency.keys() & SPELLABLE - done, key=lambda one: (-frequency[one], one)):
        done.add(cause)
        steps.append(Step(cause=cause, pairs=frequency[cause], identical=_identical(reachable, done)))
    rest = _frequency(_without_spelling(sets))
    left = tuple(Left(cause=cause, pairs=count) for cause, count in rest.most_common())
    return Plan(pairs=sum(sets.values()), steps=tuple(steps), left=left)


def _without_spelling(sets: Mapping[Causes, int]) -> Counter[Causes]:
    """Add up the sets that are one without what encoding takes away."""
    merged: Counter[Causes] = Counter()
    for causes, count in sets.items():
        merged[causes - SPELLABLE] += count
    return merged


def _identical(reachable: Mapping[Causes, int], done: set[str]) -> int:
    return sum(count for causes, count in reachable.items() if causes <= done)


def _frequency(sets: Mapping[Causes, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for causes, count in sets.items():
        for cause in causes:
            counts[cause] += count
    return counts


def sentence_of(plan: Plan) -> str:
    """Write the plan in one line: ``newline 0 % → + separator 31 % → …``."""
    words = []
    for index, step in enumerate(plan.steps):
        name = step.cause.partition(".")[2] or step.cause
        words.append(f"{'+ ' if index else ''}{name.replace('_', ' ')} {plan.share(step):.0f} %")
    return " → ".join(words)
