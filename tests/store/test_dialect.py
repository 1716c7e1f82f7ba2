"""Rules of the place that knows both dialects."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg as postgresql
from sqlalchemy.sql import ClauseElement, Executable

from store.dialect import storable
from store.schema import compared

ROOT = Path(__file__).resolve().parents[2]
SQLITE = sqlite.dialect(paramstyle="named")
POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own constructor


def test_every_statement_of_the_room_compiles_for_both() -> None:
    """No module keeps a statement that only one of the databases understands."""
    modules = [importlib.import_module(f"store.{name}") for name in ("evidence", "merge", "repeats", "divergences")]
    statements = [value for module in modules for value in vars(module).values() if isinstance(value, Executable)]

    for statement in statements:
        assert isinstance(statement, ClauseElement)
        assert str(statement.compile(dialect=SQLITE))
        assert str(statement.compile(dialect=POSTGRES))
    assert len(statements) > 10


def test_the_smaller_of_two_columns_has_two_names() -> None:
    """SQLite calls it min and max, PostgreSQL least and greatest."""
    query = select(func.least(compared.c.count, 1), func.greatest(compared.c.count, 1))

    assert "min(compared.count" in str(query.compile(dialect=SQLITE))
    assert "max(compared.count" in str(query.compile(dialect=SQLITE))
    assert "least(compared.count" in str(query.compile(dialect=POSTGRES))
    assert "greatest(compared.count" in str(query.compile(dialect=POSTGRES))


@pytest.mark.parametrize(
    ("text", "kept"), [("a", "a"), ("ä", "ä"), ("a\0b", "a\u2400b"), ("ä\0", "ä\u2400"), ("\ud800x", "?x"), ("", "")]
)
def test_texts_that_postgresql_cannot_hold_are_replaced(text: str, kept: str) -> None:
    """NUL and half a surrogate pair become something that can be stored; every other text stays."""
    assert storable(text) == kept


def test_a_node_on_sqlite_imports_no_postgresql() -> None:
    """Neither psycopg nor SQLAlchemy's dialect of PostgreSQL is imported for a file."""
    script = (
        "import sys, store.flags, store.evidence, store.sqlite\n"
        "print([name for name in ('psycopg', 'sqlalchemy.dialects.postgresql') if name in sys.modules])"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert said.stdout.strip() == "[]"
