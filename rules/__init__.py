"""Who answers: match, bucket, stage, decision, snapshot; pure, without clock and I/O.

The public door of the room. A worker needs :func:`build` and
:meth:`Snapshot.decide`; control also plans flips and carries flags over reloads.
"""

from rules.bucket import bucket_of, draw_of, is_new
from rules.decision import AMBIGUOUS, NO_BUCKET, NO_ROUTE, REASONS, SAFE_METHODS, Ambiguity, Decision, Outcome, Route
from rules.explain import Explanation, explain
from rules.flag import BUCKETS, DEFAULT_SAMPLE_BP, CohortFlag, Flag, Hold, Side, Stage
from rules.index import problems
from rules.path import TemplateError
from rules.reload import OrphanError, carry_flags, diff, needs_restart
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
from rules.sticky import ISSUED_COOKIE, FieldList, Fields, StickyError

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
    "CohortFlag",
    "Decision",
    "Explanation",
    "FieldList",
    "Fields",
    "Flag",
    "FlipError",
    "Hold",
    "OrphanError",
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
    "carry_flags",
    "decode",
    "diff",
    "draw_of",
    "encode",
    "explain",
    "initial_flag",
    "is_new",
    "is_possible",
    "needs_restart",
    "new_share_bp",
    "plan_flip",
    "plan_journey",
    "plan_rollback",
    "problems",
    "raises_new_share",
    "stage_from",
]
