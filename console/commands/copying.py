"""``matapalo shadow on|off``: switch copying on or off without touching a flag."""

from __future__ import annotations

import click

from console.commands.admin import Admin
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@click.argument("route", required=False)
@click.option("--all", "everything", is_flag=True, help="Every route; `on --all` clears single switches too.")
@reason_option
@admin_options
def shadow(state: str, route: str | None, everything: bool, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Switch the copies of a route, or of all routes, on or off; who answers does not change."""
    if (route is None) != everything:
        raise click.UsageError(f"name exactly one target: shadow {state} ROUTE, or shadow {state} --all")
    answer = admin.post("/api/v1/shadow", {"on": state == "on", "route": route, "reason": reason})
    code = print_change(answer, as_json=as_json)
    copying = answer.body.get("copying")
    if copying and not as_json:
        off = ", ".join(copying["off"]) or "none"
        click.echo("Copying is off for every route." if not copying["on"] else f"Copying is on; switched off: {off}.")
    return code
