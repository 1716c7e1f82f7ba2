"""Remember divergences with their causes, builds, states and examples; findings, which only had a place, go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from store.dialect import Number

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables of ``evidence.db``; ``flags.db`` stays as it is."""
    if "evidence" not in context.config.attributes["files"]:
        return
    op.drop_table("findings")
    op.create_table(
        "compared",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("build", sa.String, primary_key=True),
        sa.Column("count", Number, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
    )
    op.create_table(
        "divergences",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("status_legacy", Number, nullable=False),
        sa.Column("status_new", Number, nullable=False),
        sa.Column("settled", Number, nullable=False),
        sa.Column("rank", Number, nullable=False),
        sa.Column("causes", sa.Text, nullable=False),
        sa.Column("count", Number, nullable=False),
        sa.Column("same", Number, nullable=False),
        sa.Column("different", Number, nullable=False),
        sa.Column("compared_before", Number, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("last_build", sa.String, nullable=False),
        sa.Column("fixed_build", sa.String, nullable=False),
        sa.Column("consumers", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("ticket", sa.String, nullable=False),
        sa.Column("decided_by", sa.String, nullable=False),
        sa.Column("decided_at", sa.Float, nullable=False),
    )
    op.create_index("divergences_rank", "divergences", ["settled", "rank", "count", "id"])
    op.create_index("divergences_route", "divergences", ["route", "state"])
    op.create_index("divergences_last_seen", "divergences", ["last_seen"])
    op.create_table(
        "divergence_places",
        sa.Column("divergence", sa.String, primary_key=True),
        sa.Column("place", Number, primary_key=True),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
    )
    op.create_index("divergence_places_cause", "divergence_places", ["cause"])
    op.create_index("divergence_places_path", "divergence_places", ["path"])
    op.create_table(
        "divergence_builds",
        sa.Column("divergence", sa.String, primary_key=True),
        sa.Column("build", sa.String, primary_key=True),
        sa.Column("count", Number, nullable=False),
        sa.Column("first_seen", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("divergence", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("bytes", Number, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("comparisons_divergence", "comparisons", ["divergence", "at"])
    op.create_index("comparisons_request", "comparisons", ["request_id"])
    op.create_index("comparisons_at", "comparisons", ["at"])
