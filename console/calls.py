"""The table of all calls: path, role, what it asks. Router, roles, OpenAPI and docs/admin-api.md come from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from config.forms import NAME_PATTERN
from config.spec import Role
from console.asks import MAX_LIMIT, Field
from console.auth import ROLES, Visitor
from console.state import Caller
from rules.flag import Stage
from rules.stage import NO_STAGE
from shadow.style import FRAMEWORKS
from store.triage import State

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Hold one request as a handler needs it: who, what, about which name."""

    visitor: Visitor
    caller: Caller
    values: Mapping[str, Any]  # Any: the table of fields says which type each has
    name: str = ""
    """The path's parameter."""
    accept: str = ""
    if_none_match: str = ""
    last_event: str = ""
    """Where a stream that broke off is to go on; empty: it begins."""
    may_still: Callable[[], bool] = lambda: True
    """Ask, in a call that lasts, whether the visitor would still be let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Hold one answer: JSON, or raw bytes with their own content type."""

    body: Json | bytes
    stream: AsyncIterator[bytes] | None = None
    """In place of the body: what is sent piece by piece."""
    status: int = 200
    content_type: str = "application/json"
    replayed: bool = False
    etag: str = ""


Handler = Callable[[Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Describe one call."""

    name: str
    """Of the handler and of the operation in OpenAPI."""
    method: Literal["GET", "POST", "PATCH"]
    path: str
    role: Role
    summary: str
    fields: tuple[Field, ...] = ()
    """Of the query (GET) or the body (POST, PATCH)."""
    partly: bool = False
    """May answer 202: done, but not every worker has acknowledged."""
    may_be_unchanged: bool = False
    """May answer 304 to If-None-Match."""
    content_type: str = "application/json"
    refuses: tuple[str, ...] = ()
    """Kinds of problem beside those that any call of its kind may answer (:mod:`console.openapi`)."""


_REASON: Final = Field(name="reason", kind="text", help="Why; stands in the audit.", default="")
_FORCE: Final = Field(
    name="force",
    kind="flag",
    help="Go over gate, ledger or later changes; needs a reason, and is marked for ever.",
    default=False,
)
_IF_REVISION: Final = Field(name="if_revision", kind="integer", help="Refuse if the revision is another one.")
_PAGE: Final = (
    Field(name="cursor", kind="text", help="`next` of the page before."),
    Field(name="limit", kind="integer", help="1 to 500.", default=50, limits={"minimum": 1, "maximum": MAX_LIMIT}),
)
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
    _REASON,
    _FORCE,
    _IF_REVISION,
)
_ROLLBACK: Final = (
    Field(name="to", kind="choice", help="shadow keeps copying.", default="legacy", choices=("legacy", "shadow")),
    _REASON,
    Field(name="anyway", kind="flag", help="Also when legacy does not accept connections.", default=False),
)
_SELECT: Final = (
    Field(name="all", kind="flag", help="Every route.", default=False),
    Field(name="journey", kind="text", help="Every route of a journey."),
    Field(name="backend", kind="text", help="Every route with this backend on either side."),
    Field(name="routes", kind="names", help="These routes."),
)
_ROUTE: Final = Field(name="route", kind="text", help="Only this route.")

CALLS: Final = (
    Call(
        name="metrics",
        method="GET",
        path="/metrics",
        role="viewer",
        summary="Prometheus text or OpenMetrics.",
        content_type="text/plain",
    ),
    Call(name="status", method="GET", path="/api/v1/status", role="viewer", summary="How this node is."),
    Call(
        name="nodes",
        method="GET",
        path="/api/v1/nodes",
        role="viewer",
        summary="Every node that shares the database, with its revisions.",
    ),
    Call(
        name="forget_node",
        method="POST",
        path="/api/v1/nodes/{name}/forget",
        role="operator",
        refuses=("unknown-node", "refused"),
        summary="Forget a silent node that will not come back.",
        fields=(_REASON,),
    ),
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
            _REASON,
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
        fields=(_REASON,),
        partly=True,
    ),
    Call(
        name="release_many",
        method="POST",
        path="/api/v1/release",
        role="operator",
        refuses=("unknown-route", "unknown-journey", "unknown-backend", "refused", "supervisor"),
        summary="Take several holds away.",
        fields=(*_SELECT, _REASON),
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
            _REASON,
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
            _REASON,
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
            _REASON,
            _FORCE,
            _IF_REVISION,
        ),
        partly=True,
    ),
    Call(
        name="recheck",
        method="POST",
        path="/api/v1/comparisons/{name}/recheck",
        role="developer",
        refuses=("unknown-comparison", "unknown-divergence", "unknown-route", "refused", "evidence"),
        summary="Ask both sides again now: about a comparison (c-…), or the newest one of a divergence (d-…).",
        fields=(
            Field(name="headers", kind="headers", help="`Name:value`, in place of stored ones.", default=()),
            Field(name="target", kind="text", help="The whole target, where the stored one hides values."),
        ),
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
            _REASON,
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
        fields=(_REASON,),
    ),
    Call(
        name="share",
        method="GET",
        path="/api/v1/share",
        role="viewer",
        refuses=("unknown-route", "evidence"),
        summary="Answered requests per side and hour.",
        fields=(
            _ROUTE,
            Field(name="window", kind="window", help="1h to 31d.", default=24 * 3600 * 10**9),
        ),
    ),
    Call(
        name="explain",
        method="GET",
        path="/api/v1/explain",
        role="viewer",
        refuses=("refused",),
        summary="How a request would be decided, and why.",
        fields=(
            Field(name="method", kind="text", help="The request's method.", default="GET"),
            Field(name="path", kind="text", help="Its target, query included.", required=True),
            Field(name="header", kind="headers", help="`Name:value`; may repeat.", default=()),
            Field(name="client_ip", kind="address", help="The client's address.", default="127.0.0.1"),
            Field(name="request_id", kind="text", help="Its X-Request-Id: says whether a sampled copy is made."),
        ),
    ),
    Call(
        name="audit",
        method="GET",
        path="/api/v1/audit",
        role="viewer",
        refuses=("database",),
        summary="All changes, newest first.",
        fields=(_ROUTE, *_PAGE),
    ),
    Call(
        name="divergences",
        method="GET",
        path="/api/v1/divergences",
        role="developer",
        refuses=("unknown-route", "evidence"),
        summary="Groups of differences: what needs work first, then most severe first.",
        fields=(
            _ROUTE,
            Field(name="cause", kind="text", help="Only with this cause, or a cause of this family (`escape`)."),
            Field(
                name="state", kind="choice", help="Only in this state.", choices=tuple(state.value for state in State)
            ),
            Field(name="path", kind="text", help="Only at, above or below this place: `/a/*/b` or `$.a[*].b`."),
            Field(name="request", kind="text", help="Only with this request as an example: its X-Request-Id."),
            *_PAGE,
        ),
    ),
    Call(
        name="divergence",
        method="GET",
        path="/api/v1/divergences/{name}",
        role="developer",
        refuses=("unknown-divergence", "evidence"),
        summary="One group with its examples, the newest one in full.",
    ),
    Call(
        name="encoding",
        method="GET",
        path="/api/v1/routes/{name}/encoding",
        role="developer",
        refuses=("unknown-route", "evidence"),
        summary="Which encoder settings make a route's recorded pairs identical, and the Go code that sets them.",
        fields=(
            Field(
                name="like",
                kind="choice",
                help="Take what nothing was recorded of from this framework's defaults.",
                choices=tuple(FRAMEWORKS),
            ),
        ),
    ),
    Call(
        name="triage",
        method="PATCH",
        path="/api/v1/divergences/{name}",
        role="developer",
        refuses=("unknown-divergence", "evidence"),
        summary="Accept a group, or open it again, with a note and a ticket.",
        fields=(
            Field(
                name="state",
                kind="choice",
                help="Fixed and regressed are found, not said.",
                choices=(State.OPEN.value, State.ACCEPTED.value),
            ),
            Field(name="note", kind="text", help="Why; replaces the note before."),
            Field(name="ticket", kind="text", help="Where the work is followed."),
        ),
    ),
    Call(
        name="comparison",
        method="GET",
        path="/api/v1/comparisons/{name}",
        role="developer",
        refuses=("unknown-comparison", "evidence"),
        summary="One kept comparison: the request, both answers, every difference.",
    ),
    Call(
        name="tolerances",
        method="GET",
        path="/api/v1/tolerances",
        role="viewer",
        refuses=("unknown-route",),
        summary="All tolerances, of the file and applied, with their hits.",
        fields=(_ROUTE,),
    ),
    Call(
        name="tolerate",
        method="POST",
        path="/api/v1/tolerances",
        role="developer",
        refuses=("unknown-route", "flags-in-file", "tolerance", "evidence"),
        summary="Show what a tolerance would have hidden; with `apply`, which needs the role operator, apply it.",
        fields=(
            Field(name="route", kind="text", help="Absent: every route."),
            Field(name="path", kind="text", help="Where: `$.a[*].b` or `/a/*/b`."),
            Field(name="cause", kind="text", help="Why: one name of the causes."),
            Field(name="rule", kind="rule", help="The shape of both values, as in the file."),
            Field(name="reason", kind="text", help="Why it is permitted; needed to apply."),
            Field(name="owner", kind="text", help="Who answers for it; needed to apply."),
            Field(name="expires", kind="text", help="The last day, such as 2027-01-31; needed to apply."),
            Field(name="apply", kind="flag", help="Put it in force.", default=False),
            Field(name="days", kind="integer", help="How far back a proposal looks.", default=7),
        ),
        partly=True,
    ),
    Call(
        name="untolerate",
        method="POST",
        path="/api/v1/tolerances/{name}/remove",
        role="operator",
        refuses=("unknown-tolerance", "tolerance", "flags-in-file"),
        summary="Take an applied tolerance away.",
        fields=(_REASON,),
        partly=True,
    ),
    Call(
        name="events",
        method="GET",
        path="/api/v1/events",
        role="viewer",
        refuses=("too-many",),
        summary="What changes, as it changes: server-sent events.",
        content_type="text/event-stream",
    ),
    Call(
        name="ofrep_flag",
        method="POST",
        path="/ofrep/v1/evaluate/flags/{name}",
        role="viewer",
        summary="OFREP: whether new answers a client on a route or journey.",
        fields=(Field(name="context", kind="context", help="`targetingKey`, or what the route is sticky by."),),
        refuses=("unknown-flag", "flag-context", "refused"),
    ),
    Call(
        name="ofrep_flags",
        method="POST",
        path="/ofrep/v1/evaluate/flags",
        role="viewer",
        summary="OFREP: the same for every route and journey.",
        fields=(Field(name="context", kind="context", help="`targetingKey`, or what routes are sticky by."),),
        refuses=("refused",),
        may_be_unchanged=True,
    ),
    Call(name="totals", method="GET", path="/api/v1/totals", role="viewer", summary="The raw sums."),
    Call(name="tokens", method="GET", path="/api/v1/tokens", role="admin", summary="All tokens; never their values."),
    Call(
        name="make_token",
        method="POST",
        path="/api/v1/tokens",
        role="admin",
        refuses=("token",),
        summary="Make a token; the answer shows its value, this once.",
        fields=(
            Field(
                name="name",
                kind="text",
                help="Who uses it; stands in the audit.",
                required=True,
                limits={"pattern": NAME_PATTERN},
            ),
            Field(name="role", kind="choice", help="What it may do.", required=True, choices=ROLES),
            Field(name="expires", kind="lasting", help="How long it lasts, such as 90d; absent: until revoked."),
            _REASON,
        ),
    ),
    Call(
        name="rotate_token",
        method="POST",
        path="/api/v1/tokens/{name}/rotate",
        role="admin",
        refuses=("token", "unknown-token"),
        summary="Give a token a new value; the former one stays valid for an overlap.",
        fields=(
            Field(name="overlap", kind="lasting", help="How long both are valid.", default=24 * 3600 * 10**9),
            Field(name="expires", kind="lasting", help="How long the new one lasts; absent: as long as the former."),
            _REASON,
        ),
    ),
    Call(
        name="revoke_token",
        method="POST",
        path="/api/v1/tokens/{name}/revoke",
        role="admin",
        refuses=("token", "unknown-token"),
        summary="End a token and its former values now.",
        fields=(_REASON,),
    ),
    Call(
        name="reload",
        method="POST",
        path="/-/reload",
        role="operator",
        refuses=("config", "orphan", "needs-restart", "worker-refused"),
        summary="Read the configuration again.",
        fields=(Field(name="drop", kind="names", help="Routes whose flags may be lost.", default=()),),
        partly=True,
    ),
    Call(
        name="openapi", method="GET", path="/api/v1/openapi.json", role="viewer", summary="This table as OpenAPI 3.1."
    ),
)
"""Every call there is; what is not here does not exist."""
