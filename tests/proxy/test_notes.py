"""Rules of the notes in the state directory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from proxy.children import ChildState, Role
from proxy.events import EventLog
from proxy.notes import Notes
from proxy.statedir import StateDir


@pytest.fixture
def said() -> Iterator[BinaryIO]:
    """Make a place for log lines, which would else stand among those of the test run."""
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture
def log(said: BinaryIO) -> Iterator[EventLog]:
    """Make a log that ends with its test."""
    made = EventLog("supervisor", said.fileno())
    yield made
    made.close()


def test_notes_of_a_killed_predecessor_are_gone_before_new_ones_are_written(tmp_path: Path, log: EventLog) -> None:
    """A reader never takes a former process's addresses for this one's."""
    (tmp_path / "addresses.json").write_text("{}")
    (tmp_path / "children.json").write_text("{}")

    notes = Notes(StateDir(path=str(tmp_path), lock_fd=-1), log)
    between = os.listdir(tmp_path)
    notes.addresses(listen=["127.0.0.1:1"], admin=None, health="127.0.0.1:2")
    notes.children([ChildState(Role.WORKER, 0)])

    assert between == []
    assert json.loads((tmp_path / "addresses.json").read_text()) == {
        "listen": ["127.0.0.1:1"],
        "admin": None,
        "health": "127.0.0.1:2",
    }
    assert json.loads((tmp_path / "children.json").read_text()) == {"supervisor": os.getpid(), "children": []}


def test_a_note_that_cannot_be_written_ends_nothing(tmp_path: Path, log: EventLog, said: BinaryIO) -> None:
    """A state directory that vanished costs the notes, which is said, and nothing else."""
    notes = Notes(StateDir(path=str(tmp_path / "gone"), lock_fd=-1), log)

    notes.children([])
    notes.remove()
    log.close(60)
    said.seek(0)

    assert [json.loads(line)["message"] for line in said] == [
        "children.json cannot be written: No such file or directory"
    ]
