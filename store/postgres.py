"""One half of a PostgreSQL, flags or evidence: the promises of ``store.database`` kept over a network.

Rules of this file:

1. Statements are built with SQLAlchemy Core and executed by psycopg, as those of SQLite are by aiosqlite.
2. A transaction that writes begins with the half's advisory lock, so that one node writes at a time. ``merge`` reads,
   computes a state and writes it back, a commit compares the revision, the audit continues a chain: each of them would
   need a lock of its own, and there are only a few writes per second. The lock ends with its transaction; a node that
   hangs inside one loses its session (``idle_in_transaction_session_timeout``).
3. Deadlines shut the socket down, they do not cancel: psycopg answers a cancellation by asking the server, which is
   what may not answer. The next use connects anew.
4. A lost connection is made again by whoever needs it; a statement is sent twice only if the first one cannot have
   written.
5. One deadline is all that a database which is stuck (away, silent, behind somebody's lock) costs its callers: those
   who waited behind the one who found out, and those of the next :data:`AGAIN_S`, get the same sentence at once. Who
   reads with less patience (:func:`store.database.patience`) waits for as long as that, and tells nobody else.
6. No message holds a password, or the text of a URL.
7. The schema is never changed here (``matapalo db migrate`` does); one that does not fit is a sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from sqlalchemy.sql import ClauseElement

from config.errors import SecretError
from config.secret import resolve
from store.database import DEADLINE_S, File, Row, StoreError, patience_left_s
from store.dialect import storable
from store.schema import EVIDENCE, FLAGS, HEAD

try:
    import psycopg
    from psycopg import conninfo
    from psycopg.abc import Buffer
    from psycopg.adapt import Loader
    from sqlalchemy.dialects.postgresql import psycopg as dialect
except ImportError as error:
    raise StoreError(
        f"PostgreSQL needs psycopg, which cannot be imported ({error}); install Matapalo with its extra: "
        "pip install 'matapalo[postgres]'"
    ) from error

SCHEMA: Final = "matapalo"
"""Both halves stand in one schema of the database, so that one migration, one backup and one grant do."""

CONNECT_S: Final = 3.0
"""For one connection with TLS and log-in; an operator waits in front of it."""

AGAIN_S: Final = 1.0
"""After a failed connection; a server that comes back is used again this soon."""

LOCKS: Final[Mapping[str, int]] = {"flags": 0x6D617461_01, "evidence": 0x6D617461_02, "migrate": 0x6D617461_03}
"""Numbers of the advisory locks; PostgreSQL knows them by number, per database."""

# It warns of lost connections on stderr, beside the exception that we turn into a sentence.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_STUCK: Final = (psycopg.errors.ConnectionTimeout, psycopg.errors.LockNotAvailable)
"""What the next one would find as well; a query that is too slow says nothing about others."""

_DIALECT: Final = dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own constructor

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
        self._writer = _Link(self, lambda: math.inf)
        self._reader = _Link(self, patience_left_s)

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
                            f"{self.name} went away while it was committing ({_first_line(error)}); whether the change "
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

    async def connect(self, within_s: float = CONNECT_S) -> psycopg.AsyncConnection[Row]:
        """Make one more connection, with the schema looked at and every time limit set; its user closes it.

        Raises: StoreError.
        """
        if self.is_closed:
            self.check()
        durable = "off" if self._file == "evidence" else "on"
        try:
            connection = await _connect(self._where, durable, self.deadline_s, within_s)
        except StoreError as error:
            self._away = str(error)
            raise
        self.name, self._away = _name_of(connection), ""
        return connection

    def note(self, failure: str) -> None:
        """Remember that the last try to use it failed."""
        self._away = failure


class _Deadline:
    """Know whether a socket was shut down because its time was over."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False


class _Link:
    """Keep one connection, and make it again when it is lost; *patience_s* says how long its user is ready to wait."""

    def __init__(self, database: PostgresDatabase, patience_s: Callable[[], float]) -> None:
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
                _sever(connection)
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
            _sever(self._connection)  # somebody was cancelled in the middle of leaving a transaction
            await self._connection.close()
        try:
            self._connection = await self._database.connect(min(CONNECT_S, self.deadline_s))
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
                _sever(connection)  # a former primary: the next connection looks for the one that took over
            said = sentence(self._database.name, error)
            if isinstance(error, _STUCK):
                self._fail(said)
            if connection.closed:
                self._database.note(said)
            raise StoreError(said) from error

    def _fail(self, said: str) -> None:
        if self._patience_s() == math.inf:
            self._failed_at, self._failure = _now(), said


# ---- connections ---------------------------------------------------------------------------------------------------


async def _connect(
    where: str, durable: str, deadline_s: float, within_s: float = CONNECT_S
) -> psycopg.AsyncConnection[Row]:
    """Connect, look at the schema, and set what holds for every statement."""
    parameters = parameters_of(where)
    name = _name(parameters)
    try:
        async with asyncio.timeout(within_s):
            connection = await psycopg.AsyncConnection.connect(
                **parameters, autocommit=True, prepare_threshold=None, row_factory=psycopg.rows.tuple_row
            )
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise StoreError(sentence(name, error)) from error
    try:
        with severing(connection, within_s):
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
        found = conninfo.conninfo_to_dict(url)
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


def _name_of(connection: psycopg.AsyncConnection[Row]) -> str:
    info = connection.info
    return _name({"user": info.user, "host": info.host, "port": info.port, "dbname": info.dbname})


@contextmanager
def severing(
    connection: psycopg.AsyncConnection[Any],  # Any: of whatever rows
    deadline_s: float | None = None,
) -> Iterator[_Deadline]:
    """Shut the connection's socket down if the block takes longer than that; ``None``: :data:`DEADLINE_S`."""
    seconds = DEADLINE_S if deadline_s is None else deadline_s
    deadline = _Deadline()

    def end() -> None:
        deadline.is_over = True
        _sever(connection)

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield deadline
    except psycopg.OperationalError as error:
        if deadline.is_over:
            raise psycopg.errors.ConnectionTimeout(f"no answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _sever(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut the socket down, so that whoever waits for it fails at once."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


# ---- values --------------------------------------------------------------------------------------------------------


class _WholeLoader(Loader):
    """Read the sum of whole numbers, which PostgreSQL gives as ``numeric``, as a whole number."""

    def load(self, data: Buffer) -> int | float:
        """Turn the text of a number into one."""
        text = bytes(data).decode()
        return int(text) if "." not in text else float(text)


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


# ---- sentences -----------------------------------------------------------------------------------------------------

_NEXT: Final[Mapping[str, str]] = {
    "28P01": "correct the user or the password in `database`",
    "28000": "correct the user in `database`, or the server's pg_hba.conf",
    "3D000": "create the database, or correct its name in `database`",
    "42501": "grant this user what `matapalo db check` lists",
    "42P01": "run `matapalo db migrate`; if it has nothing to do, `matapalo db check` finds a pooler in between",
    "3F000": "run `matapalo db migrate`",
    "42703": "run `matapalo db migrate`",
    "25006": "it is read-only: point `database` at the primary",
    "53100": "free some space on the server",
    "53300": "raise max_connections of the server; a node needs six",
    "57014": f"it took longer than {DEADLINE_S:g} s: look at the server's load",
    "55P03": "another node, or somebody's open transaction, holds its lock",
    "P0001": "the audit only grows",
}
"""SQLSTATE to what to do about it."""


def sentence(name: str, error: BaseException) -> str:
    """Say what is wrong with a PostgreSQL and what to do next, without a password."""
    if isinstance(error, TimeoutError | psycopg.errors.ConnectionTimeout):
        return f"{name} did not answer in time; look at its load; nodes try again"
    code = getattr(error, "sqlstate", None) or ""
    if advice := _NEXT.get(code):
        return f"{name} refuses ({_first_line(error)}); {advice}"
    if isinstance(error, psycopg.OperationalError | OSError):
        return f"{name} cannot be reached ({_first_line(error)}); look at it, and at `database`; nodes try again"
    return f"{name} cannot be used: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    """Give the core of what libpq or the server says."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    return first.removeprefix("connection failed: ").removeprefix("FATAL:").strip()
