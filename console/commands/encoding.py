"""``matapalo encoding``: what a route's new service must do to write like its legacy one, down to the code."""

from __future__ import annotations

from pathlib import Path

import click

from console.commands.admin import Admin, JsonObject, segment
from console.commands.options import admin_options
from console.commands.output import print_json, print_table
from shadow.advise import VARIANTS
from shadow.style import FRAMEWORKS


@click.command()
@click.argument("route")
@click.option(
    "--for",
    "variant",
    type=click.Choice(VARIANTS),
    help="Print the code: for Go 1.27 and newer, or for an older one.",
)
@click.option(
    "--like",
    type=click.Choice(list(FRAMEWORKS)),
    help="Take what nothing was recorded of from this framework's defaults.",
)
@click.option("-o", "--output", metavar="FILE", help="Write the code there.")
@admin_options
def encoding(route: str, variant: str | None, like: str | None, output: str | None, admin: Admin, as_json: bool) -> int:
    """Say which encoder settings make a route's answers identical, in the best order, and print the code.

    \b
    matapalo encoding orders
    matapalo encoding orders --for go -o legacyjson/legacyjson.go
    """
    if output is not None and variant is None:
        raise click.UsageError("--output goes with --for: it takes the code")
    advice = admin.get(f"/api/v1/routes/{segment(route)}/encoding", {"like": like})
    if as_json:
        print_json(advice)
        return 0
    code = advice["code"].get(variant) if variant else None
    if variant and code is None:
        click.echo(f"Nothing was recorded of {route} that an encoder could change; --like NAME imitates a framework.")
        return 1
    if code is None:
        _print_plan(advice)
    elif output is None:
        click.echo(_as_comments(advice) + code, nl=False)
    else:
        _write(output, code)
        _print_plan(advice)
        click.echo(f"Wrote {output}: answer with legacyjson.Write(w, status, v).")
    return 0


def _print_plan(advice: JsonObject) -> None:
    if not advice["pairs"]:
        click.echo(f"Nothing was recorded of {advice['route']}: there is nothing to imitate yet.")
        return
    click.echo(f"{advice['route']}: {advice['pairs']} recorded pairs differ.")
    if advice["plan"]:
        click.echo(f"Identical of these, once fixed: {advice['sentence']}\n")
        rows = [
            [str(number), step["cause"], str(step["pairs"]), f"{step['share']:g}%"]
            for number, step in enumerate(advice["plan"], 1)
        ]
        print_table(["STEP", "CAUSE", "PAIRS WITH IT", "IDENTICAL THEN"], rows)
    for left in advice["left"]:
        click.echo(f"left: {_left(left)}")
    if advice["fits"]:
        click.echo(f"\nLegacy writes as these do by default, as far as was seen: {', '.join(advice['fits'])}")
    if advice["code"]:
        click.echo(f"The code: matapalo encoding {advice['route']} --for go (or go-older)")


def _left(left: JsonObject) -> str:
    places = ", ".join(place or "the whole answer" for place in left["places"])
    return f"{left['cause']} in {left['pairs']} pairs" + (f", at {places}" if places else "")


def _as_comments(advice: JsonObject) -> str:
    """Write the plan in front of the code, so that the output is one Go file."""
    lines = [f"identical once all of it is used: {advice['sentence']}"] if advice["plan"] else []
    lines += [f"left: {_left(left)}" for left in advice["left"]]
    # Pointers are a backend's words: a line break in one would end the comment.
    return "".join(f"// {' '.join(line.split())}\n" for line in lines) + ("\n" if lines else "")


def _write(output: str, code: str) -> None:
    try:
        Path(output).write_text(code, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
