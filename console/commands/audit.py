"""``matapalo audit`` and ``matapalo undo``: who changed what, and taking it back."""

from __future__ import annotations

import click

from console.commands.admin import Admin, JsonObject
from console.commands.options import admin_options, reason_option
from console.commands.output import flag_words, print_change, print_json, print_table


@click.command()
@click.option("--route", help="Only entries that touch this route.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", help="Where the previous page ended (its `next`).")
@admin_options
def audit(route: str | None, limit: int, cursor: str | None, admin: Admin, as_json: bool) -> int:
    """Show who changed what, newest first."""
    page = admin.get("/api/v1/audit", {"route": route, "limit": limit, "cursor": cursor})
    if as_json:
        print_json(page)
        return 0
    print_table(
        ["ID", "AT", "WHO", "KIND", "WHAT", "REASON"],
        [
            [entry["id"], entry["at"], entry["actor"], entry["kind"], _what(entry), entry["reason"] or ""]
            for entry in page["entries"]
        ],
    )
    if page["next"]:
        click.echo(f"Older entries: matapalo audit --cursor {page['next']}")
    return 0


@click.command()
@click.argument("audit_id")
@click.option("--force", is_flag=True, help="Although a flag has changed since.")
@click.option("--if-revision", type=int, help="Only if nothing else has changed since this revision.")
@reason_option
@admin_options
def undo(audit_id: str, force: bool, if_revision: int | None, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Restore the flags that an audit entry (a-…) found; holds stay."""
    body = {"audit_id": audit_id, "reason": reason, "force": force or None, "if_revision": if_revision}
    return print_change(admin.post("/api/v1/undo", body), as_json=as_json)


def _what(entry: JsonObject) -> str:
    """Say in a few words what an entry changed."""
    before, after = entry.get("before") or {}, entry.get("after") or {}
    changes = [
        f"{route}: {flag_words(before[route])} → {flag_words(flag)}"
        for route, flag in after.items()
        if isinstance(flag, dict) and "stage" in flag and isinstance(before.get(route), dict)
    ]
    diff = after.get("diff")
    if copying := after.get("copying"):
        off = ", ".join(copying["off"]) or "nowhere"
        return f"copying off: {off if copying['on'] else 'everywhere'}"
    return "; ".join(changes or diff or entry.get("routes") or ())
