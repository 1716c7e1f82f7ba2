"""How likely chance is: both tests against the sums that they stand for."""

from __future__ import annotations

from math import comb

import pytest

from rules.chance import at_least, excess


@pytest.mark.parametrize("counts", [(3, 10, 1, 30), (0, 5, 0, 5), (5, 5, 0, 5), (40, 100, 20, 300), (2, 9, 2, 9)])
def test_excess_is_the_exact_tail_of_fisher_s_test(counts: tuple[int, int, int, int]) -> None:
    """The chance of an excess is the sum of all tables with the same margins that are as bad or worse."""
    failed, total, other_failed, other_total = counts
    everything, all_failed = total + other_total, failed + other_failed

    exact = sum(
        comb(total, k) * comb(other_total, all_failed - k) for k in range(failed, min(total, all_failed) + 1)
    ) / comb(everything, all_failed)

    wanted = exact if failed * other_total > other_failed * total else 1.0
    assert excess(*counts) == pytest.approx(wanted, rel=1e-9)
    assert excess(total, total, 0, 0) == 1.0, "without the other side nothing is known"


def test_at_least_is_the_exact_tail_of_the_binomial() -> None:
    """The chance of so many hits, or more, is the sum of the binomial's upper tail."""
    exact = sum(comb(40, k) * 0.1**k * 0.9 ** (40 - k) for k in range(9, 41))

    assert at_least(9, 40, 0.1) == pytest.approx(exact, rel=1e-9)
    assert at_least(4, 40, 0.1) == 1.0
    assert at_least(1, 40, 0.0) == 0.0
