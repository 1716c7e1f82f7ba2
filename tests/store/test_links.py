"""Rules of a kept connection: it may be lost and made again, and who waits for a stuck server waits once."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from sqlalchemy import func, select, text

from store.connecting import SCHEMA
from store.database import StoreError, open_database, patience
from store.links import AGAIN_S
from store.postgres import LOCKS, PostgresDatabase
from tests.store.made import keys_of, put, soon
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def test_a_server_that_was_killed_is_used_again(own_server: PostgresServer) -> None:
    """While the server is down every use is a sentence at once; once it is back everything goes on by itself."""
    database = await open_database(own_server.url(), "flags")
    await put(database, "before")

    own_server.kill()
    with pytest.raises(StoreError, match=r"cannot be reached|went away"):
        await put(database, "meanwhile")
    with pytest.raises(StoreError):
        database.check()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(StoreError):
            await keys_of(database)
    asked_s = time.monotonic() - began
    own_server.start()
    found = await soon(database)
    await put(database, "later")
    database.check()
    await database.close()

    assert found == ["before"]
    assert asked_s < 5


async def test_idle_connections_that_a_restart_closed_are_noticed_by_nobody(own_server: PostgresServer) -> None:
    """A server that was restarted while nobody asked serves the very next read and the very next change."""
    database = await open_database(own_server.url(), "flags")
    await put(database, "before")
    await keys_of(database)

    own_server.stop()
    own_server.start()
    await put(database, "after")
    found = await keys_of(database)
    await database.close()

    assert found == ["after", "before"]


async def test_who_reads_with_patience_waits_no_longer(postgres_server: PostgresServer, migrated_url: str) -> None:
    """All reads of one who waits cost one patience, and who has more of it is not told that the server is stuck."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network:
        database = await open_database(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")
        await keys_of(database)
        network.to_client = Faults(cut_after=0, cut="blackhole")
        network.accept = "blackhole"
        began = time.monotonic()
        with patience(2.0):
            for _ in range(3):
                with pytest.raises(StoreError, match="did not answer in time"):
                    await keys_of(database)
        waited_s = time.monotonic() - began
        network.to_client, network.accept = Faults(), "connect"
        found = await keys_of(database)
        await database.close()

    assert found == ["before"]
    assert waited_s < 5.5, "one patience, not three"


@pytest.mark.parametrize("words", [f"SELECT pg_advisory_lock({LOCKS['flags']})", "LOCK TABLE meta"])
async def test_a_lock_that_somebody_holds_costs_one_deadline(
    migrated_url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits behind somebody's lock, and who comes soon after, hears of it with the first one, not in turn."""
    assert AGAIN_S == 1.0
    monkeypatch.setattr("store.links.AGAIN_S", 60.0)  # however late the test has its turn, it comes soon after
    database = await open_database(migrated_url, "flags", 2.5)
    uses = put if "advisory" in words else lambda database, _: keys_of(database)
    async with await psycopg.AsyncConnection.connect(migrated_url) as other:
        await other.execute(f"SET search_path TO {SCHEMA}".encode())
        await other.execute(words.encode())
        began = time.monotonic()
        found = await asyncio.gather(*(uses(database, f"key{number}") for number in range(5)), return_exceptions=True)
        together_s, began = time.monotonic() - began, time.monotonic()
        with pytest.raises(StoreError, match="holds its lock"):
            await uses(database, "at once")
        again_s = time.monotonic() - began
    await database.close()

    assert all(isinstance(one, StoreError) and "holds its lock" in str(one) for one in found), found
    assert together_s < 3 * 2.5, "not one after the other"
    assert again_s < 2.0, "not after a deadline of its own"


async def test_slow_statements_are_ended(migrated_url: str) -> None:
    """A statement that takes longer than the deadline is ended by the server or by us, and the next one works."""
    database = PostgresDatabase(migrated_url, "flags", 1.5)
    with pytest.raises(StoreError, match=r"look at the server's load|did not answer in time"):
        await database.rows(text("SELECT pg_sleep(60)"))
    database.deadline_s = 60.0  # for the next one, which may need a connection of its own
    found = await database.rows(select(func.length("ab")))
    await database.close()

    assert found == [(2,)]
