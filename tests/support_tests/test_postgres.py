"""Rules of the PostgreSQL that tests start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer


@pytest.mark.needs("postgres")
def test_a_killed_server_comes_back_with_what_it_had(part_path: Callable[[str], Path]) -> None:
    """After kill() and start() the address is the same and what was committed is there."""
    with PostgresServer(part_path("postgres").resolve().parent) as server:
        name = server.database()
        server.execute("CREATE TABLE kept (x int)", name)
        url = server.url(name)

        server.kill()
        server.start()

        assert server.url(name) == url
        assert server.execute("SELECT count(*) FROM kept", name) == [(0,)]


@pytest.mark.needs("postgres")
def test_each_test_has_a_database_of_its_own(postgres_server: PostgresServer) -> None:
    """Two databases of one server do not see each other's tables; one can be made as a copy of another."""
    first = postgres_server.database()
    postgres_server.execute("CREATE TABLE mine (x int)", first)

    second, copy = postgres_server.database(), postgres_server.database(template=first)

    tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'"
    assert postgres_server.execute(tables, second) == [(0,)]
    assert postgres_server.execute(tables, copy) == [(1,)]
