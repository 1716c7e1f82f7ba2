"""Rules of how things look in the admin API."""

from __future__ import annotations

from console.epochs import Sums
from console.shapes import copying_as_json, counts_as_json, counts_by_route, new_share


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
