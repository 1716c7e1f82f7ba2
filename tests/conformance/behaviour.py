"""Three habits of a proxy that no vector shows: events at once, an end for who left, no order lost at the idle edge."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from tests.support.loopthread import LoopThread
from tests.support.rawclient import ConnectionEndedError, MalformedResponseError, RawClient, request_bytes
from tests.support.recorder import Hang, Pause, RecordedRequest, Recorder, Step, answer

Serve = Callable[[tuple[str, int]], contextlib.AbstractContextManager[tuple[str, int]]]

EVENTS = 20
ABORTS = 10
GIVE_UP_S = 3.0
"""A backend connection that is still open then counts as never closed."""

IDLE_S = 0.05
"""When the backend of the idle edge closes; the clients ask again at that very moment."""
CLIENTS, POSTS = 8, 60


def event_delay_ms(serve: Serve) -> float:
    """Give the median time between a backend's writing an event and a client's reading it."""
    sent: list[float] = []

    def script(request: RecordedRequest) -> Iterable[Step]:
        return _events(sent) if request.target == b"/events" else (answer(b"ok"),)

    delays: list[float] = []
    with Recorder(script) as backend, serve(backend.address) as address, RawClient(address) as client:
        client.send(request_bytes(target="/events", headers=(("Accept", "text/event-stream"),)))
        data = b""
        while len(delays) < EVENTS and (part := client.read_some()):
            data += part
            delays += [time.monotonic() - at for at in sent[len(delays) : data.count(b"data:")]]
    return statistics.median(delays) * 1_000


def _events(sent: list[float]) -> Iterator[Step]:
    yield answer(headers=(("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")), length=False)
    for number in range(EVENTS):
        yield Pause(seconds=0.05)
        event = b"data: %d\n\n" % number
        sent.append(time.monotonic())
        yield b"%x\r\n%b\r\n" % (len(event), event)
    yield b"0\r\n\r\n"


def abort_ms(serve: Serve) -> float:
    """Give the slowest time between a client's leaving and the end of its backend connection; infinite: never."""

    def script(request: RecordedRequest) -> Iterable[Step]:
        return (Hang(),) if request.target == b"/hang" else (answer(b"ok"),)

    slowest = 0.0
    with Recorder(script) as backend, serve(backend.address) as address:
        for _ in range(ABORTS):
            before = len(backend.requests)
            with RawClient(address) as client:
                client.send(request_bytes(target="/hang"))
                backend.wait_until(lambda seen=before: len(backend.requests) > seen, "request")  # type: ignore[misc]
            left = time.monotonic()
            try:
                backend.wait_ended(backend.requests[-1].connection, GIVE_UP_S)
            except TimeoutError:
                return float("inf")
            slowest = max(slowest, time.monotonic() - left)
    return slowest * 1_000


class _Impatient(asyncio.Protocol):
    """Answer every POST, note it, and close after a moment of silence."""

    def __init__(self, seen: Counter[bytes]) -> None:
        self._seen = seen
        self._buffer = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", self._buffer[:end])
            size = int(length[1]) if length else 0
            if len(self._buffer) < end + size:
                return
            self._seen[self._buffer[end : end + size]] += 1
            self._buffer = self._buffer[end + size :]
            self._transport.write(answer(b"ok"))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()


def stale_posts(serve: Serve) -> tuple[int, int, int]:
    """Send POSTs when the backend's idle connections close: how many, how many failed, how many arrived twice."""
    seen: Counter[bytes] = Counter()
    failed: list[bytes] = []
    loop = LoopThread("impatient backend")

    async def listen() -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: _Impatient(seen), "127.0.0.1", 0)

    async def close() -> None:
        server.close()

    server = loop.call(listen())
    try:
        with serve(server.sockets[0].getsockname()) as address:
            threads = [threading.Thread(target=_order, args=(address, who, failed)) for who in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        loop.close(close)
    return CLIENTS * POSTS, len(failed), sum(times > 1 for order, times in seen.items() if order)


def _order(address: tuple[str, int], who: int, failed: list[bytes]) -> None:
    dice = random.Random(who)
    client: RawClient | None = None
    for number in range(POSTS):
        order = b"order %d-%d" % (who, number)
        client = client or RawClient(address)
        try:
            if client.exchange(request_bytes("POST", "/orders", body=order)).status != 200:
                failed.append(order)
        except (ConnectionEndedError, MalformedResponseError, OSError):
            failed.append(order)
            client.close()
            client = None
        time.sleep(dice.uniform(0.9, 1.1) * IDLE_S)
    if client is not None:
        client.close()
