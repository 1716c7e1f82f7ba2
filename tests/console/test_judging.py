"""A comparer judges for control; what it dies of leaves control alive."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.judging import JudgingError, judge
from shadow import link

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; from shadow.comparer import run; sys.exit(run(sys.argv[1], 0, int(sys.argv[2])))"
POLICY = link.Policy(number=0, route="orders", parity="bytes", keep="fragments")

pytestmark = pytest.mark.anyio


@pytest.fixture
def state_dir() -> Iterator[str]:
    """Give a short path: a Unix socket's is at most 103 bytes on macOS."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield path


@pytest.fixture
def comparer(state_dir: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one comparer until the test ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, state_dir, str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        reader, ready = link.FrameReader(), False
        ours.settimeout(60)
        while not ready:
            ready = any(isinstance(message, link.Ready) for message, _ in reader.feed(ours.recv(1 << 16)))
        yield process
        process.kill()
        process.wait(60)


def pair(legacy: bytes, new: bytes) -> link.Pair:
    """Make a pair as a recheck does."""
    return link.Pair(
        sequence=0,
        policy=0,
        request_id="r1",
        method="GET",
        target=b"/orders/1",
        request_headers=[],
        primary="legacy",
        legacy=link.AnswerHead(200, [(b"content-type", b"application/json")], len(legacy), b"", "old"),
        new=link.AnswerHead(200, [(b"content-type", b"application/json")], len(new), b"", "new"),
        whole=True,
        at=1_700_000_000.0,
        purpose="recheck",
    )


async def test_the_verdict_comes_with_what_was_found(state_dir: str, comparer: subprocess.Popen[bytes]) -> None:
    """Two answers that differ come back with a verdict and the place where they do."""
    legacy, new = b'{"price":1}', b'{"price":2}'

    verdict, finding = await judge(state_dir, 1, POLICY, pair(legacy, new), legacy, new)

    assert verdict.verdict == "divergent"
    assert finding is not None
    assert (finding.route, finding.differences[0].legacy_pointer) == ("orders", "/price")


async def test_a_comparer_that_dies_is_an_answer(state_dir: str, comparer: subprocess.Popen[bytes]) -> None:
    """When the comparer ends over a pair, whoever asked hears that, and control goes on."""
    os.kill(comparer.pid, signal.SIGSTOP)
    asked = asyncio.create_task(judge(state_dir, 1, POLICY, pair(b"1", b"2"), b"1", b"2"))
    await asyncio.sleep(0)
    os.kill(comparer.pid, signal.SIGKILL)

    with pytest.raises(JudgingError, match="comparer"):
        await asked


async def test_without_a_comparer_nobody_judges(state_dir: str) -> None:
    """With no comparer up the sentence says so."""
    with pytest.raises(JudgingError, match="none of 2 comparers"):
        await judge(state_dir, 2, POLICY, pair(b"1", b"2"), b"1", b"2")
