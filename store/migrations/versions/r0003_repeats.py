"""Remember noise, repeats of divergent pairs and the last recheck of each divergence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from store.dialect import Number

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add to the tables of ``evidence.db``; ``flags.db`` stays as it is."""
    if "evidence" not in context.config.attributes["files"]:
        return
    op.create_table(
        "noise_asked",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("day", Number, primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
    op.create_table(
        "noise_places",
        sa.Column("route", sa.String, primary_key=True),
        sa.Column("day", Number, primary_key=True),
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
    op.create_table(
        "repeated",
        sa.Column("divergence", sa.String, primary_key=True),
        sa.Column("attempt", Number, primary_key=True),
        sa.Column("outcome", sa.String, primary_key=True),
        sa.Column("count", Number, nullable=False),
    )
    op.create_table(
        "rechecks",
        sa.Column("divergence", sa.String, primary_key=True),
        sa.Column("comparison", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("build_legacy", sa.String, nullable=False),
        sa.Column("build_new", sa.String, nullable=False),
    )
    op.add_column("divergences", sa.Column("noisy", Number, nullable=False, server_default="0"))
    op.drop_index("divergences_rank", "divergences")
    op.create_index("divergences_rank", "divergences", ["settled", "rank", "noisy", "count", "id"])
