"""What new can be found to do for certain, and the words for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.spec import WatchdogSpec
from rules.findings import certain
from rules.flag import Flag, Stage
from rules.watch import Judgement, judge
from rules.window import Known, Window

SPEC = WatchdogSpec(divergent_max_bp=100, p95_ratio_max=2.0)
HEALTHY = Known(requests=100_000, failed=100)
FLAGS = {
    "shadow": Flag(stage=Stage.SHADOW, sample_bp=10_000, salt="s"),
    "canary": Flag(stage=Stage.CANARY, percent_bp=500, sample_bp=10_000, salt="s"),
    "live": Flag(stage=Stage.LIVE, sample_bp=100, salt="s"),
}


def test_the_sentence_of_a_trip_has_the_value_that_failed() -> None:
    """Who reads the audit sees what was measured, of how many, against what, and the limit."""
    seen = Window(seconds=60, new=412, new_failed=195, fallbacks=4, legacy=1_000, legacy_failed=2)

    found = judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY)

    assert found.sentence == (
        "new failed 47.3 % of 412 requests (5xx or no answer, 4 of them answered by legacy) within 60 s against 0.2 % "
        "of 1000 of legacy, limit 1 % more"
    )
    assert found.value == pytest.approx(195 / 412)
    assert (found.against, found.limit) == (0.002, 0.01)


def test_no_single_sample_triggers() -> None:
    """Whatever the shares, fewer failures than min_errors never trip."""
    seen = Window(seconds=60, new=100, new_failed=9, legacy=1_000_000)

    assert judge(SPEC, FLAGS["canary"], (seen,), known=HEALTHY).state == "watching"


def test_a_difference_that_chance_explains_does_not_trip() -> None:
    """12 failures of 100 against 3 of 100 is more than 1 % apart, and may be chance."""
    chance = Window(seconds=60, new=100, new_failed=12, legacy=100, legacy_failed=3)
    sure = Window(seconds=60, new=1_000, new_failed=120, legacy=1_000, legacy_failed=30)

    assert judge(SPEC, FLAGS["canary"], (chance,), known=Known(requests=1_000, failed=30)).state != "tripped"
    assert judge(SPEC, FLAGS["canary"], (sure,), known=Known(requests=1_000, failed=30)).state == "tripped"


def paired(same: int, worse: int, better: int = 0) -> Window:
    """Make what pairs of which new alone, or legacy alone, failed leave in a window."""
    return Window(seconds=60, pairs={("2xx", "2xx"): same, ("2xx", "5xx"): worse, ("5xx", "2xx"): better})


def timed(legacy: tuple[int, ...], new: tuple[int, ...]) -> Window:
    """Make what paired times leave in a window."""
    return Window(seconds=60, latency={"legacy": legacy, "new": new})


def differing(compared: int, divergent: int) -> Window:
    """Make what comparisons leave in a window."""
    return Window(seconds=60, compared=compared, divergent=divergent)


@pytest.mark.parametrize(
    ("window", "rule"),
    [
        (paired(940, 60), "pairs"),
        (paired(30, 60), ""),  # too few pairs
        (paired(970, 30), ""),  # fewer errors than `min_errors`
        (paired(9_900, 90), ""),  # within `error_delta_max`
        (paired(900, 60, 40), ""),  # chance
        (timed((1_000, 0, 0), (500, 0, 500)), "latency"),
        (timed((90, 0, 0), (0, 0, 90)), ""),  # too few pairs
        (timed((500, 0, 0), (460, 0, 40)), ""),  # fewer slow ones than `min_errors`
        (timed((10_000, 0, 0), (9_600, 0, 400)), ""),  # its p95 is well
        (timed((300, 0, 15), (260, 0, 55)), ""),  # chance
        (timed((1_000, 0, 0), (0, 1_000, 0)), ""),  # within `p95_ratio_max`
        (timed((0, 0, 1_000), (0, 0, 1_000)), ""),  # legacy is beyond what is measured
        (differing(1_000, 60), "divergence"),
        (differing(90, 90), ""),  # too few comparisons
        (differing(1_000, 40), ""),  # fewer than `min_errors`
        (differing(10_000, 100), ""),  # within the budget
        (differing(4_000, 60), ""),  # chance
    ],
)
def test_only_what_is_much_and_no_chance_is_certain(window: Window, rule: str) -> None:
    """Pairs, times and differences are certain beyond their limit, on enough requests with enough failures, where
    chance explains them not once in 100 million."""
    spec = replace(SPEC, min_errors=50)

    assert [found.rule for found in certain(spec, window, (0.01, 0.02), has_clients=False)] == ([rule] if rule else [])


def test_pairs_and_times_say_their_values() -> None:
    """What pairs and times trip on is told as measured, on both sides, with the limit."""
    slow = timed((1_000, 0, 0, 0), (500, 0, 0, 500))
    windows = (paired(880, 100, 20), slow, timed((1_000, 0, 0), (500, 0, 500)))

    pairs, late, beyond = (
        next(iter(certain(SPEC, window, bounds, has_clients=True)))
        for window, bounds in zip(windows, ((), (0.01, 0.02, 0.05, 0.1), (0.01, 0.02)), strict=True)
    )

    assert (pairs.value, pairs.against, pairs.limit) == (0.1, 0.02, 0.01)
    assert pairs.sentence == (
        "new answered 10 % of 1000 compared requests with an error where legacy had none or a lesser one, legacy 2 % "
        "where new had none, within 60 s, limit 1 % more"
    )
    assert (late.value, late.against, late.limit) == (10.0, 1.0, 2.0)
    assert late.sentence == (
        "new answered 50 % of 1000 compared requests later than 2 times legacy's p95 of 10 ms within 60 s, limit 5 % "
        "(its p95: 100 ms)"
    )
    assert beyond.sentence.endswith("(its p95: over 20 ms)")


@pytest.mark.parametrize("window", [timed((1_000, 0, 0), (0, 0, 1_000)), differing(1_000, 1_000)], ids=["slow", "else"])
def test_times_and_differences_are_held_against_nothing_until_asked(window: Window) -> None:
    """Without `p95_ratio_max` and `divergent_max` no new is too slow, and none too different."""
    assert list(certain(WatchdogSpec(), window, (0.01, 0.02), has_clients=True)) == []


@pytest.mark.parametrize("stage", ["shadow", "canary", "live"])
def test_failures_on_both_sides_are_no_divergence(stage: str) -> None:
    """A pair of which one side failed differs for certain; when both sides fail alike that trips no budget of
    divergence, and answers that differ still do."""
    flag = FLAGS[stage]
    failing = {("2xx", "2xx"): 500, ("2xx", "5xx"): 250, ("5xx", "2xx"): 250, ("5xx", "5xx"): 250, ("none", "2xx"): 50}

    def found(divergent: int) -> Judgement:
        seen = Window(
            seconds=60,
            new=1_000 if stage != "shadow" else 0,
            new_failed=400 if stage != "shadow" else 0,
            legacy=1_000,
            legacy_failed=400,
            pairs=failing,
            compared=1_250,
            divergent=divergent,
        )
        return judge(SPEC, flag, (seen,), known=HEALTHY)

    assert found(750).to == ""
    assert found(750).rule != "divergence"
    assert found(850).rule == "divergence"
    assert found(850).sentence.startswith("20 % of 500 comparisons of answers without 5xx were divergent")
