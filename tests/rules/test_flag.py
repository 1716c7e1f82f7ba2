"""Rules of flags: the table that every stage starts from, and how a flag is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules import DEFAULT_SAMPLE_BP, Stage
from rules.flag import CohortFlag, Flag, flag_as_json, flag_from_json


def test_every_stage_has_a_default_sample() -> None:
    """Shadow and canary copy everything, live one percent, the other stages nothing."""
    assert {stage.value: sample for stage, sample in DEFAULT_SAMPLE_BP.items()} == {
        "legacy": 0,
        "shadow": 10_000,
        "canary": 10_000,
        "live": 100,
        "complete": 0,
        "gone": 0,
    }


def test_stages_stand_in_the_order_of_a_migration() -> None:
    """The stages are named, and listed in the order in which a route goes through them."""
    assert [stage.value for stage in Stage] == ["legacy", "shadow", "canary", "live", "complete", "gone"]


@given(
    st.builds(
        Flag,
        stage=st.sampled_from(Stage),
        percent_bp=st.integers(0, 10_000),
        sample_bp=st.integers(0, 10_000),
        salt=st.text(min_size=1),
        cohorts=st.dictionaries(
            st.sampled_from(["staff", "office"]),
            st.builds(
                CohortFlag,
                stage=st.sampled_from([Stage.LEGACY, Stage.SHADOW, Stage.CANARY, Stage.LIVE]),
                percent_bp=st.integers(0, 10_000),
                sample_bp=st.integers(0, 10_000),
            ),
        ),
    )
)
def test_a_flag_that_is_shown_reads_back_exactly(flag: Flag) -> None:
    """Shares shown in percent lose nothing, a cohort's neither."""
    assert flag_from_json(flag_as_json(flag)) == flag
