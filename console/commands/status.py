"""``matapalo status`` and ``matapalo routes``: what serves now, and how far each route has come."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options
from console.commands.output import flag_words, percent, print_json, print_table, standing_lines


@click.command()
@admin_options
def status(admin: Admin, as_json: bool) -> int:
    """Show revision, workers, holds and drift; exit 1 when anything is degraded."""
    found = admin.get("/api/v1/status")
    if as_json:
        print_json(found)
        return int(bool(found["degraded"]))
    config = found["config"]
    click.echo(f"Matapalo {found['version']} · revision {found['revision']} · since {found['started_at']}")
    click.echo(f"configuration {config['file']} · {_reload_words(config['last_reload'])}")
    for worker in found["workers"]:
        behind = "" if worker["current"] else " (behind)"
        click.echo(f"worker {worker['slot']}: pid {worker['pid']}, revision {worker['revision']}{behind}")
    copying = found["copying"]
    if not copying["on"]:
        click.echo("copying is switched off for every route (`matapalo shadow on --all`)")
    elif copying["off"]:
        click.echo(f"copying is switched off for {', '.join(copying['off'])}")
    for hold in found["holds"]:
        why = f": {hold['reason']}" if hold["reason"] else ""
        click.echo(f"held on legacy: {hold['route']} by {hold['actor'] or '?'} at {hold['at']}{why}")
    for flip in found.get("forced") or ():
        click.echo(f"forced: {flip['route']} by {flip['actor']} at {flip['at']} ({flip['id']}): {flip['reason']}")
    for state, told in (found.get("watchdog") or {}).items():
        for name, sentence in told.items():
            said = "" if state == "blind" else f" is {state}"  # the sentence of a blind one begins so
            click.echo(f"watchdog: {name}{said}: {sentence}")
    for name, deploy in found["deploys"].items():
        click.echo(f"{name} runs {deploy['version']} since {deploy['at']}")
    for item in found["drift"]:
        click.echo(f"drift: {item['sentence']}")
    for item in found.get("stuck", ()):
        click.echo(f"stuck: {item['route']}: {item['sentence']}")
    for sentence in found["degraded"]:
        click.echo(f"degraded: {sentence}")
    if not found["degraded"]:
        click.echo("nothing is degraded")
    return int(bool(found["degraded"]))


@click.command()
@click.argument("route", required=False)
@admin_options
def routes(route: str | None, admin: Admin, as_json: bool) -> int:
    """List the routes with stage, shares and counts, or show one."""
    if route is not None:
        found = admin.get(f"/api/v1/routes/{segment(route)}")
        shown = [found]
    else:
        found = admin.get("/api/v1/routes")
        shown = found["routes"]
    if as_json:
        print_json(found)
        return 0
    print_table(
        ["ROUTE", "STAGE", "NEW ASKED", "NEW ACTUAL", "IDENTICAL", "UNEQUAL", "ERRORED", "GATE", "LAST LEGACY", "NOTE"],
        [_row(one) for one in shown],
    )
    if route is not None:
        _show_one(found)
    return 0


def _row(route: JsonObject) -> list[str]:
    counts, share = route["counts"], route["share"]
    notes = [
        *(["held"] if route["hold"] else []),
        *(["drift"] if route.get("drift") else []),
        *([] if route["copying"] else ["copying off"]),
        *([f"journey {route['journey']}"] if route["journey"] else []),
    ]
    return [
        route["name"],
        flag_words(route["flag"]),
        percent(share["asked"]),
        percent(share["actual"]),
        *(str(counts[name]) for name in ("identical", "unequal", "errored")),
        (route.get("gate") or {}).get("result", "-"),
        route["last_legacy"] or "-",
        ", ".join(notes),
    ]


def _show_one(route: JsonObject) -> None:
    counts = route["counts"]
    click.echo("")
    for match in route["match"]:
        click.echo(f"match    {' '.join(match['methods']) or 'any method'} {match['path']}")
    click.echo(f"sides    legacy {route['legacy'] or 'none'} · new {route['new'] or 'none'} · parity {route['parity']}")
    requests = " · ".join(f"{side} {count}" for side, count in counts["requests"].items())
    click.echo(f"answered {requests}")
    skipped = ", ".join(f"{reason} {count}" for reason, count in counts["skipped"].items()) or "none"
    undecided = ", ".join(f"{reason} {count}" for reason, count in counts["undecided"].items()) or "none"
    click.echo(f"copies   eligible {counts['eligible']} · unsampled {counts['unsampled']} · sent {counts['sent']}")
    click.echo(f"skipped  {skipped}")
    click.echo(
        f"verdicts identical {counts['identical']} · tolerated {counts['tolerated']} · divergent {counts['divergent']}"
        f" · errored {counts['errored']} · undecided: {undecided} · in flight {counts['in_flight']}"
    )
    for line in standing_lines(route):
        click.echo(line)
    if flip := route["last_flip"]:
        why = f": {flip['reason']}" if flip["reason"] else ""
        kind = f"forced {flip['kind']}" if flip.get("forced") else flip["kind"]
        click.echo(f"changed  {flip['at']} by {flip['actor']} ({kind}, {flip['id']}){why}")
    if sentence := route.get("drift"):
        click.echo(f"drift    {sentence}")
    if hold := route["hold"]:
        click.echo(f"held     {hold['at']} by {hold['actor'] or '?'}: {hold['reason'] or 'no reason given'}")


def _reload_words(last: JsonObject | None) -> str:
    if not last:
        return "as read at start"
    return f"read {last['at']}" if last["ok"] else f"the reload of {last['at']} was refused: {last['error']}"
