"""Bring one file to the newest schema; the only module that imports Alembic.

Alembic costs 0.4 s to import, so nothing imports this module for a file whose revision is
already :data:`store.schema.HEAD`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Final, Literal

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

File = Literal["flags", "evidence"]

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
            config.attributes["file"] = file
            command.upgrade(config, to)
            connection.exec_driver_sql("COMMIT")
    except (SQLAlchemyError, CommandError) as error:
        raise sqlite3.OperationalError(str(getattr(error, "orig", None) or error)) from error
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    # ConfigParser reads "%" as its own; the directory's name is not ours to choose.
    directory = os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
    config.set_main_option("script_location", directory.replace("%", "%%"))
    return config
