"""Rules of what a provider's value means: a stage or a stage with its shares, taken whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import ShadowSpec
from rules.flag import Flag, Stage
from rules.provided import flags_from_value
from rules.stage import FlipError
from tests.rules.made import flag, route

GOOD = [
    ("shadow", ("shadow", 0, 10_000)),
    ("canary 5", ("canary", 500, 10_000)),
    (" canary  12.5% ", ("canary", 1_250, 10_000)),
    ({"stage": "canary", "percent": 5}, ("canary", 500, 10_000)),
    ({"stage": "canary", "percent": 0.01, "sample": "2.5"}, ("canary", 1, 250)),
    ({"stage": "live"}, ("live", 0, 100)),
    ({"stage": "live", "percent": None, "sample": 0}, ("live", 0, 0)),
    ("gone", ("gone", 0, 0)),
]
BAD = [
    "",
    "canary",
    "canary five",
    "canary 5 6",
    "shadow 5",
    "on",
    True,
    5,
    None,
    [],
    {},
    {"percent": 5},
    {"stage": "canary"},
    {"stage": "canary", "percent": 101},
    {"stage": "canary", "percent": -1},
    {"stage": "canary", "percent": True},
    {"stage": "canary", "percent": float("nan")},
    {"stage": "canary", "percent": {}},
    {"stage": "legacy", "sample": 5},
    {"stage": "shadow", "percentage": 5},
    {"stage": ["shadow"]},
]


@pytest.mark.parametrize(("value", "expected"), GOOD)
def test_a_stage_with_its_shares_is_taken(value: object, expected: tuple[str, int, int]) -> None:
    """A stage alone has its default sample, a canary needs its percent, and the salt stays."""
    found = flags_from_value([route("orders")], {"orders": flag("legacy", salt="old")}, value)["orders"]

    assert (found.stage.value, found.percent_bp, found.sample_bp, found.salt) == (*expected, "old")


@pytest.mark.parametrize("value", BAD)
def test_anything_else_is_refused_with_a_sentence(value: object) -> None:
    """What is not a stage with shares in order is refused, and the sentence says what was expected."""
    with pytest.raises(FlipError, match=r"expected|does not exist|needs the percent|takes no"):
        flags_from_value([route("orders")], {}, value)


def test_the_routes_own_sample_stands_in() -> None:
    """A value without a sample takes the route's `shadow.sample`, where the stage copies."""
    spec = route("orders", shadow=ShadowSpec(sample_bp=300))

    assert flags_from_value([spec], {}, "shadow")["orders"].sample_bp == 300
    assert flags_from_value([spec], {}, "complete")["orders"].sample_bp == 0


def test_a_journey_is_taken_whole_or_not_at_all() -> None:
    """A value that one route of the journey cannot follow is refused for all of them."""
    able, unable = route("cart", journey="checkout"), route("pay", journey="checkout", new=None)

    assert set(flags_from_value([able, route("pay", journey="checkout")], {}, "live")) == {"cart", "pay"}
    with pytest.raises(FlipError, match="'pay' has no new side"):
        flags_from_value([able, unable], {}, "live")


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_no_value_breaks_it(value: object) -> None:
    """Whatever a provider says, the result is a flag or a refusal."""
    try:
        found = flags_from_value([route("orders")], {}, value)["orders"]
    except FlipError:
        return
    assert isinstance(found, Flag)
    assert isinstance(found.stage, Stage)
