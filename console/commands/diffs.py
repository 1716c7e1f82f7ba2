"""``matapalo diffs`` and ``matapalo diff``: what differs between the two sides, most severe first."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options
from console.commands.output import print_json, print_table


@click.command()
@click.argument("route", required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", help="Where the previous page ended (its `next`).")
@admin_options
def diffs(route: str | None, limit: int, cursor: str | None, admin: Admin, as_json: bool) -> int:
    """List the divergences, of one route or of all, most severe first."""
    page = admin.get("/api/v1/divergences", {"route": route, "limit": limit, "cursor": cursor})
    if as_json:
        print_json(page)
        return 0
    groups = page["divergences"]
    if not groups:
        click.echo("No divergence has been seen" + (f" on {route}." if route else "."))
        return 0
    print_table(
        ["ID", "ROUTE", "SEVERITY", "COUNT", "MEANING", "LAST SEEN", "WHAT"],
        [
            [
                group["id"],
                group["route"],
                group["severity"],
                str(group["count"]),
                _meaning(group["same_meaning"]),
                group["last_seen"],
                group["sentence"],
            ]
            for group in groups
        ],
    )
    if page["next"]:
        click.echo(f"More: matapalo diffs {route + ' ' if route else ''}--cursor {page['next']}")
    click.echo(f"One in full: matapalo diff {groups[0]['id']}")
    return 0


@click.command()
@click.argument("divergence_id", metavar="ID")
@admin_options
def diff(divergence_id: str, admin: Admin, as_json: bool) -> int:
    """Show one divergence (d-…) with its latest example."""
    group = admin.get(f"/api/v1/divergences/{segment(divergence_id)}")
    if as_json:
        print_json(group)
        return 0
    click.echo(f"{group['id']} on {group['route']}: {group['sentence']}")
    statuses = " / ".join(map(str, group["statuses"]))
    click.echo(f"severity {group['severity']} · seen {group['count']} times · status legacy / new {statuses}")
    click.echo(f"bytes differ; same meaning: {_meaning(group['same_meaning'])}")
    click.echo(f"first seen {group['first_seen']} · last seen {group['last_seen']}")
    example = group.get("example")
    if example:
        click.echo(
            f"\nExample {example['method']} {example['target']} · request {example['request_id']} · {example['at']}"
        )
        if example["offset"] >= 0:
            click.echo(f"first differing byte {example['offset']}, at {example['pointer'] or 'the root'}")
        click.echo(f"  legacy  {example['legacy']}")
        click.echo(f"  new     {example['new']}")
        if (after_us := example.get("copy_after_us")) is not None:
            order = "after" if after_us >= 0 else "before"
            click.echo(f"the copy was sent {abs(after_us) / 1000:.1f} ms {order} the request that was answered")
    return 0


def _meaning(counts: JsonObject) -> str:
    """Say whether pairs of a group mean the same: yes, no, unknown, or how many of each."""
    seen = {name: count for name, count in counts.items() if count}
    if len(seen) <= 1:
        return next(iter(seen), "unknown")
    return ", ".join(f"{name} {count}" for name, count in seen.items())
