"""Rules of the tables."""

from __future__ import annotations

from sqlalchemy import JSON, DateTime

from store.schema import EVIDENCE, FLAGS


def test_both_files_could_stand_in_one_database() -> None:
    """No table name is used twice, so that one PostgreSQL can hold both."""
    assert not FLAGS.tables.keys() & EVIDENCE.tables.keys()


def test_every_table_has_a_key_and_portable_types() -> None:
    """Each table has a primary key, and no column a type that databases read differently."""
    for table in (*FLAGS.tables.values(), *EVIDENCE.tables.values()):
        assert table.primary_key.columns
        assert not any(isinstance(column.type, (JSON, DateTime)) for column in table.columns)
