"""Rules of the bins in which the times of both sides are counted."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.latency import BINS, BOUNDS_S, FIRST_S, added, bin_of, grown, quantile

VECTORS = [
    (0.0, 0),
    (-0.5, 0),
    (0.000_1, 0),
    (0.000_100_1, 1),
    (0.000_2, 8),
    (0.001, 27),
    (0.010, 54),
    (0.1, 80),
    (1.0, 107),
    (10.0, 133),
    (57.0, 153),
    (60.0, 154),
    (86_400.0, 154),
]
"""Seconds and their bin, for ever: counts of different versions are added up."""


@pytest.mark.parametrize(("seconds", "place"), VECTORS)
def test_a_time_falls_into_its_bin(seconds: float, place: int) -> None:
    """A time is counted in the first bin whose bound it does not exceed, and that never changes."""
    assert bin_of(seconds) == place
    assert place < BINS


def test_bounds_grow_by_the_eighth_root_of_two() -> None:
    """Bounds double every eight bins, from 100 microseconds to nearly a minute."""
    assert BOUNDS_S[0] == FIRST_S
    assert BOUNDS_S[8] == pytest.approx(2 * FIRST_S)
    assert 50 < BOUNDS_S[-1] < 60


def counted(times: list[float]) -> list[int]:
    """Count times as a worker does."""
    bins: list[int] = []
    for seconds in times:
        bins = added(bins, [0] * bin_of(seconds) + [1])
    return bins


@given(st.lists(st.floats(0, 100), max_size=30), st.lists(st.floats(0, 100), max_size=30))
def test_adding_loses_nothing(one: list[float], other: list[float]) -> None:
    """Counts of two nodes add up to what one node would have counted."""
    assert added(counted(one), counted(other)) == counted(one + other)
    assert added(counted(one), grown(counted(one + other), counted(one))) == counted(one + other)


@pytest.mark.parametrize("median_s", [0.000_3, 0.004, 0.2])
def test_a_quantile_is_within_three_per_cent(median_s: float) -> None:
    """An estimated p95 is near enough to the true one for a ratio of 1.1 to be seen."""
    random = Random(7)
    times = sorted(random.lognormvariate(0, 0.6) * median_s for _ in range(4_000))
    slower = [1.1 * seconds for seconds in times]
    counts, counts_slower = [0] * BINS, [0] * BINS
    for seconds, longer in zip(times, slower, strict=True):
        counts[bin_of(seconds)] += 1
        counts_slower[bin_of(longer)] += 1

    found, found_slower = quantile(counts, 0.95), quantile(counts_slower, 0.95)

    assert found == pytest.approx(times[3_800], rel=0.03)
    assert found is not None
    assert found_slower is not None
    assert found_slower / found == pytest.approx(1.1, rel=0.02)


def test_a_quantile_of_nothing_is_unknown() -> None:
    """Without a count there is no quantile, and beyond the last bound only the bound is known."""
    assert quantile([], 0.95) is None
    assert quantile([0, 0], 0.95) is None
    assert quantile([0] * (BINS - 1) + [3], 0.5) == BOUNDS_S[-1]
    assert quantile([4], 0.5) == pytest.approx(FIRST_S / 2)
