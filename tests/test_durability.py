"""What was acknowledged is there after any kill, on SQLite and on PostgreSQL; ``scripts/soak`` kills 1,000 times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from store.migrate import upgrade_postgres
from tests.support.flipper import Flippers
from tests.support.postgres import PostgresServer


def test_no_acknowledged_flip_is_lost_over_kills_on_sqlite(tmp_path: Path) -> None:
    """Of 50 processes that are killed while they flip, none loses a flip that it was told is written."""
    with Flippers(str(tmp_path / "flags.db")) as flippers:
        missing = flippers.lost(50)

    assert missing == 0
    assert flippers.flips > 50


@pytest.mark.needs("postgres")
def test_no_acknowledged_flip_is_lost_over_kills_on_postgresql(part_path: Callable[[str], Path]) -> None:
    """The same on PostgreSQL, where the server is killed as well, and recovers."""
    with PostgresServer(part_path("postgres").resolve().parent) as server:
        upgrade_postgres(server.url())

        def crash() -> None:
            server.kill()
            server.start()

        with Flippers(server.url()) as flippers:
            missing = flippers.lost(20) + flippers.lost(5, kill=crash) + flippers.lost(1)

    assert missing == 0
    assert flippers.flips > 25
