"""Rules of how things look in the admin API."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.problem import ProblemError
from console.shapes import copying_as_json, counts_as_json, counts_by_route, cursor_of, new_share, place_of
from console.totals import Sums


def test_counts_are_sorted_by_route_and_add_up() -> None:
    """Counts and gauges of a route stand together, labels summed, reasons apart, absent ones zero."""
    sums = Sums(
        counts={
            "requests|orders|new|a|2xx": 2,
            "requests|orders|new|b|5xx": 3,
            "skipped|orders|rate": 4,
            "undecided|orders|legacy|lost": 5,
            "undecided|orders|new|lost": 6,
            "errored|orders|legacy|both": 7,
            "sent|cart": 8,
            "log_dropped": 9,
        },
        gauges={"in_flight|orders|legacy": 1, "in_flight|orders|new": 2, "connections": 3},
        histograms={},
        last_legacy={},
    )

    shown = counts_as_json(counts_by_route(sums)["orders"])

    assert shown["requests"] == {"legacy": 0, "new": 5, "none": 0}
    assert shown["skipped"] == {"rate": 4}
    assert shown["undecided"] == {"lost": 11}
    assert (shown["errored"], shown["in_flight"], shown["sent"], shown["queued"]) == (7, 3, 0, 0)


def test_without_traffic_there_is_no_share() -> None:
    """The share of new is absent, not zero, when nobody answered."""
    assert new_share({}) is None
    assert new_share({"none": 5}) is None
    assert new_share({"legacy": 3, "new": 1}) == 25.0


def test_switches_say_whether_all_is_off() -> None:
    """on is false when everything is off; single routes are listed either way."""
    assert copying_as_json(()) == {"on": True, "off": []}
    assert copying_as_json(("b", "a")) == {"on": True, "off": ["a", "b"]}
    assert copying_as_json(("*", "a")) == {"on": False, "off": ["a"]}


@given(st.tuples(st.integers(0, 6), st.integers(1, 1 << 40), st.text()))
def test_a_cursor_leads_back_to_its_place(place: tuple[int, int, str]) -> None:
    """Every cursor that was handed out is read back exactly."""
    assert place_of(cursor_of(place)) == place


@given(st.text())
def test_any_other_cursor_is_refused(text: str) -> None:
    """A made-up cursor is a problem, never a crash."""
    with contextlib.suppress(ProblemError):
        place_of(text)


@pytest.mark.parametrize("text", ["W10", "WzEsMl0", "bnVsbA", "WzEsMiwzXQ", "é", "\x00", "WzEsdHJ1ZSwiYSJd"])
def test_a_cursor_of_another_shape_is_refused(text: str) -> None:
    """Valid base64 and JSON of another shape are no cursor."""
    with pytest.raises(ProblemError):
        place_of(text)
