"""The table of causes."""

from __future__ import annotations

import pytest

from shadow.causes import CAUSES, Severity, rank


def test_every_cause_stands_under_its_own_name() -> None:
    """A cause is found by its name."""
    assert all(name == cause.name for name, cause in CAUSES.items())


def test_the_table_cannot_be_changed() -> None:
    """The vocabulary is closed: nobody adds to it while the program runs."""
    with pytest.raises(TypeError):
        CAUSES["new"] = CAUSES["key_order"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["number.integral_float", "framing.bom", "key.duplicate", "time.zone"])
def test_what_some_parser_sees_is_not_cosmetic(name: str) -> None:
    """Only what every conforming parser reads alike is cosmetic."""
    assert CAUSES[name].severity is not Severity.COSMETIC


def test_the_worst_stands_first() -> None:
    """Status, content type, broken body, type, member, value, order, what some clients see, spelling, headers."""
    order = [
        "http.status",
        "http.content_type",
        "body.truncated",
        "type.changed",
        "member.missing",
        "value.changed",
        "array.reordered",
        "time.zone",
        "whitespace.separator",
        "http.header",
    ]

    assert sorted(CAUSES, key=rank)[0] == "http.status"
    assert sorted(reversed(order), key=rank) == order
    assert len({rank(name) for name in order}) == len(order)


def test_every_cause_has_its_place_in_the_order() -> None:
    """A cause without a rank would be lost in every list; an unexplained one stands beside a wrong value."""
    assert all(rank(name) >= 0 for name in CAUSES)
    assert rank("unexplained") == rank("value.changed") < rank("key_order")
