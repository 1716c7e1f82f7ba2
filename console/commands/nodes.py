"""``matapalo nodes``: who shares the database, and who serves which revision."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options, reason_option
from console.commands.output import print_json, print_table


@click.command()
@click.option("--forget", metavar="NAME", help="Take a silent node off the list that will not come back.")
@reason_option
@admin_options
def nodes(forget: str | None, reason: str | None, admin: Admin, as_json: bool) -> int:
    """List the nodes that share the database, with their revisions.

    Exit 1 when one is away, behind, or has another configuration.
    """
    if forget is not None:
        answer = admin.post(f"/api/v1/nodes/{segment(forget)}/forget", {"reason": reason})
        if as_json:
            print_json(answer.body)
        else:
            click.echo(f"{forget} is forgotten ({answer.body['audit_id']}).")
        return 0
    found = admin.get("/api/v1/nodes")
    is_well = all(not node["away"] and not node["lag"] and node["same_config"] for node in found["nodes"])
    if as_json:
        print_json(found)
        return int(not is_well)
    alone = "" if found["shared"] else " · this node shares its database with nobody"
    click.echo(f"revision {found['revision']}{alone}")
    if found["database"]:
        click.echo(f"The database is away, this is what was seen last: {found['database']}")
    print_table(
        ["NODE", "ADMIN", "VERSION", "REVISION", "WORKERS", "CONFIGURATION", "SEEN", "NOTE"],
        [_row(node) for node in found["nodes"]],
    )
    return int(not is_well)


def _row(node: JsonObject) -> list[str]:
    notes = [
        *(["this node"] if node["self"] else []),
        *(["leader"] if node["leader"] else []),
        *([f"{node['lag']} behind"] if node["lag"] else []),
        *([] if node["same_config"] else ["another configuration"]),
    ]
    return [
        node["name"] or "-",
        node["address"],
        node["version"],
        str(node["revision"]),
        " ".join(f"{worker['slot']}:{worker['revision']}" for worker in node["workers"]) or "none",
        node["config"][:12],
        f"away for {node['silent_s']:.0f} s" if node["away"] else f"{node['silent_s']:.1f} s ago",
        ", ".join(notes),
    ]
