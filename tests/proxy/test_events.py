"""Rules of the supervisor's log lines."""

from __future__ import annotations

import fcntl
import json
import os
import pty

from proxy.events import MAX_LINE, EventLog


def test_an_event_is_one_json_line() -> None:
    """Each line carries its time, process, event, a sentence and its details."""
    read, write = os.pipe()
    EventLog("supervisor", write).say("died", "worker 0 died\nhorribly", slot=0)
    os.close(write)
    with os.fdopen(read) as lines:
        (line,) = lines.read().splitlines()

    parsed = json.loads(line)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {"process": "supervisor", "event": "died", "message": "worker 0 died\nhorribly", "slot": 0}


def test_a_person_gets_plain_text() -> None:
    """On a terminal a line is a sentence."""
    ours, theirs = pty.openpty()
    EventLog("supervisor", theirs).say("died", "worker 0 died", slot=0)
    said = os.read(ours, 1000).decode()
    os.close(ours)
    os.close(theirs)

    assert said.strip().endswith("Z supervisor: worker 0 died")


def test_a_reader_that_stopped_is_not_waited_for() -> None:
    """A full pipe drops lines instead of stopping the supervisor, and the next line tells how many."""
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096) if hasattr(fcntl, "F_SETPIPE_SZ") else 65_536
    log = EventLog("supervisor", write)

    for _ in range(size // 100 + 50):
        log.say("e", "x" * 100)
    os.read(read, size)
    log.say("e", "after")
    last = json.loads(os.read(read, size).splitlines()[-1])
    os.close(read)
    log.say("e", "nobody reads")
    os.close(write)
    log.say("e", "closed")

    assert last["message"] == "after"
    assert last["dropped_lines"] >= 40


def test_a_long_line_is_cut_and_stays_json() -> None:
    """No line is longer than what a pipe takes at once."""
    read, write = os.pipe()
    EventLog("supervisor", write).say("e", "m" * 9_000, detail="d" * 9_000)
    line = os.read(read, 65_536)
    os.close(read)
    os.close(write)

    assert len(line) <= MAX_LINE + 1
    assert json.loads(line)["message"] == "m" * 1_000
