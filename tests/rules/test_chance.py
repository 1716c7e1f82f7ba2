"""How likely chance is: both tests against the sums that they stand for."""

from __future__ import annotations

from itertools import product
from math import comb
from random import Random

import pytest

from rules.chance import CHANCE, Stratum, at_least, excess, excess_over


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


def _exact(strata: list[Stratum]) -> float:
    """Add up every way in which so many failures, or more, hit the first side, given each node's failures."""
    wanted, sum_ = sum(stratum[0] for stratum in strata), 0.0
    chances = [
        {k: comb(n, k) * comb(m, a + b - k) / comb(n + m, a + b) for k in range(max(0, a + b - m), min(n, a + b) + 1)}
        for a, n, b, m in strata
    ]
    for hits in product(*chances):
        if sum(hits) >= wanted:
            chance = 1.0
            for node, k in zip(chances, hits, strict=True):
                chance *= node[k]
            sum_ += chance
    return sum_


def test_over_several_nodes_chance_is_never_said_to_be_less_than_it_is() -> None:
    """What is said of several nodes is at least the exact chance, were both sides alike on each of them."""
    random = Random(7)
    for _ in range(300):
        strata = [
            (random.randint(0, n), n, random.randint(0, m), m)
            for n, m in [(random.randint(0, 12), random.randint(0, 12)) for _ in range(3)]
        ]
        assert excess_over(strata) >= _exact(strata) * (1 - 1e-9), strata


def test_a_difference_on_all_nodes_is_seen_in_the_sum() -> None:
    """Three nodes of which none has enough to tell make it certain together; one node alone is the exact test."""
    node = (15, 34, 0, 34)

    assert excess_over([node]) == excess(*node) > CHANCE / 100
    assert excess_over([node] * 3) < CHANCE


@pytest.mark.parametrize(
    "strata",
    [
        [(60, 60, 0, 0), (0, 0, 0, 600)],  # new is asked on one node, legacy on the other
        [(60, 60, 1, 1), (0, 6, 0, 600)],  # one node fails both sides, and hardly asks legacy
        [(0, 60, 60, 60), (60, 60, 0, 60)],  # legacy fails on one node, new on the other
    ],
)
def test_what_differs_between_nodes_accuses_no_side(strata: list[Stratum]) -> None:
    """Counts thrown together would make new guilty of what a node does to both sides; compared on each node they do
    not."""
    assert excess_over(strata) > 1e-2
