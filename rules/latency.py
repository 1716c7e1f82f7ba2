"""The bins in which the times of both sides are counted, and what they say about a quantile.

Theory: a gate compares quantiles of the same requests on both sides and has to see a ratio of 1.1. Bounds grow by the
eighth root of two (9 %), so a bin is as wide as the ratio that is looked for, and interpolation inside it is finer.

Rules of this file:

1. The bounds are frozen: counts of two nodes, versions and hours are added bin by bin.
2. Counts are as long as their last bin that is not empty; what is missing is zero.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import add, sub
from typing import Final

STEPS: Final = 8
"""Bins per doubling."""

FIRST_S: Final = 1e-4
"""Below it a difference is the machine's noise, not the service's."""

BOUNDS_S: Final = tuple(FIRST_S * 2 ** (step / STEPS) for step in range(154))
"""Upper bounds in seconds, 100 microseconds to 57 s; a longer time falls into the bin behind the last bound."""

BINS: Final = len(BOUNDS_S) + 1


def bin_of(seconds: float) -> int:
    """Name the bin that a time falls into: the first one whose bound it does not exceed.

    Cost: 0.15 microseconds.
    """
    return bisect_left(BOUNDS_S, seconds)


def added(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Add two lists of counts bin by bin."""
    common = min(len(one), len(other))
    return [*map(add, one, other), *one[common:], *other[common:]]


def grown(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """Say by how much counts have grown; *before* has no bin that *now* lacks."""
    return [*map(sub, now, before), *now[len(before) :]]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Estimate the time that *share* of the counted ones do not exceed; ``None``: nothing was counted.

    Shape: inside a bin times are taken to lie evenly on the logarithmic scale; in the first one evenly from zero, and
    beyond the last bound all that is known is the bound.
    Unit: seconds.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for place, count in enumerate(counts):
        if count and below + count >= wanted:
            inside = max(0.0, wanted - below) / count
            if place == 0:
                return FIRST_S * inside
            if place >= len(BOUNDS_S):
                return BOUNDS_S[-1]
            return float(BOUNDS_S[place - 1] * 2.0 ** (inside / STEPS))
        below += count
    return BOUNDS_S[min(len(counts), len(BOUNDS_S)) - 1]
