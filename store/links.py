"""One connection that is kept, and made again when it is lost.

Rules of this file:

1. A lost connection is made again by whoever needs it; a statement is sent twice only if the first one cannot have
   written.
2. One deadline is all that a database which is stuck (away, silent, behind somebody's lock) costs its callers: those
   who waited behind the one who found out, and those of the next :data:`AGAIN_S`, get the same sentence at once. Who
   reads with less patience (:func:`store.database.patience`) waits for as long as that, and tells nobody else.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

from store.database import Row, StoreError
from store.driver import psycopg, sentence, sever, severing

AGAIN_S: Final = 1.0
"""After a failed connection; a server that comes back is used again this soon."""

_STUCK: Final = (psycopg.errors.ConnectionTimeout, psycopg.errors.LockNotAvailable)
"""What the next one would find as well; a query that is too slow says nothing about others."""


class Owner(Protocol):
    """Be the database that a link leads to."""

    name: str
    deadline_s: float
    is_closed: bool

    def connect(self, within_s: float) -> Awaitable[psycopg.AsyncConnection[Row]]:
        """Make a connection."""
        ...

    def note(self, failure: str) -> None:
        """Remember that the last try to use it failed."""
        ...


class Link:
    """Keep one connection, and make it again when it is lost; *patience_s* says how long its user is ready to wait."""

    def __init__(self, database: Owner, patience_s: Callable[[], float]) -> None:
        self._database, self._patience_s = database, patience_s
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._lock = asyncio.Lock()
        self._failed_at = float("-inf")
        self._failure = ""

    @property
    def deadline_s(self) -> float:
        """Say how long the next step may take."""
        return min(self._database.deadline_s, self._patience_s())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Be the only one who uses the connection."""
        asked_at = _now()
        if not self.deadline_s:
            raise StoreError(sentence(self._database.name, TimeoutError()))
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._lock.acquire()
        except TimeoutError as error:
            raise StoreError(f"{self._database.name} is busy with the query before; try again") from error
        try:
            if asked_at <= self._failed_at:
                raise StoreError(self._failure)
            yield
        finally:
            self._lock.release()

    async def begin(self, words: str) -> psycopg.AsyncConnection[Row]:
        """Open a transaction.

        Raises: StoreError.
        """
        await self.ask(words, None)
        assert self._connection is not None
        return self._connection

    async def ask(self, text: str, values: Mapping[str, object] | None) -> psycopg.AsyncCursor[Row]:
        """Execute what has written nothing if it fails; a connection that turns out to be lost is made again, once.

        Raises: StoreError.
        """
        if _now() - self._failed_at < AGAIN_S and not self._database.is_closed:
            raise StoreError(self._failure)
        is_new = self._connection is None or self._connection.closed
        connection = await self._connected()
        try:
            with self.translated(connection), severing(connection, self.deadline_s):
                return await connection.execute(text.encode(), values)
        except StoreError:
            if is_new or not connection.closed:
                await self.undo()
                raise
        except BaseException:
            await self.undo()
            raise
        return await self.ask(text, values)

    async def undo(self) -> None:
        """Leave a transaction; a connection that does not answer is given up."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
            try:
                with severing(connection):
                    await connection.execute("ROLLBACK")
            except psycopg.Error:
                sever(connection)
                await connection.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _connected(self) -> psycopg.AsyncConnection[Row]:
        if self._connection is not None and not self._connection.closed:
            if self._connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                return self._connection
            sever(self._connection)  # somebody was cancelled in the middle of leaving a transaction
            await self._connection.close()
        try:
            self._connection = await self._database.connect(self.deadline_s)
        except StoreError as error:
            self._fail(str(error))
            raise
        return self._connection

    @contextmanager
    def translated(self, connection: psycopg.AsyncConnection[Row]) -> Iterator[None]:
        """Turn what psycopg raises into a sentence, and remember it where it holds for others, too.

        Raises: StoreError.
        """
        try:
            yield
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                sever(connection)  # a former primary: the next connection looks for the one that took over
            said = sentence(self._database.name, error)
            if isinstance(error, _STUCK):
                self._fail(said)
            if connection.closed:
                self._database.note(said)
            raise StoreError(said) from error

    def _fail(self, said: str) -> None:
        if self._patience_s() == math.inf:
            self._failed_at, self._failure = _now(), said


def _now() -> float:
    return asyncio.get_running_loop().time()
