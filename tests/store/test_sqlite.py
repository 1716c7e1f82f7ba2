"""Rules of one SQLite file: whole transactions, guarantees kept, damage named and never touched."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.dialects import sqlite

from store.database import StoreError
from store.schema import EVIDENCE, FLAGS, HEAD, meta
from store.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


async def rows_of(database: SqliteDatabase) -> list[tuple[object, ...]]:
    """Read the table that these tests write."""
    return await database.rows(select(meta.c.key, meta.c.value))


async def test_a_new_file_is_private_and_synchronous(tmp_path: Path) -> None:
    """A new file has mode 0600, a write-ahead log, and synchronous FULL where flags live."""
    path = tmp_path / "flags.db"
    database = await SqliteDatabase.open(str(path), "flags")

    mode = stat.S_IMODE(path.stat().st_mode)
    async with database._writer.execute("PRAGMA synchronous") as cursor:
        synchronous = await cursor.fetchone()
    journal = sqlite3.connect(path)
    journal_mode = journal.execute("PRAGMA journal_mode").fetchone()
    journal.close()
    await database.close()

    assert mode == 0o600
    assert synchronous == (2,)
    assert journal_mode == ("wal",)


async def test_transactions_happen_one_after_the_other(tmp_path: Path) -> None:
    """Transactions of many tasks never mix."""
    database = await SqliteDatabase.open(str(tmp_path / "flags.db"), "flags")
    running = 0

    async def write(number: int) -> None:
        nonlocal running
        async with database.transaction() as tx:
            running += 1
            assert running == 1
            await tx.run(insert(meta).values(key=str(number), value="x"))
            running -= 1

    await asyncio.gather(*(write(number) for number in range(20)))
    count = len(await rows_of(database))
    await database.close()

    assert count == 20


@pytest.mark.parametrize("content", [b"this is not a database at all" * 50, b"SQLite format 3\0" + b"\xff" * 4_000])
async def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """A damaged file is refused with a sentence that says what to do, and not one byte of it changes."""
    path = tmp_path / "flags.db"
    path.write_bytes(content)

    with pytest.raises(StoreError) as caught:
        await SqliteDatabase.open(str(path), "flags")

    assert str(path) in str(caught.value)
    assert "move it away" in str(caught.value)
    assert path.read_bytes() == content


async def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file with other tables is not migrated over."""
    path = tmp_path / "flags.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (id)")
    other.commit()
    other.close()

    with pytest.raises(StoreError, match="not Matapalo's"):
        await SqliteDatabase.open(str(path), "flags")


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer version is refused with both revisions, and stays as it is."""
    path = tmp_path / "flags.db"
    await (await SqliteDatabase.open(str(path), "flags")).close()
    other = sqlite3.connect(path)
    other.execute("UPDATE alembic_version SET version_num = '0999'")
    other.commit()
    other.close()

    with pytest.raises(StoreError, match=f"'0999', this version knows revisions up to '{HEAD}'"):
        await SqliteDatabase.open(str(path), "flags")


async def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A path that cannot be opened names itself and the reason."""
    with pytest.raises(StoreError, match="cannot be opened"):
        await SqliteDatabase.open(str(tmp_path / "nowhere" / "flags.db"), "flags")


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_file_that_is_gone_acknowledges_nothing(tmp_path: Path, how: str) -> None:
    """A file that was deleted or replaced under us refuses every further change, even one already under way."""
    path = tmp_path / "flags.db"
    database = await SqliteDatabase.open(str(path), "flags")

    def vanish() -> None:
        if how == "deleted":
            path.unlink()
        else:
            (tmp_path / "other").write_bytes(b"")
            os.replace(tmp_path / "other", path)

    async def write(then: Callable[[], None]) -> None:
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key="a", value="1"))
            then()

    with pytest.raises(StoreError, match=r"gone|replaced"):
        await write(vanish)
    with pytest.raises(StoreError, match=r"gone|replaced"):
        await write(lambda: None)
    await database.close()


async def test_a_full_disk_is_a_sentence_and_passes(tmp_path: Path) -> None:
    """When the file cannot grow the change is refused with what to do, and works again once there is space."""
    database = await SqliteDatabase.open(str(tmp_path / "flags.db"), "flags")
    pages = await database._pragma("page_count")
    await database._writer.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreError, match="free some space"):
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key="a", value="x" * 100_000))
    await database._writer.execute("PRAGMA max_page_count=1000000")
    async with database.transaction() as tx:
        await tx.run(insert(meta).values(key="b", value="2"))
    found = await rows_of(database)
    await database.close()

    assert found == [("b", "2")]


async def test_a_deadline_that_passes_costs_one_change(tmp_path: Path) -> None:
    """A change that gets no lock in time, or takes too long, is undone and said; the next one is made."""
    path = tmp_path / "flags.db"
    database = await SqliteDatabase.open(str(path), "flags", 0.3)

    async def write(key: str, *, lasts: float = 0.0) -> None:
        async with database.transaction() as tx:
            await tx.run(insert(meta).values(key=key, value="1"))
            await asyncio.sleep(lasts)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.6, other.rollback)
        with pytest.raises(StoreError, match="did not answer within"):
            await write("locked out")
    with pytest.raises(StoreError, match="did not answer within"):
        await write("slow", lasts=60.0)
    database._deadline_s = 60.0
    await write("next")
    found = await rows_of(database)
    await database.close()

    assert found == [("next", "1")]


async def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    """A state_dir may hold spaces, percent signs, question marks and umlauts."""
    directory = tmp_path / "ä %20 ?mode=ro #x"
    directory.mkdir()

    database = await SqliteDatabase.open(str(directory / "flags.db"), "flags")
    await database.close()

    assert (directory / "flags.db").stat().st_size > 0


@pytest.mark.parametrize("file", ["flags", "evidence"])
async def test_the_migrations_build_what_the_schema_says(tmp_path: Path, file: str) -> None:
    """Tables, columns and keys in the file are those that store/schema.py declares."""
    path = tmp_path / f"{file}.db"
    await (await SqliteDatabase.open(str(path), file)).close()  # type: ignore[arg-type]  # one of the two literals
    declared = (FLAGS if file == "flags" else EVIDENCE).tables
    found = sqlite3.connect(path)
    tables = {
        name: {
            (column, kind.split("(")[0].upper(), bool(key))
            for _, column, kind, _, _, key in found.execute(f"PRAGMA table_info({name})")
        }
        for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name not in ("alembic_version", "sqlite_sequence")
    }
    found.close()

    expected = {
        name: {
            (column.name, str(column.type.compile(sqlite.dialect())).upper(), column.primary_key)
            for column in table.columns
        }
        for name, table in declared.items()
    }
    assert tables == expected


def test_an_up_to_date_file_opens_without_alembic(tmp_path: Path) -> None:
    """Only a file that needs a migration imports Alembic, and none imports SQLAlchemy's ORM: control is back sooner."""
    script = (
        "import asyncio, sys\n"
        "from store.sqlite import SqliteDatabase\n"
        "path = sys.argv[1]\n"
        "async def main():\n"
        "    await (await SqliteDatabase.open(path, 'flags')).close()\n"
        "asyncio.run(main())\n"
        "print(int('alembic' in sys.modules), int('sqlalchemy.orm' in sys.modules))\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "flags.db")]

    said = [
        subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        for _ in range(2)
    ]

    assert said == ["1 0", "0 0"]


def test_only_control_pays_for_the_store() -> None:
    """A worker and a comparer import neither SQLAlchemy nor aiosqlite."""
    script = "import proxy.worker, shadow.comparer, sys; print('sqlalchemy' in sys.modules, 'aiosqlite' in sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout

    assert said.split() == ["False", "False"]


async def test_a_copy_made_while_it_is_written_is_one_moment(tmp_path: Path) -> None:
    """SQLite's backup of a file in use, as the operations page has it, opens and holds whole transactions only."""
    database = await SqliteDatabase.open(str(tmp_path / "flags.db"), "flags")
    copies = [tmp_path / f"copy-{number}.db" for number in range(3)]
    enough = asyncio.Event()

    async def write() -> None:
        number = 0
        while not enough.is_set():
            async with database.transaction() as tx:
                await tx.run(insert(meta).values(key=f"{number}-first", value="1"))
                await tx.run(insert(meta).values(key=f"{number}-second", value="2"))
            number += 1

    def back_up(path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "flags.db")) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        for path in copies:
            await asyncio.to_thread(back_up, path)
        enough.set()
    await database.close()
    kept = []
    for path in copies:
        copy = await SqliteDatabase.open(str(path), "flags")
        kept.append([str(key) for key, _ in await rows_of(copy) if str(key)[0].isdigit()])
        await copy.close()

    for keys in kept:
        assert sorted(key for key in keys if key.endswith("first")) == sorted(
            key.replace("second", "first") for key in keys if key.endswith("second")
        )
    assert len(kept[-1]) >= len(kept[0])
