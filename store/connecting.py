"""How a connection to a PostgreSQL is made: its URL read, its session set, its schema looked at.

Rules of this file:

1. No message holds a password, or the text of a URL.
2. The schema is never changed here (``matapalo db migrate`` does); one that does not fit is a sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from config.errors import SecretError
from config.secret import resolve
from store.database import DEADLINE_S, Row, StoreError
from store.driver import psycopg, sentence, severing
from store.schema import HEAD

SCHEMA: Final = "matapalo"
"""Both halves stand in one schema of the database, so that one migration, one backup and one grant do."""

CONNECT_S: Final = 3.0
"""For one connection with TLS and log-in; an operator waits in front of it."""

_DEFAULTS: Final = {
    "application_name": "matapalo",
    "client_encoding": "utf8",
    "connect_timeout": str(round(CONNECT_S)),
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
}
"""Of a connection, where the URL does not say otherwise."""


async def connect(where: str, durable: str, deadline_s: float, within_s: float) -> psycopg.AsyncConnection[Row]:
    """Connect, look at the schema, and set what holds for every statement.

    Shape: *durable* is the session's ``synchronous_commit``, *deadline_s* for its statements, *within_s* for this.
    Bound: :data:`CONNECT_S` for the connection; its first statements may stand behind somebody's lock, and say so.
    Raises: StoreError.
    """
    parameters = parameters_of(where)
    name = _name(parameters)
    try:
        async with asyncio.timeout(min(CONNECT_S, within_s)):
            connection = await psycopg.AsyncConnection.connect(
                **parameters, autocommit=True, prepare_threshold=None, row_factory=psycopg.rows.tuple_row
            )
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise StoreError(sentence(name, error)) from error
    try:
        with severing(connection, min(DEADLINE_S, within_s)):
            await _begin_session(connection, durable, deadline_s)
            await _prove(connection, name)
    except (psycopg.Error, OSError) as error:
        await connection.close()
        raise StoreError(sentence(name, error)) from error
    except BaseException:
        await connection.close()
        raise
    connection.adapters.register_loader("numeric", _WholeLoader)
    return connection


async def _begin_session(connection: psycopg.AsyncConnection[Row], durable: str, deadline_s: float) -> None:
    limit_ms = round(deadline_s * 1_000)
    # Before our own deadline: a server that says why it ends a statement is not taken for one that is silent.
    await connection.execute(
        f"SET search_path TO {SCHEMA}; SET lock_timeout TO {limit_ms * 90 // 100}; "
        f"SET statement_timeout TO {limit_ms * 95 // 100}; "
        f"SET idle_in_transaction_session_timeout TO {limit_ms}".encode()
    )
    # What is acknowledged must be on a disk, whatever the server's default; a stricter one (remote_apply) stays.
    # Evidence may lose its last seconds, as it may on SQLite.
    await connection.execute(
        "SELECT set_config('synchronous_commit', %s, false) "
        "WHERE %s = 'off' OR current_setting('synchronous_commit') = 'off'",
        (durable, durable),
    )


async def _prove(connection: psycopg.AsyncConnection[Row], name: str) -> None:
    """Refuse a schema that this version cannot use, and a database whose texts are not Unicode.

    Raises: StoreError.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"{name} keeps texts as {encoding}; expected a database that was created with ENCODING 'UTF8'")
    try:
        found = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchall()
        floors = await (await connection.execute("SELECT value FROM meta WHERE key = 'schema_floor'")).fetchall()
    except psycopg.errors.UndefinedTable:
        found = floors = []
    revision = str(found[0][0]) if found else ""
    if complaint := misfit(revision, str(floors[0][0]) if floors else revision):
        raise StoreError(f"{name} {complaint}")


def misfit(revision: str, floor: str) -> str:
    """Say why a schema does not fit this version; empty: it does.

    Shape: *revision* is empty where there is no schema. *floor* is the oldest revision whose code can use it: revisions
    only add, so that the version before goes on while its nodes are replaced one by one.
    """
    if not revision:
        return "holds no tables of Matapalo yet, or this user may not see them; run `matapalo db migrate`"
    if revision < HEAD:
        return f"has the schema {revision}, this version needs {HEAD}; run `matapalo db migrate`"
    if floor > HEAD:
        return (
            f"has the schema {revision}, which versions that know {floor} can use; this one knows {HEAD}: "
            "start a newer version"
        )
    return ""


def parameters_of(where: str) -> dict[str, Any]:  # Any: psycopg takes texts and numbers
    """Read a URL, or what the reference to one holds, into the words of a connection.

    Raises: StoreError that does not repeat it.
    Runs: blocks on a small file for ``file:``.
    """
    try:
        url = resolve(where) if where.startswith(("env:", "file:")) else where
        authority, _, name = url.partition("://")[2].partition("?")[0].partition("/")
        if authority.count("@") > 1 or "@" in name:
            # libpq would take the rest of such a password for a host or a name, and every message would show it.
            raise ValueError
        found = psycopg.conninfo.conninfo_to_dict(url)
    except SecretError as error:
        raise StoreError(f"database: {error}") from error
    except (psycopg.Error, ValueError):
        raise StoreError(
            "database: found a text that PostgreSQL does not read as a URL, expected "
            "postgresql://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full; "
            "in a password, special characters are written as %XX"
        ) from None
    return {**_DEFAULTS, **found}


def named(where: str) -> str:
    """Name a database as messages may: without password and parameters."""
    try:
        return _name(parameters_of(where))
    except StoreError:
        return "the PostgreSQL of `database`"


def _name(parameters: Mapping[str, object]) -> str:
    user, host, port = (str(parameters.get(key, "")) for key in ("user", "host", "port"))
    return (
        f"postgresql://{user and user + '@'}{host or 'localhost'}{port and ':' + port}/{parameters.get('dbname', '')}"
    )


def name_of(connection: psycopg.AsyncConnection[Row]) -> str:
    """Name a database as its connection does: with what a service file or the environment has added."""
    info = connection.info
    return _name({"user": info.user, "host": info.host, "port": info.port, "dbname": info.dbname})


class _WholeLoader(psycopg.adapt.Loader):
    """Read the sum of whole numbers, which PostgreSQL gives as ``numeric``, as a whole number."""

    def load(self, data: psycopg.abc.Buffer) -> int | float:
        """Turn the text of a number into one."""
        text = bytes(data).decode()
        return int(text) if "." not in text else float(text)
