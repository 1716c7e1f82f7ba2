"""The calls about routes and their flags: what operators look at, and everything that changes who answers."""

from __future__ import annotations

from typing import Final

from console.asks import REASON, Field
from console.call import Call
from rules.flag import Stage
from rules.stage import NO_STAGE

_FORCE: Final = Field(
    name="force",
    kind="flag",
    help="Go over gate, ledger or later changes; needs a reason, and is marked for ever.",
    default=False,
)
_IF_REVISION: Final = Field(name="if_revision", kind="integer", help="Refuse if the revision is another one.")
_FLIP: Final = (
    Field(
        name="stage",
        kind="choice",
        help="Where to; none ends the stage that a cohort has of its own.",
        required=True,
        choices=(*(stage.value for stage in Stage), NO_STAGE),
    ),
    Field(name="percent", kind="percent", help="Share of the clients that new answers; for canary."),
    Field(name="sample", kind="percent", help="Share of the eligible requests that are copied."),
    Field(name="cohort", kind="text", help="Flip this cohort only; everybody else stays where they are."),
    REASON,
    _FORCE,
    _IF_REVISION,
)
_ROLLBACK: Final = (
    Field(name="to", kind="choice", help="shadow keeps copying.", default="legacy", choices=("legacy", "shadow")),
    REASON,
    Field(name="anyway", kind="flag", help="Also when legacy does not accept connections.", default=False),
)
_SELECT: Final = (
    Field(name="all", kind="flag", help="Every route.", default=False),
    Field(name="journey", kind="text", help="Every route of a journey."),
    Field(name="backend", kind="text", help="Every route with this backend on either side."),
    Field(name="routes", kind="names", help="These routes."),
)

FLAG_CALLS: Final = (
    Call(name="routes", method="GET", path="/api/v1/routes", role="viewer", summary="All routes, in file order."),
    Call(
        name="route",
        method="GET",
        path="/api/v1/routes/{name}",
        role="viewer",
        refuses=("unknown-route",),
        summary="One route.",
    ),
    Call(
        name="flip",
        method="POST",
        path="/api/v1/routes/{name}/flip",
        role="operator",
        refuses=("unknown-route", "gate", "ledger", "journey", "refused", "flags-in-file"),
        summary="Change a route's stage and shares.",
        fields=_FLIP,
        partly=True,
    ),
    Call(
        name="flip_journey",
        method="POST",
        path="/api/v1/journeys/{name}/flip",
        role="operator",
        refuses=("unknown-journey", "gate", "ledger", "refused", "flags-in-file"),
        summary="Flip all routes of a journey together.",
        fields=_FLIP,
        partly=True,
    ),
    Call(
        name="rollback",
        method="POST",
        path="/api/v1/routes/{name}/rollback",
        role="operator",
        refuses=("unknown-route", "refused", "legacy-unreachable", "supervisor"),
        summary="Take a route back to legacy: the hold first, then the flag.",
        fields=_ROLLBACK,
        partly=True,
    ),
    Call(
        name="rollback_many",
        method="POST",
        path="/api/v1/rollback",
        role="operator",
        refuses=("unknown-route", "unknown-journey", "unknown-backend", "refused", "legacy-unreachable", "supervisor"),
        summary="Take several routes back to legacy.",
        fields=(*_SELECT, *_ROLLBACK),
        partly=True,
    ),
    Call(
        name="hold",
        method="POST",
        path="/api/v1/routes/{name}/hold",
        role="operator",
        refuses=("unknown-route", "refused", "supervisor"),
        summary="Hold a route on legacy without touching its flag.",
        fields=(
            REASON,
            Field(name="keep_copying", kind="flag", help="New still gets its copies.", default=False),
        ),
        partly=True,
    ),
    Call(
        name="release",
        method="POST",
        path="/api/v1/routes/{name}/release",
        role="operator",
        refuses=("unknown-route", "refused", "supervisor"),
        summary="Take a route's hold away.",
        fields=(REASON,),
        partly=True,
    ),
    Call(
        name="release_many",
        method="POST",
        path="/api/v1/release",
        role="operator",
        refuses=("unknown-route", "unknown-journey", "unknown-backend", "refused", "supervisor"),
        summary="Take several holds away.",
        fields=(*_SELECT, REASON),
        partly=True,
    ),
    Call(
        name="shadow",
        method="POST",
        path="/api/v1/shadow",
        role="operator",
        refuses=("unknown-route",),
        summary="Switch copying on or off, for one route or all.",
        fields=(
            Field(name="on", kind="flag", help="false: nothing is copied.", required=True),
            Field(name="route", kind="text", help="Absent: all routes."),
            REASON,
        ),
        partly=True,
    ),
    Call(
        name="autopilot",
        method="POST",
        path="/api/v1/routes/{name}/autopilot",
        role="operator",
        refuses=("unknown-route", "refused"),
        summary="Let a route's autopilot go on from where the route is, or pause it.",
        fields=(
            Field(name="on", kind="flag", help="false: it pauses.", required=True),
            REASON,
        ),
        partly=True,
    ),
    Call(
        name="undo",
        method="POST",
        path="/api/v1/undo",
        role="operator",
        refuses=("unknown-audit", "unknown-route", "undo", "gate", "ledger", "flags-in-file", "refused"),
        summary="Restore what an audit entry found.",
        fields=(
            Field(name="audit_id", kind="audit_id", help="The entry to undo.", required=True),
            REASON,
            _FORCE,
            _IF_REVISION,
        ),
        partly=True,
    ),
    Call(
        name="deployed",
        method="POST",
        path="/api/v1/deploys",
        role="operator",
        refuses=("unknown-backend",),
        summary="Say which version a backend runs from now on, so that evidence is kept per build.",
        fields=(
            Field(name="backend", kind="text", help="The backend.", required=True),
            Field(
                name="version",
                kind="text",
                help="1 to 128 characters: a tag, a commit.",
                required=True,
                limits={"minLength": 1, "maxLength": 128},
            ),
            REASON,
        ),
        partly=True,
    ),
    Call(
        name="gate",
        method="GET",
        path="/api/v1/routes/{name}/gate",
        role="viewer",
        refuses=("unknown-route",),
        summary="What a route's gate says, every check, and the evidence.",
    ),
    Call(
        name="reset_evidence",
        method="POST",
        path="/api/v1/routes/{name}/evidence/reset",
        role="operator",
        refuses=("unknown-route",),
        summary="Count a route's evidence from now on.",
        fields=(REASON,),
    ),
)
