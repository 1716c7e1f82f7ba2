"""The calls about differences: what developers read and decide, and which differences are permitted."""

from __future__ import annotations

from typing import Final

from console.asks import PAGE, REASON, ROUTE, Field
from console.call import Call
from shadow.style import FRAMEWORKS
from store.triage import State

DIVERGENCE_CALLS: Final = (
    Call(
        name="divergences",
        method="GET",
        path="/api/v1/divergences",
        role="developer",
        refuses=("unknown-route", "evidence"),
        summary="Groups of differences: what needs work first, then most severe first.",
        fields=(
            ROUTE,
            Field(name="cause", kind="text", help="Only with this cause, or a cause of this family (`escape`)."),
            Field(
                name="state", kind="choice", help="Only in this state.", choices=tuple(state.value for state in State)
            ),
            Field(name="path", kind="text", help="Only at, above or below this place: `/a/*/b` or `$.a[*].b`."),
            Field(name="request", kind="text", help="Only with this request as an example: its X-Request-Id."),
            *PAGE,
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
        name="comparison",
        method="GET",
        path="/api/v1/comparisons/{name}",
        role="developer",
        refuses=("unknown-comparison", "evidence"),
        summary="One kept comparison: the request, both answers, every difference.",
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
        name="tolerances",
        method="GET",
        path="/api/v1/tolerances",
        role="viewer",
        refuses=("unknown-route",),
        summary="All tolerances, of the file and applied, with their hits.",
        fields=(ROUTE,),
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
        fields=(REASON,),
        partly=True,
    ),
)
