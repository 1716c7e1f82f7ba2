"""Rules of the supervisor's log lines."""

from __future__ import annotations

import json
import os
import pty
import re

from proxy.events import MAX_LINE, EventLog
from shadow.lines import MAX_EVENT_BYTES
from tests.support.product import wait_until


def test_an_event_is_one_json_line() -> None:
    """Each line carries its time, process, event, a sentence and its details."""
    read, write = os.pipe()
    log = EventLog("supervisor", write)
    log.say("died", "worker 0 died\nhorribly", slot=0)
    log.close(60)
    os.close(write)
    with os.fdopen(read) as lines:
        (line,) = lines.read().splitlines()

    parsed = json.loads(line)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {"process": "supervisor", "event": "died", "message": "worker 0 died\nhorribly", "slot": 0}


def test_a_person_gets_plain_text() -> None:
    """On a terminal a line is a sentence."""
    ours, theirs = pty.openpty()
    log = EventLog("supervisor", theirs)
    log.say("died", "worker 0 died", slot=0)
    log.close(60)
    said = os.read(ours, 1000).decode()
    os.close(ours)
    os.close(theirs)

    assert said.strip().endswith("Z supervisor: worker 0 died")


def test_a_reader_that_stopped_is_not_waited_for() -> None:
    """Lines that nobody takes are dropped instead of stopping the supervisor, and a later line tells how many."""
    read, write = os.pipe()
    log = EventLog("supervisor", write)
    for _ in range(2 * MAX_EVENT_BYTES // 1_000):
        log.say("e", "x" * 1_000)
    found = bytearray()

    def told() -> int:
        return sum(map(int, re.findall(rb'"dropped_lines": ([0-9]+)}\n', found)))

    def take_and_say_more() -> bool:
        found.extend(os.read(read, 65_536))
        log.say("e", "after")
        return told() >= 500

    wait_until(take_and_say_more, "lines that tell what is missing")
    os.close(read)
    log.say("e", "nobody reads")
    log.close(60)
    os.close(write)

    assert 500 <= told() < 2 * MAX_EVENT_BYTES // 1_000


def test_a_long_line_is_cut_and_stays_json() -> None:
    """No line is longer than what a pipe takes at once."""
    read, write = os.pipe()
    log = EventLog("supervisor", write)
    log.say("e", "m" * 9_000, detail="d" * 9_000)
    log.close(60)
    line = os.read(read, 65_536)
    os.close(read)
    os.close(write)

    assert len(line) <= MAX_LINE + 1
    assert json.loads(line)["message"] == "m" * 1_000
