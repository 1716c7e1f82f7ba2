"""``matapalo diffs`` and ``matapalo diff``: what differs between the two sides, the worst first, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
from rich.console import RenderableType
from rich.text import Text

from console.commands.admin import Admin, JsonObject, segment
from console.commands.curl import curl_of
from console.commands.options import admin_options
from console.commands.output import print_json, print_rich, print_table
from console.commands.sheet import (
    LIST_TITLES,
    comparison_sheet,
    divergence_sheet,
    list_row,
    raw_sheet,
)

STATES = ("open", "accepted", "fixed", "regressed")


@click.command()
@click.argument("route", required=False)
@click.option("--request", metavar="ID", help="Only what this request showed: its X-Request-Id.")
@click.option("--path", metavar="P", help="Only at, above or below this place: /items/*/price or $.items[*].price.")
@click.option("--cause", metavar="C", help="Only with this cause, or a cause of this family: escape.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", help="Where the previous page ended (its `next`).")
@admin_options
def diffs(
    route: str | None,
    request: str | None,
    path: str | None,
    cause: str | None,
    state: str | None,
    limit: int,
    cursor: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """List the divergences, of one route or of all: what needs work first."""
    query = {"route": route, "request": request, "path": path, "cause": cause, "state": state}
    page = admin.get("/api/v1/divergences", {**query, "limit": limit, "cursor": cursor})
    if as_json:
        print_json(page)
        return 0
    groups = page["divergences"]
    asked = [
        word
        for name, value in query.items()
        if value
        for word in ((value,) if name == "route" else (f"--{name}", value))
    ]
    if not groups:
        click.echo(f"No divergence has been seen{_where(query)}.")
        return 0
    print_table(LIST_TITLES, map(list_row, groups))
    if page["next"]:
        click.echo(f"More: {shlex.join(('matapalo', 'diffs', *asked, '--cursor', page['next']))}")
    click.echo(f"One in full: matapalo diff {groups[0]['id']}")
    return 0


def _words(name: str, value: str) -> tuple[str, ...]:
    return (value,) if name == "route" else (f"--{name}", value)


def _where(query: JsonObject) -> str:
    """Say for which questions nothing was found."""
    words = {"route": "on", "request": "in the kept examples for request", "path": "at", "cause": "with cause"}
    words["state"] = "in state"
    return "".join(f" {words[name]} {value}" for name, value in query.items() if value)


@click.command()
@click.argument("name", metavar="ID")
@click.option("--raw", is_flag=True, help="Show both answers as they are, blanks and control characters visible.")
@click.option("--curl", is_flag=True, help="Print the request as a curl command, with $AUTH in place of secrets.")
@click.option("--structure", is_flag=True, help="Show how the two JSON values differ, by DeepDiff (`keep: bodies`).")
@click.option("--accept", is_flag=True, help="Decide to live with this divergence.")
@click.option("--reopen", is_flag=True, help="Take that back.")
@click.option("--note", metavar="TEXT", help="Why; stands beside the divergence.")
@click.option("--ticket", metavar="ID", help="Where the work is followed.")
@admin_options
def diff(
    name: str,
    raw: bool,
    curl: bool,
    structure: bool,
    accept: bool,
    reopen: bool,
    note: str | None,
    ticket: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Show one divergence (d-…) or comparison (c-…): what differs, why, and the fix.

    The worst difference stands first, and of the bodies only what is left once legacy is written as new writes.

    \b
    matapalo diff d-5f0c2a91b3
    matapalo diff c-09ab12cd34 --raw
    matapalo diff d-5f0c2a91b3 --accept --note 'the clock of the export' --ticket SHOP-17
    """
    if accept and reopen:
        raise click.UsageError("--accept and --reopen exclude each other")
    if accept or reopen or note is not None or ticket is not None:
        return _decide(admin, name, "accepted" if accept else "open" if reopen else None, note, ticket, as_json=as_json)
    group: JsonObject | None = None
    comparison: JsonObject | None
    if name.startswith("c-"):
        comparison = admin.get(f"/api/v1/comparisons/{segment(name)}")
    else:
        group = admin.get(f"/api/v1/divergences/{segment(name)}")
        comparison = group["example"]
    if as_json:
        print_json(comparison if group is None else group)
        return 0
    if comparison is None:
        assert group is not None
        print_rich(*divergence_sheet(group), Text("No example is kept any more."))
        return 0
    if curl:
        click.echo(curl_of(comparison))
    elif structure:
        from console.commands.structure import structure_of

        click.echo(structure_of(comparison))
    elif raw:
        print_rich(*raw_sheet(comparison))
    else:
        print_rich(*_whole(group, comparison))
    return 0


def _whole(group: JsonObject | None, comparison: JsonObject) -> Iterator[RenderableType]:
    """Draw a divergence with an example, and the commands that lead further."""
    if group is not None:
        yield from divergence_sheet(group)
        yield Text()
    yield from comparison_sheet(comparison)
    yield Text()
    name = comparison["id"]
    ways = [f"matapalo diff {name} --raw", f"matapalo diff {name} --curl"]
    if group is None:
        ways.append(f"matapalo diff {comparison['divergence']}")
    else:
        others = [kept for kept in group["examples"] if kept["id"] != name]
        ways += [f"matapalo diff {kept['id']} ({', '.join(kept['roles'])})" for kept in others]
    yield Text("See also: " + " · ".join(ways), style="dim")


def _decide(admin: Admin, name: str, state: str | None, note: str | None, ticket: str | None, *, as_json: bool) -> int:
    """Write a decision down."""
    if not name.startswith("d-"):
        raise click.UsageError(f"only a divergence (d-…) can be decided about, found {name!r}")
    group = admin.patch(f"/api/v1/divergences/{segment(name)}", {"state": state, "note": note, "ticket": ticket})
    if as_json:
        print_json(group)
    else:
        click.echo(f"{group['id']} on {group['route']}: {group['state_sentence']} · audit {group['audit_id']}")
    return 0
