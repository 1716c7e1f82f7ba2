"""Rules of the socket that ``rollback --local`` talks to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.localsocket import LocalServer
from shadow import link


async def obey(change: link.ChangeHolds) -> link.HoldsChanged:
    """Answer as the supervisor would."""
    return link.HoldsChanged(request=change.request, ok=True, revision=1, routes=[item.route for item in change.add])


async def restart(asked: link.RestartWorkers) -> AsyncIterator[link.RestartStep]:
    """Answer as the supervisor of one worker would."""
    yield link.RestartStep(request=asked.request, slot=0, former=1, pid=2)
    yield link.RestartStep(request=asked.request, done=True)


def talk(path: Path, sent: bytes, *, answers: int) -> list[link.Any]:
    """Send bytes to a server, read so many messages, or until it hangs up."""

    async def main() -> list[link.Any]:
        server = LocalServer(obey, restart)
        await server.open(str(path))
        assert os.stat(path).st_mode & 0o777 == 0o600
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(sent)
        frames, found = link.FrameReader(), list[link.Any]()
        async with asyncio.timeout(60):
            while len(found) < answers and (data := await reader.read(65_536)):
                found += [message for message, _ in frames.feed(data)]
        writer.close()
        await writer.wait_closed()
        await server.close()
        await asyncio.sleep(0.01)
        return found

    path.write_bytes(b"a leftover")
    found = asyncio.run(main())
    assert not os.path.exists(path)
    return found


def test_changes_are_answered_in_order(tmp_path: Path) -> None:
    """Several changes on one connection get one answer each, whether or not the caller introduced itself."""
    hello = link.Hello(protocol=link.PROTOCOL, role="command", slot=0, epoch="", pid=1)
    first = link.ChangeHolds(request="1", add=[link.HoldItem(route="orders")])
    second = link.ChangeHolds(request="2")

    found = talk(tmp_path / "s", link.frame(hello) + link.frame(first) + link.frame(second), answers=2)

    assert [(one.request, one.routes) for one in found if isinstance(one, link.HoldsChanged)] == [
        ("1", ["orders"]),
        ("2", []),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        link.frame(link.Beat()),
        link.frame(link.Hello(protocol=99, role="command", slot=0, epoch="", pid=1)),
        b"\xff" * 100,
    ],
)
def test_who_speaks_something_else_is_hung_up_on(tmp_path: Path, sent: bytes) -> None:
    """A stranger's bytes close the connection and change nothing."""
    assert talk(tmp_path / "s", sent, answers=1) == []
