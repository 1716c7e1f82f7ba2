"""One SQLite file: opened with its guarantees, written in whole transactions, read beside them.

Rules of this file:

1. Statements are built with SQLAlchemy Core and executed by aiosqlite, not by SQLAlchemy's own asyncio engine: that
   one imports the ORM and greenlet, 0.3 s that control does not have when it comes back (docs/decisions/0006-store.md).
2. A damaged, newer or foreign file is never deleted, replaced or repaired: it is named, and the caller goes on
   without it.
3. Every await has a deadline. A transaction that misses it leaves the outcome unknown, so the file is not used again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiosqlite
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from store.database import DEADLINE_S, File, Row, StoreError
from store.schema import HEAD

BUSY_MS: Final = 2_000
"""How long a lock of somebody else's ``sqlite3`` shell is waited for."""

_DIALECT: Final = sqlite.dialect(paramstyle="named")


class SqliteTransaction:
    """Execute statements inside one transaction of :meth:`SqliteDatabase.transaction`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, statement: ClauseElement) -> None:
        """Execute one statement."""
        cursor = await self._connection.execute(*_compiled(statement))
        await cursor.close()

    async def run_many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute one statement once per row; a bound parameter's name is a row's key.

        Cost: one hop to the file's thread for all rows.
        """
        if rows:
            cursor = await self._connection.executemany(_compiled(statement)[0], rows)
            await cursor.close()

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT as this transaction sees it."""
        return await _all(self._connection, statement)


class SqliteDatabase:
    """Hold one open file: a connection that writes and one that reads.

    Bound: one writer at a time; the next one waits for it, at most :data:`DEADLINE_S`.
    Runs: on one event loop; SQLite itself works in aiosqlite's two threads.
    """

    def __init__(
        self,
        path: str,
        inode: tuple[int, int],
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.name = path
        self.is_shared = False
        self._inode, self._deadline_s = inode, deadline_s
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()
        self._moment = asyncio.Lock()
        self._broken = ""
        self._closed = False

    @classmethod
    async def open(cls, path: str, file: File, deadline_s: float = DEADLINE_S) -> SqliteDatabase:
        """Open the file at *path*, make it if there is none, and bring it to the newest schema.

        Raises: StoreError when it is damaged, of a newer version, or cannot be written.
        Cost: about 10 ms; 0.6 s when the schema has to be made or changed.
        """
        synchronous = "FULL" if file == "flags" else "NORMAL"
        try:
            async with asyncio.timeout(6 * DEADLINE_S):
                await asyncio.to_thread(_prepare, path, file)
                writer = await _connect(path, f"PRAGMA synchronous={synchronous}")
                try:
                    reader = await _connect(path, "PRAGMA query_only=1")
                except BaseException:
                    await writer.close()
                    raise
            found = os.stat(path)
        except (OSError, sqlite3.Error, TimeoutError) as error:
            raise StoreError(_sentence(path, error)) from error
        return cls(path, (found.st_dev, found.st_ino), writer, reader, deadline_s)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        """Hold the write lock of the file; commit at the end, roll back on any error.

        Raises: StoreError for everything that the disk or SQLite refuses; nothing is then written.
        """
        self.check()
        is_ending = False
        try:
            async with asyncio.timeout(self._deadline_s), self._turn:
                self.check()
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield SqliteTransaction(self._writer)
                    is_ending = True
                    await self._writer.execute("COMMIT")
                except BaseException:  # BEGIN, too: its thread goes on when nobody waits for it any more
                    await self._roll_back()
                    raise
        except (sqlite3.Error, OSError) as error:
            raise StoreError(_sentence(self.name, error)) from error
        except TimeoutError as error:
            sentence = _sentence(self.name, error)
            if is_ending:  # nobody knows whether it was written: what control remembers may not be what is there
                self._broken = f"{sentence} and restart Matapalo"
            raise StoreError(self._broken or sentence) from error
        # SQLite goes on writing into a file that was unlinked under it; what it "committed" there is gone.
        self.check()

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT from what is committed, beside a running transaction.

        Raises: StoreError.
        """
        self.check()
        try:
            async with asyncio.timeout(self._deadline_s), self._moment:
                return await _all(self._reader, statement)
        except (sqlite3.Error, TimeoutError) as error:
            raise StoreError(_sentence(self.name, error)) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteTransaction]:
        """Answer several SELECTs from one moment.

        Raises: StoreError.
        """
        self.check()
        try:
            async with asyncio.timeout(self._deadline_s), self._moment:
                await self._reader.execute("BEGIN")
                try:
                    yield SqliteTransaction(self._reader)
                finally:
                    await self._reader.rollback()
        except (sqlite3.Error, TimeoutError) as error:
            raise StoreError(_sentence(self.name, error)) from error

    async def used_bytes(self) -> int:
        """Say how much of the file is used; what was deleted is not.

        Raises: StoreError.
        """
        pages = await self._pragma("page_count") - await self._pragma("freelist_count")
        return pages * await self._pragma("page_size")

    async def _pragma(self, name: str) -> int:
        try:
            async with asyncio.timeout(self._deadline_s), self._reader.execute(f"PRAGMA {name}") as cursor:
                row = await cursor.fetchone()
        except (sqlite3.Error, TimeoutError) as error:
            raise StoreError(_sentence(self.name, error)) from error
        return 0 if row is None else int(row[0])

    def check(self) -> None:
        """Refuse if the file is closed, broken, or no longer the one that was opened.

        Raises: StoreError.
        Cost: one stat.
        """
        if self._closed:
            raise StoreError(f"{self.name} is closed; Matapalo is shutting down")
        if self._broken:
            raise StoreError(self._broken)
        try:
            found = os.stat(self.name)
        except OSError as error:
            raise StoreError(
                f"{self.name} is gone ({error.strerror}) while Matapalo uses it; restart Matapalo: it makes a new one "
                "from state_dir/snapshot"
            ) from error
        if (found.st_dev, found.st_ino) != self._inode:
            raise StoreError(f"{self.name} was replaced by another file while Matapalo uses it; restart Matapalo")

    async def close(self) -> None:
        """Close both connections; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for connection in (self._reader, self._writer):
            try:
                async with asyncio.timeout(self._deadline_s):
                    await connection.close()
            except (sqlite3.Error, TimeoutError):
                continue  # a hung disk keeps its thread; the process is on its way out

    async def _roll_back(self) -> None:
        rollback = asyncio.ensure_future(self._writer.rollback())
        try:
            await asyncio.wait_for(asyncio.shield(rollback), DEADLINE_S)
        except (sqlite3.Error, TimeoutError):
            self._broken = f"{self.name} could not be rolled back; check the disk and restart Matapalo"


async def _connect(path: str, *pragmas: str) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        for pragma in pragmas:
            await connection.execute(pragma)
    except BaseException:
        await connection.close()
        raise
    return connection


def _prepare(path: str, file: File) -> None:
    """Make, check and migrate the file with a short-lived connection.

    Runs: in a thread.
    """
    # 0600 before SQLite sees it: the file holds who did what, and fragments of answers.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    try:
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0 and file == "evidence":
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        if file == "flags" and (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        revision = _revision(connection)
    finally:
        connection.close()
    if revision == HEAD:
        return
    from store import migrate  # Alembic: only when there is something to migrate

    if revision is not None and not migrate.knows(revision):
        raise sqlite3.DatabaseError(
            f"its schema is revision {revision!r}, this version knows revisions up to {HEAD!r}; "
            "start the version that wrote it"
        )
    migrate.upgrade(path, file)


def _revision(connection: sqlite3.Connection) -> str | None:
    """Read which revision the file stands at; ``None``: it is empty."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" not in tables:
        if tables - {"sqlite_sequence"}:
            raise sqlite3.DatabaseError(f"it holds tables that are not Matapalo's ({', '.join(sorted(tables)[:3])})")
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


async def _all(connection: aiosqlite.Connection, statement: ClauseElement) -> list[Row]:
    async with connection.execute(*_compiled(statement)) as cursor:
        return [tuple(row) for row in await cursor.fetchall()]


def _compiled(statement: ClauseElement) -> tuple[str, dict[str, object]]:
    """Turn a Core statement into SQL with named parameters.

    Cost: about 100 microseconds; no path that waits for it is hot.
    """
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)


def _sentence(path: str, error: BaseException) -> str:
    """Say what is wrong with the file and what to do next."""
    if isinstance(error, TimeoutError):
        return f"{path} did not answer within {DEADLINE_S:g} s; check the disk"
    text = str(error)
    if isinstance(error, OSError):
        return f"{path} cannot be opened ({error.strerror}); expected a file that Matapalo may read and write"
    if "not a database" in text or "malformed" in text or "corrupt" in text:
        return (
            f"{path} is damaged ({text}); it was left as it is: move it away and restart Matapalo to begin a new one, "
            "or put a backup in its place"
        )
    if "disk is full" in text or "disk I/O" in text:
        return f"{path} cannot be written ({text}); free some space and try again"
    if "readonly" in text:
        return f"{path} cannot be written ({text}); expected a file and a directory that Matapalo may write"
    return f"{path} cannot be used: {text}"
