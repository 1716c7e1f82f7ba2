"""What PostgreSQL says by itself when the truth has changed.

Rules of this file:

1. A notice belongs to the transaction that changed something: it comes when that is committed, or never.
2. Nobody relies on one: a connection that dies loses those that came meanwhile (``console.replicas`` looks twice a
   second, and after each new connection).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement

from store.database import StoreError

CHANNEL: Final = "matapalo"

CONNECT_S: Final = 5.0

QUIET_S: Final = 10.0
"""After so long without a notice the connection is tried."""


class announced(FunctionElement[str]):  # noqa: N801 - it is written like a function of SQL
    """Send a notice with the transaction, where the database can."""

    type = String()
    inherit_cache = True


@compiles(announced, "sqlite")
def _in_sqlite(*_: object, **__: object) -> str:
    return "NULL"


@compiles(announced, "postgresql")
def _in_postgresql(element: announced, compiler: SQLCompiler, **more: object) -> str:
    return f"pg_notify('{CHANNEL}', {compiler.process(element.clauses, **more)})"


async def notices(where: str) -> AsyncIterator[str]:
    """Give one text at once, because something may have changed before, then one with each notice.

    Raises: StoreError when the connection cannot be made or dies.
    """
    # psycopg is optional: only where a database is shared.
    from store.connecting import named, parameters_of
    from store.driver import psycopg, sentence

    try:
        async with asyncio.timeout(CONNECT_S):
            connection = await psycopg.AsyncConnection.connect(**parameters_of(where), autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield ""
            while True:
                async for notice in connection.notifies(timeout=QUIET_S):
                    yield notice.payload
                # A network that swallows everything looks like silence.
                async with asyncio.timeout(CONNECT_S):
                    await connection.execute("SELECT 1")
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise StoreError(sentence(named(where), error)) from error
