"""Prove the stage machine: what a flip may do, what it leaves behind, and how it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import ShadowSpec
from rules import (
    DEFAULT_SAMPLE_BP,
    CohortFlag,
    Flag,
    FlipError,
    Stage,
    initial_flag,
    is_new,
    is_possible,
    new_share_bp,
    plan_flip,
    plan_journey,
    plan_rollback,
    raises_new_share,
)
from tests.rules.made import flag, route

ORDERS = route("orders")
STAGES = st.sampled_from(Stage)
FLAGS = st.builds(
    Flag, stage=STAGES, percent_bp=st.integers(0, 10_000), sample_bp=st.integers(0, 10_000), salt=st.just("s")
)


@given(FLAGS, STAGES)
def test_a_flip_reaches_every_stage_and_takes_its_default_sample(before: Flag, stage: Stage) -> None:
    """From any stage a route with both sides flips to any other, with that stage's sample and the same salt."""
    percent = 500 if stage is Stage.CANARY else None

    after = plan_flip(ORDERS, before, stage=stage.value, percent_bp=percent)

    assert after == Flag(stage=stage, percent_bp=percent or 0, sample_bp=DEFAULT_SAMPLE_BP[stage], salt="s")


def test_a_sample_that_is_given_wins() -> None:
    """A flip with a sample uses it, zero too."""
    assert plan_flip(ORDERS, flag("legacy"), stage="shadow", sample_bp=250).sample_bp == 250
    assert plan_flip(ORDERS, flag("shadow"), stage="live", sample_bp=0).sample_bp == 0


def test_a_canary_keeps_its_percent() -> None:
    """A canary that is flipped to canary without a percent stays where it is; another stage does not lend its own."""
    assert plan_flip(ORDERS, flag("canary", 700), stage="canary", sample_bp=10).percent_bp == 700
    with pytest.raises(FlipError, match="--percent 5"):
        plan_flip(ORDERS, flag("live", 700), stage="canary")


@pytest.mark.parametrize(
    ("stage", "percent_bp", "sample_bp", "said"),
    [
        ("blue", None, None, "'blue' does not exist; expected one of legacy, shadow, canary, live, complete, gone"),
        ("Live", None, None, "expected one of legacy"),
        ("canary", 14_000, None, "percent 140 of route 'orders' is no share; expected 0 to 100"),
        ("canary", -1, None, "expected 0 to 100"),
        ("live", 500, None, "takes no percent"),
        ("canary", None, None, "needs the percent"),
        ("shadow", None, 10_001, "sample 100.01 of route 'orders' is no share"),
        ("legacy", None, 100, "stage 'legacy' copies nothing"),
        ("gone", None, 100, "stage 'gone' copies nothing"),
    ],
)
def test_a_flip_that_makes_no_sense_is_refused(
    stage: str, percent_bp: int | None, sample_bp: int | None, said: str
) -> None:
    """A bad stage or share is refused by one sentence that names it and what was expected."""
    with pytest.raises(FlipError) as caught:
        plan_flip(ORDERS, flag("shadow"), stage=stage, percent_bp=percent_bp, sample_bp=sample_bp)

    assert said in str(caught.value)


def test_a_route_without_new_stays_on_legacy_or_goes() -> None:
    """A route that has no new side yet can only be legacy or gone."""
    spec = route("old", new=None)

    for stage in Stage:
        if stage in (Stage.LEGACY, Stage.GONE):
            assert plan_flip(spec, flag("legacy"), stage=stage.value).stage is stage
        else:
            with pytest.raises(FlipError, match=r"no new side yet.*name its backend as `new:`"):
                plan_flip(spec, flag("legacy"), stage=stage.value, percent_bp=5 if stage is Stage.CANARY else None)
        assert is_possible(spec, stage) is (stage in (Stage.LEGACY, Stage.GONE))


def test_a_route_without_legacy_is_live_or_gone() -> None:
    """A new feature can only be live or gone, and takes no sample."""
    spec = route("fresh", legacy=None)

    assert plan_flip(spec, flag("gone"), stage="live") == flag("live", sample_bp=0)
    assert plan_flip(spec, flag("live"), stage="gone").stage is Stage.GONE
    for stage in ("legacy", "shadow", "complete"):
        with pytest.raises(FlipError, match="legacy: none"):
            plan_flip(spec, flag("live"), stage=stage)
    with pytest.raises(FlipError, match="takes no sample"):
        plan_flip(spec, flag("gone"), stage="live", sample_bp=100)


def test_the_routes_of_a_journey_flip_together() -> None:
    """A single route of a journey is refused, naming the command; the journey flips all of them."""
    cart, pay, other = route("cart", journey="checkout"), route("pay", journey="checkout"), route("other")
    with pytest.raises(FlipError, match="flip --journey checkout live"):
        plan_flip(cart, flag("shadow"), stage="live")

    after = plan_journey(
        "checkout", (cart, pay, other), {"cart": flag("shadow", salt="checkout")}, stage="canary", percent_bp=500
    )

    assert after == {name: flag("canary", 500, salt="checkout") for name in ("cart", "pay")}


def test_a_journey_flips_whole_or_not_at_all() -> None:
    """An unknown journey, and one with a route that cannot follow, is refused."""
    routes = (route("cart", journey="checkout"), route("old", journey="checkout", new=None))
    with pytest.raises(FlipError, match="'chekout' has no routes; known journeys: checkout"):
        plan_journey("chekout", routes, {}, stage="live")
    with pytest.raises(FlipError, match="'old' has no new side"):
        plan_journey("checkout", routes, {}, stage="live")


@given(FLAGS)
def test_a_rollback_is_possible_from_every_stage(before: Flag) -> None:
    """From any stage a rollback leads to legacy, or to shadow with its full sample, journey or not."""
    spec = route("cart", journey="checkout")

    assert plan_rollback(spec, before) == Flag(stage=Stage.LEGACY, salt="s")
    assert plan_rollback(spec, before, stage="shadow") == Flag(stage=Stage.SHADOW, sample_bp=10_000, salt="s")
    assert not raises_new_share(before, plan_rollback(spec, before))


def test_a_rollback_leads_nowhere_else() -> None:
    """A rollback to another stage, or of a route without legacy, is refused."""
    with pytest.raises(FlipError, match="expected legacy or shadow"):
        plan_rollback(ORDERS, flag("live"), stage="canary")
    with pytest.raises(FlipError, match="legacy: none"):
        plan_rollback(route("fresh", legacy=None), flag("live"))
    assert plan_rollback(route("old", new=None), flag("gone"), stage="shadow").stage is Stage.LEGACY


@pytest.mark.parametrize(
    ("one", "share_bp"),
    [
        (flag("legacy"), 0),
        (flag("shadow", 5_000), 0),
        (flag("canary", 1_250), 1_250),
        (flag("live"), 10_000),
        (flag("complete"), 10_000),
        (flag("gone"), 0),
    ],
)
def test_the_share_of_new(one: Flag, share_bp: int) -> None:
    """New's share is the percent of a canary, all of live and complete, and nothing elsewhere."""
    assert new_share_bp(one) == share_bp


@given(FLAGS, FLAGS)
def test_only_more_clients_for_new_need_a_gate(before: Flag, after: Flag) -> None:
    """A flip is gated exactly when new answers more buckets afterwards, or as many and clients without a key."""

    def reached(one: Flag) -> tuple[int, bool]:
        buckets = sum(is_new(bucket, new_share_bp(one)) for bucket in range(0, 10_000, 1))
        return buckets, one.stage in (Stage.LIVE, Stage.COMPLETE)

    assert raises_new_share(before, after) is (reached(after) > reached(before))


def test_a_cohort_of_everybody_needs_a_gate() -> None:
    """Where all clients are one cohort its stage is what new's share is; a cohort of few people never counts."""
    route_live = replace(flag("live"), cohorts={"all": CohortFlag(stage=Stage.LEGACY)})
    all_live = replace(flag("legacy"), cohorts={"all": CohortFlag(stage=Stage.LIVE)})
    staff_live = replace(flag("legacy"), cohorts={"staff": CohortFlag(stage=Stage.LIVE)})

    assert raises_new_share(flag("legacy"), all_live, ["all"])
    assert raises_new_share(route_live, all_live, ["all"])
    assert not raises_new_share(all_live, route_live, ["all"])
    assert not raises_new_share(flag("legacy"), staff_live, ["all"])


def test_a_route_is_born_with_its_initial_flag() -> None:
    """The first flag has the configured stage and shares; its salt is the journey's name, else the route's."""
    assert initial_flag(ORDERS) == Flag(stage=Stage.LEGACY, salt="orders")
    assert initial_flag(route("a", initial_stage="shadow", journey="j")) == flag("shadow", salt="j")
    canary = route("a", initial_stage="canary", initial_percent_bp=250, shadow=ShadowSpec(sample_bp=500))
    assert initial_flag(canary) == flag("canary", 250, sample_bp=500, salt="a")
    assert initial_flag(route("a", shadow=ShadowSpec(sample_bp=500))).sample_bp == 0


def test_a_new_feature_is_born_live() -> None:
    """A route with ``legacy: none`` is live from the start, without sample."""
    assert initial_flag(route("fresh", legacy=None, shadow=ShadowSpec(sample_bp=500))) == flag(
        "live", sample_bp=0, salt="fresh"
    )
    assert initial_flag(route("fresh", legacy=None, initial_stage="gone")).stage is Stage.GONE
