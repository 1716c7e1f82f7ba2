"""Rules of how a PostgreSQL is reached: only with a schema that fits, and without showing a password."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from store.connecting import misfit, named, parameters_of
from store.database import File, StoreError, open_database
from store.migrate import upgrade_postgres
from store.postgres import PostgresDatabase
from store.schema import FLOOR, HEAD
from tests.store.made import keys_of, soon
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


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


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        (f":{PASSWORD}@", ":wrong@", r"refuses \(password authentication failed.*correct the user or the password"),
        (f":{PASSWORD}@", "@", r"refuses \(.*no password supplied.*correct the user or the password"),
        ("/test_", "/no_such_database_", r"refuses \(database .*create the database, or correct its name"),
        ("127.0.0.1", "127.0.0.9", r"cannot be reached \(.*Connection refused.*look at it, and at `database`"),
    ],
    ids=["password", "none", "database", "server"],
)
async def test_what_is_wrong_with_a_connection_is_told_apart(
    migrated_url: str, change: str, to: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused credentials, a database that is not there and a server that is not each name their own next step."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    database = await open_database(migrated_url.replace(change, to), "flags")

    with pytest.raises(StoreError, match=said):
        await keys_of(database)
    await database.close()


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
