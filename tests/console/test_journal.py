"""Rules of control's own log: one JSON line per event, never waiting."""

from __future__ import annotations

import json
import os

from console.journal import Journal, moment_text
from shadow.lines import Lines


def test_an_event_is_one_json_line_whatever_it_holds() -> None:
    """Line breaks, escapes and foreign text in an event cannot make a second line or reach a terminal."""
    reader, writer = os.pipe()
    journal = Journal(Lines(writer))

    journal.say("change.flip", "a\nb \x1b[2J \u202e \udcff", reason={"x": object})
    journal.close()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().splitlines()

    assert len(lines) == 1
    assert b"\x1b" not in lines[0]
    told = json.loads(lines[0])
    assert (told["process"], told["event"]) == ("control", "change.flip")
    assert told["time"].endswith("Z")


def test_a_reader_that_stops_costs_lines_and_no_time() -> None:
    """A full pipe drops events beyond the bound, counts them, and nobody waits."""
    reader, writer = os.pipe()
    lines = Lines(writer, max_bytes=100_000)
    journal = Journal(lines)

    for _ in range(3_000):
        journal.say("noise", "x" * 200)
    dropped = journal.dropped
    os.close(reader)
    journal.close()
    os.close(writer)

    assert dropped > 2_000


def test_moments_are_utc_with_milliseconds() -> None:
    """A moment is written in RFC 3339, in UTC, with three decimals."""
    assert moment_text(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
