"""The tables of both files, as SQLAlchemy Core sees them.

Rules of this file:

1. The migrations build the tables; what stands here must say the same (a test compares).
2. Every moment is text in RFC 3339 UTC or a Unix time in seconds, every composite value is JSON text:
   the same tables stand in PostgreSQL, both files' in one schema.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Float, ForeignKey, Index, LargeBinary, MetaData, String, Table, Text

from store.dialect import Number

HEAD: Final = "0006"
"""The newest revision of the chain in ``store/migrations``; at it, Alembic (0.4 s to import) is not needed."""

FLOOR: Final = "0004"
"""The oldest HEAD whose code can use the tables as they stand at :data:`HEAD`: later revisions only add, so that nodes
of the version before go on while a PostgreSQL is already migrated."""

FLAGS: Final = MetaData()
"""``flags.db``: what must survive everything."""

EVIDENCE: Final = MetaData()
"""``evidence.db``: what is counted and seen."""

meta = Table(
    "meta",
    FLAGS,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)

flags = Table(
    "flags",
    FLAGS,
    Column("route", String, primary_key=True),
    Column("stage", String, nullable=False),
    Column("percent_bp", Number, nullable=False),
    Column("sample_bp", Number, nullable=False),
    Column("salt", String, nullable=False),
    Column("cohorts", Text, nullable=False, server_default="{}"),
)

holds = Table(
    "holds",
    FLAGS,
    Column("route", String, primary_key=True),
    Column("keep_copying", Number, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String, nullable=False),
    Column("at", String, nullable=False),
)

copying_off = Table(
    "copying_off",
    FLAGS,
    Column("route", String, primary_key=True),
)

audit = Table(
    "audit",
    FLAGS,
    Column("id", Number, primary_key=True),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("source", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("routes", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("revision", Number, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    Column("evidence", Text, nullable=False, server_default="{}"),
    Column("builds", Text, nullable=False, server_default="{}"),
    Column("config", Text, nullable=False, server_default=""),
    Column("previous", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, server_default=""),
    Column("forced", Number, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

audit_routes = Table(
    "audit_routes",
    FLAGS,
    Column("route", String, primary_key=True),
    Column("audit_id", Number, ForeignKey("audit.id"), primary_key=True),
)

idempotency = Table(
    "idempotency",
    FLAGS,
    Column("key", String, primary_key=True),
    Column("actor", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("answer", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index("idempotency_at", "at"),
)

tokens = Table(
    "tokens",
    FLAGS,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("made_by", String, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("last_used_at", Float, nullable=False),
)

nodes = Table(
    "nodes",
    FLAGS,
    Column("name", String, primary_key=True),
    Column("address", String, nullable=False),
    Column("version", String, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("revision", Number, nullable=False),
    Column("config", String, nullable=False),
    Column("workers", Text, nullable=False),
)

node_counts = Table(
    "node_counts",
    FLAGS,
    Column("node", String, primary_key=True),
    Column("at", Float, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

evidence_meta = Table(
    "evidence_meta",
    EVIDENCE,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)

answered = Table(
    "answered",
    EVIDENCE,
    Column("hour", Number, primary_key=True),
    Column("route", String, primary_key=True),
    Column("side", String, primary_key=True),
    Column("count", Number, nullable=False),
)

last_legacy = Table(
    "last_legacy",
    EVIDENCE,
    Column("route", String, primary_key=True),
    Column("at", Float, nullable=False),
)

epochs = Table(
    "epochs",
    EVIDENCE,
    Column("epoch", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("node", String, nullable=False, server_default=""),
)

gate_hours = Table(
    "gate_hours",
    EVIDENCE,
    Column("node", String, primary_key=True),
    Column("route", String, primary_key=True),
    Column("build", String, primary_key=True),
    Column("hour", Number, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Index("gate_hours_route", "route", "build", "hour"),
    Index("gate_hours_hour", "hour"),
)

compared = Table(
    "compared",
    EVIDENCE,
    Column("route", String, primary_key=True),
    Column("build", String, primary_key=True),
    Column("count", Number, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

divergences = Table(
    "divergences",
    EVIDENCE,
    Column("id", String, primary_key=True),
    Column("route", String, nullable=False),
    Column("status_legacy", Number, nullable=False),
    Column("status_new", Number, nullable=False),
    Column("settled", Number, nullable=False),
    Column("rank", Number, nullable=False),
    Column("causes", Text, nullable=False),
    Column("count", Number, nullable=False),
    Column("same", Number, nullable=False),
    Column("different", Number, nullable=False),
    Column("compared_before", Number, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("last_build", String, nullable=False),
    Column("fixed_build", String, nullable=False),
    Column("consumers", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("ticket", String, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("decided_at", Float, nullable=False),
    Column("noisy", Number, nullable=False, server_default="0"),
    Index("divergences_rank", "settled", "rank", "noisy", "count", "id"),
    Index("divergences_route", "route", "state"),
    Index("divergences_last_seen", "last_seen"),
)

divergence_places = Table(
    "divergence_places",
    EVIDENCE,
    Column("divergence", String, primary_key=True),
    Column("place", Number, primary_key=True),
    Column("cause", String, nullable=False),
    Column("path", Text, nullable=False),
    Index("divergence_places_cause", "cause"),
    Index("divergence_places_path", "path"),
)

divergence_builds = Table(
    "divergence_builds",
    EVIDENCE,
    Column("divergence", String, primary_key=True),
    Column("build", String, primary_key=True),
    Column("count", Number, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

comparisons = Table(
    "comparisons",
    EVIDENCE,
    Column("id", String, primary_key=True),
    Column("divergence", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("bytes", Number, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("comparisons_divergence", "divergence", "at"),
    Index("comparisons_request", "request_id"),
    Index("comparisons_at", "at"),
)

noise_asked = Table(
    "noise_asked",
    EVIDENCE,
    Column("route", String, primary_key=True),
    Column("day", Number, primary_key=True),
    Column("count", Number, nullable=False),
)

noise_places = Table(
    "noise_places",
    EVIDENCE,
    Column("route", String, primary_key=True),
    Column("day", Number, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("count", Number, nullable=False),
)

repeated = Table(
    "repeated",
    EVIDENCE,
    Column("divergence", String, primary_key=True),
    Column("attempt", Number, primary_key=True),
    Column("outcome", String, primary_key=True),
    Column("count", Number, nullable=False),
)

rechecks = Table(
    "rechecks",
    EVIDENCE,
    Column("divergence", String, primary_key=True),
    Column("comparison", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("outcome", String, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("actor", String, nullable=False),
    Column("build_legacy", String, nullable=False),
    Column("build_new", String, nullable=False),
)
