"""Rules of the admin listener."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.support.controlnode import ControlNode, running, until
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio


async def test_an_address_in_use_is_a_sentence_and_is_tried_again(tmp_path: Path) -> None:
    """When admin.listen is taken, control says so to the supervisor, serves workers, and listens once it is free."""
    port = free_port()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    node = ControlNode(tmp_path)
    node.config.write_text(
        node.config.read_text().replace('admin: {listen: "127.0.0.1:0"', f'admin: {{listen: "127.0.0.1:{port}"')
    )
    try:
        await node.start()
        refused = node.ready
        worker = await node.worker()
        server.close()
        await server.wait_closed()
        await until(lambda: node.ready is not None and node.ready.ok, "the address is free")
        answer = await node.get("/api/v1/status")
    finally:
        await node.close()

    assert refused is not None
    assert not refused.ok
    assert f"127.0.0.1:{port}" in refused.detail
    assert worker.pushes
    assert answer.status_code == 200


@pytest.mark.alone
async def test_a_slow_client_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A client that never finishes its body costs the others nothing (best of three)."""
    async with running(tmp_path) as node:
        host, port = node.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/v1/routes/orders/flip HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        await writer.drain()

        took: list[float] = []
        while len(took) < 3 and min(took, default=9.0) >= 1.0:
            began = time.monotonic()
            answer = await node.post("/api/v1/routes/orders/flip", {"stage": ("shadow", "legacy")[len(took) % 2]})
            took.append(time.monotonic() - began)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    assert answer.status_code == 200
    assert min(took) < 1.0


async def test_garbage_fills_no_log(tmp_path: Path) -> None:
    """What is no HTTP is answered 400 each time and logged once in a while, whoever sends it and however often."""
    async with running(tmp_path) as node:
        host, port = node.url.removeprefix("http://").split(":")
        answers = []
        for _ in range(30):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\x16\x03\x01\r\n\r\n")
            answers.append((await reader.read(100)).split(b" ", 2)[1])
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    # A slow machine may need more than the pause between two lines for 30 connections.
    assert answers == [b"400"] * 30
    assert 1 <= node.log.read_bytes().count(b"Invalid HTTP request") <= 3
