"""Rules of drift: what a hold and a flag agree on is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.drift import differs, words
from rules.flag import CohortFlag, Hold, Stage
from tests.rules.made import flag, route


@pytest.mark.parametrize(
    ("stage", "keep_copying", "expected"),
    [
        ("legacy", False, False),
        ("legacy", True, False),
        ("shadow", False, True),
        ("shadow", True, False),
        ("canary", False, True),
        ("live", True, True),
        ("complete", False, True),
        ("gone", False, True),
    ],
)
def test_a_hold_drifts_where_the_flag_asks_for_something_else(stage: str, keep_copying: bool, expected: bool) -> None:
    """A hold agrees with a flag that asks for what it does anyway."""
    hold = Hold(route="orders", keep_copying=keep_copying)

    assert differs(route("orders"), flag(stage, 500), hold) is expected
    assert not differs(route("orders", legacy=None), flag("live"), hold)


@pytest.mark.parametrize(
    ("stage", "cohort", "keep_copying", "expected"),
    [
        ("legacy", "live", False, True),
        ("legacy", "shadow", True, True),
        ("legacy", "legacy", False, False),
        ("shadow", "live", True, True),
        ("shadow", "shadow", True, False),
        ("shadow", "legacy", True, True),
    ],
)
def test_a_hold_drifts_where_a_cohort_is_to_get_something_else(
    stage: str, cohort: str, keep_copying: bool, expected: bool
) -> None:
    """A hold is for everybody: it drifts where a single cohort's stage asks for something else."""
    asked = replace(flag(stage), cohorts={"staff": CohortFlag(stage=Stage(cohort))})

    assert differs(route("orders"), asked, Hold(route="orders", keep_copying=keep_copying)) is expected


def test_a_flag_is_said_in_words() -> None:
    """A canary is named with its share, and cohorts with their stages."""
    staff = replace(flag("legacy"), cohorts={"staff": CohortFlag(stage=Stage.LIVE)})

    assert (words(flag("canary", 1_250)), words(flag("live"))) == ("canary 12.5 %", "live")
    assert words(staff) == "legacy, staff: live"
