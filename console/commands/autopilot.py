"""``matapalo autopilot ROUTE on|off``: let the autopilot of a route go on, or pause it."""

from __future__ import annotations

import click

from console.commands.admin import Admin, segment
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change


@click.command()
@click.argument("route")
@click.argument("switch", type=click.Choice(["on", "off"]))
@reason_option
@admin_options
def autopilot(route: str, switch: str, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Let a route's autopilot go on from where the route is, or pause it."""
    body = {"on": switch == "on", "reason": reason}
    answer = admin.post(f"/api/v1/routes/{segment(route)}/autopilot", body)
    if not as_json:
        click.echo(f"autopilot of {route}: {answer.body['autopilot']['sentence']}")
    return print_change(answer, as_json=as_json)
