"""Rules of judging and starting one child."""

from __future__ import annotations

import json
import os
import sys

import pytest

from proxy.children import (
    SECOND,
    ChildState,
    Launch,
    Role,
    Signs,
    child_environment,
    product_command,
    restart_pause_ns,
    why_to_kill,
)

SILENT = "said nothing"
UNKNOWN = "did not introduce itself"


@pytest.mark.parametrize(
    ("role", "introduced", "silent_s", "busy_s", "why"),
    [
        (Role.WORKER, True, 5, 0, ""),
        (Role.WORKER, True, 5.1, 0, SILENT),
        (Role.WORKER, False, 19, 0, ""),
        (Role.WORKER, False, 20.1, 0, UNKNOWN),
        (Role.COMPARER, True, 19, 0, ""),
        (Role.COMPARER, True, 20.1, 0, SILENT),
        (Role.COMPARER, True, 0, 15, ""),
        (Role.COMPARER, True, 0, 15.1, "has one pair in hand"),
        (Role.CONTROL, True, 19, 0, ""),
        (Role.CONTROL, True, 20.1, 0, SILENT),
    ],
)
def test_a_child_is_killed_for_silence_by_its_role(
    role: Role, introduced: bool, silent_s: float, busy_s: float, why: str
) -> None:
    """A worker may be silent for 5 s, others and whoever starts for 20 s; a comparer may hold a pair for 15 s."""
    signs = Signs(role=role, introduced=introduced, silent_ns=int(silent_s * SECOND), busy_ns=int(busy_s * SECOND))

    found = why_to_kill(signs)

    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_restarts_are_free_at_first_and_never_rarer_than_every_ten_seconds() -> None:
    """Two early deaths cost nothing, the third and later ones a doubling pause of at most 10 s."""
    pauses = [restart_pause_ns(deaths) / SECOND for deaths in range(9)]

    assert pauses == [0, 0, 0, 0.5, 1, 2, 4, 8, 10]
    assert restart_pause_ns(1_000) == 10 * SECOND


def test_a_long_life_forgets_earlier_deaths() -> None:
    """A child that lived for ten seconds is restarted at once, whatever happened before."""
    child = ChildState(Role.WORKER, 0)

    for _ in range(5):
        child.count_death(SECOND)
    looping = child.quick_deaths
    child.count_death(10 * SECOND)

    assert (looping, restart_pause_ns(child.quick_deaths)) == (5, 0)


def test_a_child_inherits_only_what_it_is_handed() -> None:
    """A child has its standard streams, its link and the named descriptors, in a session of its own."""
    read, write = os.pipe()
    kept, hidden = os.pipe()
    script = """
import json, os, sys
def is_open(fd):
    try: return bool(os.fstat(fd))
    except OSError: return False
os.write(int(sys.argv[1]), json.dumps([list(filter(is_open, range(256))), os.getsid(0)]).encode())
"""
    child = ChildState(Role.COMPARER, 0)

    ours = child.begin(Launch(words=[sys.executable, "-c", script, str(write)], fds=(write, kept)), now_ns=0)
    os.close(write)
    link_fd = int(child.process.args[-1]) if child.process and isinstance(child.process.args, list) else -1
    with os.fdopen(read) as answers:
        said = answers.read()
    pid = child.pid
    assert child.process is not None
    child.end(child.process.wait(), now_ns=1)
    ours.close()
    os.close(kept)
    os.close(hidden)

    descriptors, session = json.loads(said)
    assert set(descriptors) == {0, 1, 2, write, kept, link_fd}
    assert session == pid


def test_the_child_is_this_very_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child runs our own module under ``-P``, and finds it whatever stands in PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")

    path = child_environment()["PYTHONPATH"].split(os.pathsep)

    assert os.path.exists(os.path.join(path[0], "proxy", "children.py"))
    assert path[1:] == ["/somewhere/else"]
    assert list(product_command(Role.WORKER)) == [sys.executable, "-P", "-m", "matapalo", "_worker"]
