"""Rules of the child's end of the link to its supervisor, on a real socket pair."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from shadow import link
from shadow.parent import ParentLink

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Hold the other end of the pair and what arrived there."""

    socket: socket.socket
    reader: link.FrameReader = field(default_factory=link.FrameReader)
    messages: list[link.Any] = field(default_factory=list)

    async def hear(self, count: int) -> list[link.Any]:
        """Read until *count* messages have arrived, within a minute."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while len(self.messages) < count:
                data = await loop.sock_recv(self.socket, 65536)
                assert data, "the child closed its end"
                self.messages.extend(message for message, _ in self.reader.feed(data))
        return self.messages


def run(make_loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    """Run one test body on the given kind of loop."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main)


def pair() -> tuple[Supervisor, int]:
    """Make both ends as the supervisor does: its own not inherited, the child's a bare descriptor."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Supervisor(socket=ours), theirs.detach()


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_child_introduces_itself_and_keeps_beating(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A child says Hello first and then at least one Beat per second with its current state."""
    supervisor, fd = pair()

    async def main() -> None:
        parent = ParentLink(fd, "worker", 3, "e1", lambda _: None, lambda: None)
        parent.beat_state = lambda: link.Beat(accepting=True, revision=len(supervisor.messages))
        await parent.open()
        parent.ready(ok=True, detail="127.0.0.1:1")
        hello, first, ready, *beats = await supervisor.hear(6)
        parent.close()

        assert hello == link.Hello(protocol=link.PROTOCOL, role="worker", slot=3, epoch="e1", pid=os.getpid())
        assert first == link.Beat(accepting=True, revision=0)
        assert ready == link.Ready(ok=True, detail="127.0.0.1:1")
        assert [beat.accepting for beat in beats if isinstance(beat, link.Beat)] == [True] * 3

    run(make_loop, main())
    supervisor.socket.close()


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_child_hears_its_supervisor_and_its_end(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Messages arrive in order, and the supervisor's death is told exactly once."""
    supervisor, fd = pair()

    async def main() -> None:
        heard: list[link.Any] = []
        gone = asyncio.Event()
        closes: list[int] = []

        def on_close() -> None:
            closes.append(1)
            gone.set()

        parent = ParentLink(fd, "comparer", 0, "e", heard.append, on_close)
        await parent.open()
        supervisor.socket.sendall(link.frame(link.LameDuck()) + link.frame(link.Drain(deadline_ns=7)))
        supervisor.socket.close()
        async with asyncio.timeout(60):
            await gone.wait()
        parent.close()
        await asyncio.sleep(0)

        assert heard == [link.LameDuck(), link.Drain(deadline_ns=7)]
        assert closes == [1]
        assert not parent.send(link.Beat())

    run(make_loop, main())


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_child_that_closes_first_is_not_told_of_its_supervisors_death(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A child that ends on its own flushes its last words and gets no close callback."""
    supervisor, fd = pair()

    async def main() -> None:
        closes: list[int] = []
        parent = ParentLink(fd, "control", 0, "e", lambda _: None, lambda: closes.append(1))
        await parent.open()
        parent.ready(ok=False, detail="the database cannot be opened")
        parent.close()
        messages = await supervisor.hear(3)
        end = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(supervisor.socket, 1), 60)

        assert messages[-1] == link.Ready(ok=False, detail="the database cannot be opened")
        assert end == b""
        assert closes == []

    run(make_loop, main())
    supervisor.socket.close()


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_supervisor_that_reads_nothing_is_as_good_as_gone(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A child never holds more than about 1 MiB for a supervisor that does not read."""
    supervisor, fd = pair()

    async def main() -> None:
        gone = asyncio.Event()
        parent = ParentLink(fd, "control", 0, "e", lambda _: None, gone.set)
        await parent.open()
        big = link.ChangeHolds(request="r", remove=["x" * 1000] * 100)
        sent = 0
        while parent.send(big):
            sent += 1
            assert sent < 100
        async with asyncio.timeout(60):
            await gone.wait()

        assert sent * 100_000 < 4 << 20

    run(make_loop, main())
    supervisor.socket.close()


def test_a_supervisor_that_breaks_the_framing_is_left() -> None:
    """An impossible frame from the supervisor ends the link instead of growing a buffer."""
    supervisor, fd = pair()

    async def main() -> None:
        gone = asyncio.Event()
        parent = ParentLink(fd, "worker", 0, "e", lambda _: None, gone.set)
        await parent.open()
        supervisor.socket.sendall(b"\xff" * 64)
        async with asyncio.timeout(60):
            await gone.wait()

    run(asyncio.new_event_loop, main())
    supervisor.socket.close()


@pytest.mark.parametrize("make_loop", LOOPS)
def test_an_error_in_the_child_costs_one_message(
    make_loop: Callable[[], asyncio.AbstractEventLoop], capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that the child fails over is said on stderr; the link stays, and the next message is heard."""
    supervisor, fd = pair()
    heard: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        def on_message(message: link.Any) -> None:
            heard.append(type(message).__name__)
            if isinstance(message, link.LameDuck):
                raise RuntimeError("a mistake of ours")
            done.set()

        parent = ParentLink(fd, "worker", 0, "e1", on_message, lambda: heard.append("lost"))
        await parent.open()
        supervisor.socket.sendall(link.frame(link.LameDuck()) + link.frame(link.Reload()))
        async with asyncio.timeout(60):
            await done.wait()
        parent.close()

    run(make_loop, main())
    supervisor.socket.close()

    said = capsys.readouterr().err
    assert heard == ["LameDuck", "Reload"]
    assert "worker 0: LameDuck failed" in said
    assert "a mistake of ours" in said
