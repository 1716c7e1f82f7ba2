"""``matapalo token``: who may call the admin API, made and ended at run time; a value is shown once."""

from __future__ import annotations

import hashlib
import sys

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options, json_option, reason_option
from console.commands.output import print_json, print_table

ROLES = ("viewer", "developer", "operator", "admin")


@click.group()
def token() -> None:
    """Make, list, rotate and revoke tokens of the admin API, or hash one for the configuration."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--expires", metavar="DURATION", help="How long it lasts, such as 90d; without it until it is revoked.")
@reason_option
@admin_options
def create(name: str, role: str, expires: str | None, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Make a token; its value is printed this once, alone on stdout."""
    body = {"name": name, "role": role, "expires": expires, "reason": reason}
    return _print_value(admin.post("/api/v1/tokens", body).body, as_json=as_json)


@token.command()
@click.argument("name")
@click.option("--overlap", metavar="DURATION", default="24h", show_default=True, help="How long both values are valid.")
@click.option("--expires", metavar="DURATION", help="How long the new one lasts; without it as long as the former.")
@reason_option
@admin_options
def rotate(name: str, overlap: str, expires: str | None, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Give a token a new value, printed this once; the former one ends after the overlap."""
    body = {"overlap": overlap, "expires": expires, "reason": reason}
    return _print_value(admin.post(f"/api/v1/tokens/{segment(name)}/rotate", body).body, as_json=as_json)


@token.command()
@click.argument("name")
@reason_option
@admin_options
def revoke(name: str, reason: str | None, admin: Admin, as_json: bool) -> int:
    """End a token and its former values now."""
    done = admin.post(f"/api/v1/tokens/{segment(name)}/revoke", {"reason": reason}).body
    if as_json:
        print_json(done)
    else:
        click.echo(f"Revoked {name} ({done['audit_id']}); other nodes refuse it within three seconds.")
    return 0


@token.command("list")
@admin_options
def list_tokens(admin: Admin, as_json: bool) -> int:
    """List every token, those of the configuration first; never a value."""
    found = admin.get("/api/v1/tokens")
    if as_json:
        print_json(found)
        return 0
    print_table(
        ["NAME", "ROLE", "STATE", "FROM", "MADE", "BY", "EXPIRES", "LAST USED"],
        [
            [
                one["name"],
                one["role"],
                one["state"],
                one["source"],
                one["made_at"] or "",
                one["made_by"] or "",
                one["expires_at"] or ("never" if one["source"] == "made" else ""),
                one["last_used_at"] or "",
            ]
            for one in found["tokens"]
        ],
    )
    return 0


@token.command("hash")
@click.option("--new", "is_new", is_flag=True, help="Make a token first, and print it above its hash.")
@json_option
def hash_token(is_new: bool, as_json: bool) -> int:
    """Print what stands for a token in the configuration, `sha256:…`; the token is read from stdin."""
    made: JsonObject = {}
    if is_new:
        from console.tokens import new_value  # the server's half, which the other commands need not load

        value = new_value()
        made = {"value": value}
    elif sys.stdin.isatty():
        value = str(click.prompt("Token", hide_input=True))
    else:
        value = sys.stdin.readline().rstrip("\r\n")
    if not value:
        raise click.UsageError("found no token on stdin; expected one line, or --new")
    made["hash"] = f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogateescape')).hexdigest()}"
    if as_json:
        print_json(made)
    else:
        click.echo("\n".join(made.values()))
    return 0


def _print_value(done: JsonObject, *, as_json: bool) -> int:
    if as_json:
        print_json(done)
        return 0
    made = done["token"]
    until = f"until {made['expires_at']}" if made["expires_at"] else "until it is revoked"
    click.echo(f"Token {made['name']} ({made['role']}, {until}, {done['audit_id']}). It is shown only now:", err=True)
    click.echo(done["value"])
    return 0
