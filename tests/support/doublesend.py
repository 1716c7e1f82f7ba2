"""Prove that nobody is asked twice: two counting services, many clients at once, retries and cancels.

The services count what they read as a server would act on it: bytes that arrive behind their own close are never
read. They close connections at random moments, so that requests meet connections that are closed under them; clients
leave at random moments. Every body is made from the request, so one byte of a neighbour would show.

::

    with Services() as services, OneWorker(backends=services.urls, …) as worker:
        proof = services.prove(worker.address, requests=5_000)
    assert proof.faults() == []
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Self, cast

import uvloop

LATE_S = 0.003
"""A twentieth of the answers comes late, so that clients leave in every phase."""


def body_of(number: int, sent: bytes) -> bytes:
    """Make the one right answer to a request: 8 bytes to 40 KiB."""
    unit = b"%07d." % number
    return unit * (1 + number % 50 * (100 if number % 97 == 0 else 1)) + sent


@dataclass(slots=True, kw_only=True)
class Proof:
    """Hold what the clients and both services saw."""

    primary: Counter[int] = field(default_factory=Counter)
    """How often each request reached the service that answers."""
    copies: Counter[int] = field(default_factory=Counter)
    answered: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    """Requests that met a closed connection twice, or once and must not be sent again."""
    wrong: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Say in sentences what must never happen; empty: nothing did."""
        found = self.wrong[:10]
        for number in self.answered:
            if self.primary[number] != 1:
                found.append(f"request {number} was answered, and reached its service {self.primary[number]} times")
        found += [f"request {one} was acted on {times} times" for one, times in self.primary.items() if times > 1]
        found += [f"request {one} was copied {times} times" for one, times in self.copies.items() if times > 1]
        return found


class _Service(asyncio.Protocol):
    """Answer and count one connection."""

    def __init__(self, services: Services, *, is_shadow: bool) -> None:
        self._services, self._is_shadow = services, is_shadow
        self._buffer = b""
        self._owes = False
        """An answer that it acted for is still to be written; a service does not close on it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._services.transports.add(transport)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's

    def data_received(self, data: bytes) -> None:
        """Act on every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, has_length, rest = head.partition(b"\r\ncontent-length: ")
            size = int(rest.partition(b"\r\n")[0]) if has_length else 0
            if len(self._buffer) < end + 4 + size:
                return
            sent, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
            number = int(head.split(b" ", 2)[1].rpartition(b"/")[2])
            self._act(number, sent, is_marked=b"\r\nx-matapalo-shadow: 1" in head)

    def _act(self, number: int, sent: bytes, *, is_marked: bool) -> None:
        services = self._services
        proof = services.proof
        (proof.copies if self._is_shadow else proof.primary)[number] += 1
        if is_marked is not self._is_shadow:
            proof.wrong.append(f"request {number} is {'' if is_marked else 'not '}marked as a copy on the wrong side")
        body = body_of(number, sent)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        chance = services.chance.random()
        loop = asyncio.get_running_loop()
        self._owes = True
        if chance < 0.05:
            loop.call_later(LATE_S, self._answer, answer)
            return
        self._answer(answer)
        if chance < 0.1:
            # Just when it may be wanted again.
            loop.call_later(services.chance.random() * 0.002, self._close)

    def _answer(self, answer: bytes) -> None:
        self._owes = False
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _close(self) -> None:
        if not self._owes:
            self._transport.close()


class Services:
    """Listen as both services, and drive clients against the worker in front of them."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.proof = Proof()
        self.transports: set[asyncio.BaseTransport] = set()
        self._sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=512) for name in ("legacy", "new")}

    @property
    def urls(self) -> dict[str, str]:
        """Name both services' addresses."""
        return {name: f"http://127.0.0.1:{one.getsockname()[1]}" for name, one in self._sockets.items()}

    def prove(self, address: tuple[str, int], *, requests: int, concurrency: int = 50, cancels: bool = True) -> Proof:
        """Send *requests* from *concurrency* clients at once, GET and POST in turns, and give what everybody saw.

        Runs: both services and all clients in one loop of this thread; about 0.15 ms per request.
        """
        self.proof = Proof()
        uvloop.run(self._prove(address, requests, concurrency, cancels=cancels))
        return self.proof

    async def _prove(self, address: tuple[str, int], requests: int, concurrency: int, *, cancels: bool) -> None:
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda n=name: _Service(self, is_shadow=n == "new"), sock=one.dup())  # type: ignore[misc]
            for name, one in self._sockets.items()
        ]
        numbers = count()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._client(address, numbers, requests, cancels=cancels))
        await asyncio.sleep(0.3)  # copies that are still on their way
        for server in servers:
            server.close()
        for transport in self.transports:
            cast("asyncio.Transport", transport).abort()
        self.transports.clear()
        await asyncio.sleep(0.05)

    async def _client(self, address: tuple[str, int], numbers: count[int], requests: int, *, cancels: bool) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while (number := next(numbers)) < requests:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(*address)
            posts = number % 10 == 3
            sent = b"%d!" % number * 20 if posts else b""
            head = b"%b /api/%d HTTP/1.1\r\nHost: a\r\n" % (b"POST" if posts else b"GET", number)
            writer.write(head + (b"Content-Length: %d\r\n\r\n%b" % (len(sent), sent) if posts else b"\r\n"))
            if cancels and number % 17 == 5:
                await asyncio.sleep(self.chance.random() * 2 * LATE_S)
                self.proof.cancelled.add(number)
                socket_ = writer.get_extra_info("socket")
                socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                reader = writer = None
                continue
            async with asyncio.timeout(60):
                answer = await reader.readuntil(b"\r\n\r\n")
                size = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(size)
            if answer.startswith(b"HTTP/1.1 200 ") and body == body_of(number, sent):
                self.proof.answered.add(number)
            elif answer.startswith(b"HTTP/1.1 502 "):
                self.proof.failed.add(number)
            else:
                self.proof.wrong.append(f"request {number} was answered {answer[:12]!r} {body[:60]!r}")
            if b"\r\nconnection: close" in answer.lower():
                writer.close()
                reader = writer = None
        if writer is not None:
            writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets.values():
            one.close()
