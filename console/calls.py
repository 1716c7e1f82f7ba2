"""The table of all calls: path, role, what it asks. Router, roles, OpenAPI and docs/admin-api.md come from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from config.spec import Role
from console.asks import Field, schema_of
from console.auth import ROLES, Visitor
from console.problem import KINDS
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
    content_type: str = "application/json"


_REASON: Final = Field(name="reason", kind="text", help="Why; stands in the audit.", default="")
_FORCE: Final = Field(name="force", kind="flag", help="Go over the ledger or later changes.", default=False)
_IF_REVISION: Final = Field(name="if_revision", kind="integer", help="Refuse if the revision is another one.")
_PAGE: Final = (
    Field(name="cursor", kind="text", help="`next` of the page before."),
    Field(name="limit", kind="integer", help="1 to 500.", default=50),
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
        summary="Forget a silent node that will not come back.",
        fields=(_REASON,),
    ),
    Call(name="routes", method="GET", path="/api/v1/routes", role="viewer", summary="All routes, in file order."),
    Call(name="route", method="GET", path="/api/v1/routes/{name}", role="viewer", summary="One route."),
    Call(
        name="flip",
        method="POST",
        path="/api/v1/routes/{name}/flip",
        role="operator",
        summary="Change a route's stage and shares.",
        fields=_FLIP,
        partly=True,
    ),
    Call(
        name="flip_journey",
        method="POST",
        path="/api/v1/journeys/{name}/flip",
        role="operator",
        summary="Flip all routes of a journey together.",
        fields=_FLIP,
        partly=True,
    ),
    Call(
        name="rollback",
        method="POST",
        path="/api/v1/routes/{name}/rollback",
        role="operator",
        summary="Take a route back to legacy: the hold first, then the flag.",
        fields=_ROLLBACK,
        partly=True,
    ),
    Call(
        name="rollback_many",
        method="POST",
        path="/api/v1/rollback",
        role="operator",
        summary="Take several routes back to legacy.",
        fields=(*_SELECT, *_ROLLBACK),
        partly=True,
    ),
    Call(
        name="hold",
        method="POST",
        path="/api/v1/routes/{name}/hold",
        role="operator",
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
        summary="Take a route's hold away.",
        fields=(_REASON,),
        partly=True,
    ),
    Call(
        name="release_many",
        method="POST",
        path="/api/v1/release",
        role="operator",
        summary="Take several holds away.",
        fields=(*_SELECT, _REASON),
        partly=True,
    ),
    Call(
        name="shadow",
        method="POST",
        path="/api/v1/shadow",
        role="operator",
        summary="Switch copying on or off, for one route or all.",
        fields=(
            Field(name="on", kind="flag", help="false: nothing is copied.", required=True),
            Field(name="route", kind="text", help="Absent: all routes."),
            _REASON,
        ),
        partly=True,
    ),
    Call(
        name="undo",
        method="POST",
        path="/api/v1/undo",
        role="operator",
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
        summary="Say which version a backend runs from now on, so that evidence is kept per build.",
        fields=(
            Field(name="backend", kind="text", help="The backend.", required=True),
            Field(name="version", kind="text", help="1 to 128 characters: a tag, a commit.", required=True),
            _REASON,
        ),
        partly=True,
    ),
    Call(
        name="share",
        method="GET",
        path="/api/v1/share",
        role="viewer",
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
        summary="How a request would be decided, and why.",
        fields=(
            Field(name="method", kind="text", help="The request's method.", default="GET"),
            Field(name="path", kind="text", help="Its target, query included.", required=True),
            Field(name="header", kind="headers", help="`Name:value`; may repeat.", default=()),
            Field(name="client_ip", kind="address", help="The client's address.", default="127.0.0.1"),
        ),
    ),
    Call(
        name="audit",
        method="GET",
        path="/api/v1/audit",
        role="viewer",
        summary="All changes, newest first.",
        fields=(_ROUTE, *_PAGE),
    ),
    Call(
        name="divergences",
        method="GET",
        path="/api/v1/divergences",
        role="developer",
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
        summary="One group with its examples, the newest one in full.",
    ),
    Call(
        name="encoding",
        method="GET",
        path="/api/v1/routes/{name}/encoding",
        role="developer",
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
        summary="One kept comparison: the request, both answers, every difference.",
    ),
    Call(
        name="tolerances",
        method="GET",
        path="/api/v1/tolerances",
        role="viewer",
        summary="All tolerances, of the file and applied, with their hits.",
        fields=(_ROUTE,),
    ),
    Call(
        name="tolerate",
        method="POST",
        path="/api/v1/tolerances",
        role="developer",
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
        summary="Take an applied tolerance away.",
        fields=(_REASON,),
        partly=True,
    ),
    Call(name="totals", method="GET", path="/api/v1/totals", role="viewer", summary="The raw sums."),
    Call(name="tokens", method="GET", path="/api/v1/tokens", role="admin", summary="All tokens; never their values."),
    Call(
        name="make_token",
        method="POST",
        path="/api/v1/tokens",
        role="admin",
        summary="Make a token; the answer shows its value, this once.",
        fields=(
            Field(name="name", kind="text", help="Who uses it; stands in the audit.", required=True),
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
        summary="End a token and its former values now.",
        fields=(_REASON,),
    ),
    Call(
        name="reload",
        method="POST",
        path="/-/reload",
        role="operator",
        summary="Read the configuration again.",
        fields=(Field(name="drop", kind="names", help="Routes whose flags may be lost.", default=()),),
        partly=True,
    ),
    Call(
        name="openapi", method="GET", path="/api/v1/openapi.json", role="viewer", summary="This table as OpenAPI 3.1."
    ),
)
"""Every call there is; what is not here does not exist."""


def openapi(version: str) -> Json:
    """Show the table as OpenAPI 3.1."""
    paths: dict[str, Json] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Matapalo admin API", "version": version, "license": {"name": "Apache-2.0"}},
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _problem_schema()},
        },
    }


def _operation(call: Call) -> Json:
    parameters: list[Json] = []
    if "{name}" in call.path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    operation: Json = {
        "operationId": call.name,
        "summary": call.summary,
        "description": f"Needs the role {call.role} or higher.",
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {call.content_type: {"schema": _answer_schema(call)}}},
            "default": {
                "description": "It could not be done; `detail` says why and what to do.",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if call.partly:
        operation["responses"]["202"] = {
            "description": "Done and durable, but not every worker has acknowledged it yet.",
            "content": {call.content_type: {"schema": _answer_schema(call)}},
        }
    if call.method == "GET":
        parameters += [
            {"name": field.name, "in": "query", "required": field.required, "schema": _query_schema(field)}
            for field in call.fields
        ]
    else:
        # A second reload of the same files changes nothing by itself, nor does the same PATCH.
        if call.method == "POST" and call.name not in ("reload", "recheck"):
            parameters.append(
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": 200},
                }
            )
        operation["requestBody"] = {
            "required": any(field.required for field in call.fields),
            "content": {"application/json": {"schema": _body_schema(call)}},
        }
    return operation


def _query_schema(field: Field) -> Json:
    schema = schema_of(field)
    if isinstance(schema.get("type"), list):  # a query has no null
        schema["type"] = schema["type"][0]
    return schema


def _body_schema(call: Call) -> Json:
    return {
        "type": "object",
        "properties": {field.name: schema_of(field) for field in call.fields},
        "required": [field.name for field in call.fields if field.required],
        "additionalProperties": False,
    }


def _answer_schema(call: Call) -> Json:
    return {"type": "object"} if call.content_type == "application/json" else {"type": "string"}


def _problem_schema() -> Json:
    fault = {
        "type": "object",
        "properties": {"where": {"type": "string"}, "detail": {"type": "string"}},
        "required": ["where", "detail"],
    }
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [f"urn:matapalo:problem:{kind}" for kind in KINDS]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {"type": "array", "items": fault},
        },
        "required": ["type", "title", "status", "detail", "errors"],
    }
