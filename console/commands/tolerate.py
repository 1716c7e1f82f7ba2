"""``matapalo tolerate``: permit a difference for a while, see what that hides, and take it back."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options
from console.commands.output import print_change, print_json, print_table
from shadow.redact import printable

CALL = "/api/v1/tolerances"


@click.command()
@click.argument("route", required=False)
@click.option("--all", "everywhere", is_flag=True, help="On every route.")
@click.option("--path", help="Where: $.a[*].b, or /a/*/b as reports show it.")
@click.option("--cause", help="Why: one name of `matapalo causes`; with --path, only there.")
@click.option(
    "--rule",
    metavar="RULE",
    help="The shape of both values: uuid, opaque_id, counter, counter=N, timestamp=5s, unordered, keyed_by=MEMBER, "
    "within=0.01 or within=1%.",
)
@click.option("--reason", help="Why it is permitted; with --remove, why not any more.")
@click.option("--owner", help="Who answers for it.")
@click.option("--expires", metavar="DAY", help="The last day on which it hides anything, such as 2027-01-31.")
@click.option("--dry-run", is_flag=True, help="Show what it would have hidden, and the YAML to paste. The default.")
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How far back a dry run looks.")
@click.option("--apply", "is_applied", is_flag=True, help="Put it in force now; stands in the audit.")
@click.option("--list", "is_listed", is_flag=True, help="List all tolerances with hits, owner and last day.")
@click.option("--remove", metavar="ID", help="Take an applied one (t-…) away.")
@admin_options
def tolerate(
    route: str | None,
    everywhere: bool,
    path: str | None,
    cause: str | None,
    rule: str | None,
    reason: str | None,
    owner: str | None,
    expires: str | None,
    dry_run: bool,
    days: int,
    is_applied: bool,
    is_listed: bool,
    remove: str | None,
    admin: Admin,
    as_json: bool,
) -> int:
    """Permit a difference on a route, by path or cause, with a reason, an owner and a last day."""
    named = [word for word, value in (("--path", path), ("--cause", cause), ("--rule", rule)) if value is not None]
    if (is_listed or remove is not None) and (named or dry_run or is_applied or (is_listed and remove is not None)):
        raise click.UsageError("--list and --remove stand alone")
    if is_listed:
        return _list(admin, route, as_json=as_json)
    if remove is not None:
        answer = admin.post(f"{CALL}/{segment(remove)}/remove", {"reason": reason})
        return print_change(answer, as_json=as_json)
    if (route is None) == (not everywhere):
        raise click.UsageError("name a ROUTE, or --all for every route; --list shows what is tolerated")
    if dry_run and is_applied:
        raise click.UsageError("give --dry-run or --apply, not both")
    asked = {
        "route": route,
        "path": path,
        "cause": cause,
        "rule": None if rule is None else _rule(rule),
        "reason": reason,
        "owner": owner,
        "expires": expires,
        "apply": is_applied,
        "days": None if is_applied else days,
    }
    answer = admin.post(CALL, asked)
    if is_applied:
        if not as_json:
            click.echo(f"{answer.body['tolerance']['id']} is in force until the end of {expires} (UTC).")
        return print_change(answer, as_json=as_json)
    if as_json:
        print_json(answer.body)
    else:
        _print_proposal(answer.body)
    return 0


def _rule(text: str) -> object:
    """Turn ``keyed_by=id`` into what the file has; the server knows which rules there are."""
    name, equals, value = text.partition("=")
    if not equals:
        return name
    if name == "timestamp":
        return {name: {"within": value}}
    return {name: int(value) if name == "counter" and value.isdecimal() else value}


def _print_proposal(body: JsonObject) -> None:
    """Print what a tolerance would have hidden, ten examples, and the line for the file."""
    found = body["would_hide"]
    click.echo(found["sentence"])
    for example in found["examples"]:
        click.echo(f"\n{example['sentence']} ({example['comparison']})")
        click.echo(f"  legacy  {printable(example['legacy'])}")
        click.echo(f"  new     {printable(example['new'])}")
    click.echo("")
    click.echo("Nothing is tolerated yet. Paste this below `tolerate:`, or repeat with --apply:")
    click.echo(f"  {body['yaml']}")


def _list(admin: Admin, route: str | None, *, as_json: bool) -> int:
    page = admin.get(CALL, {"route": route})
    if as_json:
        print_json(page)
        return 0
    if not page["tolerances"]:
        click.echo("Nothing is tolerated" + (f" on {route}." if route else "."))
        return 0
    print_table(
        ["ID", "ROUTE", "WHAT", "HITS", "LAST HIT", "EXPIRES", "OWNER", "REASON", "FROM"],
        [
            [
                one["id"],
                one["route"] or "every route",
                _what(one),
                str(one["hits"]),
                one["last_hit"] or "-",
                _end(one),
                one["owner"],
                one["reason"],
                one["source"],
            ]
            for one in page["tolerances"]
        ],
    )
    return 0


def _what(one: JsonObject) -> str:
    words = [one["path"], one["cause"]]
    if one["rule"] is not None:
        rule = one["rule"]
        words.append(rule if isinstance(rule, str) else " ".join(f"{name} {_shown(of)}" for name, of in rule.items()))
    return " ".join(word for word in words if word)


def _shown(value: object) -> str:
    return f"within {value['within']}" if isinstance(value, dict) else str(value)


def _end(one: JsonObject) -> str:
    left = {"expired": " (expired: hides nothing)", "ending": f" ({one['days_left']} days left)"}
    return str(one["expires"]) + left.get(one["state"], "")
