"""Hold connections the slow way: heads, bodies and readers that drip, and sockets that say nothing.

Every attacker that is thrown out comes back at once, so there are always as
many as were asked for. Beside them run honest clients: what those see is the
measurement, and how often the attackers were thrown out is the proof that the
deadlines hold.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from typing import Final

KINDS: Final = ("head", "body", "silent", "reader")


class _Attacker(asyncio.Protocol):
    """Be one connection of one kind."""

    def __init__(self, owner: Attackers, kind: str) -> None:
        self._owner, self._kind = owner, kind
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host = b"Host: shop.test\r\n"
        match self._kind:
            case "head":
                transport.write(b"GET %b HTTP/1.1\r\n%bX-Slow: " % (self._owner.path, host))
                self._drip()
            case "body":
                transport.write(b"POST %b HTTP/1.1\r\n%bContent-Length: 100000\r\n\r\n" % (self._owner.upload, host))
                self._drip()
            case "reader":
                transport.write(b"GET %b HTTP/1.1\r\n%b\r\n" % (self._owner.large, host))
                transport.pause_reading()
                self._drip()

    def _drip(self) -> None:
        loop = asyncio.get_running_loop()
        if self._kind == "reader":
            # Nothing can be read past a deadline: look now and then whether the other end is still there.
            if self._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(b"x")
        self._timer = loop.call_later(self._owner.gap_s, self._drip)

    def data_received(self, data: bytes) -> None:
        """Ignore: an answer does not impress an attacker."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owner.lost(self._kind, self._transport)


class Attackers:
    """Run *count* attackers against a port of this machine, an equal share of each kind."""

    def __init__(self, port: int, count: int, *, path: bytes, upload: bytes, large: bytes, gap_s: float = 0.5) -> None:
        self.path, self.upload, self.large, self.gap_s = path, upload, large, gap_s
        self.thrown_out: Counter[str] = Counter()
        self.started = 0
        self._port, self._count = port, count
        self._ending = False
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._run, name="attackers", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in range(self._count):
            self._come(KINDS[number % len(KINDS)])
        self._loop.run_forever()

    def _come(self, kind: str) -> None:
        if self._ending:
            return
        task = self._loop.create_task(self._connect(kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, kind: str) -> None:
        one = socket.socket()
        one.setblocking(False)
        if kind == "reader":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        try:
            await self._loop.sock_connect(one, ("127.0.0.1", self._port))
            self.started += 1
            transport, _ = await self._loop.create_connection(lambda: _Attacker(self, kind), sock=one)
            self._transports.add(transport)
        except OSError:
            one.close()
            self.lost(kind, None)

    def lost(self, kind: str, transport: asyncio.Transport | None) -> None:
        """Count one that was thrown out, and send the next."""
        if transport is not None:
            self._transports.discard(transport)
        if not self._ending:
            self.thrown_out[kind] += 1
            self._loop.call_later(0.05, self._come, kind)

    def close(self) -> None:
        """End them all; idempotent."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()
        self._loop.run_until_complete(self._ended())
        self._loop.close()

    async def _ended(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0.02)

    def _stop(self) -> None:
        self._ending = True
        for task in self._tasks:
            task.cancel()
        self._loop.stop()

    def __enter__(self) -> Attackers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
