"""The table of all calls: router, roles, OpenAPI and docs/admin-api.md come from it.

Calls about flags stand in :mod:`console.flag_calls`, those about differences in :mod:`console.divergence_calls`; here
are the rest, about this node and who may call it, and the whole.
"""

from __future__ import annotations

from typing import Final

from config.forms import NAME_PATTERN
from console.asks import PAGE, REASON, ROUTE, Field
from console.auth import ROLES
from console.call import Call
from console.divergence_calls import DIVERGENCE_CALLS
from console.flag_calls import FLAG_CALLS

_NODE_CALLS: Final = (
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
        fields=(REASON,),
    ),
    Call(
        name="share",
        method="GET",
        path="/api/v1/share",
        role="viewer",
        refuses=("unknown-route", "evidence"),
        summary="Answered requests per side and hour.",
        fields=(
            ROUTE,
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
        fields=(ROUTE, *PAGE),
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

_TOKEN_CALLS: Final = (
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
            REASON,
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
            Field(name="overlap", kind="overlap", help="How long both are valid.", default=24 * 3600 * 10**9),
            Field(name="expires", kind="lasting", help="How long the new one lasts; absent: as long as the former."),
            REASON,
        ),
    ),
    Call(
        name="revoke_token",
        method="POST",
        path="/api/v1/tokens/{name}/revoke",
        role="admin",
        refuses=("token", "unknown-token"),
        summary="End a token and its former values now.",
        fields=(REASON,),
    ),
)

CALLS: Final = (*_NODE_CALLS, *FLAG_CALLS, *DIVERGENCE_CALLS, *_TOKEN_CALLS)
"""Every call there is; what is not here does not exist."""
