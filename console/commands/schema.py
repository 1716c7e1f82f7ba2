"""``matapalo schema``: the configuration's JSON Schema, for editors."""

from __future__ import annotations

import click

from config.schema import json_schema
from console.commands.options import json_option
from console.commands.output import print_json


@click.command()
@json_option
def schema(as_json: bool) -> int:
    """Print the JSON Schema of the configuration.

    It is JSON with and without --json.

    \b
    matapalo schema > matapalo.schema.json
    """
    print_json(json_schema())
    return 0
