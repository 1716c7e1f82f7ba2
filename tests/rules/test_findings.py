"""What new can be found to do for certain, and the words for it."""

from __future__ import annotations

import pytest

from config.spec import WatchdogSpec
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
