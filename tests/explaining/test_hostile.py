"""Bodies that are meant to cost time, memory or the truth: each gets its verdict, and none is called fine."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.encoding import COSMETIC, covers
from shadow.explain import explain
from shadow.json_value import Meaning, check_meaning
from tests.explaining.hostile import MAKERS
from tests.shadow.made import body_of, corpus_rows
from tests.shadow.test_comparer import Running, framed

SECONDS = 6.0
"""Of processor time, on a machine that is four times as slow as the one that the limits were measured on."""


@pytest.mark.parametrize("name", [name for name, make in MAKERS.items() if "gzip" not in name and "bomb" not in name])
def test_a_hostile_pair_is_explained_within_its_limit(name: str) -> None:
    """Depth, length, repetition, broken text and numbers beyond measure are explained in seconds, by their cause."""
    hostile = MAKERS[name]()

    started = time.process_time()
    found = explain(hostile.legacy, hostile.new)
    spent = time.process_time() - started

    assert spent < SECONDS
    assert found.differences
    if hostile.causes is not None:
        assert found.causes == hostile.causes


@pytest.mark.parametrize("name", [name for name, make in MAKERS.items() if "gzip" not in name and "bomb" not in name])
def test_a_hostile_pair_is_never_called_the_same(name: str) -> None:
    """Value check and replay, in both directions, call no two of them the same but those that differ in spelling."""
    hostile = MAKERS[name]()
    is_spelling = hostile.causes is not None and hostile.causes <= COSMETIC | {"key.duplicate"}

    for one, two in ((hostile.legacy, hostile.new), (hostile.new, hostile.legacy)):
        assert (check_meaning(one, two).meaning is Meaning.SAME) == is_spelling
        if covers(COSMETIC, one, two):
            assert is_spelling or one.rstrip() == two.rstrip()


def test_every_changed_byte_is_a_difference() -> None:
    """Of a thousand real bodies with one byte changed, each gives a difference, and its meaning is never guessed."""
    bodies = sorted({body_of(row, "legacy") for row in corpus_rows("pairs.jsonl.gz")} - {b""})
    dice = random.Random(1)
    for body in dice.sample(bodies, 1_000):
        at = dice.randrange(len(body))
        changed = body[:at] + bytes([body[at] ^ (1 << dice.randrange(7))]) + body[at + 1 :]

        found = explain(body, changed)

        assert found.differences
        assert (found.meaning is Meaning.SAME) == (check_meaning(changed, body).meaning is Meaning.SAME)


@pytest.fixture
def running() -> Iterator[Running]:
    """Give a comparer with the limits that ship."""
    with tempfile.TemporaryDirectory(dir="/tmp") as state_dir:
        one = Running(Path(state_dir))
        yield one
        one.close()


@pytest.mark.alone
def test_a_comparer_lives_through_every_hostile_pair(running: Running) -> None:
    """All of them get their verdict from one and the same process, and only another spelling is tolerated."""
    worker = running.worker()
    pairs = [make() for make in MAKERS.values()]
    for sequence, hostile in enumerate(pairs):
        worker.send(
            framed(
                sequence,
                hostile.legacy,
                hostile.new,
                parity="meaning",
                legacy_headers=hostile.headers[0],
                new_headers=hostile.headers[1],
            )
        )
        # One at a time: a worker does not wait for long ones with its hands full.
        until = time.monotonic() + 60
        while len(worker.verdicts(sequence + 1)) <= sequence and time.monotonic() < until:
            assert running.process.poll() is None, f"{list(MAKERS)[sequence]} ended the comparer"

    verdicts = worker.verdicts(len(pairs))
    tolerated = {name for name, verdict in zip(MAKERS, verdicts, strict=True) if verdict.verdict == "tolerated"}
    assert [verdict.sequence for verdict in verdicts] == list(range(len(pairs)))
    assert {verdict.verdict for verdict in verdicts} <= {"tolerated", "divergent", "undecided"}
    assert tolerated <= {"blanks", "all texts alike in another spelling", "a duplicate less", "250,001 values"}
