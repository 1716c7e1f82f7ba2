"""Who answers: match, bucket, stage, decision, snapshot; pure, without clock and I/O.

The public door of the room. A worker needs :func:`build` and
:meth:`Snapshot.decide`; control also plans flips and carries flags over reloads.
"""

from rules.bucket import bucket_of, draw_of, is_new
from rules.decision import AMBIGUOUS, NO_BUCKET, NO_ROUTE, REASONS, SAFE_METHODS, Ambiguity, Decision, Outcome, Route
from rules.flag import BUCKETS, DEFAULT_SAMPLE_BP, Flag, Hold, Side, Stage
from rules.index import problems
from rules.path import TemplateError
from rules.snapshot import EVERYWHERE, SCHEMA, Snapshot, SnapshotError, SnapshotSpec, build, decode, encode
from rules.stage import (
    FlipError,
    initial_flag,
    is_possible,
    new_share_bp,
    plan_flip,
    plan_journey,
    plan_rollback,
    raises_new_share,
    stage_from,
)
from rules.sticky import ISSUED_COOKIE, Fields, StickyError

__all__ = [
    "AMBIGUOUS",
    "BUCKETS",
    "DEFAULT_SAMPLE_BP",
    "EVERYWHERE",
    "ISSUED_COOKIE",
    "NO_BUCKET",
    "NO_ROUTE",
    "REASONS",
    "SAFE_METHODS",
    "SCHEMA",
    "Ambiguity",
    "Decision",
    "Fields",
    "Flag",
    "FlipError",
    "Hold",
    "Outcome",
    "Route",
    "Side",
    "Snapshot",
    "SnapshotError",
    "SnapshotSpec",
    "Stage",
    "StickyError",
    "TemplateError",
    "bucket_of",
    "build",
    "decode",
    "draw_of",
    "encode",
    "initial_flag",
    "is_new",
    "is_possible",
    "new_share_bp",
    "plan_flip",
    "plan_journey",
    "plan_rollback",
    "problems",
    "raises_new_share",
    "stage_from",
]
