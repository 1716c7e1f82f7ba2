"""Rules of bringing Findings and counts to control, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shadow import link, reports
from shadow.reports import ControlLink
from tests.shadow.made import compared


def a_finding(number: int) -> link.Finding:
    """Make one finding that can be told apart by its request id."""
    return compared(b"1", b"2", sequence=number)[1]


class Control:
    """Listen as control does, and keep what arrives."""

    def __init__(self) -> None:
        self.messages: list[link.Any] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.changed = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one comparer's connection to its end."""
        self.writers.append(writer)
        frames = link.FrameReader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.messages.extend(message for message, _ in frames.feed(data))
                self.changed.set()
        writer.close()

    async def hear(self, count: int) -> list[link.Any]:
        """Wait until *count* messages have arrived, within a minute."""
        async with asyncio.timeout(60):
            while len(self.messages) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.messages


def ids_of(messages: list[link.Any]) -> list[str]:
    """Name the request ids of the findings among messages."""
    return [message.request_id for message in messages if isinstance(message, link.Finding)]


@contextlib.asynccontextmanager
async def linked(path: Path) -> AsyncIterator[ControlLink]:
    """Run one control link, and end it."""
    control_link = ControlLink(str(path), 2, "epoch")
    task = asyncio.create_task(control_link.keep_connected())
    try:
        yield control_link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        control_link.close()
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_findings_wait_for_control_and_go_on_after_its_restart() -> None:
    """Findings made while control is away arrive in order when it comes, after a Hello, and again after a restart."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        async with linked(path) as control_link:
            assert control_link.offer(a_finding(1))
            assert control_link.offer(a_finding(2))

            control = Control()
            server = await asyncio.start_unix_server(control.take, path)
            hello, one, two = await control.hear(3)
            assert isinstance(hello, link.Hello)
            assert (hello.role, hello.slot, hello.epoch, hello.protocol) == ("comparer", 2, "epoch", link.PROTOCOL)
            assert ids_of([one, two]) == ["r1", "r2"]

            server.close()
            for writer in control.writers:
                writer.transport.abort()
            path.unlink(missing_ok=True)
            again = Control()
            server = await asyncio.start_unix_server(again.take, path)
            await again.hear(1)
            assert control_link.offer(a_finding(3))
            assert ids_of(await again.hear(2)) == ["r3"]
            server.close()
            for writer in again.writers:
                writer.transport.abort()


@pytest.mark.anyio
async def test_a_control_that_is_away_costs_two_hundred_findings_of_memory() -> None:
    """While nobody listens at most 200 findings wait; a further one is refused, not queued."""
    control_link = ControlLink("/nowhere/control.sock", 0, "epoch")
    one = a_finding(1)

    taken = sum(control_link.offer(one) for _ in range(500))

    assert taken == reports.MAX_QUEUED
    assert not control_link.offer(one)


@pytest.mark.anyio
async def test_a_control_that_does_not_read_never_blocks_the_comparer() -> None:
    """A control that accepts and then reads nothing costs a bounded queue, and offering returns at once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        one = a_finding(1)
        async with asyncio.timeout(60), linked(path) as control_link:
            listener.setblocking(False)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            await asyncio.sleep(0)  # the connecting side learns of it in the same turn of the loop

            taken = sum(control_link.offer(one) for _ in range(20_000))

            assert reports.MAX_QUEUED <= taken < 20_000
            assert not control_link.is_taking
            accepted.close()
        listener.close()
