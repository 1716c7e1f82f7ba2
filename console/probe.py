"""Ask whether somebody accepts connections where a backend should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from config.spec import BackendSpec

PROBE_S: Final = 1.0
"""How long an operator waits for a backend to accept a connection: it may delay 3 am by no more."""

MAX_PROBES: Final = 64


async def unreachable(backends: Iterable[BackendSpec], names: Iterable[str | None]) -> list[BackendSpec]:
    """Name those of the named backends that accept no TCP connection.

    Bound: one second for all together, and 64 backends: one beyond is taken to be there.
    """
    wanted = frozenset(names)
    asked = [backend for backend in backends if backend.name in wanted][:MAX_PROBES]
    reached = await asyncio.gather(*(_accepts(backend.host, backend.port) for backend in asked))
    return [backend for backend, ok in zip(asked, reached, strict=True) if not ok]


def places(backends: Iterable[BackendSpec]) -> str:
    """Name backends with where they should be, for a sentence."""
    return ", ".join(f"{backend.name} ({backend.host}:{backend.port})" for backend in backends)


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, UnicodeError, TimeoutError):
        return False
    writer.transport.abort()
    return True
