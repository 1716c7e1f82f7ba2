"""The promises of a database, whichever it is: whole transactions, one writer, one moment, one kind of error."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete, insert, select, text, update

from store.database import Database, StoreError, is_elsewhere, open_database
from store.schema import EVIDENCE, FLAGS, audit, audit_routes, meta

pytestmark = pytest.mark.anyio

ENTRY = {
    "at": "",
    "actor": "",
    "source": "",
    "kind": "flip",
    "routes": "[]",
    "reason": "",
    "revision": 1,
    "before": "{}",
    "after": "{}",
}


CHANGES = (
    "UPDATE audit SET reason = 'another'",
    "DELETE FROM audit",
    "UPDATE audit_routes SET route = 'cart'",
    "DELETE FROM audit_routes",
)
"""What no table that only grows takes, whichever database it stands in."""

CHANGES_OF_SQLITE = (
    "INSERT OR REPLACE INTO audit SELECT * FROM audit",
    "REPLACE INTO audit SELECT * FROM audit",
    "REPLACE INTO audit_routes (rowid, route, audit_id) VALUES (1, 'cart', 1)",
    "UPDATE OR REPLACE audit SET id = 2",
)

CHANGES_OF_POSTGRESQL = (
    "INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET reason = 'another'",
    "TRUNCATE audit CASCADE",
    "TRUNCATE audit_routes",
)


async def keys_of(database: Database) -> list[str]:
    """Read the keys that these tests write."""
    found = await database.rows(select(meta.c.key).order_by(meta.c.key))
    return [key for (key,) in found if key != "schema_floor"]


async def put(database: Database, key: str) -> None:
    """Write one key."""
    async with database.transaction() as tx:
        await tx.run(insert(meta).values(key=key, value="1"))


async def test_an_error_inside_a_transaction_undoes_all_of_it(place: str) -> None:
    """A transaction that fails in the middle leaves nothing behind, and the next one works."""
    database = await open_database(place, "flags")

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key="a", value="1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await put(database, "b")
    found = await keys_of(database)
    await database.close()

    assert found == ["b"]


async def test_what_the_database_refuses_is_a_store_error_and_undoes_all(place: str) -> None:
    """A row that breaks a key is refused with a sentence that names the database, without its password."""
    database = await open_database(place, "flags")

    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key="a", value="1"))
            await tx.run(insert(meta).values(key="a", value="2"))

    with pytest.raises(StoreError) as caught:
        await fail()
    await put(database, "b")
    found = await keys_of(database)
    await database.close()

    assert found == ["b"]
    assert database.name in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_cancelled_transaction_is_undone(place: str) -> None:
    """Cancelling the task in the middle of a transaction rolls it back and gives the turn on."""
    database = await open_database(place, "flags")
    inside = asyncio.Event()

    async def hang() -> None:
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key="a", value="1"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await put(database, "b")
    found = await keys_of(database)
    await database.close()

    assert found == ["b"]


async def test_one_writes_at_a_time_over_all_nodes(place: str) -> None:
    """What a transaction has read stays true until it ends: sums of two nodes lose nothing."""
    nodes = [await open_database(place, "flags") for _ in range(2)]
    await put(nodes[0], "sum")

    async def add(database: Database) -> None:
        for _ in range(10):
            async with database.transaction() as tx:
                before = int((await tx.rows(select(meta.c.value).where(meta.c.key == "sum")))[0][0])
                await asyncio.sleep(0)
                await tx.run(update(meta).where(meta.c.key == "sum").values(value=str(before + 1)))

    await asyncio.gather(*(add(database) for database in nodes), add(nodes[0]))
    found = await nodes[1].rows(select(meta.c.value).where(meta.c.key == "sum"))
    for database in nodes:
        await database.close()

    assert found == [("31",)]


async def test_several_questions_are_answered_from_one_moment(place: str) -> None:
    """Inside reading() nothing changes, whatever is committed meanwhile; outside it is seen at once."""
    database = await open_database(place, "flags")
    await put(database, "a")

    async with database.reading() as moment:
        first = await moment.rows(select(meta.c.key).where(meta.c.key != "schema_floor"))
        await put(database, "b")
        second = await moment.rows(select(meta.c.key).where(meta.c.key != "schema_floor"))
    after = await keys_of(database)
    await database.close()

    assert first == second == [("a",)]
    assert after == ["a", "b"]


async def test_many_rows_go_in_one_call(place: str) -> None:
    """run_many executes a statement once per row, and none for no rows."""
    database = await open_database(place, "flags")

    async with database.transaction() as tx:
        await tx.run_many(insert(meta), [])
        await tx.run_many(insert(meta), [{"key": f"k{number}", "value": "x"} for number in range(100)])
    found = await keys_of(database)
    await database.close()

    assert len(found) == 100


async def test_audit_rows_can_only_be_added(place: str) -> None:
    """The database itself refuses to change, delete or replace an entry, whoever asks and in whatever words."""
    database = await open_database(place, "flags")
    async with database.transaction() as tx:
        await tx.run(insert(audit).values(id=1, **ENTRY))
        await tx.run(insert(audit_routes).values(route="orders", audit_id=1))

    for words in (*CHANGES, *(CHANGES_OF_POSTGRESQL if database.is_shared else CHANGES_OF_SQLITE)):
        with pytest.raises(StoreError, match="append-only"):
            async with database.transaction() as tx:
                await tx.run(text(words))
    async with database.transaction() as tx:
        await tx.run(insert(audit).values(id=2, **ENTRY))
    kept = await database.rows(select(audit.c.id, audit.c.reason).order_by(audit.c.id))
    routes = await database.rows(select(audit_routes))
    await database.close()

    assert (kept, routes) == ([(1, ""), (2, "")], [("orders", 1)])


@pytest.mark.parametrize("file", ["flags", "evidence"])
async def test_deleted_rows_take_no_room(place: str, file: str) -> None:
    """used_bytes grows with what is kept and falls with what is deleted, without waiting for anybody to clean up."""
    database = await open_database(place, file)  # type: ignore[arg-type]  # one of the two literals
    table = meta if file == "flags" else EVIDENCE.tables["evidence_meta"]
    empty = await database.used_bytes()

    async with database.transaction() as tx:
        await tx.run_many(insert(table), [{"key": f"k{number}", "value": f"{number}" * 400} for number in range(200)])
    full = await database.used_bytes()
    async with database.transaction() as tx:
        await tx.run(delete(table).where(table.c.key.startswith("k")))
    after = await database.used_bytes()
    await database.close()

    assert full - empty > 10_000
    assert after - empty < (full - empty) / 4


async def test_use_after_close_is_a_named_error(place: str) -> None:
    """Closing twice is fine; using what is closed says so."""
    database = await open_database(place, "flags")
    await keys_of(database)
    await database.close()
    await database.close()

    with pytest.raises(StoreError, match="is closed"):
        await keys_of(database)
    with pytest.raises(StoreError, match="is closed"):
        await put(database, "a")


async def test_a_whole_number_has_64_bits(place: str) -> None:
    """A count beyond two billion is kept, and a sum of such is a whole number."""
    from sqlalchemy import func

    answered = EVIDENCE.tables["answered"]
    database = await open_database(place, "evidence")
    async with database.transaction() as tx:
        for side in ("legacy", "new"):
            await tx.run(insert(answered).values(hour=1, route="orders", side=side, count=3_000_000_000))

    found = await database.rows(select(func.sum(answered.c.count)))
    await database.close()

    assert found == [(6_000_000_000,)]
    assert isinstance(found[0][0], int)


def test_a_place_is_a_path_or_a_postgresql() -> None:
    """URLs and references are PostgreSQLs, anything else is a file."""
    assert all(map(is_elsewhere, ("postgresql://h/d", "postgres://h/d", "env:DB", "file:/run/db")))
    assert not any(map(is_elsewhere, ("/var/lib/flags.db", "flags.db", "./env/flags.db")))
    assert FLAGS.tables.keys() & EVIDENCE.tables.keys() == set()
