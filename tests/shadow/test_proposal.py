"""A proposal says what a tolerance would have hidden, as far as reports tell."""

from __future__ import annotations

from typing import Any

import pytest

from config.tolerate import parse_tolerance
from shadow.link import DifferenceItem
from shadow.proposal import Foresight, foresee, path_of

SAID = {"reason": "clock", "owner": "shop", "expires": "2027-01-31"}


def item(cause: str, pointer: str, legacy: str = "1", new: str = "2", **more: Any) -> DifferenceItem:
    """Make a reported difference."""
    return DifferenceItem(
        cause=cause, folded=pointer, legacy_pointer=pointer, new_pointer=pointer, legacy=legacy, new=new, **more
    )


CLOCK = item("volatile.timestamp", "/at", '"2026-11-21T10:00:00Z"', '"2026-11-21T10:00:03Z"')
PRICE = item("value.changed", "/items/0/price", "10.00", "12.00")
NEWLINE = item("whitespace.trailing_newline", "")


@pytest.mark.parametrize(
    ("entry", "items", "expected"),
    [
        ({"path": "$.at"}, [CLOCK], Foresight.HIDDEN),
        ({"path": "$.at"}, [CLOCK, PRICE], Foresight.PARTLY),
        ({"path": "$.at"}, [PRICE], Foresight.STAYS),
        ({"path": "/items/*/price"}, [PRICE], Foresight.HIDDEN),
        ({"path": "$.at"}, [item("member.missing", "/at")], Foresight.STAYS),
        ({"path": "$.at", "cause": "member.missing"}, [item("member.missing", "/at")], Foresight.HIDDEN),
        ({"cause": "whitespace.trailing_newline"}, [NEWLINE], Foresight.HIDDEN),
        ({"cause": "volatile.timestamp"}, [CLOCK, NEWLINE], Foresight.PARTLY),
        ({"path": "$.at", "rule": {"timestamp": "5s"}}, [CLOCK], Foresight.HIDDEN),
        ({"path": "$.at", "rule": {"timestamp": "2s"}}, [CLOCK], Foresight.STAYS),
        (
            {"path": "$.at", "rule": "uuid"},
            [item("value.changed", "/at", "[redacted]")],
            Foresight.UNKNOWN,
        ),
        ({"path": "$.at", "rule": "uuid"}, [item("value.changed", "/at", '"ab…', '"cd…')], Foresight.UNKNOWN),
        ({"path": "$.at", "rule": "uuid"}, [item("type.changed", "/at", '"a"', "1")], Foresight.STAYS),
        ({"path": "$.items", "rule": "unordered"}, [item("array.reordered", "/items")], Foresight.UNKNOWN),
        ({"path": "$.items", "rule": "unordered"}, [CLOCK], Foresight.STAYS),
        ({"path": "$.at"}, [item("http.status", ""), CLOCK], Foresight.PARTLY),
        ({"path": "$.at"}, [CLOCK, item("value.changed", "/x", tolerated_by="t-1")], Foresight.HIDDEN),
        ({"path": "$.at"}, [], Foresight.STAYS),
    ],
)
def test_what_would_be_hidden_is_what_would_be_tolerated(
    entry: dict[str, Any], items: list[DifferenceItem], expected: Foresight
) -> None:
    """Proposals follow the rules of live tolerances; what reports do not keep is unknown."""
    assert foresee(parse_tolerance({**entry, **SAID}, "orders"), items) is expected


def test_what_was_not_listed_is_not_hidden() -> None:
    """A pair with more places than its report lists is never said to be hidden whole."""
    spec = parse_tolerance({"path": "$.at", **SAID}, "orders")

    assert foresee(spec, [CLOCK], omitted=3) is Foresight.PARTLY


def test_pointers_of_reports_are_read() -> None:
    """Names and indexes come back from a pointer."""
    assert path_of("") == ()
    assert path_of("/items/0/a~1b/~0") == ("items", 0, "a/b", "~")
