"""What a PostgreSQL has to offer before nodes may share it, looked at as a node would use it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final

import psycopg

from store.connecting import CONNECT_S, SCHEMA, misfit, named, parameters_of
from store.database import StoreError
from store.driver import sentence, severing
from store.nodes import SKEW_S
from store.schema import EVIDENCE, FLAGS

OLDEST: Final = 120_000
"""PostgreSQL 12, as ``server_version_num`` writes it: what the chain and the session's settings need."""

SLOW_S: Final = 0.05
"""For one question; a flip asks about ten."""

NOTICE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Say how one thing is."""

    name: str
    ok: bool
    says: str


Connection = psycopg.AsyncConnection[tuple[object, ...]]


async def inspect(where: str) -> list[Finding]:
    """Look at everything that can be looked at.

    Raises: StoreError for a URL that cannot be read.
    """
    parameters, name = parameters_of(where), named(where)
    began = time.monotonic()
    try:
        async with asyncio.timeout(2 * CONNECT_S):
            connection = await psycopg.AsyncConnection.connect(**parameters, autocommit=True, prepare_threshold=None)
    except (psycopg.Error, OSError, TimeoutError) as error:
        return [Finding(name="reachable", ok=False, says=sentence(name, error))]
    found = [Finding(name="reachable", ok=True, says=f"{name}, connected in {_ms(time.monotonic() - began)}")]
    async with connection:
        try:
            with severing(connection):
                found.append(_version(connection))
                found.append(_encryption(connection))
                found.append(await _schema(connection))
                found.append(await _rights(connection))
                found += await _times(connection)
                found.append(await _durable(connection))
                found.append(await _room(connection))
            found.append(await _pooler(connection, parameters))
        except (psycopg.Error, OSError, StoreError) as error:
            found.append(Finding(name="questions", ok=False, says=sentence(name, error)))
    return found


def _version(connection: Connection) -> Finding:
    version = connection.info.server_version
    return Finding(
        name="version",
        ok=version >= OLDEST,
        says=f"PostgreSQL {version // 10_000}.{version % 10_000}"
        + ("" if version >= OLDEST else f"; expected {OLDEST // 10_000} or newer"),
    )


def _encryption(connection: Connection) -> Finding:
    is_used = connection.pgconn.ssl_in_use
    host = connection.info.host
    is_near = host.startswith(("/", "127.")) or host in ("localhost", "::1")
    says = "TLS" if is_used else "no TLS, on this machine" if is_near else "no TLS: add ?sslmode=verify-full to the URL"
    return Finding(name="encryption", ok=is_used or is_near, says=says)


async def _schema(connection: Connection) -> Finding:
    await connection.execute(f"SET search_path TO {SCHEMA}".encode())
    revision = floor = ""
    if await _one(connection, "SELECT to_regclass('alembic_version')"):
        revision = str(await _one(connection, "SELECT version_num FROM alembic_version"))
        floor = str(await _one(connection, "SELECT value FROM meta WHERE key = 'schema_floor'") or revision)
    complaint = misfit(revision, floor)
    return Finding(name="schema", ok=not complaint, says=complaint or f"{revision}, usable by versions from {floor} on")


async def _rights(connection: Connection) -> Finding:
    """Say which rights the user lacks on tables that are there."""
    wanted = {table: "SELECT, INSERT, UPDATE, DELETE" for half in (FLAGS, EVIDENCE) for table in half.tables}
    wanted |= {"audit": "SELECT, INSERT", "audit_routes": "SELECT, INSERT", "alembic_version": "SELECT"}
    lacking = []
    for table, rights in wanted.items():
        for right in rights.split(", "):
            known = f"to_regclass('{SCHEMA}.{table}')"
            if await _one(connection, f"SELECT {known} IS NOT NULL AND NOT has_table_privilege({known}, '{right}')"):
                lacking.append(f"{right} ON {SCHEMA}.{table}")
    user = connection.info.user
    says = f"GRANT {lacking[0]} TO {user}, and {len(lacking) - 1} more" if lacking else f"{user} has what a node needs"
    return Finding(name="rights", ok=not lacking, says=says)


async def _times(connection: Connection) -> list[Finding]:
    """Measure the clock and how long a question takes, the best of five."""
    best, skew = 1e9, 0.0
    for _ in range(5):
        began, at = time.monotonic(), time.time()
        theirs = float(str(await _one(connection, "SELECT extract(epoch FROM clock_timestamp())")))
        took = time.monotonic() - began
        if took < best:
            best, skew = took, theirs - (at + took / 2)
    return [
        Finding(
            name="latency",
            ok=best <= SLOW_S,
            says=_ms(best)
            + ("" if best <= SLOW_S else f" for a question; expected {_ms(SLOW_S)} or less: put it nearer"),
        ),
        Finding(
            name="clock",
            ok=abs(skew) <= SKEW_S,
            says=f"{skew:+.3f} s against ours"
            + ("" if abs(skew) <= SKEW_S else "; let both machines follow a time server"),
        ),
    ]


async def _durable(connection: Connection) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if await _one(connection, f"SHOW {name}") == "off"]
    says = f"{' and '.join(off)} off: a crash of its machine may lose what was acknowledged" if off else "fsync is on"
    return Finding(name="durability", ok=not off, says=says)


async def _room(connection: Connection) -> Finding:
    most = int(str(await _one(connection, "SHOW max_connections")))
    used = int(
        str(await _one(connection, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    )
    return Finding(name="connections", ok=most - used >= 6, says=f"{used} of {most} are used; a node needs six")


async def _pooler(connection: Connection, parameters: dict[str, object]) -> Finding:
    """Find out whether a pooler gives our session to others between two transactions.

    There LISTEN, session settings and what is set by SET do not hold: PgBouncer in transaction mode. Two sessions that
    are open at once must be two, and a notice must arrive.
    """
    is_direct = False
    # PgBouncer in statement mode refuses transactions altogether.
    with contextlib.suppress(psycopg.errors.ProtocolViolation):
        is_direct = await _has_own_session(connection, parameters)
    return Finding(
        name="sessions",
        ok=is_direct,
        says="each connection is a session of its own, and notices arrive"
        if is_direct
        else "a pooler in transaction or statement mode (PgBouncer) is in between: LISTEN and session settings do not "
        "work; connect to the server itself, or use pool_mode=session",
    )


async def _has_own_session(connection: Connection, parameters: dict[str, object]) -> bool:
    other = await psycopg.AsyncConnection.connect(**parameters, autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]  # texts
    async with other:
        with severing(connection), severing(other):
            mark = f"matapalo.check_{time.monotonic_ns()}"
            await connection.execute(f"SET {mark} TO 'ours'".encode())
            await connection.execute(b"LISTEN matapalo_check")
            pids = set()
            for _ in range(3):
                pids.add(await _one(connection, "SELECT pg_backend_pid()"))
                await other.execute(b"BEGIN")  # takes the server that a pooler would give back to us
                pids.add(await _one(connection, "SELECT pg_backend_pid()"))
                seen = await _one(other, f"SELECT current_setting('{mark}', true)")
                await other.execute(b"NOTIFY matapalo_check")
                await other.execute(b"COMMIT")
            kept = await _one(connection, f"SELECT current_setting('{mark}', true)")
            heard = [notice async for notice in connection.notifies(timeout=NOTICE_S, stop_after=1)]
    return len(pids) == 1 and kept == "ours" and not seen and bool(heard)


async def _one(connection: Connection, query: str) -> object:
    rows = await (await connection.execute(query.encode())).fetchall()
    return rows[0][0] if rows else None


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.1f} ms"
