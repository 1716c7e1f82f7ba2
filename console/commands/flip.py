"""``matapalo flip``: move a route, or a journey, to another stage."""

from __future__ import annotations

import click

from console.commands.admin import Admin, RefusedError, segment
from console.commands.gate import print_gate
from console.commands.options import Share, admin_options, reason_option
from console.commands.output import print_change
from rules.flag import Stage
from rules.stage import NO_STAGE


@click.command()
@click.argument("words", nargs=-1, metavar="[ROUTE] STAGE")
@click.option("--journey", help="Flip all routes of this journey together; ROUTE is then left out.")
@click.option("--percent", type=Share(), help="Share of the clients that new answers: canary needs it.")
@click.option("--sample", type=Share(), help="Share of the requests that are copied (default: the stage's).")
@click.option("--cohort", help="Flip only this cohort; the STAGE none ends the one that it has of its own.")
@click.option("--force", is_flag=True, help="Go over the gate, and over the ledger of complete; needs --reason.")
@click.option("--if-revision", type=int, help="Only if nothing else has changed since this revision.")
@reason_option
@admin_options
def flip(
    words: tuple[str, ...],
    journey: str | None,
    percent: float | None,
    sample: float | None,
    cohort: str | None,
    force: bool,
    if_revision: int | None,
    reason: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Move a route to another stage, on every worker at once.

    STAGE is legacy, shadow, canary, live, complete or gone. Going back to legacy in a hurry is `rollback`. What gives
    new more clients asks the route's gate first (`matapalo gate ROUTE`).

    \b
    matapalo flip orders canary --percent 5 --reason "first users"
    matapalo flip --journey checkout live
    matapalo flip orders live --cohort staff
    """
    *routes, stage = words or ("",)
    if len(routes) != (0 if journey else 1):
        raise click.UsageError(
            "flip takes ROUTE and STAGE, or --journey NAME and STAGE, for example: flip orders canary --percent 5"
        )
    stages = [known.value for known in Stage] + ([NO_STAGE] if cohort else [])
    if stage not in stages:
        raise click.UsageError(f"{stage!r} is not a stage; expected one of {', '.join(stages)}")
    if stage == "canary" and percent is None:
        raise click.UsageError("canary needs --percent, the share of the clients that new answers, for example 5%")
    if stage != "canary" and percent is not None:
        raise click.UsageError(f"--percent belongs to canary, not to {stage}; leave it out")
    place = f"journeys/{segment(journey)}" if journey else f"routes/{segment(routes[0])}"
    body = {
        "stage": stage,
        "percent": percent,
        "sample": sample,
        "cohort": cohort,
        "reason": reason,
        "force": force or None,
        "if_revision": if_revision,
    }
    try:
        answer = admin.post(f"/api/v1/{place}/flip", body)
    except RefusedError as error:
        for found in () if as_json else error.problem.get("gates") or ():
            print_gate(found)
        raise
    return print_change(answer, as_json=as_json)
