"""Answer ``health.listen``: is this node alive, is it ready, and what is not as it should be.

Hand-written on asyncio streams because the supervisor imports nothing heavy: a load balancer's
``GET /readyz`` needs a status, a body and a closed connection.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MAX_HEAD: Final = 8 << 10
REQUEST_S: Final = 5.0
MAX_CONNECTIONS: Final = 64
"""Load balancers open a handful; a client that opens more gets a closed connection, not our memory."""

FRESH_S: Final = 2.0
"""A worker whose last Beat is older does not count as ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """Say what the supervisor knows about one worker now."""

    slot: int
    accepting: bool
    silent_s: float | None
    """Since its last Beat; ``None``: it does not run or has not introduced itself."""
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Say what the supervisor knows about the node now."""

    draining: bool
    workers: tuple[WorkerFacts, ...]
    newest_revision: int
    """The highest that any child has reported."""
    complaints: tuple[str, ...]
    """What else is degraded, one sentence each."""


def is_ready(standing: Standing) -> bool:
    """Decide readiness: one worker that accepts and beats is enough, unless the node drains."""
    return not standing.draining and any(_serves(worker) for worker in standing.workers)


def degraded(standing: Standing) -> list[str]:
    """List what is not as it should be; none of it decides readiness."""
    found = [f"worker {worker.slot} does not serve" for worker in standing.workers if not _serves(worker)]
    found += [
        f"worker {worker.slot} serves revision {worker.revision}, the newest is {standing.newest_revision}"
        for worker in standing.workers
        if _serves(worker) and worker.revision < standing.newest_revision
    ]
    return found + list(standing.complaints)


def answer(method: str, target: str, standing: Callable[[], Standing]) -> tuple[HTTPStatus, dict[str, object]]:
    """Decide the answer to one request of a health check."""
    path = target.partition("?")[0]
    if path not in ("/livez", "/readyz"):
        return HTTPStatus.NOT_FOUND, {"detail": f"there is no {path} here; expected /livez or /readyz"}
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, {"detail": f"{method} is not answered here; expected GET or HEAD"}
    now = standing()
    if path == "/livez":
        return HTTPStatus.OK, {"alive": True, "draining": now.draining}
    ready = is_ready(now)
    body: dict[str, object] = {
        "ready": ready,
        "draining": now.draining,
        "degraded": degraded(now),
        "workers": [
            {"slot": one.slot, "serving": _serves(one), "revision": one.revision, "silent_s": one.silent_s}
            for one in now.workers
        ],
    }
    return (HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE), body


def _serves(worker: WorkerFacts) -> bool:
    return worker.accepting and worker.silent_s is not None and worker.silent_s <= FRESH_S


class HealthServer:
    """Serve health checks, one request per connection.

    Bound: 64 connections, 8 KiB of head, 5 s per request.
    Runs: on the supervisor's loop; asks *standing* for each request.
    """

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing
        self._open = 0
        self._server: asyncio.Server | None = None

    async def open(self, listening: socket.socket) -> None:
        """Serve on a socket that listens already."""
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=MAX_HEAD)

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(respond(head, self._standing))
                    await writer.drain()
                    writer.write_eof()
                    # Reading to the end lets the client close first: our address never waits in TIME_WAIT.
                    await reader.read(MAX_HEAD)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever checks health and hangs up gets no answer, and nobody else suffers
        finally:
            self._open -= 1
            writer.close()


def respond(head: bytes, standing: Callable[[], Standing]) -> bytes:
    """Turn the head of one request into the bytes of its answer."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    body: dict[str, object]
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        status, body, method = HTTPStatus.BAD_REQUEST, {"detail": "this is not an HTTP/1 request"}, "GET"
    else:
        method = words[0]
        status, body = answer(method, words[1], standing)
    content = json.dumps(body).encode() + b"\n"
    fields: Sequence[str] = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join((*fields, "", "")).encode() + (b"" if method == "HEAD" else content)
