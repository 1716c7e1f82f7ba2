"""Rules of the chain of schema revisions."""

from __future__ import annotations

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects.postgresql import psycopg as postgresql

from rules.flag import Flag, Stage
from store import chain, migrate
from store.database import StoreError
from store.entries import Entry
from store.evidence import Batch, EvidenceStore
from store.flags import Commit, FlagStore
from store.groups import Groups
from store.repeats import RepeatLog
from store.schema import EVIDENCE, FLAGS, FLOOR, HEAD
from tests.store.made import sighting
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.anyio


def test_the_head_that_the_code_knows_is_the_head_of_the_chain() -> None:
    """store.schema.HEAD is the newest revision, and the chain has no branches."""
    assert migrate.chain().get_heads() == [HEAD]


def test_known_revisions_are_those_of_the_chain() -> None:
    """Every revision of the chain is known, any other is not."""
    assert migrate.knows("0001")
    assert not migrate.knows("9999")


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    """A file at the head stays as it is."""
    path = str(tmp_path / "flags.db")
    migrate.upgrade(path, "flags")
    before = Path(path).read_bytes()

    migrate.upgrade(path, "flags")

    assert Path(path).read_bytes() == before


def test_two_files_may_be_upgraded_at_the_same_time(tmp_path: Path) -> None:
    """Both files are built side by side at a first start without mixing up."""
    threads = [
        threading.Thread(target=migrate.upgrade, args=(str(tmp_path / f"{file}.db"), file))
        for file in ("flags", "evidence")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    tables = {}
    for file in ("flags", "evidence"):
        found = sqlite3.connect(tmp_path / f"{file}.db")
        tables[file] = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found.close()
    assert "flags" in tables["flags"]
    assert "divergences" in tables["evidence"]
    assert "divergences" not in tables["flags"]


def test_a_failed_upgrade_leaves_no_half_schema(tmp_path: Path) -> None:
    """When one statement of the chain fails, none of the tables before it stays."""
    path = tmp_path / "flags.db"
    blocked = sqlite3.connect(path)
    blocked.execute("CREATE TABLE idempotency (x)")
    blocked.commit()
    blocked.close()

    with pytest.raises(sqlite3.Error):
        migrate.upgrade(str(path), "flags")

    found = sqlite3.connect(path)
    tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found.close()
    assert tables == {"idempotency"}


def test_entries_of_a_former_version_join_the_chain(tmp_path: Path) -> None:
    """The audit of a former version is chained by the upgrade, as new entries are, and still refuses changes."""
    path = str(tmp_path / "flags.db")
    migrate.upgrade(path, "flags", "0003")
    old = sqlite3.connect(path)
    for number in (1, 2, 3):
        old.execute(
            "INSERT INTO audit (id, at, actor, source, kind, routes, reason, revision, before, after) "
            "VALUES (?, 'then', 'ops', 'api', 'flip', '[\"orders\"]', 'why', ?, '{\"a\": 0.5}', '{}')",
            (number, number),
        )
    old.commit()
    old.close()

    migrate.upgrade(path, "flags")

    new = sqlite3.connect(path)
    new.row_factory = sqlite3.Row
    rows = new.execute("SELECT * FROM audit ORDER BY id").fetchall()
    with pytest.raises(sqlite3.Error, match="append-only"):
        new.execute("UPDATE audit SET reason = 'another'")
    new.close()
    previous = chain.GENESIS
    for row in rows:
        body = {name: json.loads(row[name]) for name in ("routes", "before", "after", "evidence", "builds")}
        assert chain.digest({**dict(row), **body, "forced": False}) == row["hash"]
        assert row["previous"] == previous
        previous = row["hash"]
    assert len(rows) == 3


@pytest.mark.needs("postgres")
def test_two_migrations_of_one_postgresql_are_one(postgres_url: str) -> None:
    """Who migrates while somebody else does waits, finds nothing to do, and both end well."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: migrate.upgrade_postgres(postgres_url), range(2)))

    assert sorted(done) == [("", HEAD), (HEAD, HEAD)]


@pytest.mark.needs("postgres")
def test_a_failed_migration_of_a_postgresql_leaves_nothing(postgres_server: PostgresServer) -> None:
    """When one statement of the chain fails, the schema is as it was, and the sentence has no password."""
    name = postgres_server.database()
    postgres_server.execute("CREATE SCHEMA matapalo; CREATE TABLE matapalo.idempotency (x int)", name)

    with pytest.raises(StoreError) as caught:
        migrate.upgrade_postgres(postgres_server.url(name))

    tables = postgres_server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'matapalo'", name)
    assert tables == [("idempotency",)]
    assert "idempotency" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.needs("postgres")
def test_the_migrations_build_in_a_postgresql_what_the_schema_says(
    postgres_server: PostgresServer, migrated_url: str
) -> None:
    """Tables, columns, types and keys there are those that store/schema.py declares."""
    name = migrated_url.rpartition("/")[2]
    found = postgres_server.execute(
        "SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable = 'YES', k.column_name IS NOT NULL "
        "FROM information_schema.columns c LEFT JOIN information_schema.table_constraints t "
        "ON t.table_schema = 'matapalo' AND t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY' "
        "LEFT JOIN information_schema.key_column_usage k ON k.constraint_name = t.constraint_name "
        "AND k.table_name = c.table_name AND k.column_name = c.column_name "
        "WHERE c.table_schema = 'matapalo' AND c.table_name <> 'alembic_version'",
        name,
    )

    types = {"BIGINT": "int8", "VARCHAR": "varchar", "TEXT": "text", "FLOAT": "float8", "BYTEA": "bytea"}
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own constructor
    expected = {
        (table.name, column.name, types[column.type.compile(dialect)], bool(column.nullable), column.primary_key)
        for metadata in (FLAGS, EVIDENCE)
        for table in metadata.tables.values()
        for column in table.columns
    }
    assert set(found) == expected


@pytest.mark.needs("postgres")
async def test_code_of_the_version_before_works_on_the_schema_of_the_next(
    postgres_server: PostgresServer, migrated_url: str
) -> None:
    """Revisions only add columns with defaults, and tables: with one of each in every place everything still works."""
    name = migrated_url.rpartition("/")[2]
    tables = [table for metadata in (FLAGS, EVIDENCE) for table in metadata.tables]
    postgres_server.execute(
        "SET search_path TO matapalo; CREATE TABLE of_the_next (x int);"
        + "".join(f"ALTER TABLE {table} ADD COLUMN of_the_next text NOT NULL DEFAULT '';" for table in tables)
        + "UPDATE alembic_version SET version_num = '9999'",
        name,
    )
    flag = Flag(stage=Stage.CANARY, percent_bp=100, sample_bp=0, salt="orders")
    entry = Entry(kind="flip", source="api", actor="", routes=("orders",), reason="", at="", before={}, after={})
    flags, evidence = await FlagStore.open(migrated_url), await EvidenceStore.open(migrated_url)

    change = Commit(revision=1, entry=entry, set_flags={"orders": flag}, copying_off=frozenset("a"))
    (written,) = await flags.commit(change)
    found, audited = await flags.load(), await flags.entry(written.id)
    groups, repeats = Groups(), RepeatLog()
    groups.add(sighting())
    repeats.ask("orders", ("/at",), 1e9)
    await evidence.write(Batch(epochs={"e": b"1"}, answered={(1, "orders", "new"): 2}), groups, repeats)
    evidence.bound(max_age_s=1e12, cap_bytes=1)
    await evidence.shrink()
    share = await evidence.share(None, 0)
    await flags.close()
    await evidence.close()

    assert found.flags == {"orders": flag}
    assert audited is not None
    assert share == {1: {"new": 2}}


def test_revisions_beyond_the_floor_only_add(tmp_path: Path) -> None:
    """What stood at the floor stands at the head, with the same types, and what came is optional for a writer."""
    built = {}
    for revision in (FLOOR, HEAD):
        for file in ("flags", "evidence"):
            path = str(tmp_path / f"{file}-{revision}.db")
            migrate.upgrade(path, file, revision)
            with closing(sqlite3.connect(path)) as found:
                tables = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in tables:
                    for _, column, kind, required, default, _ in found.execute(f"PRAGMA table_info({table})"):
                        built[revision, table, column] = (kind, bool(required) and default is None)
    old = {(table, column): said for (revision, table, column), said in built.items() if revision == FLOOR}
    new = {(table, column): said for (revision, table, column), said in built.items() if revision == HEAD}
    old_tables = {table for table, _ in old}

    assert {key: new.get(key) for key in old} == old
    assert [key for key in new.keys() - old.keys() if key[0] in old_tables and new[key][1]] == []
