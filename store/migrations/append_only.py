"""Triggers that let a table only grow, whoever asks: in SQLite one per verb, in PostgreSQL a function of the schema."""

from __future__ import annotations

from alembic import op


def protect(table: str) -> None:
    """Refuse to change or delete rows of a table."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END$$"
    )
    # Per statement: TRUNCATE has no rows, and a change of no row is refused as well.
    op.execute(
        f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def refuse_replacing(table: str) -> None:
    """Refuse to put a row in the place of another one.

    SQLite's REPLACE deletes what is in the way, and asks triggers of DELETE only under ``recursive_triggers``, which
    each connection sets for itself. PostgreSQL's ``ON CONFLICT DO UPDATE`` is an UPDATE, which is refused already.
    """
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 - our own tables
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid) "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def lay_open(table: str) -> None:
    """Let a migration change rows of a table; :func:`protect` it again."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{verb}")
    else:
        op.execute(f"DROP TRIGGER {table}_only_grows ON {table}")
