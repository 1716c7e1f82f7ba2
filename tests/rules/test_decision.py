"""Prove the decisions of every stage, and what holds, overrides and switches do to them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import FallbackSpec, RouteSpec, ShadowSpec
from rules import NO_BUCKET, REASONS, SAFE_METHODS, Decision, Flag, Hold, Route, Stage
from rules.decision import compile_route
from tests.rules.made import flag, route

ORDERS = route("orders")
STAGES = st.sampled_from(Stage)


def compiled(
    stage: str, spec: RouteSpec = ORDERS, hold: Hold | None = None, *, percent_bp: int = 0, sample_bp: int | None = None
) -> Route:
    """Compile a route in a stage."""
    return compile_route(spec, flag(stage, percent_bp, sample_bp), hold)


def every_decision(one: Route) -> list[Decision]:
    """List every decision that a route can give."""
    found: list[Decision] = []
    for fixed in (one.fixed, one.override_legacy, one.override_new):
        found += [decision for decision, _ in fixed or ()]
    if one.canary is not None:
        for choice in (one.canary.new, one.canary.legacy, one.canary.no_key, *(one.canary.issued or ())):
            found += choice
    return found


@pytest.mark.parametrize(
    ("stage", "side", "backend", "copy_side", "copy_backend"),
    [
        ("legacy", "legacy", "legacy-app", None, None),
        ("shadow", "legacy", "legacy-app", "new", "new-app"),
        ("live", "new", "new-app", "legacy", "legacy-app"),
        ("complete", "new", "new-app", None, None),
    ],
)
def test_each_stage_names_who_answers_and_who_gets_a_copy(
    stage: str, side: str, backend: str, copy_side: str | None, copy_backend: str | None
) -> None:
    """Legacy and shadow are answered by legacy, live and complete by new; shadow and live copy to the other."""
    fixed = compiled(stage).fixed
    assert fixed is not None

    decision, bucket = fixed[2]

    assert bucket == NO_BUCKET
    assert (decision.side, decision.backend) == (side, backend)
    assert (decision.copy_side, decision.copy_backend) == (copy_side, copy_backend)
    assert decision.eligible is decision.sampled is (copy_side is not None)
    assert (decision.status, decision.reason) == (0, "stage")


def test_gone_is_answered_410_by_nobody() -> None:
    """A route that is gone contacts no backend and hears no override."""
    one = compiled("gone")
    assert one.fixed is not None

    assert {(decision.status, decision.side, decision.backend) for decision, _ in one.fixed} == {(410, "none", None)}
    assert one.override_legacy is one.override_new is None


def test_a_canary_has_both_sides_each_copied_to_the_other() -> None:
    """A canary's clients on new are copied to legacy, those on legacy and those without a key to new."""
    canary = compiled("canary", percent_bp=1_000).canary
    assert canary is not None

    assert canary.threshold == 9_000
    assert [(choice[2].side, choice[2].copy_side) for choice in (canary.new, canary.legacy, canary.no_key)] == [
        ("new", "legacy"),
        ("legacy", "new"),
        ("legacy", "new"),
    ]
    assert canary.no_key[0].reason == "no_key"
    assert canary.issued is None


@pytest.mark.parametrize(
    "falls", [FallbackSpec(connect=True), FallbackSpec(timeout=True), FallbackSpec(statuses=(502,))]
)
def test_only_new_in_a_canary_falls_back(falls: FallbackSpec) -> None:
    """A fallback exists where a canary's client is on new, and nowhere else."""
    spec = route("orders", fallback=falls)

    canary = compiled("canary", spec, percent_bp=1_000).canary

    assert canary is not None
    assert {decision.fallback_backend for decision in canary.new} == {"legacy-app"}
    assert {decision.fallback_backend for decision in (*canary.legacy, *canary.no_key)} == {None}
    for stage in ("live", "complete", "shadow", "legacy"):
        assert {decision.fallback_backend for decision in every_decision(compiled(stage, spec))} == {None}


@given(STAGES, st.booleans(), st.integers(0, 10_000))
def test_a_hold_sends_everything_to_legacy(stage: Stage, keep: bool, percent_bp: int) -> None:
    """Under a hold legacy answers whatever the stage, ``gone`` too, and an override is not heard."""
    hold = Hold(route="orders", keep_copying=keep)

    one = compile_route(ORDERS, flag(stage, percent_bp), hold)

    assert one.override_legacy is one.override_new is None
    assert {(decision.side, decision.reason) for decision in every_decision(one)} == {("legacy", "hold")}
    copies = {decision.copy_side for decision in every_decision(one)} - {None}
    assert copies == ({"new"} if keep and stage not in (Stage.LEGACY, Stage.GONE) else set())


def test_a_hold_that_keeps_copying_keeps_the_evidence_flowing() -> None:
    """After ``rollback --to shadow`` from live the full sample is copied, not live's one percent."""
    hold = Hold(route="orders", keep_copying=True)

    assert compiled("live", hold=hold).sample_bp == 10_000
    assert compiled("shadow", hold=hold, sample_bp=500).sample_bp == 500
    assert compiled("canary", hold=hold, percent_bp=100, sample_bp=700).sample_bp == 700


def test_a_hold_needs_a_legacy_side() -> None:
    """A route with ``legacy: none`` has nothing to be held on, so its hold is void."""
    one = compiled("live", route("fresh", legacy=None), Hold(route="fresh"))

    assert one.hold is None
    assert one.fixed is not None
    assert one.fixed[0][0].side == "new"


def test_an_override_copies_only_where_the_stage_does() -> None:
    """An override changes who answers; whether the other side gets a copy stays the stage's business."""
    for stage, copied in (("legacy", None), ("shadow", "legacy"), ("live", "legacy")):
        one = compiled(stage)
        assert one.override_new is not None
        decision = one.override_new[2][0]
        assert (decision.side, decision.copy_side, decision.reason) == ("new", copied, "override")


def test_an_override_to_a_side_without_backend_says_so() -> None:
    """Asking for a side that a route does not have is answered 503, not silently by the other side."""
    one = compiled("legacy", route("old", new=None))
    assert one.override_new is not None

    assert [(decision.status, decision.reason) for decision, _ in one.override_new] == [(503, "no_backend")] * 3


def test_switched_off_copies_stay_eligible() -> None:
    """Switching copying off turns each copy into a counted skip; eligibility and sampling do not change."""
    one = compile_route(ORDERS, flag("shadow"), copying=False)
    assert one.fixed is not None

    assert [(decision.eligible, decision.sampled, decision.skip) for decision, _ in one.fixed] == [
        (False, False, ""),
        (True, False, "off"),
        (True, True, "off"),
    ]


def test_safe_and_declared_methods_are_copied() -> None:
    """Safe methods are copied, an unsafe one only where the route declares it a read."""
    search = route("search", shadow=ShadowSpec(reads=("POST",)))

    assert compiled("shadow").copied_methods == SAFE_METHODS == {b"GET", b"HEAD", b"OPTIONS", b"TRACE"}
    assert compiled("shadow", search).copied_methods == SAFE_METHODS | {b"POST"}


@pytest.mark.parametrize(
    "spec", [route("a", shadow=ShadowSpec(mode="never")), route("a", legacy=None), route("a", new=None)]
)
def test_some_routes_never_copy(spec: RouteSpec) -> None:
    """``shadow: never`` and routes with one side copy in no stage."""
    assert compiled("live", spec).copied_methods == frozenset()
    assert {decision.eligible for decision in every_decision(compiled("live", spec))} == {False}


def test_answers_name_every_backend_that_may_answer() -> None:
    """What decides whether two readings differ is every backend that can answer without an override."""
    assert compiled("shadow").answers == {(0, "legacy-app")}
    assert compiled("canary", percent_bp=0).answers == {(0, "legacy-app")}
    assert compiled("canary", percent_bp=1).answers == {(0, "legacy-app"), (0, "new-app")}
    assert compiled("canary", percent_bp=10_000).answers == {(0, "legacy-app"), (0, "new-app")}
    assert compiled("gone").answers == {(410, None)}


SPECS = st.builds(
    route,
    st.just("orders"),
    legacy=st.sampled_from(("legacy-app", None)),
    new=st.sampled_from(("new-app", None)),
    sticky=st.sampled_from(((), ("header:x",), ("issued_cookie",))),
    fallback=st.builds(FallbackSpec, connect=st.booleans()),
    shadow=st.builds(ShadowSpec, mode=st.sampled_from(("reads", "never"))),
)
FLAGS = st.builds(
    Flag, stage=STAGES, percent_bp=st.integers(0, 10_000), sample_bp=st.integers(0, 10_000), salt=st.just("s")
)
HOLDS = st.none() | st.builds(Hold, route=st.just("orders"), keep_copying=st.booleans())


@given(SPECS, FLAGS, HOLDS, st.booleans())
def test_every_decision_is_whole(spec: RouteSpec, state: Flag, hold: Hold | None, copying: bool) -> None:
    """A decision either names a backend to answer or a status, and never copies to the side that answers."""
    for decision in every_decision(compile_route(spec, state, hold, copying=copying)):
        assert (decision.backend is None) is (decision.status != 0) is (decision.side == "none")
        assert decision.reason in REASONS
        assert not decision.sampled or decision.eligible
        assert decision.eligible is (decision.copy_backend is not None) is (decision.copy_side is not None)
        assert decision.copy_side != decision.side
        assert decision.skip == ("off" if decision.eligible and not copying else "")
        assert (decision.route, decision.index, decision.spec) == ("orders", 1, spec)


@given(FLAGS, HOLDS)
def test_complete_never_contacts_legacy(state: Flag, hold: Hold | None) -> None:
    """In stage complete neither an answer nor a copy comes from legacy, override or not; only a hold brings it back."""
    one = compile_route(ORDERS, dataclasses.replace(state, stage=Stage.COMPLETE), None)

    assert {decision.backend for decision in every_decision(one)} == {"new-app"}
    assert {decision.copy_backend for decision in every_decision(one)} == {None}
