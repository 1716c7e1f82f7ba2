"""``matapalo deployed``: which version a backend runs from now on."""

from __future__ import annotations

import click

from console.commands.admin import Admin
from console.commands.options import admin_options, reason_option
from console.commands.output import print_change


@click.command()
@click.argument("backend")
@click.argument("version")
@reason_option
@admin_options
def deployed(backend: str, version: str, reason: str | None, admin: Admin, as_json: bool) -> int:
    """Say which version a backend runs from now on, so that evidence is kept per build.

    Call it at the end of a deploy. A backend whose answers name their version (`version_header`) needs no such call.
    """
    answer = admin.post("/api/v1/deploys", {"backend": backend, "version": version, "reason": reason})
    if not as_json:
        told = answer.body["deployed"]
        click.echo(f"{backend} runs {told['version']} since {told['at']}.")
    return print_change(answer, as_json=as_json)
