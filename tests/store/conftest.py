"""Where the tests of this room keep things: each of them runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """Migrate one database, of which every test gets a copy, and give its name."""
    from store.migrate import upgrade_postgres

    name = postgres_server.database()
    upgrade_postgres(postgres_server.url(name))
    return name


@pytest.fixture
def migrated_url(postgres_server: PostgresServer, postgres_template: str) -> str:
    """Give the URL of a PostgreSQL whose schema is there, and nothing in it."""
    return postgres_server.url(postgres_server.database(template=postgres_template))


@pytest.fixture
def own_server(part_path: Callable[[str], Path]) -> Iterator[PostgresServer]:
    """Run a server that the test may stop."""
    from store.migrate import upgrade_postgres
    from tests.support.postgres import PostgresServer

    with PostgresServer(part_path("postgres").resolve().parent) as server:
        upgrade_postgres(server.url())
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a database that holds nothing yet: the path of a file, or the URL of a PostgreSQL."""
    if request.param == "sqlite":
        return os.fspath(tmp_path / "store.db")
    url: str = request.getfixturevalue("migrated_url")
    return url
