"""Make the first tables of ``flags.db`` and ``evidence.db``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from store.dialect import Number
from store.migrations.append_only import protect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the tables of what is open."""
    files = context.config.attributes["files"]
    if "flags" in files:
        _upgrade_flags()
    if "evidence" in files:
        _upgrade_evidence()


def _upgrade_flags() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "flags",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("percent_bp", Number, nullable=False),
        sa.Column("sample_bp", Number, nullable=False),
        sa.Column("salt", sa.String, nullable=False),
    )
    op.create_table(
        "holds",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("keep_copying", Number, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_table("copying_off", sa.Column("route", sa.String, primary_key=True))
    op.create_table(
        "audit",
        sa.Column("id", Number, primary_key=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("routes", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revision", Number, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_routes",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("audit_id", Number, sa.ForeignKey("audit.id"), primary_key=True),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("actor", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("idempotency_at", "idempotency", ["at"])
    # Whoever opens the file with another tool meets the same rule: the audit only grows.
    for table in ("audit", "audit_routes"):
        protect(table)


def _upgrade_evidence() -> None:
    op.create_table(
        "evidence_meta",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "answered",
        sa.Column("hour", Number, primary_key=True),
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("side", sa.String, primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
    op.create_table(
        "last_legacy",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.String, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "findings",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("status_legacy", Number, nullable=False),
        sa.Column("status_new", Number, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("pointer", sa.Text, nullable=False),
        sa.Column("severity", Number, nullable=False),
        sa.Column("count", Number, nullable=False),
        sa.Column("same", Number, nullable=False),
        sa.Column("different", Number, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
    )
    op.create_index("findings_rank", "findings", ["severity", "count", "id"])
    op.create_index("findings_last_seen", "findings", ["last_seen"])
