"""Rules of the notices of a shared database."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from store.database import StoreError
from store.notices import announced, notices

pytestmark = pytest.mark.anyio


def test_a_change_announces_itself_where_the_database_can() -> None:
    """PostgreSQL sends a notice with the transaction; SQLite, which nobody shares, sends none."""
    statement = select(announced("7"))

    assert "pg_notify('matapalo', " in str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy says no types
    assert "pg_notify" not in str(statement.compile(dialect=sqlite.dialect()))


async def test_a_database_that_cannot_be_reached_is_a_sentence() -> None:
    """Without a connection for notices the reason is said, and nothing hangs."""
    with pytest.raises(StoreError, match=r"nobody cannot be reached .* nodes try again"):
        async for _ in notices("postgresql://matapalo@127.0.0.1:9/nobody"):
            pass
