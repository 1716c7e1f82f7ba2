"""Rules of what an epoch has counted since: each request and each pair once, what was assumed taken back."""

from __future__ import annotations

from console.epochs import Record
from console.growth import Counted, Gathered

ANSWERED, IDENTICAL = "requests|orders|legacy|old|2xx", "identical|orders|legacy"


def record(
    counts: dict[str, int],
    *,
    ended: bool = False,
    gauges: dict[str, int] | None = None,
    bins: dict[str, list[int]] | None = None,
) -> Record:
    """Make an epoch."""
    return Record(epoch="e1", slot=0, counts=counts, gauges=gauges or {}, histograms=bins or {}, ended=ended)


def test_only_what_came_since_is_named() -> None:
    """Requests answered and pairs compared are named by how many more there are, and not where there are none."""
    before = Counted.of(record({ANSWERED: 4, "requests|cart|new|fresh|2xx": 1, IDENTICAL: 2}))
    now = Counted.of(record({ANSWERED: 6, "requests|orders|legacy|old|5xx": 1, "requests|cart|new|fresh|2xx": 1}))

    assert list(now.requests_since(before)) == [(("orders", "legacy"), 3)]
    assert list(now.compared_since(before)) == []
    assert list(before.compared_since(Counted.of(record({})))) == [("orders", 2)]


def test_a_count_that_is_not_understood_counts_for_nobody() -> None:
    """Families and labels of other versions are passed over."""
    counted = Counted.of(record({"requests|orders": 1, "identical": 2, "news|of|tomorrow": 3}))

    assert (counted.requests, counted.compared) == ({}, {})


def test_what_was_assumed_of_a_dead_epoch_is_taken_back_when_it_speaks() -> None:
    """A copy that counted as lost is taken back, by its count, when its worker says what became of it."""
    dead = Gathered.of(record({}, ended=True, gauges={"in_flight|orders|legacy": 3}))
    alive = Gathered.of(record({IDENTICAL: 3}))

    assert dead.counts == {"errored|orders|legacy|both": 3}
    assert sorted(alive.counts_since(dead)) == [("errored|orders|legacy|both", -3), (IDENTICAL, 3)]
    assert alive.counts_since(alive) == []


def test_only_paired_times_that_came_since_are_named() -> None:
    """Gates look at the paired times of both sides; other histograms are none of theirs."""
    before = Gathered.of(record({}, bins={"paired_head|orders|new": [1, 0], "request_duration|orders|new": [1]}))
    now = Gathered.of(record({}, bins={"paired_head|orders|new": [1, 2], "request_duration|orders|new": [9]}))

    assert list(now.times_since(before)) == [("paired_head|orders|new", [0, 2])]
    assert list(now.times_since(now)) == []
