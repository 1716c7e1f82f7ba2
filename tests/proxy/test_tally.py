"""Counters and the access log."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from proxy.tally import ROOM, AccessLog, AccessRecord, Counts, logged_target
from rules.distinct import positions_from
from rules.latency import bin_of
from shadow.link import DURATION_BOUNDS_S
from shadow.redact import patterns_of

RECORD = AccessRecord(
    "t", "r", "c", "GET", "/", "orders", "legacy", "b", 1, -1, "stage", "", 200, 2, 100, 200, "", False
)


def test_durations_fall_into_their_buckets() -> None:
    """A duration is counted in the first bucket whose bound it does not exceed, and in the sum."""
    counts = Counts()
    for seconds in (0.001, 0.0011, 31.0):
        counts.observe("request_duration", "orders", "new", seconds)

    histogram = counts.tally("e").histograms["request_duration|orders|new"]

    assert histogram[0] == histogram[1] == 1
    assert histogram[len(DURATION_BOUNDS_S)] == 1
    assert histogram[-1] == 31_002_100
    assert sum(histogram[:-1]) == 3


def test_a_tally_names_families_and_labels() -> None:
    """Slots and free counters come out under the names that docs/architecture.md lists; zeros are left out."""
    counts = Counts()
    counts.route("orders").eligible = 3
    counts.route("idle")
    counts.primary("orders", "legacy").in_flight = 1
    counts.totals["requests", "orders", "legacy", "b", "2xx"] += 1

    tally = counts.tally("e")

    assert tally.counts == {"eligible|orders": 3, "requests|orders|legacy|b|2xx": 1}
    assert tally.gauges == {"in_flight|orders|legacy": 1}
    assert counts.tally("e").sequence == tally.sequence + 1


def test_the_log_writes_every_line() -> None:
    """What was appended before close is written, one JSON object per line."""
    reader, writer = os.pipe()
    log = AccessLog(writer, Counts())
    for _ in range(100):
        log.append(RECORD)
    log.close(60)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        lines = file.read().splitlines()

    assert len(lines) == 100
    assert json.loads(lines[0])["route"] == "orders"


def test_a_blocked_log_drops_and_counts() -> None:
    """A reader that has stopped costs log lines, which are counted, and never the event loop's time."""
    reader, writer = os.pipe()
    counts = Counts()
    log = AccessLog(writer, counts)
    appended = 0
    while not counts.totals[("log_dropped",)]:
        log.append(RECORD)
        appended += 1
        if appended % 1_000 == 0:
            log.flush()
        assert appended < 100_000
    os.close(reader)
    log.close(60)
    os.close(writer)

    assert appended > 10_000


def test_the_time_is_rfc_3339() -> None:
    """The log's time is in UTC with milliseconds."""
    fd = os.open(os.devnull, os.O_WRONLY)
    log = AccessLog(fd, Counts())
    try:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.now())
    finally:
        log.close(60)
        os.close(fd)


def test_the_log_knows_what_it_holds_whatever_its_threads_do() -> None:
    """After any number of hand-overs nothing counts as waiting any more: a log never fills up by miscounting."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    fd = os.open(os.devnull, os.O_WRONLY)
    counts = Counts()
    log = AccessLog(fd, counts)
    try:
        for _ in range(20_000):
            log.append(RECORD)
            log.flush()
    finally:
        sys.setswitchinterval(before)
        log.close(60)
        os.close(fd)

    assert log._lines.waiting_bytes == 0
    assert counts.totals[("log_dropped",)] == 0


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/api/a", "/api/a"),
        (b"/api/a?token=s3cret&page=2", "/api/a?token=…&page=…"),
        (b"/reset/s3cret", "/reset/[redacted]"),
        (b"/reset/s3cret?x=y", "/reset/[redacted]?x=…"),
    ],
)
def test_the_log_shows_no_value_of_a_query(target: bytes, shown: str) -> None:
    """A target is logged with its query's names only, and without what the route redacts by pattern."""
    assert logged_target(target, patterns_of(("pattern:(?<=/reset/)[^/?]+",))) == shown


def test_a_build_is_told_once_and_never_again_unless_it_answers_again() -> None:
    """A tally says which build of new was identical since the last one; an old build does not linger."""
    counts = Counts()
    counts.builds["orders"] = "v2"

    first, second = counts.tally("e1"), counts.tally("e1")

    assert (first.builds, second.builds) == ({"orders": "v2"}, {})


def test_pairs_are_counted_by_method_and_classes() -> None:
    """A pair counts once under its method and the classes of both answers; a method that nobody knows is `other`."""
    counts = Counts()
    route = counts.route("orders")
    route.eligible = 4
    for method, legacy, new in ((b"GET", 200, 200), (b"GET", 404, 200), (b"BREW", 200, 503), (b"BREW2", 200, 0)):
        route.pairs.recent[method, legacy, new] += 1

    counts.tally("e")
    route.pairs.recent[b"GET", 200, 299] += 1
    tally = counts.tally("e")

    assert {key: n for key, n in tally.counts.items() if key.startswith("paired|")} == {
        "paired|orders|GET|2xx|2xx": 2,
        "paired|orders|GET|4xx|2xx": 1,
        "paired|orders|other|2xx|5xx": 1,
        "paired|orders|other|2xx|none": 1,
    }


def test_paired_times_stand_in_the_bins_of_latency() -> None:
    """Both sides' times of the same request are counted, at most 64 pairs between two tallies."""
    counts = Counts()
    route = counts.route("orders")
    route.eligible = 1
    route.pairs.recent[b"GET", 200, 200] += 1
    route.pairs.add((b"GET", b"/a", b""), 0.001, 0.01)

    tally = counts.tally("e")

    assert tally.histograms["paired_head|orders|legacy"] == [0] * bin_of(0.001) + [1]
    assert tally.histograms["paired_head|orders|new"] == [0] * bin_of(0.01) + [1]
    assert route.pairs.room == ROOM


def test_compared_requests_are_told_apart_by_method_target_and_body() -> None:
    """A tally names one bit per different request since the last one, and the same bit for the same request."""
    counts = Counts()
    route = counts.route("orders")
    route.eligible = 1

    def told(*requests: tuple[bytes, bytes, bytes]) -> set[int]:
        route.pairs.recent[b"GET", 200, 200] += 1
        for request in requests:
            route.pairs.add(request, 0.001, 0.001)
        return set(positions_from(counts.tally("e").distinct["orders"]))

    first = told((b"GET", b"/a", b""), (b"GET", b"/a", b""), (b"GET", b"/b", b""))

    assert len(first) == 2
    assert told((b"GET", b"/a", b"")) < first
    assert len(told((b"POST", b"/a", b"{1}"), (b"POST", b"/a", b"{2}"), (b"POST", b"/a", b"{1}"))) == 2
    assert counts.tally("e").distinct == {}


def test_idle_routes_cost_a_tally_nothing() -> None:
    """Routes that nobody asked for are not in a tally."""
    counts = Counts()
    for number in range(1_000):
        counts.route(f"route-{number}")

    tally = counts.tally("e")

    assert (tally.counts, tally.histograms, tally.distinct) == ({}, {}, {})
