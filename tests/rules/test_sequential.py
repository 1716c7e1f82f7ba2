"""Prove the bets: fair by exact sums, right over all looks together, and safe with any counts."""

from __future__ import annotations

from fractions import Fraction
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.sequential import (
    DOUBT_ABOVE,
    DOUBT_BELOW,
    MAX_NEEDED,
    Outcomes,
    is_above,
    is_below,
    log_doubt_above,
    log_doubt_below,
    needed,
    upper_bound,
)

COUNTS = st.integers(0, 60)
OUTCOMES = st.builds(Outcomes, plus=COUNTS, zero=st.integers(0, 2_000), minus=COUNTS)
LIMITS = st.sampled_from((0.0001, 0.001, 0.002, 0.05, 0.3, 0.5))


def more(seen: Outcomes, outcome: int) -> Outcomes:
    """Add one comparison."""
    return Outcomes(plus=seen.plus + (outcome > 0), zero=seen.zero + (outcome == 0), minus=seen.minus + (outcome < 0))


def exactly(seen: Outcomes, limit: Fraction) -> Fraction:
    """Play the bets against "at least the limit" with fractions, comparison by comparison."""
    total = Fraction(0)
    for share, weight in DOUBT_BELOW:
        stake, owned = Fraction(str(share)) / (1 - limit), Fraction(str(weight))
        for outcome, count in ((1, seen.plus), (0, seen.zero), (-1, seen.minus)):
            for _ in range(count):
                owned *= 1 + stake * (limit - outcome)
        total += owned
    return total


@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 40, 0), (1, 40, 0), (3, 60, 2), (5, 5, 5), (0, 0, 9)])
def test_what_was_won_is_what_the_bets_pay(counts: tuple[int, int, int]) -> None:
    """The totals give what betting on one comparison after the other pays, to the last digit that a float has."""
    plus, zero, minus = counts
    seen, limit = Outcomes(plus=plus, zero=zero, minus=minus), Fraction(1, 50)

    assert exp(log_doubt_below(seen, float(limit))) == pytest.approx(float(exactly(seen, limit)), rel=1e-9)


@given(OUTCOMES, LIMITS, st.floats(0, 1))
def test_nobody_wins_on_average_against_a_claim_that_is_true(seen: Outcomes, limit: float, noise: float) -> None:
    """At the limit itself the next comparison leaves every fortune as it is on average, with or without bad luck of
    legacy."""
    minus = noise * (1 - limit) / 2
    chances = {1: limit + minus, -1: minus, 0: 1 - limit - 2 * minus}

    def below(now: Outcomes) -> float:
        return log_doubt_below(now, limit)

    def above(now: Outcomes) -> float:
        return log_doubt_above(now, limit, lowest=-1)

    for doubt in (below, above):
        before = doubt(seen)
        after = [chance * exp(doubt(more(seen, outcome)) - before) for outcome, chance in chances.items()]
        assert sum(after) == pytest.approx(1.0, rel=1e-7)


def test_the_weights_are_one_fortune() -> None:
    """The stakes are shares of at most one fortune: otherwise the bound would be wrong more often than it says."""
    for table in (DOUBT_BELOW, DOUBT_ABOVE):
        assert sum(weight for _, weight in table) == pytest.approx(1.0)
        assert all(stake > 0 for stake, _ in table)


@pytest.mark.parametrize(("limit", "alpha"), [(0.05, 0.05), (0.05, 0.025), (0.2, 0.05)])
def test_a_bad_build_is_ever_shown_to_be_good_in_alpha_of_the_cases(limit: float, alpha: float) -> None:
    """At the limit itself, looking after each of 1,500 comparisons, the exact chance of any wrong bound is below
    alpha."""
    wrong, reached = 0.0, {0: 1.0}
    allowed = -1
    for count in range(1, 1_501):
        after: dict[int, float] = {}
        for bad, chance in reached.items():
            after[bad + 1] = after.get(bad + 1, 0.0) + chance * limit
            after[bad] = after.get(bad, 0.0) + chance * (1 - limit)
        while is_below(Outcomes(plus=allowed + 1, zero=count - allowed - 1), limit, alpha):
            allowed += 1
        wrong += sum(chance for bad, chance in after.items() if bad <= allowed)
        reached = {bad: chance for bad, chance in after.items() if bad > allowed and chance > 1e-15}

    assert alpha / 5 < wrong <= alpha


@given(OUTCOMES, LIMITS, st.sampled_from((0.05, 0.001)))
def test_what_is_missing_is_exactly_enough(seen: Outcomes, limit: float, alpha: float) -> None:
    """So many further clean comparisons as are said to be missing suffice, and one fewer does not."""
    missing = needed(seen, limit, alpha)

    def shown(clean: int) -> bool:
        return is_below(Outcomes(plus=seen.plus, zero=seen.zero + clean, minus=seen.minus), limit, alpha)

    assert shown(missing)
    assert missing == 0 or not shown(missing - 1)


@given(OUTCOMES, st.floats(0.0001, 0.5), st.floats(1.0, 1.9))
def test_a_bolder_claim_is_never_easier_to_show(seen: Outcomes, limit: float, factor: float) -> None:
    """What is shown to be below a limit is below every higher one, and what is above is above every lower one."""
    higher = limit * factor

    assert log_doubt_below(seen, limit) <= log_doubt_below(seen, higher) + 1e-9
    assert log_doubt_above(seen, limit, lowest=-1) >= log_doubt_above(seen, higher, lowest=-1) - 1e-9


@given(OUTCOMES)
def test_the_bound_is_where_showing_begins(seen: Outcomes) -> None:
    """A limit above the upper bound is shown, one below it is not; bad comparisons raise the bound, good ones lower
    it."""
    bound = upper_bound(seen, 0.05)

    assert bound >= 0.999 or is_below(seen, bound * 1.001 + 1e-9, 0.05)
    assert bound <= 1e-9 or not is_below(seen, bound * 0.999, 0.05)
    assert upper_bound(more(seen, 1), 0.05) >= bound - 1e-9
    assert upper_bound(more(seen, 0), 0.05) <= bound + 1e-9


@pytest.mark.parametrize("counts", [(0, 10**12), (10**12, 0), (10**12, 10**12), (10**9, 10**12), (1, 10**12)])
def test_any_counts_give_a_finite_answer(counts: tuple[int, int]) -> None:
    """Counts that no route will ever reach neither overflow nor end up between both answers."""
    seen = Outcomes(plus=counts[0], zero=counts[1])

    below, above = is_below(seen, 0.002, 0.05), is_above(seen, 0.002, 0.05)

    assert below != above
    assert 0.0 <= upper_bound(seen, 0.05) <= 1.0
    assert isfinite(log_doubt_above(seen, 0.002))


def test_what_can_never_be_shown_needs_for_ever() -> None:
    """More bad comparisons than anybody could outweigh need a number that stands for never."""
    assert needed(Outcomes(plus=10**12, zero=0), 0.0001, 0.05) == MAX_NEEDED


def test_nothing_seen_says_nothing() -> None:
    """Without a comparison nothing is won, nothing is shown, and the bound is everything."""
    nothing = Outcomes(plus=0, zero=0)

    assert log_doubt_below(nothing, 0.002) == pytest.approx(0.0)
    assert not is_below(nothing, 0.5, 0.05)
    assert not is_above(nothing, 0.002, 0.05)
    assert upper_bound(nothing, 0.05) == 1.0


def test_a_clean_start_needs_little_more_than_the_rule_of_three() -> None:
    """0 divergent shows 0.2 % with two thirds of the usual 3,000 comparisons, where the rule of three has 1,500."""
    assert log(20) / 0.002 < needed(Outcomes(plus=0, zero=0), 0.002, 0.05) < 2_000


def test_flaky_sides_even_out() -> None:
    """Where both sides fail alone equally often, enough comparisons show that new is no worse; where only legacy
    does, a few."""
    even = Outcomes(plus=500, zero=499_000, minus=500)

    assert is_below(even, 0.001, 0.05)
    assert not is_below(Outcomes(plus=500, zero=499_500), 0.001, 0.025)
    assert needed(Outcomes(plus=0, zero=0, minus=20), 0.001, 0.05) == 0
