"""``matapalo demo``: hand over to the demo of the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

ENTRY = Path(__file__).resolve().parents[2] / "demo" / "run.py"
"""The demo brings its own services in two languages, so it is not part of the wheel."""


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def demo(words: tuple[str, ...]) -> None:
    """Run the main job on two real services: one route from legacy to live."""
    if not ENTRY.is_file():
        raise click.ClickException(
            "the demo is not part of the installed package; clone the repository and run scripts/demo there"
        )
    os.execv(sys.executable, [sys.executable, str(ENTRY), *words])  # noqa: S606 - our own file, no shell
