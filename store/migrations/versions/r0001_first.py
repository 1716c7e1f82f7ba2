"""Make the first tables of ``flags.db`` and ``evidence.db``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the tables of the file that is open."""
    if context.config.attributes["file"] == "flags":
        _upgrade_flags()
    else:
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
        sa.Column("percent_bp", sa.Integer, nullable=False),
        sa.Column("sample_bp", sa.Integer, nullable=False),
        sa.Column("salt", sa.String, nullable=False),
    )
    op.create_table(
        "holds",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("keep_copying", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_table("copying_off", sa.Column("route", sa.String, primary_key=True))
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("routes", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_routes",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("audit_id", sa.Integer, sa.ForeignKey("audit.id"), primary_key=True),
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
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _upgrade_evidence() -> None:
    op.create_table(
        "evidence_meta",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "answered",
        sa.Column("hour", sa.Integer, primary_key=True),
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("side", sa.String, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
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
        sa.Column("status_legacy", sa.Integer, nullable=False),
        sa.Column("status_new", sa.Integer, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("pointer", sa.Text, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("same", sa.Integer, nullable=False),
        sa.Column("different", sa.Integer, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
    )
    op.create_index("findings_rank", "findings", ["severity", "count", "id"])
    op.create_index("findings_last_seen", "findings", ["last_seen"])
