"""Send millions of requests while everything goes wrong, and see that nothing is kept (``scripts/soak``).

Bulk comes from wrk through keep-alive connections, misery from clients that leave in every phase
(:mod:`bench.cancels`) against a backend that resets, drips and stays silent; routes flip and metrics are scraped
all the while. Memory is judged by its slope after a warm-up, because a leak has a slope and a cache has none;
descriptors, tasks and connections are judged by their return to what they were.

Exit code: 0 every bar met, 1 one was missed or could not be measured, 2 usage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import cancels, load, upstreams
from bench.bars import Bar, Row, judge
from bench.drills import MIB, SPARE, Judgement
from bench.parts import ROOT
from bench.process import BenchError, choose_cores, memory, wait_until
from bench.product import Product, Route, routes_for
from bench.report import bar_rows, conditions, markdown, plain, stolen_ticks
from bench.rounds import Bench, settle
from store.migrate import upgrade_postgres
from tests.support.flipper import Flippers
from tests.support.postgres import PostgresServer

PAGE: Final = ROOT / "docs" / "soak.md"
POSTGRES: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
"""Debian keeps it off PATH."""
REQUESTS: Final = 2_000_000
ROUND_S: Final = 10.0
WARM_UP: Final = 0.25
"""Share of the requests before the slope counts: allocator, caches and pools have their size by then."""

LEAVERS: Final = 400
"""Clients that come and leave in each round, a fortieth of them at a time."""

SHORT_IDLE: Final = {"idle_timeout": "2s"}
"""So that pools are empty again when the descriptors are counted."""

PLACES: Final = 8
"""Connections to the moody backend for forty leavers at once: most of them leave while they wait for one."""

SLOPE_MIB: Final = 1.0
"""Per million requests."""

EQUAL: Final = [f"/api/r{number:03d}" for number in range(150)]
PLAIN: Final = [f"/plain/r{number:03d}" for number in range(40)]
UNEQUAL: Final = [f"/u/r{number:03d}" for number in range(4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Hold what the processes held at one moment."""

    requests: int
    rss_bytes: dict[str, int]
    """By role."""
    descriptors: int
    """Of the worker."""
    tasks: int
    connections: int


@dataclass(slots=True, kw_only=True)
class Soak:
    """Collect one run."""

    readings: list[Reading] = field(default_factory=list)
    requests: int = 0
    bad: int = 0
    left: int = 0
    flips: int = 0

    def slope(self, role: str) -> float:
        """Fit the resident memory of a role after the warm-up; MiB per million requests."""
        kept = [one for one in self.readings if one.requests >= WARM_UP * self.requests]
        if len(kept) < 3:
            raise BenchError(f"{len(kept)} readings after the warm-up are too few for a slope; ask for more requests")
        fit = statistics.linear_regression(
            [one.requests / 1e6 for one in kept], [one.rss_bytes[role] / MIB for one in kept]
        )
        return fit.slope


def soak(bench: Bench, *, requests: int = REQUESTS) -> Judgement:
    """Send *requests* of every kind, with errors, cancels, resets and flips beside them."""
    routes = [
        *routes_for(EQUAL, "shadow"),
        *routes_for(PLAIN, "legacy"),
        *routes_for(UNEQUAL, "shadow"),
        Route(name="moody", path="/api/{mood}", stage="shadow", legacy="moody", new="moody-new"),
        SPARE,
    ]
    paths = [f"{prefix}/{1000 + number}" for number, prefix in enumerate([*EQUAL, *PLAIN, *UNEQUAL])]
    run = Soak()
    with cancels.Moody() as moody, cancels.Moody() as other:
        product = Product(
            routes,
            {**bench.backends, "moody": moody.url, "moody-new": other.url},
            folder=bench.folder / "soak",
            cores=bench.cores,
            backend_keys=SHORT_IDLE,
        )
        product.start(paths[0])
        try:
            product.require_control()
            _round(bench, product, run, paths)
            _quiet(product)
            before = _reading(product, run)
            while run.requests < requests:
                _round(bench, product, run, paths)
                run.readings.append(_reading(product, run))
                bench.say(_progress(run))
            _quiet(product)
            after = _reading(product, run)
            whole = cancels.answered(("127.0.0.1", product.port), 100)
            settle(product.program, at_most_s=15)
            problem = _broken_law(product)
        finally:
            product.stop()
    slopes = {role: run.slope(role) for role in ("worker", "control", "comparer", "supervisor")}
    back = after.descriptors <= before.descriptors + 4 and after.tasks <= before.tasks and after.connections == 0
    return Judgement(
        passed=slopes["worker"] <= SLOPE_MIB and back and not run.bad and whole == 100 and not problem,
        figures=(
            f"{run.requests:,} requests, {run.bad} bad, {run.left:,} clients left early, {run.flips} flips; RSS slope "
            f"per million: {', '.join(f'{role} {slope:+.2f} MiB' for role, slope in slopes.items())} (worker "
            f"{after.rss_bytes['worker'] / MIB:.0f} MiB at the end); descriptors {before.descriptors} before, "
            f"{after.descriptors} after; tasks {before.tasks}, {after.tasks}; connections {after.connections} left; "
            f"{whole} of 100 answered afterwards; counting law {problem or 'holds'}"
        ),
    )


def cancelled(bench: Bench, *, count: int = 100_000) -> Judgement:
    """Let clients leave in every phase and way, and look for what is still held."""
    with cancels.Moody() as moody, cancels.Moody() as other:
        product = Product(
            [Route(name="moody", path="/api/{mood}", stage="shadow")],
            {"legacy": moody.url, "new": other.url},
            folder=bench.folder / "cancelled",
            cores=bench.cores,
            backend_keys={**SHORT_IDLE, "max_connections": PLACES},
        )
        product.start("/api/quick")
        try:
            product.require_control()
            run = Soak()
            _misery(product, run)
            _quiet(product)
            before = _reading(product, run)
            done = cancels.leave(("127.0.0.1", product.port), count=count, seed=2)
            _quiet(product)
            after = _reading(product, run)
            whole = cancels.answered(("127.0.0.1", product.port), 100)
        finally:
            product.stop()
    back = after.descriptors <= before.descriptors + 4 and after.tasks <= before.tasks and after.connections == 0
    return Judgement(
        passed=back and whole == 100,
        figures=(
            f"{done.total():,} clients left in {len(done)} combinations of phase and way, {PLACES} connections to the "
            f"backend for 40 of them at a time; descriptors {before.descriptors} before, {after.descriptors} after; "
            f"tasks {before.tasks}, {after.tasks}; connections {after.connections} left; worker RSS "
            f"{(after.rss_bytes['worker'] - before.rss_bytes['worker']) / MIB:+.1f} MiB; {whole} of the next 100 "
            "answered"
        ),
    )


def _round(bench: Bench, product: Product, run: Soak, paths: Sequence[str]) -> None:
    """Run load, leavers, flips and scrapes beside each other."""
    problems: list[BenchError] = []
    ending = threading.Event()

    def disturb() -> None:
        try:
            while not ending.wait(1.0):
                product.flip(SPARE.name, "shadow" if run.flips % 2 == 0 else "legacy")
                run.flips += 1
                product.totals("comparisons_total")
        except BenchError as error:
            problems.append(error)

    others = [
        threading.Thread(target=disturb, name="disturb"),
        threading.Thread(target=_misery, args=(product, run), name="misery"),
    ]
    for one in others:
        one.start()
    try:
        done = load.drive(product.port, paths, seconds=ROUND_S, folder=bench.folder, cores=bench.cores.load)
    finally:
        ending.set()
        for one in others:
            one.join()
    if problems:
        raise problems[0]
    run.requests += done.requests
    run.bad += done.bad
    os.truncate(product.program.log, 0)  # it lies in memory


def _misery(product: Product, run: Soak) -> None:
    done = cancels.leave(("127.0.0.1", product.port), count=LEAVERS, seed=run.left)
    run.left += done.total()


def _quiet(product: Product) -> None:
    """Wait until no client is left and what was under way has ended."""
    wait_until(lambda: product.gauge("connections") == 0, "the end of every client connection", timeout_s=90)
    time.sleep(4)  # what lingers does so for two seconds, what is idle in a pool as well
    settle(product.program, at_most_s=15)


def _reading(product: Product, run: Soak) -> Reading:
    roles = {role: product.pids(role)[0] for role in ("worker", "control", "comparer")}
    return Reading(
        requests=run.requests,
        rss_bytes={role: memory(pid, "VmRSS") for role, pid in {**roles, "supervisor": product.program.pid}.items()},
        descriptors=len(os.listdir(f"/proc/{roles['worker']}/fd")),
        tasks=product.gauge("worker_tasks"),
        connections=product.gauge("connections"),
    )


def _broken_law(product: Product) -> str:
    """Say what is wrong with the counts when nothing is in flight; empty if nothing is."""
    eligible, unsampled, skipped, sent, decided = (
        sum(product.totals(family).values())
        for family in (
            "shadow_eligible_total",
            "shadow_unsampled_total",
            "shadow_skipped_total",
            "shadow_sent_total",
            "comparisons_total",
        )
    )
    if eligible != unsampled + skipped + sent:
        return f"broken: eligible {eligible} = unsampled {unsampled} + skipped {skipped} + sent {sent}"
    if sent != decided:
        return f"broken: sent {sent} = verdicts {decided}"
    return ""


def _progress(run: Soak) -> str:
    last = run.readings[-1]
    sizes = ", ".join(f"{role} {size / MIB:.1f}" for role, size in last.rss_bytes.items())
    counts = f"{run.requests:,} requests, {run.bad} bad, {run.left:,} left early"
    return f"soak: {counts}; RSS MiB: {sizes}; {last.descriptors} descriptors"


def killed(bench: Bench, *, kills: int = 1_000) -> Judgement:
    """Kill processes that flip, on SQLite and on PostgreSQL, and every tenth time PostgreSQL's server as well."""
    with Flippers(str(bench.folder / "kills.db")) as flippers:
        lost = flippers.lost(kills // 2)
        said = [f"SQLite: {lost} lost of {kills // 2} kills, {flippers.flips:,} flips"]
    if not POSTGRES:
        raise BenchError("PostgreSQL is not on this machine; scripts/parts installs it")
    with PostgresServer(POSTGRES[0], fsync="on", full_page_writes="on") as server:
        upgrade_postgres(server.url())

        def crash() -> None:
            server.kill()
            server.start()

        with Flippers(server.url()) as flippers:
            missing = flippers.lost(kills * 2 // 5) + flippers.lost(kills // 10, kill=crash) + flippers.lost(1)
            said.append(f"PostgreSQL: {missing} lost of {kills // 2}, {kills // 10} of them its server's")
    return Judgement(passed=lost + missing == 0, figures="; ".join(said))


def _bar(name: str, what: str, bar: str, measure: Callable[[Bench], Judgement]) -> Bar:
    return Bar(name=name, what=what, bar=bar, judge=lambda bench, _: measure(bench))


def bars(requests: int) -> tuple[Bar, ...]:
    """Return every bar, in the order of the report."""
    return (
        _bar(
            "soak",
            f"{requests:,} requests with errors, cancels, resets and flips",
            f"worker RSS at most +{SLOPE_MIB:g} MiB per million after warm-up; descriptors and tasks as before",
            lambda bench: soak(bench, requests=requests),
        ),
        _bar(
            "cancels",
            "100,000 clients leave at random phases",
            "no slot, descriptor, task or connection kept; the next 100 requests answered",
            cancelled,
        ),
        _bar(
            "kills",
            "1,000 kills at random instants of processes that flip, and of PostgreSQL's server",
            "0 acknowledged flips lost",
            killed,
        ),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print, and write the page after a full run."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="See that nothing is kept, whatever happens.")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help=f"of the soak ({REQUESTS:,})")
    parser.add_argument("--only", default="", metavar="NAMES", help="these bars (comma), no page")
    parser.add_argument("--list", action="store_true", help="name the bars")
    flags = parser.parse_args(words)
    chosen = [bar for bar in bars(flags.requests) if not flags.only or bar.name in flags.only.split(",")]
    if flags.list:
        for bar in chosen:
            print(f"{bar.name:12} {bar.what}: {bar.bar}")
        return 0
    if not chosen:
        print(f"soak: nothing is called {flags.only}; scripts/soak --list names what there is.", file=sys.stderr)
        return 2
    if not sys.platform.startswith("linux"):
        print("soak: memory and descriptors are read from /proc, so this needs Linux.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return _run(chosen, page=not flags.only and flags.requests >= REQUESTS)


def _run(chosen: Sequence[Bar], *, page: bool) -> int:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="matapalo-soak-", dir=shared if os.access(shared, os.W_OK) else None))
    folder.chmod(0o755)  # nginx's worker drops to another user and must still read what it serves
    cores, load_before, before, started = choose_cores(), os.getloadavg()[0], stolen_ticks(), time.monotonic()
    running: list[upstreams.Upstream] = []
    try:
        running += [upstreams.start(name, folder / f"backend-{name}", cores.load) for name in ("legacy", "new")]
        bench = Bench(
            folder=folder,
            cores=cores,
            legacy=running[0],
            new=running[1],
            rounds=1,
            seconds=ROUND_S,
            say=lambda text: print(f"[{time.monotonic() - started:5.0f} s] {text}", file=sys.stderr, flush=True),
        )
        rows = [judge(bench, {}, bar) for bar in chosen]
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    finally:
        for upstream in running:
            upstream.program.stop()
        shutil.rmtree(folder, ignore_errors=True)
    after = stolen_ticks()
    stolen = (after[0] - before[0]) / max(1, after[1] - before[1])
    found = conditions(cores, rounds=1, seconds=ROUND_S, load_before=load_before, stolen=stolen)
    print(plain(bar_rows(rows)))
    if page:
        PAGE.write_text(_page(rows, (found.lines[0], *found.lines[-1:]), time.monotonic() - started))
        print(f"\nwritten: {PAGE.relative_to(ROOT)}")
    return 0 if all(row.verdict == "met" for row in rows) else 1


def _page(rows: Sequence[Row], lines: Sequence[str], seconds: float) -> str:
    """Write ``docs/soak.md``."""
    met = sum(row.verdict == "met" for row in rows)
    parts = [
        "# Soak",
        "Written by `scripts/soak`; do not edit. Millions of requests while clients leave in every phase, a backend "
        "resets, drips and stays silent, routes flip and metrics are scraped: what is still held afterwards?",
        f"## {met} of {len(rows)} bars met\n\n" + markdown(bar_rows(rows)),
        f"## Conditions\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} minutes\n\n"
        + "\n".join(f"* {line}" for line in lines),
        "## How to repeat\n\n```\n"
        "scripts/soak                      # everything; writes this page\n"
        "scripts/soak --requests 200000    # shorter, no page\n"
        "scripts/soak --only cancels       # one bar\n```",
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
