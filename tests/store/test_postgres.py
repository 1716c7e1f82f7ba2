"""Rules of a PostgreSQL: it may be away and come back, every wait ends, and no message holds a password."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, insert, select, text

from store import postgres
from store.database import Database, File, StoreError, open_database, patience
from store.migrate import upgrade_postgres
from store.postgres import LOCKS, SCHEMA, PostgresDatabase, misfit, named, parameters_of, sentence
from store.schema import FLOOR, HEAD, meta
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


@pytest.fixture
def own_server(part_path: Callable[[str], Path]) -> Iterator[PostgresServer]:
    """Run a server that the test may stop."""
    with PostgresServer(part_path("postgres").resolve().parent) as server:
        upgrade_postgres(server.url())
        yield server


async def put(database: Database, key: str) -> None:
    """Write one key."""
    async with database.transaction() as tx:
        await tx.run(insert(meta).values(key=key, value="1"))


async def keys_of(database: Database) -> list[str]:
    """Read the keys that these tests write."""
    found = await database.rows(select(meta.c.key).where(meta.c.key != "schema_floor").order_by(meta.c.key))
    return [key for (key,) in found]


async def soon(database: Database) -> list[str]:
    """Read once the database is back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await keys_of(database)
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@contextmanager
def short(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """Shorten every deadline, so that a test of silence need not wait five seconds."""
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "DEADLINE_S", seconds)
        patch.setattr(postgres, "CONNECT_S", seconds)
        yield


async def test_a_server_that_was_killed_is_used_again(own_server: PostgresServer) -> None:
    """While the server is down every use is a sentence at once; once it is back everything goes on by itself."""
    database = await open_database(own_server.url(), "flags")
    await put(database, "before")

    own_server.kill()
    with pytest.raises(StoreError, match=r"cannot be reached|went away"):
        await put(database, "meanwhile")
    with pytest.raises(StoreError):
        database.check()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(StoreError):
            await keys_of(database)
    asked_s = time.monotonic() - began
    own_server.start()
    found = await soon(database)
    await put(database, "later")
    database.check()
    await database.close()

    assert found == ["before"]
    assert asked_s < 5


async def test_idle_connections_that_a_restart_closed_are_noticed_by_nobody(own_server: PostgresServer) -> None:
    """A server that was restarted while nobody asked serves the very next read and the very next change."""
    database = await open_database(own_server.url(), "flags")
    await put(database, "before")
    await keys_of(database)

    own_server.stop()
    own_server.start()
    await put(database, "after")
    found = await keys_of(database)
    await database.close()

    assert found == ["after", "before"]


async def test_silence_ends_at_the_deadline(
    postgres_server: PostgresServer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows everything costs one deadline, then a sentence; when it is back, so are we."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network, short(monkeypatch, 1.5):
        database = await open_database(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")
        network.to_client = Faults(cut_after=0, cut="blackhole")
        network.accept = "blackhole"
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            await put(database, "meanwhile")
        waited_s = time.monotonic() - began
        network.to_client, network.accept = Faults(), "connect"
        found = await soon(database)
        await database.close()

    assert found[0] == "before"
    assert waited_s < 5


async def test_who_reads_with_patience_waits_no_longer(postgres_server: PostgresServer, migrated_url: str) -> None:
    """All reads of one who waits cost one patience, and who has more of it is not told that the server is stuck."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network:
        database = await open_database(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")
        await keys_of(database)
        network.to_client = Faults(cut_after=0, cut="blackhole")
        network.accept = "blackhole"
        began = time.monotonic()
        with patience(0.5):
            for _ in range(3):
                with pytest.raises(StoreError, match="did not answer in time"):
                    await keys_of(database)
        waited_s = time.monotonic() - began
        network.to_client, network.accept = Faults(), "connect"
        found = await keys_of(database)
        await database.close()

    assert found == ["before"]
    assert waited_s < 3


@pytest.mark.parametrize("words", [f"SELECT pg_advisory_lock({LOCKS['flags']})", "LOCK TABLE meta"])
async def test_a_lock_that_somebody_holds_costs_one_deadline(migrated_url: str, words: str) -> None:
    """Whoever waits behind somebody's lock, and who comes soon after, hears of it with the first one, not in turn."""
    database = await open_database(migrated_url, "flags", 2.5)
    uses = put if "advisory" in words else lambda database, _: keys_of(database)
    async with await psycopg.AsyncConnection.connect(migrated_url) as other:
        await other.execute(f"SET search_path TO {SCHEMA}".encode())
        await other.execute(words.encode())
        began = time.monotonic()
        found = await asyncio.gather(*(uses(database, f"key{number}") for number in range(5)), return_exceptions=True)
        together_s, began = time.monotonic() - began, time.monotonic()
        with pytest.raises(StoreError, match="holds its lock"):
            await uses(database, "at once")
        again_s = time.monotonic() - began
    await database.close()

    assert all(isinstance(one, StoreError) and "holds its lock" in str(one) for one in found), found
    assert together_s < 2 * 2.5, "not one after the other"
    assert again_s < 2.0, "not after a deadline of its own"


async def test_a_commit_whose_answer_is_lost_says_that_the_outcome_is_unknown(
    postgres_server: PostgresServer, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the answer to COMMIT does not come the error says so, instead of "nothing was written"."""
    name = migrated_url.rpartition("/")[2]
    with FaultProxy(("127.0.0.1", postgres_server.port)) as network, short(monkeypatch, 3.0):
        database = await open_database(postgres_server.url(name, port=network.port), "flags")
        await put(database, "before")

        async def write() -> None:
            async with database.transaction() as tx:
                await tx.run(insert(meta).values(key="perhaps", value="1"))
                network.to_client = Faults(cut_after=0, cut="blackhole")

        with pytest.raises(StoreError, match="is unknown"):
            await write()
        network.to_client = Faults()
        found = await soon(database)
        await database.close()

    assert found == ["before", "perhaps"]


async def test_a_node_that_hangs_inside_a_transaction_loses_it(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a node that hangs is given on after the deadline, and what it wrote is undone."""
    with short(monkeypatch, 2.0):
        hung, other = await open_database(migrated_url, "flags"), await open_database(migrated_url, "flags")
        await put(other, "connected")  # who connects first waits for the lock in the rest of its time only
        connection = await hung.connect()  # type: ignore[attr-defined]  # PostgreSQL's own
        await connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({postgres.LOCKS['flags']})")
        await connection.execute("INSERT INTO meta VALUES ('hung', '1')")
        with pytest.raises(StoreError, match="another node, or somebody's open transaction, holds its lock"):
            await put(other, "first")
        deadline = time.monotonic() + 60
        while True:
            try:
                await put(other, "second")
                break
            except StoreError:
                assert time.monotonic() < deadline
        found = await keys_of(other)
        await connection.close()
        await hung.close()
        await other.close()

    assert found == ["connected", "second"]


async def test_slow_statements_are_ended(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that takes longer than the deadline is ended by the server or by us, and the next one works."""
    with short(monkeypatch, 1.5):
        database = await open_database(migrated_url, "flags")
        with pytest.raises(StoreError, match=r"look at the server's load|did not answer in time"):
            await database.rows(text("SELECT pg_sleep(60)"))
        found = await database.rows(select(func.length("ab")))
        await database.close()

    assert found == [(2,)]


async def test_a_database_without_our_tables_says_how_to_make_them(postgres_url: str) -> None:
    """Without a schema nothing is made: the sentence names the command, and after it everything works as it stands."""
    database = await open_database(postgres_url, "flags")
    with pytest.raises(StoreError, match="run `matapalo db migrate`"):
        await keys_of(database)

    await asyncio.to_thread(upgrade_postgres, postgres_url)
    found = await soon(database)
    await database.close()

    assert found == []


@pytest.mark.parametrize(
    ("revision", "floor", "said"),
    [
        (HEAD, FLOOR, ""),
        ("9999", FLOOR, ""),
        ("9999", "9998", "start a newer version"),
        ("0003", "0003", "matapalo db migrate"),
        ("", "", "matapalo db migrate"),
    ],
)
def test_a_schema_fits_or_is_a_sentence(revision: str, floor: str, said: str) -> None:
    """The schema of the next version fits as long as it only adds; an old one, and one beyond its floor, do not."""
    complaint = misfit(revision, floor)

    assert said in complaint
    assert bool(said) == bool(complaint)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"matapalo:{PASSWORD}", "matapalo:wrong-but-secret"),
        (f"matapalo:{PASSWORD}", "nobody:wrong-but-secret"),
        ("/test_", "/no_such_database_"),
        ("/test_", "/a%zz_"),
    ],
)
async def test_no_message_holds_a_password(migrated_url: str, change: str, said: str) -> None:
    """Whatever is wrong with a URL, the message names user, host and database at most."""
    url = migrated_url.replace(change, said)
    database = await open_database(url, "flags")

    with pytest.raises(StoreError) as caught:
        await keys_of(database)
    await database.close()

    told = f"{caught.value} {database.name} {named(url)}"
    assert "wrong-but-secret" not in told
    assert PASSWORD not in told
    assert "postgresql://" in told or "PostgreSQL" in told


@pytest.mark.parametrize("password", ["abc/SEKRET", "abc@SEKRET", "a/b@SEKRET", "SEKRET@SEKRET@"])
def test_a_password_that_is_not_escaped_is_taken_for_nothing_else(password: str) -> None:
    """A slash or @ in a password makes a host or a name of its rest, which messages show: it is refused instead."""
    url = f"postgresql://matapalo:{password}@127.0.0.1:5432/flags?sslmode=disable"

    with pytest.raises(StoreError, match="special characters are written as %XX") as caught:
        parameters_of(url)

    assert "SEKRET" not in f"{caught.value} {named(url)}"
    assert parameters_of("postgresql://u:a%2Fb%40c@h/d?application_name=a@b")["password"] == "a/b@c"


async def test_a_url_may_be_found_in_a_file_that_changes(migrated_url: str, tmp_path: Path) -> None:
    """A reference is resolved for each connection: a rotated password needs no restart."""
    held = tmp_path / "url"
    held.write_text(migrated_url.replace(PASSWORD, "the-old-one"))
    database = await open_database(f"file:{held}", "flags")
    with pytest.raises(StoreError, match="password"):
        await keys_of(database)

    held.write_text(migrated_url + "\n")
    found = await soon(database)
    name = database.name
    await database.close()

    assert found == []
    assert name.startswith("postgresql://matapalo@127.0.0.1:")


def test_what_the_url_says_goes_before_our_defaults() -> None:
    """TLS, several hosts and every other option of libpq are taken over; what it leaves open is set for it."""
    found = parameters_of("postgresql://u:p@a,b/d?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=9")

    assert (found["host"], found["sslmode"], found["sslrootcert"]) == ("a,b", "verify-full", "/ca.pem")
    assert (found["connect_timeout"], found["target_session_attrs"]) == ("9", "read-write")


async def test_tls_that_the_url_asks_for_is_not_left_out(migrated_url: str) -> None:
    """A server without TLS is refused where the URL wants it, and the sentence says why."""
    database = await open_database(f"{migrated_url}?sslmode=require", "flags")

    with pytest.raises(StoreError, match="SSL"):
        await keys_of(database)
    await database.close()


async def test_what_is_acknowledged_is_durable_whatever_the_default(
    postgres_server: PostgresServer, migrated_url: str
) -> None:
    """Flags are committed to the disk also where the database is set to commit lazily; evidence need not."""
    name = migrated_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit TO off")
    found = {}
    files: tuple[File, ...] = ("flags", "evidence")
    for file in files:
        database = PostgresDatabase(migrated_url, file)
        found[file] = await database.rows(text("SELECT current_setting('synchronous_commit')"))
        await database.close()

    assert found == {"flags": [("on",)], "evidence": [("off",)]}


async def test_texts_of_strangers_are_stored(migrated_url: str) -> None:
    """A NUL or half a surrogate pair in a text costs that character, never the batch."""
    database = await open_database(migrated_url, "flags")
    async with database.transaction() as tx:
        await tx.run_many(insert(meta), [{"key": "a\0b", "value": "\ud800"}, {"key": "100%", "value": "%s %(x)s"}])

    found = await database.rows(select(meta.c.key, meta.c.value).where(meta.c.key.in_(["a\u2400b", "100%"])))
    await database.close()

    assert sorted(found) == [("100%", "%s %(x)s"), ("a\u2400b", "?")]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (psycopg.errors.InsufficientPrivilege("permission denied for table flags"), "matapalo db check"),
        (psycopg.errors.DiskFull("could not extend file"), "free some space"),
        (psycopg.errors.TooManyConnections("too many clients"), "max_connections"),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT"), "primary"),
        (psycopg.OperationalError("connection failed: FATAL: sorry\nDETAIL: more"), "cannot be reached (sorry)"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_each_refusal_says_what_to_do(error: Exception, said: str) -> None:
    """What operators can do about a refusal stands in the sentence."""
    assert said in sentence("postgresql://u@h/d", error)
