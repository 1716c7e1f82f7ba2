"""Rules of the links to workers and comparers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from console.peers import Peers, PeersError
from shadow import link
from tests.support.controlnode import FakeWorker, running, until

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 5}


async def test_a_worker_that_links_late_gets_the_current_snapshot(tmp_path: Path) -> None:
    """A worker that links after a flip is pushed the newest revision at once."""
    async with running(tmp_path) as node:
        revision = (await node.post("/api/v1/routes/orders/flip", CANARY)).json()["revision"]

        late = await node.worker(3)
        await until(lambda: late.revision == revision, "the newest revision")


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[tuple[Peers, str, list[Any]]]:
    """Listen on a socket of its own, and note everything that comes."""
    heard: list[Any] = []

    def fail_on_boom(tally: link.Tally) -> None:
        if "boom" in tally.counts:
            raise ZeroDivisionError
        heard.append(tally)

    opened = Peers(
        current=lambda: (7, b"snapshot"),
        on_worker=heard.append,
        on_lost=heard.append,
        on_tally=fail_on_boom,
        on_finding=heard.append,
        on_seen=heard.append,
        on_repeated=heard.append,
        on_error=heard.append,
    )
    path = str(tmp_path / "control.sock")
    await opened.open(path)
    yield opened, path, heard
    await opened.close()


def deaf() -> dict[str, Any]:
    """Hear nothing."""
    names = ("on_worker", "on_lost", "on_tally", "on_finding", "on_seen", "on_repeated", "on_error")
    return {name: lambda _: None for name in names}


async def test_the_socket_is_private_and_replaces_a_dead_ones(tmp_path: Path) -> None:
    """control.sock has mode 0600, and what a killed control left there is no obstacle."""
    path = tmp_path / "control.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    opened = Peers(current=lambda: (1, b""), **deaf())

    await opened.open(str(path))
    mode = stat.S_IMODE(path.stat().st_mode)
    await opened.close()

    assert mode == 0o600


async def test_a_path_that_cannot_be_listened_on_is_a_sentence(tmp_path: Path) -> None:
    """A socket path that cannot be had names itself and the reason."""
    opened = Peers(current=lambda: (1, b""), **deaf())

    with pytest.raises(PeersError, match="cannot be listened on"):
        await opened.open(str(tmp_path / "nowhere" / "control.sock"))


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        link.frame(link.Ack(revision=1)),
        link.frame(link.Hello(protocol=99, role="worker", slot=0, epoch="e", pid=1)),
        link.frame(link.Hello(protocol=link.PROTOCOL, role="control", slot=0, epoch="e", pid=1)),
        link.frame(link.Hello(protocol=link.PROTOCOL, role="comparer", slot=0, epoch="e", pid=1))
        + link.frame(link.Ack(revision=1))[:-1]
        + b"\x00"
        + link.frame(link.Drain(deadline_ns=1)),
    ],
    ids=range(6),
)
async def test_who_breaks_the_protocol_is_cut_off(peers: tuple[Peers, str, list[Any]], raw: bytes) -> None:
    """A stranger, another protocol or a message out of place closes that link and no other."""
    opened, path, _ = peers
    good = await FakeWorker(path, 0).open()
    await until(lambda: bool(good.pushes), "the snapshot")

    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(raw)
    left = b"x"
    with contextlib.suppress(OSError):
        async with asyncio.timeout(60):
            while left:
                left = await reader.read(1_024)
    writer.close()
    still = [peer.hello.slot for peer in opened.workers()]
    await good.close()

    assert still == [0]


async def test_a_message_that_fails_inside_costs_only_its_link(peers: tuple[Peers, str, list[Any]]) -> None:
    """An error while a message is taken is told and closes that link; the others go on."""
    opened, path, heard = peers
    one, other = await FakeWorker(path, 0).open(), await FakeWorker(path, 1).open()

    one.tally({"boom": 1})
    await until(lambda: any(isinstance(item, ZeroDivisionError) for item in heard), "the error")
    other.tally({"sent|orders": 1})
    await until(lambda: any(isinstance(item, link.Tally) for item in heard), "the tally")
    slots = [peer.hello.slot for peer in opened.workers()]
    await one.close()
    await other.close()

    assert slots == [1]


async def test_a_tally_of_another_epoch_is_out_of_place(peers: tuple[Peers, str, list[Any]]) -> None:
    """A worker speaks for its own epoch only."""
    opened, path, heard = peers
    worker = await FakeWorker(path, 0).open()
    await until(lambda: bool(opened.workers()), "the link")

    worker.send(link.Tally(epoch="another", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
    await until(lambda: not opened.workers(), "the end of the link")
    await worker.close()

    assert not any(isinstance(item, link.Tally) for item in heard)


async def test_a_spread_names_who_served_refused_lagged_and_died(peers: tuple[Peers, str, list[Any]]) -> None:
    """Of four workers one acknowledges, one refuses, one is silent and one dies: each is named for what it did."""
    opened, path, _ = peers
    workers = [FakeWorker(path, slot, answers=slot != 2) for slot in range(4)]
    for worker in workers:
        await worker.open()
    await until(lambda: len(opened.workers()) == 4, "four links")
    await opened.spread(7, opened.workers()[:2], 5.0)
    workers[1].refuse = "no"
    workers[3].dies_on_push = True

    good, refusing, _silent, dying = pushed = opened.push(8, b"next")
    await until(lambda: good.acked == 8 and refusing.refusal is not None and not dying.is_linked, "three have done it")
    spread = await opened.spread(8, pushed, 0.05)
    for worker in workers:
        await worker.close()

    assert (spread.acked, spread.refused, spread.missing, spread.lost) == ((0,), ((1, "no"),), (2,), (3,))


async def test_a_late_worker_is_waited_for(peers: tuple[Peers, str, list[Any]]) -> None:
    """A slot that links within the wait is found; one that stays away is not, and costs no more than the wait."""
    opened, path, _ = peers
    early = await FakeWorker(path, 0).open()
    await until(lambda: bool(opened.workers()), "the link")
    waiting = asyncio.create_task(opened.joined({0, 1}, 5.0), name="waiting")
    late = await FakeWorker(path, 1).open()

    found = await waiting
    alone = await opened.joined({2}, 0.05)
    await early.close()
    await late.close()

    assert [peer.hello.slot for peer in found] == [0, 1]
    assert alone == []
