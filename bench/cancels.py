"""Leave a server in every way and at every moment that a client can, thousands of times.

A proxy that forgets one slot, descriptor or request per ten thousand of these
runs full in a week. The driver only leaves; whoever calls it looks at what the
server still holds afterwards, and at the requests that :func:`answered` makes.
The backend is as moody as the clients, so that both sides of a connection end
in every order.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)
_LARGE: Final = bytes(300_000)

MOODS: Final = ("quick", "slow", "large", "interim", "drip", "reset", "silent")
"""What :class:`Moody` does, named by the target's last segment."""


def _head(method: str, mood: str, fields: str = "") -> bytes:
    return f"{method} /api/{mood} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n".encode()


async def _nothing(one: _Leaver) -> None:
    """Leave right after the connect."""


async def _half_a_head(one: _Leaver) -> None:
    """Leave inside the head."""
    head = _head("GET", one.mood())
    await one.send(head[: one.random.randrange(1, len(head))])


async def _asked(one: _Leaver) -> None:
    """Leave behind the head: while a connection is waited for, opened, or the backend thinks."""
    await one.send(_head("GET", one.mood()))


async def _upload(one: _Leaver) -> None:
    """Leave inside a body of known length."""
    await one.send(_head("POST", one.mood(), "Content-Length: 200000\r\n") + bytes(one.random.randrange(0, 60_000)))


async def _chunks(one: _Leaver) -> None:
    """Leave inside a chunk."""
    await one.send(_head("PUT", one.mood(), "Transfer-Encoding: chunked\r\n") + b"2710\r\n" + bytes(500))


async def _download(one: _Leaver) -> None:
    """Leave inside the answer."""
    await one.send(_head("GET", one.random.choice(("large", "drip"))))
    await one.receive(one.random.randrange(1, 200_000))


async def _interim(one: _Leaver) -> None:
    """Leave between an interim answer and the final one."""
    await one.send(_head("GET", "interim"))
    await one.receive(20)


async def _ahead(one: _Leaver) -> None:
    """Leave with several requests sent ahead, in one read or in two."""
    await one.send(_head("GET", one.mood()) * one.random.randrange(1, 4))
    await one.pause()
    await one.send(_head("GET", one.mood()))


async def _satisfied(one: _Leaver) -> None:
    """Leave after one whole answer, the connection idle."""
    await one.send(_head("GET", "quick"))
    await one.receive(50)


PHASES: Final[dict[str, Callable[[_Leaver], Coroutine[object, object, None]]]] = {
    "connected": _nothing,
    "head": _half_a_head,
    "asked": _asked,
    "upload": _upload,
    "chunks": _chunks,
    "download": _download,
    "interim": _interim,
    "ahead": _ahead,
    "satisfied": _satisfied,
}
WAYS: Final = ("close", "reset", "half-close")


class _Leaver:
    """Be one client that leaves."""

    def __init__(self, address: tuple[str, int], chance: random.Random) -> None:
        self.random = chance
        self._address = address
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    def mood(self) -> str:
        """Choose what the backend shall do."""
        return self.random.choice(MOODS)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def receive(self, count: int) -> None:
        while count > 0 and (data := await self._loop.sock_recv(self._socket, min(count, 65_536))):
            count -= len(data)

    async def pause(self) -> None:
        """Let the server come to any point of its work."""
        await asyncio.sleep(self.random.choice((0, 0, 0.0005, 0.002, 0.006)))

    async def leave(self, phase: str, way: str) -> None:
        """Come, do what the phase says for a tenth of a second at most, and leave."""
        # Whatever the server does to a client like this is its right: only what it keeps is judged.
        with contextlib.suppress(OSError, TimeoutError), self._socket:
            async with asyncio.timeout(0.1):
                await self._loop.sock_connect(self._socket, self._address)
                await PHASES[phase](self)
                await self.pause()
                if way == "half-close":
                    self._socket.shutdown(socket.SHUT_WR)
                    await self.pause()
            if way == "reset":
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def leave(
    address: tuple[str, int],
    *,
    count: int,
    seed: int,
    at_once: int = 40,
    phases: Sequence[str] = tuple(PHASES),
    ways: Sequence[str] = WAYS,
) -> Counter[str]:
    """Come and leave *count* times, *at_once* of them at a time; give how often in which phase and way.

    Order: the sequence of phases, ways and moods follows from the seed; their timing does not.
    """
    done: Counter[str] = Counter()

    async def some(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for _ in range(number, count, at_once):
            phase, way = chance.choice(phases), chance.choice(ways)
            await _Leaver(address, chance).leave(phase, way)
            done[f"{phase}, {way}"] += 1

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(some(number))

    asyncio.run(all_of_them())
    return done


def answered(address: tuple[str, int], count: int) -> int:
    """Ask *count* times for the quick answer, each on a connection of its own; tell how many were whole 200s."""
    whole = 0
    for _ in range(count):
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(_head("GET", "quick", "Connection: close\r\n"))
            answer = b""
            while part := client.recv(65_536):
                answer += part
        whole += answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nquick")
    return whole


class _Mood(asyncio.Protocol):
    """Answer one connection as the target says; bodies are not waited for, as many a service does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        mood = data.partition(b" HTTP/1.1\r\n")[0].rpartition(b"/")[2].decode("latin-1")
        later = asyncio.get_running_loop().call_later
        chance = random.random()
        if mood == "quick":
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquick")
        elif mood == "slow":
            later(chance / 100, self._write, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        elif mood == "large":
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_LARGE))
            later(chance / 500, self._write, _LARGE)
        elif mood == "interim":
            self._write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            later(chance / 100, self._write, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ninterim")
        elif mood == "drip":
            self._write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(20):
                later(number / 1000, self._write, b"data: %d\n\n" % number)
            later(0.03, self._transport.close)
        elif mood == "reset":
            later(chance / 200, self._transport.abort)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


class Moody:
    """Listen on loopback with a thread of its own and answer by :data:`MOODS`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._loop.create_server(_Mood, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._loop.run_forever, name="moody", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, whatever is open."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        if hasattr(self._server, "abort_clients"):  # since 3.13
            self._server.abort_clients()
        await asyncio.sleep(0.05)

    def __enter__(self) -> Moody:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
