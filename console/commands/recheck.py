"""``matapalo recheck``: ask both sides again now, and say whether a divergence is fixed."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import Header, admin_options
from console.commands.output import print_json
from shadow.redact import printable

MAX_SHOWN = 5
"""Differences that are printed; --json has all."""


@click.command()
@click.argument("name", metavar="ID")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    type=Header(),
    help="Sent in place of a stored header: stored requests have no credentials. May repeat.",
)
@click.option("--target", help="The whole target, where the stored one hides the values of its query.")
@admin_options
def recheck(name: str, headers: tuple[tuple[str, str], ...], target: str | None, admin: Admin, as_json: bool) -> int:
    """Ask both sides again about a comparison (c-…) or a divergence (d-…): FIXED, STILL or DIFFERENT.

    Exit code 0: fixed; 1: not fixed, or it could not be found out.
    """
    body = {"headers": [f"{header}:{value}" for header, value in headers], "target": target}
    found = admin.post(f"/api/v1/comparisons/{segment(name)}/recheck", body).body
    if as_json:
        print_json(found)
    else:
        _print(found)
    return int(found["outcome"] != "fixed")


def _print(found: JsonObject) -> None:
    click.echo(f"{found['outcome'].upper()}  {found['divergence']}: {found['sentence']}")
    for side in ("legacy", "new"):
        answered = found[side]
        build = f", build {answered['build']}" if answered["build"] else ""
        what = f"{answered['status']}, {answered['bytes']} bytes" if answered["status"] else answered["error"]
        click.echo(f"  {side:<7} {what} in {answered['took_ms']} ms{build}")
    if found["left_out"]:
        click.echo(f"  not sent, because they are redacted: {', '.join(found['left_out'])} (give them with -H)")
    differences = (found["found"] or {}).get("differences", [])
    for item in differences[:MAX_SHOWN]:
        click.echo(f"  {item['cause']} at {printable(item['path'] or 'the root')}")
        if item["legacy"] or item["new"]:
            click.echo(f"    legacy  {printable(item['legacy'])}")
            click.echo(f"    new     {printable(item['new'])}")
        elif item["detail"]:
            click.echo(f"    {printable(item['detail'])}")
    if len(differences) > MAX_SHOWN:
        click.echo(f"  and {len(differences) - MAX_SHOWN} more (--json)")
