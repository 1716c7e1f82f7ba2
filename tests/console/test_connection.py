"""Rules of one connection to the admin API: whoever holds it open without asking holds nobody else up."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from config.spec import AddressSpec
from console import connection
from console.admin import Admin
from console.connection import MAX_CONNECTIONS
from console.journal import Journal
from shadow.lines import Lines
from tests.support.controlnode import until

pytestmark = pytest.mark.anyio

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def anyio_backend() -> str:
    """Serve as control does, on asyncio."""
    return "asyncio"


class Place:
    """Answer ``/`` at once and ``/late`` when told to, on a listener of its own."""

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()
        self.finish = asyncio.Event()
        self.late = 0
        self._open: list[asyncio.StreamWriter] = []
        self._port = 0

    async def answer(self, request: Request) -> PlainTextResponse:
        """Answer one request."""
        if request.url.path == "/late":
            self.late += 1
            await self.finish.wait()
        return PlainTextResponse("done")

    async def knock(self, data: bytes = b"") -> Stream:
        """Connect and send something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open.append(writer)
        writer.write(data)
        return reader, writer

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Place]:
        """Serve for the length of a test."""
        sink = os.open(os.devnull, os.O_WRONLY)
        journal = Journal(Lines(sink))
        app = Starlette(routes=[Route(path, self.answer) for path in ("/", "/late")])
        admin = Admin(app, journal, complaints={}, refusals=self.refusals)
        self._port = int(admin.open(AddressSpec(host="127.0.0.1", port=0)).rpartition(":")[2])
        try:
            yield self
        finally:
            self.finish.set()
            for writer in self._open:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            await admin.close()
            journal.close()
            os.close(sink)


async def status(stream: Stream) -> bytes:
    """Read an answer's status and the rest of its 4-byte body; empty: the connection was closed."""
    async with asyncio.timeout(60):
        try:
            head = await stream[0].readuntil(b"\r\n\r\n")
            await stream[0].readexactly(4)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
    return head.split(b" ", 2)[1]


async def test_a_crowd_that_asks_nothing_keeps_nobody_out() -> None:
    """With every place taken by connections that never finish a request, the next one is served and the one that has
    waited longest goes; what is being answered stays."""
    async with Place().serving() as place:
        busy = await place.knock(HALF.replace(b"/ ", b"/late ") + b"\r\n")
        await until(lambda: place.late == 1, "a request is being answered")
        crowd = [await place.knock(HALF if number % 2 else b"") for number in range(MAX_CONNECTIONS + 20)]

        served = [await status(await place.knock(HALF + b"\r\n")) for _ in range(3)]
        first = await status(crowd[0])
        place.finish.set()
        kept = await status(busy)

    assert served == [b"200"] * 3
    assert first == b""
    assert kept == b"200"
    assert place.refusals["crowded"] >= 20


async def test_when_everybody_is_being_answered_the_next_one_is_told() -> None:
    """Nobody's answer is cut off for somebody else: beyond the bound whoever comes is answered 503."""
    async with Place().serving() as place:
        for _ in range(MAX_CONNECTIONS):
            await place.knock(HALF.replace(b"/ ", b"/late ") + b"\r\n")
        await until(lambda: place.late == MAX_CONNECTIONS, "all are being answered")

        reader, _ = await place.knock(HALF + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")

    assert head.split(b" ", 2)[1] == b"503"
    assert place.refusals == {}


@pytest.mark.parametrize(
    "sent",
    [b"", HALF, HALF + b"\r\n" + HALF, HALF + b"Content-Length: 9\r\n\r\n1"],
    ids=["nothing", "half a head", "half a second head", "a body that nobody reads"],
)
async def test_a_request_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A head that is not whole in time ends its connection, however slowly it goes on coming."""
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    async with Place().serving() as place:
        reader, writer = await place.knock(sent)
        ended = asyncio.ensure_future(reader.read(-1))
        async with asyncio.timeout(60):
            while not ended.done():
                if sent:
                    with contextlib.suppress(OSError):
                        writer.write(b"x")
                await asyncio.wait([ended], timeout=0.05)
        with contextlib.suppress(OSError):
            ended.result()

    assert place.refusals == {"slow": 1}


async def test_a_slow_answer_is_no_slow_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock for the head does not run while a request is being answered."""
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    async with Place().serving() as place:
        stream = await place.knock(HALF.replace(b"/ ", b"/late ") + b"\r\n")
        await until(lambda: place.late == 1, "the request is being answered")
        asyncio.get_running_loop().call_later(0.6, place.finish.set)

        assert await status(stream) == b"200"
        assert place.refusals == {}
