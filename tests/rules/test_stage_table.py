"""Hold the whole stage machine against one table: every stage by every event, with what comes of it.

A cell is the stage after the event, or why it is refused. Percent, sample and
salt of what comes out are checked for every cell; what needs the ledger, the
supervisor or a database is asked in tests/console (``test_ledger``, ``test_holds``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from config.spec import RouteSpec
from rules import (
    DEFAULT_SAMPLE_BP,
    CohortFlag,
    Decision,
    Flag,
    FlipError,
    Hold,
    OrphanError,
    SnapshotSpec,
    Stage,
    carry_flags,
    plan_flip,
    plan_journey,
    plan_rollback,
    raises_new_share,
)
from tests.rules.made import NO_FIELDS, config, fields, flag, route, snapshot

BOTH = route("orders")
NO_NEW = route("orders", new=None)
NO_LEGACY = route("orders", legacy=None)
JOURNEY = route("orders", journey="checkout")
STAGES = ("legacy", "shadow", "canary", "live", "complete", "gone")

# Why an event is refused.
PERCENT = "takes no percent"
SAMPLE = "copies nothing"
NEEDS = "needs the percent"
NEW = "has no new side yet"
LEGACY = "has no legacy side"
TOGETHER = "whose routes flip together"
FOR_ALL = "for everybody"
LOST = "no longer in the configuration"
STRANDED = "but has no"


def flip(stage: str, **shares: int) -> Callable[[RouteSpec, Flag], Flag]:
    """Make the event of a flip."""
    return lambda spec, one: plan_flip(spec, one, stage=stage, **shares)  # type: ignore[arg-type]  # named shares


def cohort(stage: str, **shares: int) -> Callable[[RouteSpec, Flag], Flag]:
    """Make the event of a flip of the cohort ``staff``."""
    return lambda spec, one: plan_flip(spec, one, stage=stage, cohort="staff", **shares)


def rollback(to: str) -> Callable[[RouteSpec, Flag], Flag]:
    """Make the event of a rollback; the watchdog's trip is the same, in its own name."""
    return lambda spec, one: plan_rollback(spec, one, stage=to)


def reload(after: RouteSpec | None, *drop: str) -> Callable[[RouteSpec, Flag], Flag]:
    """Make the event of a reload with another route, or none."""

    def carry(spec: RouteSpec, one: Flag) -> Flag:
        old = SnapshotSpec(revision=1, config=config(spec), flags={"orders": one})
        flags = carry_flags(old, config(*(() if after is None else (after,))), drop)
        return flags.get("orders") or flags.get("purchases") or Flag(stage=Stage.LEGACY, salt="dropped")

    return carry


def journey(stage: str) -> Callable[[RouteSpec, Flag], Flag]:
    """Make the event of a flip of the whole journey."""
    return lambda spec, one: plan_journey("checkout", [spec], {"orders": one}, stage=stage)["orders"]


TABLE = [
    # event, the route's sides, and per stage (legacy shadow canary live complete gone) what comes of it
    ("flip legacy", BOTH, flip("legacy"), ("legacy",) * 6),
    ("flip shadow", BOTH, flip("shadow"), ("shadow",) * 6),
    ("flip canary 5", BOTH, flip("canary", percent_bp=500), ("canary",) * 6),
    ("flip canary", BOTH, flip("canary"), (NEEDS, NEEDS, "canary", NEEDS, NEEDS, NEEDS)),
    ("flip live", BOTH, flip("live"), ("live",) * 6),
    ("flip complete", BOTH, flip("complete"), ("complete",) * 6),
    ("flip gone", BOTH, flip("gone"), ("gone",) * 6),
    ("percent outside canary", BOTH, flip("live", percent_bp=500), (PERCENT,) * 6),
    ("sample in shadow", BOTH, flip("shadow", sample_bp=250), ("shadow",) * 6),
    ("no sample in live", BOTH, flip("live", sample_bp=0), ("live",) * 6),
    ("sample in legacy", BOTH, flip("legacy", sample_bp=1), (SAMPLE,) * 6),
    ("sample in complete", BOTH, flip("complete", sample_bp=1), (SAMPLE,) * 6),
    ("rollback", BOTH, rollback("legacy"), ("legacy",) * 6),
    ("rollback to shadow", BOTH, rollback("shadow"), ("shadow",) * 6),
    ("watchdog trips", BOTH, rollback("legacy"), ("legacy",) * 6),
    ("watchdog trips on divergence", BOTH, rollback("shadow"), ("shadow",) * 6),
    ("rollback to live", BOTH, rollback("live"), ("expected legacy or shadow",) * 6),
    ("flip one route of a journey", JOURNEY, flip("live"), (TOGETHER,) * 6),
    ("flip the journey", JOURNEY, journey("live"), ("live",) * 6),
    ("roll one route of a journey back", JOURNEY, rollback("legacy"), ("legacy",) * 6),
    ("without new: flip legacy", NO_NEW, flip("legacy"), ("legacy",) * 6),
    ("without new: flip shadow", NO_NEW, flip("shadow"), (NEW,) * 6),
    ("without new: flip canary", NO_NEW, flip("canary", percent_bp=1), (NEW,) * 6),
    ("without new: flip live", NO_NEW, flip("live"), (NEW,) * 6),
    ("without new: flip complete", NO_NEW, flip("complete"), (NEW,) * 6),
    ("without new: flip gone", NO_NEW, flip("gone"), ("gone",) * 6),
    ("without new: rollback to shadow", NO_NEW, rollback("shadow"), ("legacy",) * 6),
    ("without legacy: flip legacy", NO_LEGACY, flip("legacy"), (LEGACY,) * 6),
    ("without legacy: flip shadow", NO_LEGACY, flip("shadow"), (LEGACY,) * 6),
    ("without legacy: flip canary", NO_LEGACY, flip("canary", percent_bp=1), (LEGACY,) * 6),
    ("without legacy: flip live", NO_LEGACY, flip("live"), ("live",) * 6),
    ("without legacy: flip complete", NO_LEGACY, flip("complete"), (LEGACY,) * 6),
    ("without legacy: flip gone", NO_LEGACY, flip("gone"), ("gone",) * 6),
    ("without legacy: rollback", NO_LEGACY, rollback("legacy"), (LEGACY,) * 6),
    ("flip a cohort live", BOTH, cohort("live"), (*STAGES[:4], FOR_ALL, FOR_ALL)),
    ("flip a cohort canary 5", BOTH, cohort("canary", percent_bp=500), (*STAGES[:4], FOR_ALL, FOR_ALL)),
    ("flip a cohort canary", BOTH, cohort("canary"), (NEEDS, NEEDS, NEEDS, NEEDS, FOR_ALL, FOR_ALL)),
    ("flip a cohort complete", BOTH, cohort("complete"), (FOR_ALL,) * 6),
    ("flip a cohort gone", BOTH, cohort("gone"), (FOR_ALL,) * 6),
    ("end a cohort's stage", BOTH, cohort("none"), STAGES),
    ("without new: flip a cohort live", NO_NEW, cohort("live"), (NEW, NEW, NEW, NEW, FOR_ALL, FOR_ALL)),
    ("without legacy: flip a cohort live", NO_LEGACY, cohort("live"), (LEGACY,) * 4 + (FOR_ALL,) * 2),
    ("flip one route of a journey for a cohort", JOURNEY, cohort("live"), (TOGETHER,) * 6),
    ("reload", BOTH, reload(BOTH), STAGES),
    ("reload with another first stage", BOTH, reload(route("orders", initial_stage="live")), STAGES),
    ("reload renames", BOTH, reload(route("purchases", was="orders")), STAGES),
    ("reload drops the route", BOTH, reload(None), ("legacy", *(LOST,) * 5)),
    ("reload drops the route on purpose", BOTH, reload(None, "orders"), ("legacy",) * 6),
    ("reload drops new", BOTH, reload(NO_NEW), ("legacy", STRANDED, STRANDED, STRANDED, STRANDED, "gone")),
    ("reload drops legacy", BOTH, reload(NO_LEGACY), (STRANDED, STRANDED, STRANDED, "live", STRANDED, "gone")),
]

CELLS = [
    pytest.param(spec, event, before, after, id=f"{before}: {name}")
    for name, spec, event, row in TABLE
    for before, after in zip(STAGES, row, strict=True)
]


@pytest.mark.parametrize(("spec", "event", "before", "after"), CELLS)
def test_every_stage_by_every_event(
    spec: RouteSpec, event: Callable[[RouteSpec, Flag], Flag], before: str, after: str
) -> None:
    """Each event leads from each stage to where the table says, or is refused by a sentence that says why."""
    one = flag(before, 700 if before == "canary" else 0)

    if after not in STAGES:
        with pytest.raises((FlipError, OrphanError), match=after):
            event(spec, one)
        return
    found = event(spec, one)

    assert found.stage is Stage(after)
    assert found.salt in (one.salt, "dropped")
    assert (found.percent_bp > 0) is (after == "canary")
    if found.stage is one.stage and found.percent_bp == one.percent_bp:
        assert not raises_new_share(one, found)
    if found.stage is not one.stage and found.sample_bp not in (250, 0):
        assert found.sample_bp == DEFAULT_SAMPLE_BP[found.stage]


def decision_of(one: Flag, spec: RouteSpec = BOTH, held: Hold | None = None, method: bytes = b"GET") -> Decision:
    """Decide one request of a user under a flag, as a worker does."""
    made = snapshot(spec, flags={"orders": one}, holds=[] if held is None else [held])
    return made.decide(method, b"/orders", fields(x_user="1"), "192.0.2.7", b"id")[0]


HOLD, KEEPING = Hold(route="orders"), Hold(route="orders", keep_copying=True)
REQUESTS = [
    # stage, then (answers, copied to) as it is, under a hold, and under a hold that keeps copying
    ("legacy", ("legacy", None), ("legacy", None), ("legacy", None)),
    ("shadow", ("legacy", "new"), ("legacy", None), ("legacy", "new")),
    ("canary", ("new", "legacy"), ("legacy", None), ("legacy", "new")),
    ("live", ("new", "legacy"), ("legacy", None), ("legacy", "new")),
    ("complete", ("new", None), ("legacy", None), ("legacy", "new")),
    ("gone", ("none", None), ("legacy", None), ("legacy", None)),
]


@pytest.mark.parametrize(("stage", "free", "held", "keeping"), REQUESTS)
def test_every_stage_answers_and_copies_as_the_table_says(
    stage: str, free: tuple[str, str | None], held: tuple[str, str | None], keeping: tuple[str, str | None]
) -> None:
    """Who answers and who gets the copy, for each stage, free and under both kinds of hold; release gives it back."""
    one = flag(stage, 10_000)

    for hold, expected in ((None, free), (HOLD, held), (KEEPING, keeping), (None, free)):
        decision = decision_of(one, held=hold)
        assert (decision.side, decision.copy_side) == expected
        assert decision.status == (410 if stage == "gone" and hold is None else 0)
        assert decision_of(one, held=hold, method=b"POST").copy_side is None


@pytest.mark.parametrize("stage", ["live", "gone"])
def test_a_hold_on_a_route_without_legacy_is_void(stage: str) -> None:
    """There is no legacy to hold it on, so it stays as it is."""
    assert decision_of(flag(stage), NO_LEGACY, HOLD) == decision_of(flag(stage), NO_LEGACY)
    assert decision_of(flag("live"), NO_LEGACY).copy_side is None


STAFF = {"staff": CohortFlag(stage=Stage.LIVE, sample_bp=100)}


@pytest.mark.parametrize(
    ("event", "keeps"),
    [
        (flip("legacy"), True),
        (flip("shadow"), True),
        (flip("canary", percent_bp=500), True),
        (flip("live"), True),
        (flip("complete"), False),
        (flip("gone"), False),
        (rollback("legacy"), False),
        (rollback("shadow"), False),
        (cohort("none"), False),
        (reload(BOTH), False),
    ],
)
def test_what_an_event_does_to_the_stages_of_cohorts(event: Callable[[RouteSpec, Flag], Flag], keeps: bool) -> None:
    """Flips leave cohorts alone; rollbacks, complete, gone, and a file that names them no more end their stages."""
    assert event(BOTH, replace(flag("shadow"), cohorts=STAFF)).cohorts == (STAFF if keeps else {})


@pytest.mark.parametrize("stage", STAGES[:4])
def test_a_flip_of_a_cohort_leaves_everybody_else_alone(stage: str) -> None:
    """A cohort's flip changes neither the route's stage nor other cohorts, and raises nobody's share."""
    other = {"beta": CohortFlag(stage=Stage.SHADOW, sample_bp=5)}
    one = replace(flag(stage, 700 if stage == "canary" else 0), cohorts=other)

    found = plan_flip(BOTH, one, stage="live", cohort="staff")

    assert found == replace(one, cohorts=other | STAFF)
    assert not raises_new_share(one, found)
    assert plan_flip(BOTH, found, stage="none", cohort="staff") == one
    assert plan_flip(BOTH, found, stage="canary", cohort="staff", percent_bp=250, sample_bp=0).cohorts[
        "staff"
    ] == CohortFlag(stage=Stage.CANARY, percent_bp=250)


def test_a_cohort_that_stays_a_canary_keeps_its_percent() -> None:
    """As a route does: without a percent it is the one that it has."""
    one = replace(flag("shadow"), cohorts={"staff": CohortFlag(stage=Stage.CANARY, percent_bp=250)})

    assert plan_flip(BOTH, one, stage="canary", cohort="staff").cohorts["staff"].percent_bp == 250


def test_a_journey_flips_together_for_a_cohort() -> None:
    """With a cohort the whole journey flips for that cohort, and nobody else."""
    cart, pay = route("cart", journey="checkout"), route("pay", journey="checkout")

    flags = plan_journey("checkout", (cart, pay), {"cart": flag("shadow")}, stage="live", cohort="staff")

    assert [one.cohorts for one in flags.values()] == [STAFF, STAFF]
    assert [one.stage for one in flags.values()] == [Stage.SHADOW, Stage.LEGACY]


def test_only_more_clients_for_new_is_gated() -> None:
    """Of all pairs of stages exactly those raise new's share that give new more clients than before."""
    share = {"legacy": 0, "shadow": 0, "canary": 500, "live": 10_000, "complete": 10_000, "gone": 0}

    for before in STAGES:
        for after in STAGES:
            one, other = flag(before, 500 if before == "canary" else 0), flag(after, 500 if after == "canary" else 0)
            assert raises_new_share(one, other) is (share[after] > share[before])


def test_no_event_of_the_table_is_decided_without_a_key() -> None:
    """A client without a key is on legacy in every stage that has two sides to choose from."""
    made = snapshot(BOTH, flags={"orders": flag("canary", 10_000)})

    assert made.decide(b"GET", b"/orders", NO_FIELDS, "192.0.2.7", b"id")[0].reason == "no_key"
