"""``matapalo reload``: let the server read its configuration again."""

from __future__ import annotations

import click

from console.commands.admin import Admin
from console.commands.options import admin_options, drop_option
from console.commands.output import print_change


@click.command()
@drop_option
@admin_options
def reload(drop: tuple[str, ...], admin: Admin, as_json: bool) -> int:
    """Read the configuration again; a bad one never replaces the one that serves."""
    return print_change(admin.post("/-/reload", {"drop": list(drop) or None}), as_json=as_json)
