"""Ask at the very moment at which a backend closes its idle connections, and count what was done and what was answered.

The race of keep-alive: a backend closes a connection that was idle for long enough while a proxy is sending the next
request over it. The proxy cannot know whether that request was read, so a GET may be sent again and a POST may not.

::

    with EdgeBackend(idle_s=0.05) as backend, OneWorker(backends={"legacy": backend.url, ...}) as worker:
        outcome = drive(worker.address, backend, method="POST", count=1_000)
    assert outcome.twice == 0
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from tests.support.loopthread import LoopThread


class _Connection(asyncio.Protocol):
    """Answer each request at once and close after the idle time, as a server does that does not announce it."""

    def __init__(self, owner: EdgeBackend) -> None:
        self._owner = owner
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a server makes Transports
        self._owner.connections += 1
        self._owner.live.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or (head[:4] == b"POST" and not body):
            return
        self._buffer = b""
        self._owner.done[head.split(b" ")[1]] += 1
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._owner.idle_s, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.live.discard(self._transport)
        if self._timer is not None:
            self._timer.cancel()


class EdgeBackend:
    """Count each request by its target and close connections after *idle_s* without one.

    Runs: a thread of its own.
    """

    def __init__(self, *, idle_s: float, port: int = 0) -> None:
        self.idle_s = idle_s
        self.done: Counter[bytes] = Counter()
        """How often each target was acted on."""
        self.connections = 0
        self.live: set[asyncio.Transport] = set()
        self._loop = LoopThread("edge backend")
        self._server = self._loop.call(self._listen(port))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", port)

    async def _drop(self) -> None:
        self._server.close()
        for transport in list(self.live):
            transport.abort()
        await asyncio.sleep(0)

    def close(self) -> None:
        """Stop listening and end what is open."""
        self._loop.close(self._drop)

    def __enter__(self) -> EdgeBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Say what became of the requests."""

    asked: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Connections that ended instead of an answer."""
    twice: int = 0
    """Requests that the backend acted on more than once."""
    connections: int = 0
    """Connections that the backend saw."""

    @property
    def errors(self) -> int:
        """How many requests were not answered 200."""
        return self.asked - self.statuses[200]


def drive(
    address: tuple[str, int], backend: EdgeBackend, *, method: str, count: int, clients: int = 16, prefix: str = "/api"
) -> Outcome:
    """Send *count* requests over *clients* keep-alive connections, each about one idle time after the one before."""
    return asyncio.run(_drive(address, backend, method, count, clients, prefix))


async def _drive(
    address: tuple[str, int], backend: EdgeBackend, method: str, count: int, clients: int, prefix: str
) -> Outcome:
    outcome = Outcome()
    backend.done.clear()
    backend.connections = 0
    async with asyncio.TaskGroup() as group:
        for who in range(clients):
            group.create_task(_client(address, backend, method, count // clients, f"{prefix}/{who}", outcome))
    outcome.twice = sum(1 for times in backend.done.values() if times > 1)
    outcome.connections = backend.connections
    return outcome


async def _client(
    address: tuple[str, int], backend: EdgeBackend, method: str, count: int, prefix: str, outcome: Outcome
) -> None:
    body = "Content-Length: 1\r\n\r\nx" if method == "POST" else "\r\n"
    chance = random.Random(prefix)
    writer: asyncio.StreamWriter | None = None
    for number in range(count):
        # A little before, at and a little after the edge.
        await asyncio.sleep(backend.idle_s + chance.uniform(-0.002, 0.003))
        outcome.asked += 1
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(*address)
            writer.write(f"{method} {prefix}-{number} HTTP/1.1\r\nHost: shop.test\r\n{body}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, EOFError):
            outcome.broken += 1
            _close(writer)
            writer = None
            continue
        outcome.statuses[int(head.split(b" ")[1])] += 1
        if b"connection: close" in head.lower():
            _close(writer)
            writer = None
    _close(writer)


def _close(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        writer.close()
