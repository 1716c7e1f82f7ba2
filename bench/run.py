"""Measure Matapalo against its peers and against its bars (``scripts/bench``).

Exit code: 0 measured (bars may be missed: the table says so), 1 something could
not be measured, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import upstreams
from bench.bars import BARS, Bar, Row, judge
from bench.parts import ROOT
from bench.peers import PEERS
from bench.process import BenchError, choose_cores
from bench.report import conditions, stolen_ticks, to_page, to_terminal
from bench.rounds import Bench, Result, measure
from bench.scenario import QUICK, SCENARIOS, Scenario

TARGETS = ("matapalo", *(peer.name for peer in PEERS))
PAGE = ROOT / "docs" / "performance.md"


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print, and write the page after a full run."""
    flags = _arguments().parse_args(words)
    if flags.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:16} {scenario.title}")
        for bar in BARS:
            print(f"{bar.name:16} bar: {bar.what}: {bar.bar}")
        return 0
    if not sys.platform.startswith("linux"):
        print("bench: CPU time and memory are read from /proc, so this needs Linux.", file=sys.stderr)
        return 1
    scenarios, bars = _choose(flags)
    if not scenarios and not bars:
        print(f"bench: nothing is called {flags.only}; scripts/bench --list names what there is.", file=sys.stderr)
        return 2
    unknown = [name for name in flags.targets.split(",") if name not in TARGETS]
    if unknown:
        print(f"bench: no target {', '.join(unknown)}; there is {', '.join(TARGETS)}.", file=sys.stderr)
        return 2
    # A plain kill must end the measured programs too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _run(flags, scenarios, bars)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure Matapalo, its peers and its bars.")
    parser.add_argument("--quick", action="store_true", help="two scenarios, three rounds, no drills, no page")
    parser.add_argument("--only", default="", metavar="NAMES", help="these scenarios and bars (comma), no page")
    parser.add_argument("--targets", default=",".join(TARGETS), metavar="NAMES", help="these targets (comma)")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per scenario (9, quick: 3)")
    parser.add_argument("--seconds", type=int, metavar="S", help="load per target and round (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and judgement here")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md even after a partial run")
    parser.add_argument("--list", action="store_true", help="name the scenarios and bars")
    return parser


def _choose(flags: argparse.Namespace) -> tuple[list[Scenario], list[Bar]]:
    if flags.only:
        names = flags.only.split(",")
        bars = [bar for bar in BARS if bar.name in names]
        needed = {bar.scenario for bar in bars} | set(names)
        return [one for one in SCENARIOS if one.name in needed], bars
    if flags.quick:
        return [one for one in SCENARIOS if one.name in QUICK], [bar for bar in BARS if bar.scenario in QUICK]
    return list(SCENARIOS), [bar for bar in BARS if not bar.long]


def _run(flags: argparse.Namespace, scenarios: Sequence[Scenario], bars: Sequence[Bar]) -> int:
    rounds = flags.rounds or (3 if flags.quick else 9)
    seconds = flags.seconds or (2 if flags.quick else 3)
    cores, load_before, before = choose_cores(), os.getloadavg()[0], stolen_ticks()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="matapalo-bench-", dir=memory if os.access(memory, os.W_OK) else None))
    # nginx's worker drops to another user and must still read what it serves.
    folder.chmod(0o755)
    running: list[upstreams.Upstream] = []
    started = time.monotonic()
    results: dict[str, Result] = {}
    rows: list[Row] = []
    try:
        running += [upstreams.start(name, folder / f"backend-{name}", cores.load) for name in ("legacy", "new")]
        bench = Bench(
            folder=folder,
            cores=cores,
            legacy=running[0],
            new=running[1],
            rounds=rounds,
            seconds=seconds,
            say=lambda text: print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True),
        )
        for scenario in scenarios:
            results[scenario.name] = measure(bench, scenario, flags.targets.split(","))
        for bar in bars:
            if bar.scenario is None:
                bench.say(f"bar {bar.name}")
            rows.append(judge(bench, results, bar))
            bench.say(f"bar {bar.name}: {rows[-1].verdict}: {rows[-1].figures}")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        for upstream in running:
            upstream.program.stop()
        shutil.rmtree(folder, ignore_errors=True)
    after = stolen_ticks()
    found = conditions(
        cores,
        rounds=rounds,
        seconds=seconds,
        load_before=load_before,
        stolen=(after[0] - before[0]) / max(1, after[1] - before[1]),
    )
    print(to_terminal(list(results.values()), rows, found))
    if flags.json:
        flags.json.write_text(json.dumps(_record(results, rows, found.at), indent=1) + "\n")
    if flags.page or not (flags.quick or flags.only or flags.targets != ",".join(TARGETS)):
        PAGE.write_text(to_page(list(results.values()), rows, found))
        print(f"\nwritten: {PAGE.relative_to(ROOT)}")
    return 1 if any(row.verdict == "not measured" for row in rows) else 0


def _record(results: dict[str, Result], rows: Sequence[Row], at: str) -> dict[str, object]:
    return {
        "at": at,
        "scenarios": {
            name: {
                "rounds": [{target: asdict(sample) for target, sample in one.items()} for one in result.rounds],
                "missing": result.missing,
            }
            for name, result in results.items()
        },
        "bars": [
            {"name": row.bar.name, "bar": row.bar.bar, "verdict": row.verdict, "figures": row.figures} for row in rows
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
