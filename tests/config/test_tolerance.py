"""A tolerance ends with a day, and stands only once in what is in force."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from config.spec import RuleSpec, ToleranceSpec
from config.tolerance import as_mapping, days_left, ends_at, joined, rule_as_written

SPEC = ToleranceSpec(id="t-1", route="orders", path="$.x", reason="clock", owner="shop", expires="2027-01-31")


def test_it_ends_with_its_day_in_utc() -> None:
    """The last day counts whole, wherever the machine stands."""
    end = datetime(2027, 2, 1, tzinfo=UTC).timestamp()

    assert ends_at(SPEC) == end
    assert [days_left(SPEC, end - after) for after in (0.001, 86_400, 86_400.5, 7 * 86_400)] == [1, 1, 2, 7]
    assert [days_left(SPEC, end + after) for after in (0, 1, 10**6)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        (RuleSpec(name="uuid"), "uuid"),
        (RuleSpec(name="counter"), "counter"),
        (RuleSpec(name="counter", within="5"), {"counter": {"within": 5}}),
        (RuleSpec(name="timestamp", within_ns=10**9), {"timestamp": {"within": "1s"}}),
        (RuleSpec(name="keyed_by", member="id"), {"keyed_by": "id"}),
        (RuleSpec(name="within", within="1%"), {"within": "1%"}),
    ],
)
def test_it_is_written_as_in_the_file(rule: RuleSpec, written: object) -> None:
    """What is shown can be pasted."""
    assert rule_as_written(rule) == written
    assert as_mapping(replace(SPEC, rule=rule))["rule"] == written
    assert as_mapping(SPEC) == {"path": "$.x", "reason": "clock", "owner": "shop", "expires": "2027-01-31"}


def test_the_same_one_twice_is_one_with_the_later_end() -> None:
    """Who extends a tolerance in one place need not do it in the other."""
    later, other = replace(SPEC, expires="2028-01-31"), replace(SPEC, id="t-2")

    assert joined([SPEC, other], [later]) == (later, other)
    assert joined([later], [SPEC]) == (later,)
    assert joined([], []) == ()
