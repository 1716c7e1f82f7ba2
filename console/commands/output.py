"""How commands print: one JSON object, or text that reads well with and without a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from console.commands.admin import Answer, JsonObject

PIPE_COLUMNS = 10_000
"""A pipe has no width: wide enough that no cell is folded (a reason has 2,000 characters), so that grep finds it."""


def print_json(value: JsonObject) -> None:
    """Print one JSON object, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print rows under titles; colours and lines only on a terminal (``NO_COLOR`` is honoured)."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        # Text: a name with [brackets] is not markup
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    print_rich(table)


def print_rich(*parts: RenderableType) -> None:
    """Print one thing below the other; colours only on a terminal, and no folding without one."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text) and not console.is_terminal)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def percent(value: float | None) -> str:
    """Write a share of the API without needless zeros; ``-`` for none."""
    return "-" if value is None else f"{value:g}%"


def flag_words(flag: JsonObject) -> str:
    """Write a flag in the words of ``flip``: ``canary 5% (copies 100%)``."""
    words = str(flag["stage"])
    if flag["stage"] == "canary":
        words += f" {percent(flag['percent'])}"
    if flag.get("sample"):
        words += f" (copies {percent(flag['sample'])})"
    for name, own in flag.get("cohorts", {}).items():
        words += f", {name}: {flag_words(own)}"
    return words


def standing_lines(shown: Mapping[str, Any]) -> list[str]:
    """Say what gate, watchdog and autopilot make of a route, as far as the answer has them."""
    lines = []
    if gate := shown.get("gate"):
        lines.append(f"gate     {gate['result']}: {gate['sentence']}")
    if watchdog := shown.get("watchdog"):
        said = "" if watchdog["state"] == "blind" else f"{watchdog['state']}: "  # the sentence of a blind one begins so
        lines.append(f"watchdog {said}{watchdog['sentence']}")
    if autopilot := shown.get("autopilot"):
        lines.append(f"autopilot {autopilot['sentence']}")
    return lines


def print_change(answer: Answer, *, as_json: bool) -> int:
    """Print what a changing call did and give the exit code: 1 when a worker lags behind."""
    body = answer.body
    if as_json:
        print_json(body)
        return int(answer.is_partial)
    if not body.get("changed"):
        click.echo("Nothing changed: it was already so.")
    for route in body.get("routes") or ():
        click.echo(f"{route['route']}: {flag_words(route['before'])} → {flag_words(route['after'])}")
    for sentence in body.get("diff") or ():
        click.echo(sentence)
    facts = [f"revision {body['revision']}"]
    if body.get("audit_id"):
        facts.append(f"audit {body['audit_id']}")
    if body.get("undid"):
        facts.append(f"undid {body['undid']}")
    # A rollback has two sets of acknowledgements; what protects the clients is the hold's, if there is a new one.
    workers = (body.get("changed") and body.get("holds")) or body.get("workers") or {}
    facts.append(f"in force on {_count(workers.get('acked') or (), 'worker')}")
    click.echo(" · ".join(facts))
    if gate := body.get("gate"):
        over = " (forced: stands in the audit for ever)" if gate.get("forced") else ""
        click.echo(f"Gate {gate['result']}{over}: {gate['sentence']}")
    for route in body.get("held") or ():
        click.echo(f"Held on legacy now: {route} (`matapalo release {route}` lets its flag decide again).")
    for note in body.get("notes") or ():
        click.echo(f"Note: {note}")
    if answer.is_partial:
        late = ", ".join(map(str, workers.get("missing") or body.get("missing") or ()))
        print(  # noqa: T201 - stderr, beside click's own errors
            f"Not everywhere yet: worker {late or '?'} has not acknowledged; `matapalo status` shows what it serves.",
            file=sys.stderr,
        )
    return int(answer.is_partial)


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}" + ("" if len(items) == 1 else "s")
