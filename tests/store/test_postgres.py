"""Rules of one half of a PostgreSQL: its transactions are whole, or said to be unknown."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import insert, select

from store.database import StoreError, open_database
from store.postgres import LOCKS, PostgresDatabase
from store.schema import meta
from tests.store.made import keys_of, put, short, soon
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def test_a_commit_whose_answer_is_lost_says_that_the_outcome_is_unknown(
    postgres_server: PostgresServer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the answer to COMMIT does not come the error says so, instead of "nothing was written"."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network, short(monkeypatch, 3.0):
        database = await open_database(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")

        async def write() -> None:
            async with database.transaction() as tx:
                await tx.run(insert(meta).values(key="perhaps", value="1"))
                network.to_client = Faults(cut_after=0, cut="blackhole")

        with pytest.raises(StoreError, match="is unknown"):
            await write()
        network.to_client = Faults()
        found = await soon(database)
        await database.close()

    assert found == ["before", "perhaps"]


async def test_a_node_that_hangs_inside_a_transaction_loses_it(migrated_url: str) -> None:
    """The lock of a node that hangs is given on after the deadline, not before, and what it wrote is undone."""
    hung, other = PostgresDatabase(migrated_url, "flags", 3.0), PostgresDatabase(migrated_url, "flags", 2.0)
    await put(other, "connected")  # who connects first waits for the lock in the rest of its time only
    connection = await hung.connect()
    await connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({LOCKS['flags']})".encode())
    await connection.execute(b"INSERT INTO meta VALUES ('hung', '1')")
    deadline, said, is_told = time.monotonic() + 60, "", asyncio.Event()

    async def work() -> None:
        while not is_told.is_set():
            await connection.execute(b"SELECT 1")
            await asyncio.sleep(0.05)

    working = asyncio.create_task(work())
    while "another node, or somebody's open transaction, holds its lock" not in said:
        assert time.monotonic() < deadline, said
        with pytest.raises(StoreError) as caught:
            await put(other, "first")
        said = str(caught.value)
        await asyncio.sleep(0.05)
    is_told.set()
    await working  # from here on it hangs
    while True:
        try:
            await put(other, "second")
            break
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    found = await keys_of(other)
    await connection.close()
    await hung.close()
    await other.close()

    assert found == ["connected", "second"]


async def test_texts_of_strangers_are_stored(migrated_url: str) -> None:
    """A NUL or half a surrogate pair in a text costs that character, never the batch."""
    database = await open_database(migrated_url, "flags")
    async with database.transaction() as tx:
        await tx.run_many(insert(meta), [{"key": "a\0b", "value": "\ud800"}, {"key": "100%", "value": "%s %(x)s"}])

    found = await database.rows(select(meta.c.key, meta.c.value).where(meta.c.key.in_(["a\u2400b", "100%"])))
    await database.close()

    assert sorted(found) == [("100%", "%s %(x)s"), ("a\u2400b", "?")]
