"""Rules of looking at a PostgreSQL before nodes share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from store.inspection import Finding, inspect
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def looked_at(where: str) -> dict[str, Finding]:
    """Look, and give the findings by name."""
    return {one.name: one for one in await inspect(where)}


async def test_a_good_database_is_good_in_everything_but_the_durability_of_tests(migrated_url: str) -> None:
    """Each thing has a name and a sentence; the server of the tests runs without fsync, which is said."""
    found = await looked_at(migrated_url)

    assert [name for name, one in found.items() if not one.ok] in (["durability"], ["latency", "durability"])
    assert {"reachable", "version", "encryption", "schema", "rights", "latency", "clock", "sessions"} <= found.keys()
    assert "fsync" in found["durability"].says


async def test_what_is_wrong_says_what_to_do(
    postgres_server: PostgresServer, postgres_url: str, migrated_url: str
) -> None:
    """No schema, no rights and no server each name the next step, and never the password."""
    empty = await looked_at(postgres_url)
    poor = f"poor_{migrated_url.rpartition('_')[2]}"
    postgres_server.execute(f"CREATE USER {poor} PASSWORD '{PASSWORD}'")
    postgres_server.execute(f"GRANT USAGE ON SCHEMA matapalo TO {poor}", migrated_url.rpartition("/")[2])
    refused = await looked_at(migrated_url.replace("//matapalo:", f"//{poor}:"))
    away = await looked_at(f"postgresql://u:{PASSWORD}@127.0.0.1:9/none")

    assert "matapalo db migrate" in empty["schema"].says
    assert not refused.get("rights", refused.get("questions", Finding(name="", ok=True, says=""))).ok
    assert not away["reachable"].ok
    assert not any(PASSWORD in one.says for found in (empty, refused, away) for one in found.values())


@pytest.mark.needs("pgbouncer")
@pytest.mark.parametrize("mode", ["transaction", "statement", "session"])
async def test_a_pooler_that_swaps_sessions_is_found(
    postgres_server: PostgresServer, migrated_url: str, part_path: Callable[[str], Path], mode: str
) -> None:
    """A real PgBouncer is refused, with the way out, unless each connection has a session of its own behind it."""
    with PgBouncer(part_path("pgbouncer"), postgres_server, mode) as pooler:
        found = await looked_at(postgres_server.url(migrated_url.rpartition("/")[2], port=pooler.port))

    assert found["sessions"].ok == (mode == "session")
    assert ("pool_mode=session" in found["sessions"].says) == (mode != "session")
