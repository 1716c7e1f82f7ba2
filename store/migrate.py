"""Bring a file or a PostgreSQL to the newest schema; the only module that imports Alembic.

Alembic costs 0.4 s to import, so nothing imports this module for a file whose revision is
already :data:`store.schema.HEAD`. A file is migrated when it is opened; a PostgreSQL only by ``matapalo db migrate``,
because other nodes are using it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from store.database import File, StoreError
from store.schema import FLOOR, HEAD

WAIT_S: Final = 30
"""For locks of other sessions: a backup that is being taken, somebody's forgotten transaction."""

# Alembic hands the running migration to env.py through module globals: two files at once would swap connections.
_TURN: Final = threading.Lock()


def chain() -> ScriptDirectory:
    """Open the chain of revisions that ships with this version."""
    return ScriptDirectory.from_config(_config())


def knows(revision: str) -> bool:
    """Say whether *revision* is part of this version's chain."""
    return revision in {script.revision for script in chain().walk_revisions()}


def upgrade(path: str, file: File, to: str = "head") -> None:
    """Run every missing revision up to *to* on the file at *path*, in one transaction.

    Raises: sqlite3.Error; ``store.database`` makes a sentence of it.
    Runs: in a thread; blocks on the disk.
    """
    # A URL object: a state_dir may hold a "?" or a "%" that a URL string would read as its own.
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool)

    # sqlite3 opens a transaction only at the first INSERT, so a crash between two CREATEs would leave half a
    # schema; taken over by hand, the whole chain is one transaction.
    @event.listens_for(engine, "connect")
    def _take_over(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # the DBAPI's connection, sqlite3's here

    config = _config()
    try:
        with _TURN, engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            config.attributes["files"] = (file,)
            command.upgrade(config, to)
            connection.exec_driver_sql("COMMIT")
    except (SQLAlchemyError, CommandError) as error:
        raise sqlite3.OperationalError(str(getattr(error, "orig", None) or error)) from error
    finally:
        engine.dispose()


def upgrade_postgres(where: str, to: str = "head") -> tuple[str, str]:
    """Run every missing revision up to *to* on both halves of a PostgreSQL, in one transaction; from, to.

    Who comes second waits for the first one, and finds nothing to do.
    Raises: StoreError; nothing has changed then.
    Runs: blocks on the network, at most :data:`WAIT_S` for other people's locks.
    """
    import psycopg  # the extra: psycopg need not be installed

    from store.connecting import SCHEMA, named, parameters_of
    from store.driver import sentence
    from store.postgres import LOCKS

    parameters = parameters_of(where)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**parameters), poolclass=NullPool)
    config = _config()
    try:
        with _TURN, engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout TO {WAIT_S * 1_000}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCKS['migrate']})")
            # CREATE … IF NOT EXISTS asks for the right to create even where there is nothing to do.
            if not connection.exec_driver_sql(f"SELECT to_regnamespace('{SCHEMA}')").scalar():
                connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
            connection.exec_driver_sql(f"SET LOCAL search_path TO {SCHEMA}")
            before = _standing(connection)
            if before and not knows(before):
                raise StoreError(
                    f"the schema is {before}, this version knows revisions up to {HEAD}; migrate with the newer version"
                )
            config.attributes["connection"] = connection
            config.attributes["files"] = ("flags", "evidence")
            command.upgrade(config, to)
            connection.exec_driver_sql(
                "INSERT INTO meta (key, value) VALUES ('schema_floor', %s) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (FLOOR,),
            )
            return before, _standing(connection)
    except (SQLAlchemyError, psycopg.Error) as error:
        raise StoreError(sentence(named(where), getattr(error, "orig", None) or error)) from error
    except CommandError as error:
        raise StoreError(str(error)) from error
    finally:
        engine.dispose()


def _standing(connection: Connection) -> str:
    """Read the revision of the schema; empty: there is none."""
    if not connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar():
        return ""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def _config() -> Config:
    config = Config()
    # ConfigParser reads "%" as its own; the directory's name is not ours to choose.
    directory = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
    config.set_main_option("script_location", directory.replace("%", "%%"))
    return config
