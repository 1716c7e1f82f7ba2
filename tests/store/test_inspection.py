"""Rules of looking at a PostgreSQL before nodes share it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psycopg
import pytest

from store.inspection import Finding, inspect
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def looked_at(where: str) -> dict[str, Finding]:
    """Look, and give the findings by name."""
    return {one.name: one for one in await inspect(where)}


async def test_a_good_database_is_good_in_everything_but_the_durability_of_tests(migrated_url: str) -> None:
    """Each thing has a name and a sentence; the server of the tests runs without fsync, which is said."""
    found = await looked_at(migrated_url)

    assert [name for name, one in found.items() if not one.ok] in (["durability"], ["latency", "durability"])
    assert {"reachable", "version", "encryption", "schema", "rights", "latency", "clock", "sessions"} <= found.keys()
    assert "fsync" in found["durability"].says


async def test_what_is_wrong_says_what_to_do(
    postgres_server: PostgresServer, postgres_url: str, migrated_url: str
) -> None:
    """No schema, no rights and no server each name the next step, and never the password."""
    empty = await looked_at(postgres_url)
    poor = f"poor_{migrated_url.rpartition('_')[2]}"
    postgres_server.execute(f"CREATE USER {poor} PASSWORD '{PASSWORD}'")
    postgres_server.execute(f"GRANT USAGE ON SCHEMA matapalo TO {poor}", migrated_url.rpartition("/")[2])
    refused = await looked_at(migrated_url.replace("//matapalo:", f"//{poor}:"))
    away = await looked_at(f"postgresql://u:{PASSWORD}@127.0.0.1:9/none")

    assert "matapalo db migrate" in empty["schema"].says
    assert not refused.get("rights", refused.get("questions", Finding(name="", ok=True, says=""))).ok
    assert not away["reachable"].ok
    assert not any(PASSWORD in one.says for found in (empty, refused, away) for one in found.values())


class Pooler:
    """Give every client one and the same server connection, transaction by transaction, as PgBouncer may."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.server: asyncio.Server

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen; a client's log-in goes to the server, its later messages to the newest session of all clients."""
        self.sessions: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.turn = asyncio.Lock()
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield self.server.sockets[0].getsockname()[1]
        finally:
            self.server.close()
            for _, writer in self.sessions:
                writer.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self.target)
        self.sessions.append((up_reader, up_writer))
        first = await reader.readexactly(4)
        up_writer.write(first + await reader.readexactly(int.from_bytes(first, "big") - 4))
        while await self._answers(up_reader, writer) != "ready":
            up_writer.write(await self._message(reader))
        while True:
            message = await self._message(reader)
            async with self.turn:
                shared_reader, shared_writer = self.sessions[len(self.sessions) > 1 and message[:1] == b"Q"]
                if message[:1] != b"Q":
                    shared_reader, shared_writer = up_reader, up_writer
                shared_writer.write(message)
                if message[:1] in b"QS":
                    await self._answers(shared_reader, writer)
                elif message[:1] == b"X":
                    return

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Pass answers on until the server waits for a message: ready for a query, or for a password."""
        while True:
            message = await self._message(reader)
            writer.write(message)
            if message[:1] == b"Z":
                return "ready"
            if message[:1] == b"R" and int.from_bytes(message[5:9], "big") in (3, 5, 10, 11):
                return "password"

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(5)
        return head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


async def test_a_pooler_that_swaps_sessions_is_found(postgres_server: PostgresServer, migrated_url: str) -> None:
    """Where two transactions of a connection may run in two sessions, the sentence names PgBouncer and the way out."""
    pooler = Pooler(("127.0.0.1", postgres_server.port))
    async with pooler.running() as port:
        name = migrated_url.rpartition("/")[2]
        found = await looked_at(f"{postgres_server.url(name, port=port)}?sslmode=disable&gssencmode=disable")

    assert not found["sessions"].ok
    assert "PgBouncer" in found["sessions"].says
    assert psycopg.pq.version() > 0
