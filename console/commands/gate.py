"""``matapalo gate``: whether new may have more clients of a route, and what is missing."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options
from console.commands.output import print_json, print_table


@click.command()
@click.argument("route")
@admin_options
def gate(route: str, admin: Admin, as_json: bool) -> int:
    """Say whether a route's gate passes, and what is missing; exit 1 when it does not.

    A route with `gate: off` asks for nothing, and passes.
    """
    found = admin.get(f"/api/v1/routes/{segment(route)}/gate")
    if as_json:
        print_json(found)
    else:
        print_gate(found)
    return int(found["result"] not in ("pass", "off"))


def print_gate(found: JsonObject) -> None:
    """Print one gate: its sentence, every check, and what the evidence is of."""
    click.echo(f"{found['route']}: {found['result']}: {found['sentence']}")
    if found["checks"]:
        print_table(
            ["CHECK", "RESULT", "WHAT WAS FOUND"],
            [[check["name"], check["result"], check["sentence"]] for check in found["checks"]],
        )
    evidence = found["evidence"]
    if evidence["since"]:
        build = f"build {evidence['build']}" if evidence["build"] else "a build without a name"
        click.echo(f"Evidence of {build}, from {evidence['since']} to {evidence['until']}.")
