"""Rules of a connection to the admin API that does not speak TLS yet: it holds nobody else up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from config.spec import AddressSpec, TlsSpec
from console import greeting
from console.admin import Admin
from console.journal import Journal
from shadow.lines import Lines
from tests.support.authority import Authority
from tests.support.controlnode import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Serve as control does, on uvloop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make one authority for all tests of this file."""
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def serving(tls: TlsSpec) -> AsyncIterator[tuple[int, Counter[str]]]:
    """Serve with TLS, and give the port and what was refused."""

    async def answer(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    sink = os.open(os.devnull, os.O_WRONLY)
    journal, refusals = Journal(Lines(sink)), Counter[str]()
    admin = Admin(Starlette(routes=[Route("/", answer)]), journal, complaints={}, refusals=refusals)
    address = replace(AddressSpec(host="127.0.0.1", port=0), tls=tls)
    try:
        yield int(admin.open(address).rpartition(":")[2]), refusals
    finally:
        await admin.close()
        journal.close()
        os.close(sink)


async def asked(port: int, trusting: ssl.SSLContext) -> bytes:
    """Make one request; the answer's status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status = (await reader.readuntil(b"\r\n")).split(b" ", 2)[1]
    writer.transport.abort()
    return status


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects and does not finish the handshake is gone after ten seconds, and counted; who does is served."""
    assert greeting.GREETING_S == 10.0
    monkeypatch.setattr(greeting, "GREETING_S", 0.3)
    async with serving(authority.issue("slow")) as (port, refusals):
        ended = []
        for begun in (b"", b"\x16\x03\x01\x02\x00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            async with asyncio.timeout(30):
                with contextlib.suppress(ConnectionError):
                    ended.append(await reader.read(-1))
            writer.transport.abort()
        monkeypatch.undo()
        status = await asked(port, authority.client_context())

    assert refusals == {"slow": 2}
    assert status == b"200"


async def test_a_crowd_that_greets_nobody_keeps_nobody_out(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every place taken by connections that never speak, whoever comes is served and the oldest of them goes."""
    monkeypatch.setattr(greeting, "MAX_GREETINGS", 5)
    async with serving(authority.issue("crowded")) as (port, refusals):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(7)]
        await until(lambda: refusals["crowded"] == 2, "the first two are gone")
        status = [await asked(port, authority.client_context()) for _ in range(2)]
        left = [reader.at_eof() for reader, _ in crowd]
        for _, writer in crowd:
            writer.transport.abort()

    assert status == [b"200"] * 2
    assert refusals == {"crowded": 3}, "one place is enough for two who come one after the other"
    assert not any(left[3:])
