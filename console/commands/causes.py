"""``matapalo causes``: the closed vocabulary, and what to do about each of its names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click

from console.commands.options import json_option
from console.commands.output import print_json, print_table
from shadow.causes import CAUSES
from shadow.fixes import LANGUAGES, Fix, remedies
from shadow.redact import printable


@click.command()
@click.argument("name", required=False)
@click.option(
    "--for", "language", type=click.Choice(list(LANGUAGES)), help="Only the fixes for this language (go127: Go ≥ 1.27)."
)
@json_option
def causes(name: str | None, language: str | None, as_json: bool) -> int:
    """List the causes of differences, or show one with who produces it and how to fix it.

    \b
    matapalo causes escape.html --for go
    """
    if name is None:
        _print_all(language, as_json=as_json)
        return 0
    if name not in CAUSES:
        guess = get_close_matches(name, CAUSES, n=1)
        raise click.UsageError(
            f"there is no cause {name!r}; " + (f"did you mean {guess[0]}?" if guess else "`matapalo causes` lists them")
        )
    if as_json:
        print_json(_as_json(name, language))
        return 0
    _print_one(name, language)
    return 0


def _print_all(language: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"causes": [_as_json(name, language) for name in CAUSES]})
        return
    print_table(
        ["CAUSE", "SEVERITY", "WHAT"],
        [[cause.name, cause.severity.value, cause.sentence] for cause in CAUSES.values()],
    )
    click.echo("One in full, with its fixes: matapalo causes NAME")


def _print_one(name: str, language: str | None) -> None:
    cause, remedy = CAUSES[name], remedies()[name]
    click.echo(f"{name} ({cause.severity.value}): {cause.sentence}\n\nWho: {remedy.producers}")
    if remedy.advice:
        click.echo(f"\n{remedy.advice}")
    for fix in _chosen(remedy.fixes, language):
        click.echo(f"\n{LANGUAGES[fix.language]}: {fix.does}\n\n{fix.listing}\n")
        before = f" · before: {printable(fix.was) or 'nothing'}" if fix.before else ""
        click.echo(f"writes: {printable(fix.gives) or 'nothing'}{before}")


def _chosen(fixes: tuple[Fix, ...], language: str | None) -> list[Fix]:
    return [fix for fix in fixes if language in (None, fix.language)]


def _as_json(name: str, language: str | None) -> dict[str, Any]:
    cause, remedy = CAUSES[name], remedies()[name]
    return {
        "name": name,
        "severity": cause.severity.value,
        "sentence": cause.sentence,
        "producers": remedy.producers,
        "advice": remedy.advice,
        "fixes": [
            {"for": fix.language, "does": fix.does, "code": fix.listing, "gives": fix.gives}
            for fix in _chosen(remedy.fixes, language)
        ],
    }
