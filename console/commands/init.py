"""``matapalo init``: a first configuration that loads as it stands."""

from __future__ import annotations

from pathlib import Path

import click

from config.errors import ConfigError
from config.first_file import starter
from console.commands.options import DEFAULT_CONFIG, json_option
from console.commands.output import print_json


@click.command()
@click.option("--legacy", required=True, metavar="URL", help="Where the legacy service answers.")
@click.option("--new", metavar="URL", help="Where its replacement answers, if it runs already.")
@click.option("-o", "--output", default=DEFAULT_CONFIG, show_default=True, help="The file to write; - is stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def init(legacy: str, new: str | None, output: str, force: bool, as_json: bool) -> int:
    """Write a first configuration for your two services.

    \b
    matapalo init --legacy http://127.0.0.1:3000 --new http://127.0.0.1:4000
    """
    try:
        text = starter(legacy, new)
    except ConfigError as error:
        raise click.ClickException("; ".join(problem.message for problem in error.problems)) from error
    if output == "-":
        click.echo(text, nl=False)
        return 0
    try:
        # "x" creates and never replaces, with no moment between looking and writing.
        with Path(output).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(
            f"{output} exists already and was left alone; name another file with -o, or add --force"
        ) from None
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror or error}; name a place that you may write with -o"
        ) from error
    if as_json:
        print_json({"file": output})
    else:
        click.echo(f"Wrote {output}. Next: matapalo check -c {output}, then matapalo serve -c {output}")
    return 0
