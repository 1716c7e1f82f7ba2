"""``matapalo evidence``: what gates count, and since when."""

from __future__ import annotations

import click

from console.commands.admin import Admin, segment
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change


@click.group()
def evidence() -> None:
    """Let the evidence of a route begin anew."""


@evidence.command()
@click.argument("route")
@reason_option
@admin_options
def reset(route: str, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Count a route's evidence from now on.

    A new build of new needs no reset: it begins without evidence. Reset when something else has changed: its data,
    its configuration, a tolerance that is gone.
    """
    answer = admin.post(f"/api/v1/routes/{segment(route)}/evidence/reset", {"reason": reason})
    if not as_json:
        click.echo(f"The gate of {answer.body['route']} counts from {answer.body['since']} on.")
    return print_change(answer, as_json=as_json)
