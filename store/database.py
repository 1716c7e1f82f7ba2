"""The door to a database, whichever it is: whole transactions, reads beside them, one error with the next step.

Rules of this file:

1. Both databases keep the same promises, and one suite of tests holds both to them.
2. One transaction writes at a time: in SQLite because of its lock, in PostgreSQL because :meth:`Database.transaction`
   takes one, too, over all nodes. What is read inside a transaction is therefore true until it ends, and a sum may be
   read, added to and written back.
3. Every await has a deadline. Who reads for people who wait gives all reads together one of their own
   (:func:`patience`); only a server can be silent, so only there it counts.
4. A driver is imported when somebody opens its kind of database.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, Protocol

from sqlalchemy.sql import ClauseElement

from config.errors import MatapaloError

File = Literal["flags", "evidence"]
Row = tuple[Any, ...]  # Any: a column's type is known by the caller, who wrote the SELECT

DEADLINE_S: Final = 5.0
"""For one transaction or query; a database that needs longer is broken, and operators wait in front of it."""

_PATIENCE_ENDS: Final[ContextVar[float]] = ContextVar("patience_ends", default=math.inf)

_ELSEWHERE: Final = ("postgresql://", "postgres://", "env:", "file:")


class StoreError(MatapaloError):
    """A database cannot be opened, read or written; the message names it, the reason and the next step."""


class Transaction(Protocol):
    """Execute statements inside one transaction."""

    async def run(self, statement: ClauseElement) -> None:
        """Execute one statement."""
        ...

    async def run_many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute one statement once per row; a bound parameter's name is a row's key.

        Cost: one hop, or one journey to the server, for all rows.
        """
        ...

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT as this transaction sees it."""
        ...


class Database(Protocol):
    """Hold one open database.

    Bound: one connection that writes, one that reads; who comes second waits, at most :data:`DEADLINE_S`.
    Runs: on one event loop.
    """

    name: str
    """What messages call it: a path, or a URL without its password."""
    is_shared: bool
    """Other nodes use it as well; it may be away for a while, and is found again without being opened anew."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Be the only one who writes; commit at the end, roll back on any error.

        Raises: StoreError for everything that the database refuses; nothing is then written. One that says "unknown"
        was raised while the answer to COMMIT was under way.
        """
        ...

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """Answer several SELECTs from one moment.

        Raises: StoreError.
        """
        ...

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Answer a SELECT from what is committed, beside a running transaction.

        Raises: StoreError.
        """
        ...

    async def used_bytes(self) -> int:
        """Say how much room what is kept takes; what was deleted takes none.

        Raises: StoreError.
        """
        ...

    def check(self) -> None:
        """Refuse if it is closed or, as far as is known, cannot be used.

        Raises: StoreError.
        """
        ...

    async def close(self) -> None:
        """Close the connections; a second call does nothing."""
        ...


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let all that is read inside, together, wait no longer than that for a server; ``math.inf``: as usual.

    Tasks that begin inside have it, too.
    """
    token = _PATIENCE_ENDS.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _PATIENCE_ENDS.reset(token)


def patience_left_s() -> float:
    """Say how much longer a read may wait; ``math.inf``: nobody said."""
    return max(0.0, _PATIENCE_ENDS.get() - time.monotonic())


def is_elsewhere(where: str) -> bool:
    """Say whether a place is a PostgreSQL (a URL, or the reference to one); otherwise it is the path of a file."""
    return where.startswith(_ELSEWHERE)


async def open_database(where: str, file: File, deadline_s: float | None = None) -> Database:
    """Open a database: a SQLite file, made if there is none, or one of the two halves of a PostgreSQL.

    Shape: *where* is a path, ``postgresql://…``, or ``env:NAME`` or ``file:PATH`` that holds such a URL.
    Unit: *deadline_s* is for one transaction or query; ``None``: :data:`DEADLINE_S`.
    Raises: StoreError. A PostgreSQL that cannot be reached is no error here: it may come back.
    """
    if is_elsewhere(where):
        from store.postgres import PostgresDatabase  # the extra: psycopg need not be installed

        return PostgresDatabase(where, file, deadline_s)
    from store.sqlite import SqliteDatabase

    return await SqliteDatabase.open(where, file, DEADLINE_S if deadline_s is None else deadline_s)
