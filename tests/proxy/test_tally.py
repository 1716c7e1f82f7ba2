"""Counters and the access log."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from proxy.tally import AccessLog, AccessRecord, Counts, logged_target
from shadow.link import DURATION_BOUNDS_S
from shadow.redact import patterns_of

RECORD = AccessRecord("t", "r", "c", "GET", "/", "orders", "legacy", "b", 1, -1, "stage", 200, 2, 100, 200, "", False)


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
    log.close()
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
    log.close()
    os.close(writer)

    assert appended > 10_000


def test_the_time_is_rfc_3339() -> None:
    """The log's time is in UTC with milliseconds."""
    fd = os.open(os.devnull, os.O_WRONLY)
    log = AccessLog(fd, Counts())
    try:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.now())
    finally:
        log.close()
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
        log.close()
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
