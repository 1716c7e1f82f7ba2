"""One half of a PostgreSQL, flags or evidence: the promises of ``store.database`` kept over a network.

Rules of this file:

1. Statements are built with SQLAlchemy Core and executed by psycopg, as those of SQLite are by aiosqlite.
2. A transaction that writes begins with the half's advisory lock, so that one node writes at a time. ``merge`` reads,
   computes a state and writes it back, a commit compares the revision, the audit continues a chain: each of them would
   need a lock of its own, and there are only a few writes per second. The lock ends with its transaction; a node that
   hangs inside one loses its session (``idle_in_transaction_session_timeout``).
3. Two links (:mod:`store.links`), one that writes and one that reads; :mod:`store.connecting` makes their connections,
   :mod:`store.driver` has their deadlines and sentences.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.dialects.postgresql import psycopg as dialect
from sqlalchemy.sql import ClauseElement

from store.connecting import connect, name_of, named
from store.database import DEADLINE_S, File, Row, StoreError, patience_left_s
from store.dialect import storable
from store.driver import first_line, psycopg, severing
from store.links import Link
from store.schema import EVIDENCE, FLAGS

LOCKS: Final[Mapping[str, int]] = {"flags": 0x6D617461_01, "evidence": 0x6D617461_02, "migrate": 0x6D617461_03}
"""Numbers of the advisory locks; PostgreSQL knows them by number, per database."""

_DIALECT: Final = dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own constructor


class PostgresTransaction:
    """Execute statements inside one transaction of a :class:`PostgresDatabase`."""

    __slots__ = ("_connection",)

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self._connection = connection

    async def run(self, statement: ClauseElement) -> None:
        """Execute one statement."""
        text, values = _compiled(statement)
        await self._connection.execute(text, _fit(values))

    async def run_many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute one statement once per row, all of them under way at once."""
        if rows:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(_compiled(statement)[0], [_fit(row) for row in rows])

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT as this transaction sees it."""
        text, values = _compiled(statement)
        return await (await self._connection.execute(text, _fit(values))).fetchall()


class PostgresDatabase:
    """Reach one half of a PostgreSQL; nothing is connected before it is used.

    Bound: one connection that writes, one that reads.
    """

    def __init__(self, where: str, file: File, deadline_s: float | None = None) -> None:
        self.name = "the PostgreSQL of `database`" if where.startswith(("env:", "file:")) else named(where)
        self.is_shared = True
        self._where, self._file = where, file
        self.deadline_s = DEADLINE_S if deadline_s is None else deadline_s
        self._away = ""
        self.is_closed = False
        self._writer = Link(self, lambda: math.inf)
        self._reader = Link(self, patience_left_s)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Be the only one who writes, on any node; commit at the end, roll back on any error.

        Raises: StoreError; nothing is then written, unless it says that the outcome is unknown.
        """
        async with self._writer.turn():
            connection = await self._writer.begin(f"BEGIN; SELECT pg_advisory_xact_lock({LOCKS[self._file]})")
            is_asked = False
            with self._writer.translated(connection), severing(connection, self.deadline_s) as deadline:
                try:
                    yield PostgresTransaction(connection)
                    is_asked = True
                    await connection.execute("COMMIT")
                except psycopg.Error as error:
                    await self._writer.undo()
                    if is_asked and (connection.closed or deadline.is_over):
                        raise StoreError(
                            f"{self.name} went away while it was committing ({first_line(error)}); whether the change "
                            "was written is unknown: look at `matapalo audit` before trying again"
                        ) from error
                    raise
                except BaseException:
                    await self._writer.undo()
                    raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PostgresTransaction]:
        """Answer several SELECTs from one moment.

        Raises: StoreError.
        """
        async with self._reader.turn():
            connection = await self._reader.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with self._reader.translated(connection), severing(connection, self._reader.deadline_s):
                try:
                    yield PostgresTransaction(connection)
                finally:
                    await self._reader.undo()

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT from what is committed.

        Raises: StoreError.
        """
        text, values = _compiled(statement)
        async with self._reader.turn():
            cursor = await self._reader.ask(text, _fit(values))
            return await cursor.fetchall()

    async def used_bytes(self) -> int:
        """Add up what the rows take, without their indexes; what was deleted counts no more, vacuumed or not.

        Raises: StoreError.
        """
        total = 0
        for table in (FLAGS if self._file == "flags" else EVIDENCE).tables.values():
            # 28: the head of a row and the pointer to it.
            width = " + ".join(f"coalesce(pg_column_size({_quoted(name)}), 0)" for name in table.c.keys())  # noqa: SIM118
            async with self._reader.turn():
                cursor = await self._reader.ask(f"SELECT coalesce(sum(28 + {width}), 0) FROM {table.name}", {})  # noqa: S608
                total += int((await cursor.fetchall())[0][0])
        return total

    def check(self) -> None:
        """Refuse if it is closed, or if the last try to use it failed.

        Raises: StoreError.
        """
        if self.is_closed:
            raise StoreError(f"{self.name} is closed; Matapalo is shutting down")
        if self._away:
            raise StoreError(self._away)

    async def close(self) -> None:
        """Close both connections; a second call does nothing."""
        self.is_closed = True
        await asyncio.gather(self._reader.close(), self._writer.close())

    async def connect(self, within_s: float = math.inf) -> psycopg.AsyncConnection[Row]:
        """Make one more connection, with the schema looked at and every time limit set; its user closes it.

        Raises: StoreError.
        """
        if self.is_closed:
            self.check()
        durable = "off" if self._file == "evidence" else "on"
        try:
            connection = await connect(self._where, durable, self.deadline_s, within_s)
        except StoreError as error:
            self._away = str(error)
            raise
        self.name, self._away = name_of(connection), ""
        return connection

    def note(self, failure: str) -> None:
        """Remember that the last try to use it failed."""
        self._away = failure


def _compiled(statement: ClauseElement) -> tuple[str, dict[str, object]]:
    """Turn a Core statement into SQL with named parameters.

    Cost: about 100 microseconds; no path that waits for it is hot.
    """
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return str(compiled), dict(compiled.params)


def _fit(values: Mapping[str, object]) -> dict[str, object]:
    return {key: storable(value) if isinstance(value, str) else value for key, value in values.items()}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
