"""``matapalo reload``: let the server read its configuration again."""

from __future__ import annotations

import click

from console.commands.admin import Admin
from console.commands.options import admin_options
from console.commands.output import print_change


@click.command()
@click.option("--drop", multiple=True, metavar="ROUTE", help="Let this route's flag go although it is beyond legacy.")
@admin_options
def reload(drop: tuple[str, ...], admin: Admin, as_json: bool) -> int:
    """Read the configuration again; a bad one never replaces the one that serves."""
    return print_change(admin.post("/-/reload", {"drop": list(drop) or None}), as_json=as_json)
