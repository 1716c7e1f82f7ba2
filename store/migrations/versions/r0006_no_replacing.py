"""Refuse ``INSERT OR REPLACE`` on what only grows: SQLite deletes the old row without asking a trigger."""

from __future__ import annotations

from alembic import context

from store.migrations.append_only import refuse_replacing

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add triggers to the audit's tables; PostgreSQL has nothing that its own do not refuse."""
    if "flags" in context.config.attributes["files"]:
        for table in ("audit", "audit_routes"):
            refuse_replacing(table)
