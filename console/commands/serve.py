"""``matapalo serve``: the server itself."""

from __future__ import annotations

import click

from console.commands.group import Door
from console.commands.options import config_option, drop_option


@click.command()
@config_option
@drop_option
@click.pass_obj
def serve(door: Door, config_path: str, drop: tuple[str, ...]) -> int:
    """Start the supervisor, its workers, comparers and the control process, and stay.

    SIGTERM drains and ends, a second one ends now; SIGHUP reads the configuration again.
    """
    return door.serve(config_path, drop)
