"""Prove the table that every stage starts from."""

from __future__ import annotations

from rules import DEFAULT_SAMPLE_BP, Stage


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
