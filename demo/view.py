"""Show the walk: a live table on a terminal, plain lines anywhere else.

Pure: everything is drawn from a :class:`Board`, which ``run.py`` keeps up to date.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

STAGE_COLOURS = {"legacy": "yellow", "shadow": "magenta", "canary": "cyan", "live": "green"}
VERDICT_COLOURS = {
    "identical": "green",
    "tolerated": "yellow",
    "divergent": "red",
    "errored": "red",
    "undecided": "yellow",
}
GATE_COLOURS = {"pass": "green", "fail": "red"}
MAX_FRAGMENT = 44
"""Cells of one quoted fragment; two of them and a pointer fit into 120 columns."""


@dataclass(slots=True, kw_only=True)
class RouteRow:
    """Hold what is shown of one route."""

    name: str
    stage: str = "legacy"
    asked: float = 0.0
    """Percent of the clients that the flag sends to new."""
    actual: float | None = None
    """Percent of the requests since the last flip that new answered; ``None`` without traffic."""
    sides: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    gate: str = ""
    """May new have more clients: ``pass``, ``fail`` or ``inconclusive``."""
    gate_sentence: str = ""
    difference: dict[str, Any] | None = None
    """The most severe difference of the route, as ``first_difference`` of ``--json``."""


@dataclass(slots=True, kw_only=True)
class Board:
    """Hold everything that is shown at one moment."""

    walked: str
    """The route that walks from legacy to live."""
    steps: tuple[str, ...]
    step: int = 0
    elapsed_s: float = 0.0
    new_service: str = "go"
    command: str = ""
    """The last command of the walk, as one would type it."""
    rows: dict[str, RouteRow] = field(default_factory=dict)
    requests: int = 0
    failed: int = 0
    url: str = ""
    admin: str = ""
    ending: str = "Ctrl-C ends the demo"


def screen(board: Board, height: int) -> RenderableType:
    """Draw the board for a terminal of 100 columns or more; what matters least goes first on a low one."""
    parts = [_walk(board), _routes(board), _differences(board), _next_steps(board)]
    # Lines of the parts with all nine routes: 7, 13, 11, 12.
    return Group(*parts[: 4 if height >= 43 else 3 if height >= 31 else 2])


def _walk(board: Board) -> RenderableType:
    line = Text()
    for number, step in enumerate(board.steps):
        if number:
            line.append(" ── ", style="dim")
        colour = STAGE_COLOURS[step.split()[0]]
        if number == board.step:
            line.append(f" {step} ", style=f"bold black on {colour}")
        else:
            line.append(step, style=colour if number < board.step else "dim")
    facts = Text(
        f"\n{board.elapsed_s:.0f} s · {board.requests} requests answered · {board.failed} failed", style="default"
    )
    if board.command:
        facts.append(f"\n$ {board.command}", style="bold")
    if (row := board.rows.get(board.walked)) is not None and row.gate:
        facts.append(f"\ngate: {row.gate}", style=GATE_COLOURS.get(row.gate, "yellow"))
        facts.append(f": {row.gate_sentence}")
    return Panel(Group(line, facts), title=f"the walk of {board.walked}", title_align="left", border_style="green")


def _routes(board: Board) -> RenderableType:
    table = Table(expand=True, box=box.SIMPLE_HEAD, header_style="bold", padding=0)
    table.add_column("route", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("gate", no_wrap=True)
    for name in ("new: asked", "actual", "by legacy", "by new", *VERDICT_COLOURS):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows.values():
        cells = [Text(row.name, style="bold" if row.name == board.walked else "")]
        cells += [Text(row.stage, style=STAGE_COLOURS.get(row.stage, ""))]
        cells += [Text(row.gate, style=GATE_COLOURS.get(row.gate, "yellow")), Text(f"{row.asked:g} %")]
        cells.append(Text("-" if row.actual is None else f"{row.actual:.1f} %"))
        cells += [_count(row.sides.get(side, 0), "default") for side in ("legacy", "new")]
        cells += [_count(row.verdicts.get(verdict, 0), colour) for verdict, colour in VERDICT_COLOURS.items()]
        table.add_row(*cells)
    return table


def _count(number: int, colour: str) -> Text:
    return Text(str(number), style=colour) if number else Text("·", style="dim")


def _differences(board: Board) -> RenderableType:
    table = Table(expand=True, box=None, header_style="bold", pad_edge=False)
    table.add_column("route", no_wrap=True)
    table.add_column("the worst difference", no_wrap=True)
    table.add_column("legacy", no_wrap=True, ratio=1)
    table.add_column("new", no_wrap=True, ratio=1)
    for row in board.rows.values():
        if row.difference is None:
            continue
        legacy, new = fragments(row.difference)
        place = Text(place_of(row.difference), style="magenta")
        table.add_row(row.name, place, Text(legacy, style="yellow"), Text(new, style="cyan"))
    if not table.row_count:
        table.add_row("", Text("none so far", style="dim"), "", "")
    return Panel(table, title="worst differences", title_align="left", border_style="dim")


def _next_steps(board: Board) -> RenderableType:
    lines = Text()
    for what, command in next_steps(board):
        lines.append(f"{what:<24}", style="dim")
        lines.append(f"{command}\n", style="default")
    lines.append(board.ending, style="dim")
    return Panel(lines, title="look further, in another terminal", title_align="left", border_style="dim")


def next_steps(board: Board) -> tuple[tuple[str, str], ...]:
    """List what to look at next: what for, and the command to type."""
    return (
        ("in the checkout, first", f"export MATAPALO_URL={board.admin} PATH=.venv/bin:$PATH"),
        ("one user's answer", f"curl -i -H 'X-User-Id: 42' {board.url}/api/products/7"),
        ("who answers, and why", "matapalo explain GET /api/products/7 -H 'X-User-Id: 42'"),
        ("every route", "matapalo routes"),
        ("may it go further?", f"matapalo gate {board.walked}; matapalo gate price"),
        ("take it back", f"matapalo rollback {board.walked} --reason 'just trying'"),
        ("every difference", "matapalo diffs"),
        ("why prices differ", "matapalo diffs price; matapalo diff d-…"),
        ("the metrics", f"curl {board.admin}/metrics"),
    )


def place_of(difference: dict[str, Any]) -> str:
    """Say in a few words why and where two answers differ."""
    pointer = difference["pointer"]
    return str(difference["cause"]) + (f" at {pointer}" if pointer else "")


def fragments(difference: dict[str, Any]) -> tuple[str, str]:
    """Quote what stands on both sides, with control characters visible, cut to MAX_FRAGMENT."""
    legacy, new = difference["legacy"], difference["new"]
    if difference["cause"] == "http.status" and not (legacy or new):
        legacy, new = difference["statuses"]
    return _visible(str(legacy)), _visible(str(new))


def _visible(text: str) -> str:
    shown = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)
    if not shown:
        return "(nothing)"
    return shown if len(shown) <= MAX_FRAGMENT else shown[: MAX_FRAGMENT - 1] + "…"


def lines(board: Board) -> list[str]:
    """Say the state of the walk in a few plain lines, for a log."""
    row = board.rows.get(board.walked)
    text = f"{board.elapsed_s:5.1f} s  {board.requests} requests, {board.failed} failed"
    if row is None:
        return [text]
    actual = "-" if row.actual is None else f"{row.actual:.1f} %"
    told = [f"{text} | {row.name}: {row.stage}, new asked {row.asked:g} % actual {actual}, {_verdicts(row)}"]
    if row.gate:
        told.append(f"         its gate: {row.gate}: {row.gate_sentence}")
    others = [other for other in board.rows.values() if other is not row]
    told.append("         " + " | ".join(f"{other.name}: {_verdicts(other)}" for other in others))
    return told


def _verdicts(row: RouteRow) -> str:
    told = [f"{count} {name}" for name, count in row.verdicts.items() if count]
    return ", ".join(told) or "nothing compared"


def summary(board: Board) -> list[str]:
    """Say the end result in plain lines: one per route, then one per worst difference."""
    told = [f"{board.requests} requests answered in {board.elapsed_s:.1f} s, {board.failed} failed"]
    for row in board.rows.values():
        sides = ", ".join(f"{count} by {side}" for side, count in row.sides.items())
        told.append(f"  {row.name:<13} {row.stage:<7} {sides}; {_verdicts(row)}; gate: {row.gate or 'off'}")
    for row in board.rows.values():
        if row.difference is not None:
            legacy, new = fragments(row.difference)
            told.append(f"  {row.name}: {place_of(row.difference)}: legacy {legacy} | new {new}")
    return told
