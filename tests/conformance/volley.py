"""Send many vectors at once through one proxy and keep what both ends saw.

The backend end (:class:`Sink`) judges every request and answers it; the client end opens one connection per
sending. Each sending has a tag of its own, so what reached the backend finds its way to who sent it.

Rules of this file:

1. Bytes go out exactly as given, each slice as a write of its own.
2. Nothing is inferred from silence but silence: without an answer in time the outcome is a hang.
3. A backend connection that carried anything ambiguous is closed, so that nothing of it colours the next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from tests.conformance.judge import Arrival, read_arrival
from tests.conformance.vectors import TAG
from tests.support.loopthread import LoopThread

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
SETTLE_S = 0.03
"""How long a connection that was answered is watched for a second answer."""
TAGS = 99_000
"""Tags before they begin anew; those behind are for requests that are no vectors."""
BATCH = 1_000
"""Sendings per call into the loop, which has a time limit of its own."""
QUIET_S = 0.05
"""How long the backend end must have seen nothing before its arrivals are read."""
PART_S = 0.5
"""How long a proxy may hold a backend connection that has ended."""

Ending: TypeAlias = Literal["closed", "open", "hang"]

_TAG = re.compile(rb"tag([0-9]{5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Say what goes over one connection, write by write."""

    slices: tuple[bytes, ...]
    """With :data:`TAG` where the tag goes, even across slices."""
    first: bytes = b""
    """A request to be answered on the same connection before."""
    gap_s: float = 0.0
    """Between two writes."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Keep what one sending led to."""

    statuses: list[int] = field(default_factory=list)
    """Of the answers on its connection behind the first good request's, interim ones left out."""
    ending: Ending = "hang"
    """``closed``: by the proxy; ``open``: answered and kept; ``hang``: no answer in time."""
    seconds: float = 0.0
    answer: bytes = b""
    arrivals: list[Arrival] = field(default_factory=list)
    tag: bytes = b""
    """What stood in the place of :data:`TAG`."""

    @property
    def status(self) -> int:
        """Give the status of the first answer, 0 without one."""
        return self.statuses[0] if self.statuses else 0

    @property
    def reached(self) -> bool:
        """Tell whether a whole request reached the backend."""
        return any(one.complete for one in self.arrivals)

    @property
    def findings(self) -> list[str]:
        """List what was ambiguous about what reached the backend."""
        found = [finding for one in self.arrivals for finding in one.findings]
        if sum(one.complete for one in self.arrivals) > 1 or any(b"inside" in one.target for one in self.arrivals):
            found.append("one request became two")
        return found


# --- the backend's end ---


class _SinkConnection(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._sink.joined(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and not self._transport.is_closing():
            arrival, taken = read_arrival(self._buffer)
            if arrival is None:
                self._sink.touch()
                return
            self._buffer = self._buffer[taken:]
            self._sink.record(arrival)
            last = bool(arrival.findings) or b" HTTP/1.1\r\n" not in arrival.raw[: arrival.raw.find(b"\n") + 1]
            end = b"Connection: close\r\n\r\n" if last else b"\r\n"
            self._transport.write(ANSWER + end + (b"" if arrival.method == b"HEAD" else b"ok\n"))
            if last:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.left(self)
        rest, _ = read_arrival(self._buffer, ended=True)
        if rest is not None:
            self._sink.record(rest)

    def finish(self) -> None:
        """Send a FIN and go on reading."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()


class Sink:
    """Be the backend: judge what arrives, answer it, sort it by tag."""

    def __init__(self) -> None:
        self.live: set[_SinkConnection] = set()
        self.strays: list[Arrival] = []
        """What arrived without a tag."""
        self._arrivals: defaultdict[bytes, list[Arrival]] = defaultdict(list)
        self._alone = asyncio.Event()
        self._alone.set()
        self._touched = 0.0
        self._server: asyncio.Server

    async def listen(self) -> tuple[str, int]:
        """Listen on a loopback port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _SinkConnection(self), "127.0.0.1", 0, backlog=1_024)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for one in tuple(self.live):
            one.abort()
        await asyncio.sleep(0)

    def joined(self, one: _SinkConnection) -> None:
        """Note a connection of the proxy's."""
        self.live.add(one)
        self._alone.clear()

    def left(self, one: _SinkConnection) -> None:
        """Note the end of a connection."""
        self.live.discard(one)
        if not self.live:
            self._alone.set()

    def record(self, arrival: Arrival) -> None:
        """Keep one arrival under the first tag that stands in it."""
        self.touch()
        match = _TAG.search(arrival.raw)
        if match is None:
            self.strays.append(arrival)
        else:
            self._arrivals[match[0]].append(arrival)

    def touch(self) -> None:
        """Note that something happens."""
        self._touched = time.monotonic()

    async def quiet(self) -> None:
        """Wait until nothing has happened for a moment."""
        # Silence is the absence of events: there is none to wait for.
        while (left_s := self._touched + QUIET_S - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)

    async def part(self) -> None:
        """End every connection as a patient backend does: say so, and let the proxy leave first."""
        for one in tuple(self.live):
            one.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PART_S):
                await self._alone.wait()
        for one in tuple(self.live):
            one.abort()

    def take(self, tag: bytes) -> list[Arrival]:
        """Hand over what arrived under one tag."""
        return self._arrivals.pop(tag, [])


# --- the client's end ---


class _Sending(asyncio.Protocol):
    """Be one client connection: write slices, read answers, note the end."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self.bodiless = False
        """The request was a HEAD: answers have no body."""
        self._news = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._news.set()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.ended = True
        self._news.set()

    def statuses(self) -> list[int]:
        """List the statuses of the whole answers so far."""
        return read_answers(self.data, ended=self.ended, bodiless=self.bodiless)[0]

    async def news(self, timeout_s: float) -> bool:
        """Wait for bytes or the end; ``False``: neither came."""
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True


def read_answers(data: bytes, *, ended: bool = False, bodiless: bool = False) -> tuple[list[int], int]:
    """List the statuses of the whole final answers in *data* and how many bytes they take."""
    statuses: list[int] = []
    at = 0
    while True:
        head_end = data.find(b"\r\n\r\n", at)
        match = re.match(rb"HTTP/1\.[01] ([0-9]{3})[ \r]", data[at:head_end]) if head_end > 0 else None
        if match is None:
            return statuses, at
        status, head = int(match[1]), data[at:head_end].lower()
        end: int | None = head_end + 4
        if status >= 200 and status not in (204, 304) and not bodiless:
            end = _answer_end(data, head, head_end + 4, ended=ended)
        if end is None or len(data) < end:
            return statuses, at
        if status >= 200 or status == 101:
            statuses.append(status)
        at = end


def _answer_end(data: bytes, head: bytes, start: int, *, ended: bool) -> int | None:
    if re.search(rb"\r\ntransfer-encoding:[ \t]*chunked", head):
        at = start
        while match := re.compile(rb"([0-9a-fA-F]+)[^\n]*\r\n").match(data, at):
            at = match.end() + int(match[1], 16) + 2
            if int(match[1], 16) == 0:
                return at
        return None
    length = re.search(rb"\r\ncontent-length:[ \t]*([0-9]+)", head)
    if length is not None:
        return start + int(length[1])
    return len(data) if ended else None


async def _send(address: tuple[str, int], shot: Shot, patience_s: float, close_s: float) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    begun = loop.time()
    try:
        _, sending = await loop.create_connection(_Sending, *address)
    except OSError:
        return outcome
    try:
        if shot.first:
            sending.transport.write(shot.first)
            await _until(sending, loop.time() + patience_s)
            _, taken = read_answers(sending.data)
            sending.data = sending.data[taken:]
        sending.bodiless = b"".join(shot.slices).lstrip(b"\r\n")[:5] == b"HEAD "
        for number, one in enumerate(shot.slices):
            if number and shot.gap_s:
                await asyncio.sleep(shot.gap_s)
            if sending.ended:
                break
            sending.transport.write(one)
        begun = loop.time()
        await _until(sending, begun + patience_s)
        outcome.seconds = loop.time() - begun
        if sending.statuses() and not sending.ended:
            # A refusal must be followed by the end; what was answered is only watched for a second answer.
            watched_s = close_s if sending.statuses()[-1] >= 400 else SETTLE_S
            while not sending.ended and await sending.news(watched_s):
                pass
        outcome.statuses = sending.statuses()
        outcome.answer = sending.data
        outcome.ending = "closed" if sending.ended else "open" if outcome.statuses else "hang"
    finally:
        sending.transport.abort()
    return outcome


async def _until(sending: _Sending, deadline: float) -> None:
    """Wait for an answer, the end, or the deadline."""
    loop = asyncio.get_running_loop()
    while not sending.ended and not sending.statuses():
        if not await sending.news(max(0.0, deadline - loop.time())):
            return


class Volley:
    """Hold a backend end and send vectors at a proxy in front of it.

    Runs: on a thread of its own; every method is for the caller's thread.
    """

    def __init__(self) -> None:
        self._loop = LoopThread("volley")
        self.sink = Sink()
        self.backend: tuple[str, int] = self._loop.call(self.sink.listen())
        self._next = 0

    def __enter__(self) -> Volley:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both ends."""
        self._loop.close(self.sink.close)

    def fire(
        self,
        address: tuple[str, int],
        shots: Sequence[Shot],
        *,
        at_once: int = 64,
        patience_s: float = 5.0,
        close_s: float | None = None,
    ) -> list[Outcome]:
        """Send every shot over a connection of its own and give what became of each, in order.

        Unit: *patience_s* is the wait for an answer, *close_s* that for the end behind a refusal (the same, if unset).
        """
        close_s = patience_s if close_s is None else close_s
        outcomes: list[Outcome] = []
        # Batches keep one call into the loop below its own limit.
        for start in range(0, len(shots), BATCH):
            batch = [self._tagged(shot) for shot in shots[start : start + BATCH]]
            outcomes += self._loop.call(self._fire(address, batch, at_once, patience_s, close_s))
        return outcomes

    def _tagged(self, shot: Shot) -> tuple[bytes, Shot]:
        tag = b"tag%05d" % self._next
        self._next = (self._next + 1) % TAGS
        whole = b"".join(shot.slices).replace(TAG, tag)
        cuts, at = [], 0
        for one in shot.slices:
            cuts.append(whole[at : at + len(one)])
            at += len(one)
        return tag, Shot(slices=tuple(cuts), first=shot.first, gap_s=shot.gap_s)

    async def _fire(
        self,
        address: tuple[str, int],
        shots: Sequence[tuple[bytes, Shot]],
        at_once: int,
        patience_s: float,
        close_s: float,
    ) -> list[Outcome]:
        room = asyncio.Semaphore(at_once)

        async def one(shot: Shot) -> Outcome:
            async with room:
                return await _send(address, shot, patience_s, close_s)

        tags = [tag for tag, _ in shots]
        outcomes = await asyncio.gather(*(one(shot) for _, shot in shots))
        await self.sink.quiet()
        await self.sink.part()
        for tag, outcome in zip(tags, outcomes, strict=True):
            outcome.arrivals, outcome.tag = self.sink.take(tag), tag
        return outcomes


def whole(raw: bytes) -> Shot:
    """Send everything in one write."""
    return Shot(slices=(raw,))


def byte_by_byte(raw: bytes, *, gap_s: float = 0.002, most: int = 400) -> Shot:
    """Send every byte as a write of its own; of a long vector, slices that are as short as *most* writes allow."""
    step = -(-len(raw) // most)
    return Shot(slices=tuple(raw[at : at + step] for at in range(0, len(raw), step)), gap_s=gap_s)


def cut_at(raw: bytes, offset: int, *, gap_s: float = 0.005) -> Shot:
    """Send everything in two writes."""
    return Shot(slices=(raw[:offset], raw[offset:]), gap_s=gap_s)


def second(raw: bytes) -> Shot:
    """Send a good request, and behind its answer the vector with a third request at once."""
    good = b"GET /tag99999 HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    return Shot(slices=(raw + b"GET /third-tag00000 HTTP/1.1\r\nHost: shop.test\r\n\r\n",), first=good)
