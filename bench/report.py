"""The tables: for a terminal, and as ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.bars import Row
from bench.load import CONNECTIONS
from bench.parts import ROOT, find, version
from bench.peers import PEERS
from bench.process import Cores
from bench.rounds import Result, Sample, Spread

TO = "\N{EN DASH}"
"""Stands between the smallest and the largest figure."""

NOTES = ROOT / "bench" / "notes.md"
"""What people wrote about the figures (why a bar is missed); appended to the page as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Say under which conditions a run was made."""

    at: str
    lines: tuple[str, ...]


def conditions(cores: Cores, *, rounds: int, seconds: float, load_before: float, stolen: float) -> Conditions:
    """Describe machine, versions and method; *stolen* is the share of CPU time that the hypervisor took."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    names = ["wrk", *(peer.name for peer in PEERS)]
    versions = ", ".join(f"{name} {version(name)}" for name in names if find(name))
    absent = [peer.name for peer in PEERS if not find(peer.name)]
    return Conditions(
        at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        lines=(
            f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), Linux {platform.release()}, "
            f"Python {platform.python_version()}",
            f"{versions}; missing: {', '.join(absent) or 'nobody'}",
            cores.text + "; Matapalo's supervisor, control and comparers may use every core, and their CPU time counts",
            f"{rounds} interleaved rounds of {seconds:g} s per target, the order rotated; wrk with {CONNECTIONS} "
            "keep-alive connections, one thread; both backends are nginx with one worker and constant answers",
            "one worker or thread per proxy, access log to memory, metrics on, keep-alive to the backends",
            f"load average before the run {load_before:.2f}; CPU time stolen by the hypervisor {stolen:.1%}",
        ),
    )


def stolen_ticks() -> tuple[int, int]:
    """Return the machine's stolen and total CPU ticks so far."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[7], sum(fields)


_COLUMNS: tuple[tuple[str, Callable[[Sample], float], Callable[[Spread], str]], ...] = (
    ("CPU us/request", lambda one: one.cpu_us, lambda s: f"{s.median:.1f} ({s.low:.1f}{TO}{s.high:.1f})"),
    ("requests/s", lambda one: one.rate, lambda s: f"{s.median:,.0f} ({s.low:,.0f}{TO}{s.high:,.0f})"),
    ("p50 ms", lambda one: one.p50_us, lambda s: f"{s.median / 1e3:.2f}"),
    ("p99 ms", lambda one: one.p99_us, lambda s: f"{s.median / 1e3:.2f}"),
    ("RSS MiB", lambda one: one.rss_bytes, lambda s: f"{s.median / 2**20:.0f}"),
    ("busy", lambda one: one.busy, lambda s: f"{s.median:.0%}"),
    ("copies", lambda one: one.copies, lambda s: f"{max(0.0, s.median):.0%}"),
)


def table_of(result: Result) -> list[list[str]]:
    """Return one scenario as rows of text, the heading first."""
    rows = [["target", *(name for name, _, _ in _COLUMNS), "worker us", "compared", "Matapalo's CPU is"]]
    for target in result.targets:
        worker = compared = "-"
        if target == "matapalo":
            worker = f"{result.figures(target, lambda one: one.worker_us).median:.1f}"
        if target == "matapalo" and result.scenario.mirror:
            compared = f"{result.figures(target, lambda one: one.compared or 0.0).median:.0%}"
        figures = [show(result.figures(target, of)) for _, of, show in _COLUMNS]
        times = result.ratio("matapalo", target)
        against = "-"
        if target != "matapalo" and times is not None:
            against = f"{times.median:.2f} x ({times.low:.2f}{TO}{times.high:.2f})"
        rows.append([target, *figures, worker, compared, against])
    return rows


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out as a Markdown table."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def bar_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Return the judged bars as rows of text, the heading first."""
    return [["what", "bar", "", "measured"], *([row.bar.what, row.bar.bar, row.verdict, row.figures] for row in rows)]


def _missing(result: Result) -> str:
    return "; ".join(f"{name}: {why.splitlines()[0]}" for name, why in result.missing.items())


def to_terminal(results: Sequence[Result], rows: Sequence[Row], found: Conditions) -> str:
    """Write the whole report for a terminal."""
    parts = [f"{found.at}\n" + "\n".join(f"  {line}" for line in found.lines)]
    for result in results:
        text = f"{result.scenario.title} [{result.scenario.name}]"
        if result.rounds:
            text += "\n" + plain(table_of(result))
        if result.missing:
            text += f"\nleft out: {_missing(result)}"
        parts.append(text)
    if rows:
        parts.append("Bars\n" + plain(bar_rows(rows)))
    return "\n\n".join(parts)


def to_page(results: Sequence[Result], rows: Sequence[Row], found: Conditions) -> str:
    """Write ``docs/performance.md``."""
    met = sum(row.verdict == "met" for row in rows)
    parts = [
        "# Performance\n\nWritten by `scripts/bench`; do not edit. CPU is the user and system time of *all* "
        "processes of a program per request, in microseconds. Figures are medians over the rounds with "
        "minimum and maximum; ratios are computed within each round first. "
        "The peers' mirrors throw the second answer away; Matapalo compares it.",
        f"## Conditions\n\n{found.at}\n\n" + "\n".join(f"* {line}" for line in found.lines),
        "Peers: " + "; ".join(f"**{peer.name}**: {peer.note}" for peer in PEERS) + ".",
        f"## Bars: {met} of {len(rows)} met\n\n" + markdown(bar_rows(rows)),
    ]
    if NOTES.exists():
        parts.append(NOTES.read_text().strip())
    parts.append(
        "## Scenarios\n\n*busy*: CPU time over elapsed time while loaded. *copies*: requests that the new backend "
        "got per client request. *worker us*: Matapalo's worker alone. "
        "*compared*: comparisons with a verdict per client request."
    )
    for result in results:
        text = f"### {result.scenario.title}\n\n"
        if result.rounds:
            text += markdown(table_of(result))
        if result.missing:
            text += f"\n\nLeft out: {_missing(result)}."
        parts.append(text)
    parts.append(
        "## How to repeat\n\n```\n"
        "scripts/bench                               # everything, about half an hour; writes this page\n"
        "scripts/bench --quick                       # two scenarios, three rounds\n"
        "scripts/bench --only plain --targets matapalo,envoy\n"
        "scripts/bench --only hanging-shadow         # one bar\nscripts/bench --list\n```\n\n"
        "The backends are nginx and the load is wrk (`apt install nginx-light wrk`). Peers are taken from "
        "`MATAPALO_ENVOY`, `MATAPALO_TRAEFIK`, `MATAPALO_CADDY`…, then `.cache/parts/bin`, then `PATH`; "
        "whoever is missing is left out."
    )
    return "\n\n".join(parts) + "\n"
