"""What an operator hears about backends that nobody can reach."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from config.spec import BackendSpec
from console.probe import places, unreachable
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


async def test_who_accepts_nothing_is_named() -> None:
    """Of the named backends those that accept no connection are given, the others are not asked."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        backends = [
            BackendSpec(name="up", scheme="http", host="127.0.0.1", port=port),
            BackendSpec(name="down", scheme="http", host="127.0.0.1", port=1),
            BackendSpec(name="nowhere", scheme="http", host="no-such-host.invalid", port=80),
            BackendSpec(name="other", scheme="http", host="127.0.0.1", port=1),
        ]

        silent = await unreachable(backends, ["up", "down", "nowhere", None])

    assert places(silent) == "down (127.0.0.1:1), nowhere (no-such-host.invalid:80)"


async def test_a_flip_to_a_dead_service_is_made_and_warns(tmp_path: Path) -> None:
    """A flip that sends requests to a new service that accepts no connection says so; a flip to legacy does not."""
    async with running(tmp_path) as node:
        live = await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        back = await node.post("/api/v1/routes/orders/flip", {"stage": "legacy"})

    assert live.status_code == back.status_code == 200
    assert any("fresh" in note and "does not accept connections" in note for note in live.json()["notes"])
    assert not any("does not accept connections" in note for note in back.json()["notes"])
