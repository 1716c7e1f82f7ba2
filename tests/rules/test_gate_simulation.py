"""Hold the gate to its bars on streams whose truth is known, and Diffy's and Flagger's rules to the same streams.

Every stream is drawn from a fixed seed and looked at each minute for a week, or until 250,000 comparisons are made;
``python -m bench.gates`` plays more and longer ones, and ``docs/gates.md`` has its tables. What is said of a number of
runs is a bound at 99 % (Clopper and Pearson), so a bar holds beyond the noise of so few.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.gates import (
    BEGAN_S,
    NEVER,
    RATES,
    SOON,
    SPEC,
    WEEK,
    Judging,
    Stream,
    diffy_pass,
    divergent,
    flagger_pass,
    least,
    minutes_until_fail,
    most,
    play,
    stream,
)

LIMIT = SPEC.divergent_max_bp / 10_000
ENOUGH = 250_000
LEVELS = pytest.mark.parametrize("level", list(RATES))


@pytest.fixture(scope="module")
def judging() -> Judging:
    """Share what is known of where gates begin to pass."""
    return Judging()


@LEVELS
def test_what_is_over_the_limit_is_promoted_in_less_than_5_percent(judging: Judging, level: str) -> None:
    """A build exactly at the limit, the hardest one, ever passes in less than 5 % of 400 streams at any traffic; one
    five times over it in none of 100."""
    rate = RATES[level]
    looks = min(WEEK, ENOUGH // rate)

    border = play(judging, LIMIT, rate, runs=400, looks=looks)
    worse = play(judging, 5 * LIMIT, rate, runs=100, looks=min(looks, 200_000 // rate))

    assert most(len(border.passed), border.runs) <= 0.05
    assert len(worse.passed) == 0
    assert most(0, worse.runs) <= 0.05


@LEVELS
@pytest.mark.parametrize("share", [0.0, 0.000_1])
def test_good_builds_pass_within_10_000_comparisons(judging: Judging, level: str, share: float) -> None:
    """Of 800 builds that never differ, or once in 10,000 comparisons, at least 95 % pass before 10,000 were made."""
    rate = RATES[level]

    cell = play(judging, share, rate, runs=800, looks=SOON // rate)

    assert least(cell.soon, cell.runs) >= 0.95


def test_half_of_the_limit_passes_later_and_never_fails(judging: Judging) -> None:
    """A build at half of the limit needs more comparisons, gets there, and is told to wait until then, not to stop."""
    cell = play(judging, LIMIT / 2, 600, runs=200, looks=ENOUGH // 600, fails=40)

    assert least(len(cell.passed), cell.runs) >= 0.95
    assert 10_000 < cell.passed[100] < 30_000
    assert len(cell.failed) <= 2


def test_a_build_over_the_limit_fails_soon(judging: Judging) -> None:
    """A build with 1 % of divergent pairs is failed, not kept waiting, within 5,000 comparisons."""
    cell = play(judging, 0.01, 10, runs=60, looks=500, fails=60)

    assert len(cell.failed) >= 58


def test_failures_of_new_are_held_to_their_own_limit() -> None:
    """What differs by failing is held to `error_delta_max`: at 0.1 % of failures less than 5 % of 1,500 builds pass,
    though twice as much divergence is fine."""
    limit = SPEC.error_delta_max_bp / 10_000

    cell = play(Judging(fails=True), limit, 60, runs=1_500, looks=1_000)

    assert most(len(cell.passed), cell.runs) <= 0.05


def test_many_legs_are_wrong_as_seldom_as_one(judging: Judging) -> None:
    """Looked at for ten weeks, in which evidence is let go nineteen times, a build at the limit still passes in less
    than 5 %."""
    cell = play(judging, LIMIT, 1, runs=400, looks=10 * WEEK)

    assert most(len(cell.passed), cell.runs) <= 0.05


def test_other_rules_promote_what_is_far_over_the_limit(judging: Judging) -> None:
    """On the same streams, five times over the limit, Diffy's rule and Flagger's promote most builds where traffic is
    low, and Flagger's still most at one comparison per second; a minimum of comparisons, which Diffy lacks, mends
    its bad builds and leaves a quarter of the good ones out."""
    low, brisk = (play(judging, 0.01, rate, runs=100, looks=min(WEEK, 200_000 // rate)) for rate in (1, 60))
    good = play(judging, 0.000_3, 600, runs=200, looks=SOON // 600)

    assert low.diffy >= 95
    assert (low.flagger, len(low.passed)) == (100, 0)
    assert brisk.flagger >= 90
    assert brisk.diffy >= 30
    assert brisk.diffy_late == len(brisk.passed) == 0
    assert good.soon > good.diffy_late


def test_a_new_build_gets_no_credit_for_the_old_one(judging: Judging) -> None:
    """Where new names its builds, a build at the limit after a clean one begins with nothing, and passes in less than
    5 % of the streams."""
    chance, promoted, runs = random.Random("build"), 0, 300
    for _ in range(runs):
        old = stream(chance, 0.0, 10, 1_000)
        new = stream(chance, LIMIT, 10, 5_000)
        assert judging.first_pass(old) == 403
        assert judging.verdict(old, 1_000).result == "pass"
        promoted += judging.first_pass(new) != NEVER

    assert most(promoted, runs) <= 0.05


@pytest.mark.parametrize(("level", "minutes"), [("1/min", 4_000), ("10/min", 400), ("1/s", 90), ("10/s", 60)])
def test_what_becomes_bad_after_a_good_week_is_failed(judging: Judging, level: str, minutes: int) -> None:
    """A build with a week of good history that becomes five times too bad is failed by its last day or hour."""
    took = minutes_until_fail(judging, 0.01, RATES[level], runs=20)

    assert took[-2] <= minutes


@given(
    count=st.integers(0, 20_000),
    bad=st.integers(0, 60),
    more=st.integers(1, 20_000),
    fails=st.booleans(),
    number=st.integers(1, 12),
)
def test_a_clean_comparison_never_takes_a_pass_away(count: int, bad: int, more: int, fails: bool, number: int) -> None:
    """What passes still passes with more clean comparisons, and with fewer divergent ones: the simulation skips looks
    by this."""
    judging, bad = Judging(fails=fails), min(bad, count)

    if judging.passes(number, bad, count):
        assert judging.passes(number, bad, count + more)
        assert judging.passes(number, bad // 2, count)


@pytest.mark.parametrize("rate", [17, 80])
def test_skipped_looks_are_those_that_do_not_pass(judging: Judging, rate: int) -> None:
    """Asking at every single look finds the same first pass and the same first fail."""
    chance = random.Random(f"all looks {rate}")
    for share in (0.0, 0.000_3, 0.01):
        now = stream(chance, share, rate, 5_000 // rate)
        said = [judging.verdict(now, look).result for look in range(1, now.looks + 1)]

        first_pass, first_fail = judging.first_pass(now), judging.first_fail(now, until=now.looks)

        assert first_pass == (said.index("pass") + 1 if "pass" in said else NEVER)
        assert first_fail == (said.index("fail") + 1 if "fail" in said else NEVER)


def test_the_other_rules_are_theirs() -> None:
    """Diffy promotes at the first look with at most 3 of 10,000 divergent, Flagger after ten intervals in a row that
    each hold the limit by themselves."""
    clean = Stream(rate=10, looks=100, divergent=())
    one = Stream(rate=10, looks=1_000, divergent=(1,))
    bad = Stream(rate=10, looks=100, divergent=tuple(range(1, 1_001, 50)))

    assert (diffy_pass(clean), diffy_pass(clean, least=95), flagger_pass(clean)) == (1, 10, 10)
    assert (diffy_pass(one), flagger_pass(one)) == (334, 11)
    assert (diffy_pass(bad), flagger_pass(bad)) == (NEVER, NEVER)


def test_streams_are_as_divergent_as_they_say() -> None:
    """A share of 1 % of 200,000 comparisons is 2,000 of them, within four standard deviations, from 1 to the last."""
    found = divergent(random.Random(3), 0.01, count=200_000)

    assert abs(len(found) - 2_000) < 4 * 45
    assert found == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] <= 200_000
    assert divergent(random.Random(3), 0.0, count=10) == []
    assert Stream(rate=10, looks=3, divergent=(1, 10, 11, 30)).between(0, 1) == 2
    assert Stream(rate=10, looks=3, divergent=(1, 10, 11, 30)).stretches(1, 3) == [(1, 1), (2, 2), (3, 3)]
    assert Stream(rate=10, looks=3, divergent=(), began_s=BEGAN_S).stretches(1, 3) == [(1, 3)]


@pytest.mark.parametrize(("cases", "runs", "bound"), [(0, 300, 0.01523), (5, 500, 0.02602), (30, 30, 1.0)])
def test_bounds_of_runs_are_those_of_the_books(cases: int, runs: int, bound: float) -> None:
    """The bound on a number of runs is the one-sided 99 % bound of Clopper and Pearson."""
    assert most(cases, runs) == pytest.approx(bound, rel=0.01)
    assert least(runs - cases, runs) == pytest.approx(1.0 - bound, rel=0.01, abs=1e-9)
