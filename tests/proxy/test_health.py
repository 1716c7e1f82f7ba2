"""Rules of the health listener."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace

import pytest

from proxy.health import HealthServer, Standing, WorkerFacts, degraded, is_ready, respond

WELL = WorkerFacts(slot=0, accepting=True, silent_s=0.1, revision=7)
STANDING = Standing(draining=False, workers=(WELL,), newest_revision=7, complaints=())


@pytest.mark.parametrize(
    ("standing", "ready"),
    [
        (STANDING, True),
        (replace(STANDING, complaints=("control is down",)), True),
        (replace(STANDING, newest_revision=9), True),
        (replace(STANDING, workers=(replace(WELL, silent_s=2.0),)), True),
        (replace(STANDING, workers=(replace(WELL, accepting=False), replace(WELL, slot=1))), True),
        (replace(STANDING, draining=True), False),
        (replace(STANDING, workers=(replace(WELL, silent_s=2.1),)), False),
        (replace(STANDING, workers=(replace(WELL, silent_s=None),)), False),
        (replace(STANDING, workers=(replace(WELL, accepting=False),)), False),
        (replace(STANDING, workers=()), False),
    ],
)
def test_readiness_is_one_accepting_worker_that_beats_and_no_drain(standing: Standing, ready: bool) -> None:
    """Only workers and draining decide readiness; dead control and an old revision never do."""
    assert is_ready(standing) is ready


def test_everything_degraded_is_named() -> None:
    """A dead worker, an old revision and every complaint stand in the answer."""
    old = replace(WELL, slot=1, revision=6)
    dead = replace(WELL, slot=2, silent_s=None)

    found = degraded(replace(STANDING, workers=(WELL, old, dead), complaints=("control is down",)))

    assert found == ["worker 2 does not serve", "worker 1 serves revision 6, the newest is 7", "control is down"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 200),
        (b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n", 200),
        (b"GET /readyz?verbose HTTP/1.1\r\n\r\n", 200),
        (b"HEAD /readyz HTTP/1.1\r\n\r\n", 200),
        (b"POST /readyz HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /readyz\r\n\r\n", 400),
        (b"\xff\xfe\r\n\r\n", 400),
    ],
)
def test_every_request_gets_one_well_formed_answer(head: bytes, status: int) -> None:
    """Known calls are answered as JSON, others with the status that fits; HEAD has no body."""
    answer_head, _, body = respond(head, lambda: STANDING).partition(b"\r\n\r\n")

    assert answer_head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer_head
    assert body == b"" if head.startswith(b"HEAD") else json.loads(body)


def test_a_client_that_says_nothing_blocks_nobody() -> None:
    """Idle health connections beyond the bound are closed, and a check beside them is answered."""

    async def main() -> bytes:
        server = HealthServer(lambda: STANDING)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        await server.open(listening)
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(70)]
        for reader, _ in idle[64:]:
            assert await asyncio.wait_for(reader.read(1), 60) == b""
        for _, writer in idle[:10]:
            writer.close()
            await writer.wait_closed()
        answer = b""
        while not answer:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 60)
            writer.close()
        for _, writer in idle:
            writer.close()
        await server.close()
        await asyncio.sleep(0.05)
        return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 200")
