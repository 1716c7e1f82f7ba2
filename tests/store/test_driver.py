"""Rules of what psycopg is asked and what it answers: every wait ends, and every refusal says what to do."""

from __future__ import annotations

import time

import psycopg
import pytest

from store.database import DEADLINE_S, StoreError
from store.driver import sentence
from store.postgres import PostgresDatabase
from tests.store.made import put, soon
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def test_silence_ends_at_the_deadline(postgres_server: PostgresServer, migrated_url: str) -> None:
    """A network that swallows everything costs one deadline, then a sentence; when it is back, so are we."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network:
        database = PostgresDatabase(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")
        database.deadline_s = 1.5  # for what is asked over the connection that is there, and for the next one
        network.to_client = Faults(cut_after=0, cut="blackhole")
        network.accept = "blackhole"
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            await put(database, "meanwhile")
        waited_s = time.monotonic() - began
        database.deadline_s = DEADLINE_S
        network.to_client, network.accept = Faults(), "connect"
        found = await soon(database)
        await database.close()

    assert found[0] == "before"
    assert waited_s < 10, "a network says nothing for minutes"


def _unmade(words: str) -> psycopg.OperationalError:
    """Be a connection that could not be made, as libpq tells of it: without SQLSTATE."""
    return psycopg.OperationalError(f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {words}')


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (psycopg.errors.InsufficientPrivilege("permission denied for table flags"), "matapalo db check"),
        (psycopg.errors.DiskFull("could not extend file"), "free some space"),
        (psycopg.errors.TooManyConnections("too many clients"), "max_connections"),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), "primary"),
        (psycopg.OperationalError("connection failed: FATAL: sorry\nDETAIL: more"), "cannot be reached (sorry)"),
        (TimeoutError(), "did not answer in time"),
        (
            _unmade('FATAL:  role "nobody" does not exist'),
            'refuses (role "nobody" does not exist); correct the user in',
        ),
        (
            _unmade("FATAL:  no pg_hba.conf entry for host"),
            "correct the user in `database`, or the server's pg_hba.conf",
        ),
        (_unmade("FATAL:  Peer authentication failed for user"), "correct the user in `database`, or"),
        (_unmade("FATAL:  no such database: nowhere"), "create the database, or correct its name"),
        (_unmade("FATAL:  sorry, too many clients already"), "max_connections"),
        (_unmade("FATAL:  the database system is starting up"), "it is starting or ending"),
        (_unmade("ВАЖНО:  роль не существует"), "refuses (роль не существует); look at user and name in `database`"),
        (_unmade("server does not support SSL, but SSL was required"), "cannot be reached (connection to server"),
    ],
)
def test_each_refusal_says_what_to_do(error: Exception, said: str) -> None:
    """What operators can do about a refusal stands in the sentence."""
    assert said in sentence("postgresql://u@h/d", error)
