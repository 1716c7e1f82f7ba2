"""Chain the audit, give flags their cohorts, and make room for tokens, nodes and what gates read."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import context, op

from store import chain
from store.dialect import Number
from store.migrations.append_only import lay_open, protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add to the tables of what is open; everything old stays readable by the version before."""
    files = context.config.attributes["files"]
    if "flags" in files:
        _upgrade_flags()
    if "evidence" in files:
        _upgrade_evidence()


def _upgrade_flags() -> None:
    op.add_column("flags", sa.Column("cohorts", sa.Text, nullable=False, server_default="{}"))
    for name, default in (
        ("address", ""),
        ("evidence", "{}"),
        ("builds", "{}"),
        ("config", ""),
        ("previous", ""),
        ("hash", ""),
    ):
        op.add_column("audit", sa.Column(name, sa.Text, nullable=False, server_default=default))
    op.add_column("audit", sa.Column("forced", Number, nullable=False, server_default="0"))
    op.create_table(
        "tokens",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("made_by", sa.String, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("last_used_at", sa.Float, nullable=False),
    )
    op.create_table(
        "nodes",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("revision", Number, nullable=False),
        sa.Column("config", sa.String, nullable=False),
        sa.Column("workers", sa.Text, nullable=False),
    )
    _chain_what_is_there()


def _chain_what_is_there() -> None:
    """Put the entries of former versions in the chain: from now on nobody changes them unseen either."""
    connection = op.get_bind()
    lay_open("audit")
    previous = chain.GENESIS
    for row in connection.execute(sa.text("SELECT * FROM audit ORDER BY id")).mappings().all():
        body = {
            **{name: row[name] for name in ("id", "at", "actor", "source", "address", "kind", "reason", "revision")},
            **{name: json.loads(row[name]) for name in ("routes", "before", "after", "evidence", "builds")},
            "config": row["config"],
            "forced": bool(row["forced"]),
            "previous": previous,
        }
        found = chain.digest(body)
        connection.execute(
            sa.text("UPDATE audit SET previous = :previous, hash = :hash WHERE id = :id"),
            {"previous": previous, "hash": found, "id": row["id"]},
        )
        previous = found
    protect("audit")


def _upgrade_evidence() -> None:
    op.add_column("epochs", sa.Column("node", sa.String, nullable=False, server_default=""))
    op.create_table(
        "gate_hours",
        sa.Column("node", sa.String, primary_key=True),
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("build", sa.String, primary_key=True),
        sa.Column("hour", Number, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("gate_hours_route", "gate_hours", ["route", "build", "hour"])
    op.create_index("gate_hours_hour", "gate_hours", ["hour"])
