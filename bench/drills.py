"""The measurements that are no rounds: what happens when something hangs, dies or is large.

Each drill starts Matapalo for itself, does one thing to it under load and
returns a :class:`Judgement`; a drill that cannot be made raises BenchError.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.bulk import BulkServer, download, upload
from bench.openloop import Failure, OpenLoop, Outcome
from bench.process import BenchError, answer_of, memory, own_cpu_s, pinned, reset_peak, wait_until
from bench.product import COMMAND, Product, Route, routes_for
from bench.rounds import Bench, settle, spread

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Say whether a bar is met, and with which figures."""

    passed: bool
    figures: str


MAX_LATE_MS = 2.0
"""The open-loop client's own lateness must stay below the 3 ms that the bar allows."""


def _prefixes(kind: str, count: int) -> list[str]:
    return [f"/{kind}/r{number:03d}" for number in range(count)]


def paths_of(prefixes: Sequence[str]) -> list[str]:
    """Make one path per prefix."""
    return [f"{prefix}/{1000 + number}" for number, prefix in enumerate(prefixes)]


API = _prefixes("api", 199)
"""With one spare route the 200 of the bars."""

SPARE = Route(name="spare", path="/spare/{id}", stage="legacy")
"""A route without traffic, for flips that must not change the load."""


@contextlib.contextmanager
def running(
    bench: Bench,
    name: str,
    routes: Sequence[Route],
    *,
    path: str,
    workers: int = 1,
    backends: dict[str, str] | None = None,
    sheds: bool = False,
) -> Iterator[Product]:
    """Start Matapalo with control, and end it."""
    product = Product(
        routes,
        {**bench.backends, **(backends or {})},
        folder=bench.folder / name,
        cores=bench.cores,
        workers=workers,
        sheds=sheds,
    )
    product.start(path)
    try:
        product.require_control()
        yield product
    finally:
        product.stop()


@contextlib.contextmanager
def open_loop(
    bench: Bench, product: Product, paths: Sequence[str], *, rate: float, connections: int = 32
) -> Iterator[OpenLoop]:
    """Start a client that sends on schedule until it is stopped."""
    client = OpenLoop(
        product.port, paths, rate=rate, folder=product.folder, cores=bench.cores.load, connections=connections
    )
    try:
        yield client
    finally:
        client.abandon()


# --- cost of unequal answers ------------------------------------------------------------------------------------------


def unequal_cost(bench: Bench) -> Judgement:
    """Compare the worker's CPU per request on unequal and equal 1 KB answers, with a scrape each second and flips."""
    equal, unequal = API[:100], _prefixes("u", 99)
    routes = [*routes_for(equal, "shadow"), *routes_for(unequal, "shadow"), SPARE]
    ratios, shares, all_us = [], [], []
    flips: list[float] = []
    with running(bench, "unequal-cost", routes, path=paths_of(equal)[0]) as product:
        for paths in (paths_of(equal), paths_of(unequal)):
            load.drive(product.port, paths, seconds=1, folder=bench.folder, cores=bench.cores.load)
        for _ in range(bench.rounds):
            costs = {}
            for name, paths in (("equal", paths_of(equal)), ("unequal", paths_of(unequal))):
                settle(product.program)
                worker = product.worker()
                before, whole = own_cpu_s(worker), product.program.cpu_s()
                decided = product.totals("comparisons_total")
                with _scraped_and_flipped(product, flips if name == "unequal" else None):
                    run = load.drive(
                        product.port, paths, seconds=bench.seconds, folder=bench.folder, cores=bench.cores.load
                    )
                settle(product.program)
                costs[name] = (own_cpu_s(worker) - before) / run.requests
                if name == "unequal":
                    now = product.totals("comparisons_total")
                    gained = sum(now.get(one, 0) - decided.get(one, 0) for one in ("divergent", "tolerated"))
                    shares.append(gained / run.requests)
                    all_us.append((product.program.cpu_s() - whole) / run.requests * 1e6)
            ratios.append(costs["unequal"] / costs["equal"])
            bench.say(f"unequal: worker CPU {costs['equal'] * 1e6:.1f} us equal, {costs['unequal'] * 1e6:.1f} unequal")
    ratio = spread(ratios)
    slowest = max(flips, default=float("inf"))
    return Judgement(
        passed=ratio.median <= 1.3 and slowest <= 0.1,
        figures=(
            f"worker {ratio.median:.2f} x the equal case ({ratio.low:.2f} to {ratio.high:.2f}), all processes "
            f"{statistics.median(all_us):.0f} us per request; {statistics.median(shares):.0%} of the pairs explained, "
            f"the rest counted as dropped; {len(flips)} flips, median {statistics.median(flips or [0]) * 1e3:.0f} ms, "
            f"slowest {slowest * 1e3:.0f} ms"
        ),
    )


@contextlib.contextmanager
def _scraped_and_flipped(product: Product, flips: list[float] | None) -> Iterator[None]:
    """Scrape each second and flip the spare route twice a second; does nothing with ``flips=None``."""
    if flips is None:
        yield
        return
    ending = threading.Event()
    problems: list[BenchError] = []

    def disturb() -> None:
        number = 0
        while not ending.wait(0.5):
            try:
                if number % 2 == 0:
                    product.totals("comparisons_total")
                flips.append(product.flip(SPARE.name, "shadow" if number % 2 == 0 else "legacy"))
            except BenchError as error:
                problems.append(error)
                return
            number += 1

    worker = threading.Thread(target=disturb, name="disturb")
    worker.start()
    try:
        yield
    finally:
        ending.set()
        worker.join()
    if problems:
        raise problems[0]


# --- a shadow that hangs ----------------------------------------------------------------------------------------------


def hanging_shadow(bench: Bench, *, hang_s: float = 60.0) -> Judgement:
    """Stop the new backend for a minute and compare what clients see with what they saw before."""
    routes, paths = [*routes_for(API, "shadow"), SPARE], paths_of(API)
    with running(bench, "hanging", routes, path=paths[0]) as product:
        capacity = statistics.median(
            load.drive(product.port, paths, seconds=2, folder=bench.folder, cores=bench.cores.load).rate
            for _ in range(3)
        )
        rate = capacity / 2
        settle(product.program)
        healthy = [_run(bench, product, paths, rate=rate, seconds=hang_s / 4)]
        before, worker = memory(product.worker(), "VmRSS"), product.worker()
        reset_peak(worker)
        bench.new.freeze()
        try:
            hanging = _run(bench, product, paths, rate=rate, seconds=hang_s)
        finally:
            bench.new.thaw()
        peak = memory(worker, "VmHWM")
        settle(product.program, at_most_s=15)
        healthy.append(_run(bench, product, paths, rate=rate, seconds=hang_s / 4))
    # A disturbed baseline would allow anything: +15 % of a busy machine's p99 is no bar.
    late = max(one.late_p99_us for one in healthy) / 1e3
    if late > MAX_LATE_MS:
        raise BenchError(
            f"the client itself was late by {late:.1f} ms at p99 while everything was healthy (at most {MAX_LATE_MS:g} "
            "is usable): the machine is too busy, run --only hanging-shadow again when it is quiet"
        )
    # The better of the two healthy runs is the strict choice; there are two because a minute lies between them.
    base = min(one.p99_us for one in healthy) / 1e3
    found, grown = hanging.p99_us / 1e3, (peak - before) / MIB
    allowed = max(base + 3, base * 1.15)
    return Judgement(
        passed=found <= allowed and grown <= 32 and not hanging.failed,
        figures=(
            f"p99 {found:.2f} ms, healthy {base:.2f} ms (allowed {allowed:.2f}); worker RSS +{grown:.1f} MiB; "
            f"{rate:,.0f} requests/s for {hang_s:.0f} s, {hanging.failed_text()}; "
            f"the client itself was late by {hanging.late_p99_us / 1e3:.2f} ms at p99"
        ),
    )


def _run(bench: Bench, product: Product, paths: Sequence[str], *, rate: float, seconds: float) -> Outcome:
    client = OpenLoop(
        product.port,
        paths,
        rate=rate,
        folder=product.folder,
        cores=bench.cores.load,
        connections=64,
        seconds=seconds,
    )
    try:
        return client.wait()
    finally:
        client.abandon()


# --- large bodies -----------------------------------------------------------------------------------------------------


def large_bodies(bench: Bench, *, size: int = GIB) -> Judgement:
    """Carry 1 GiB down, 1 GiB up, and 1 GiB down with a copy, and watch the worker's peak memory."""
    # Two of them: a copy to the very backend that answers is refused by the configuration.
    servers = {"bulk": BulkServer(), "bulk-new": BulkServer()}
    urls = {name: f"http://127.0.0.1:{server.port}" for name, server in servers.items()}
    routes = [
        *routes_for(API[:198], "legacy"),
        Route(name="bulk", path="/bulk/{size}", legacy="bulk", new="bulk-new"),
        Route(name="bulk-copied", path="/copied/{size}", stage="shadow", legacy="bulk", new="bulk-new"),
    ]
    grown = {}
    try:
        with running(bench, "large", routes, path=paths_of(API)[0], backends=urls) as product:
            load.drive(product.port, paths_of(API[:198]), seconds=1, folder=bench.folder, cores=bench.cores.load)
            for name, carry, path in (
                ("down", download, "/bulk"),
                ("up", upload, "/bulk/in"),
                ("down, copied and compared", download, "/copied"),
            ):
                worker = product.worker()
                reset_peak(worker)
                before = memory(worker, "VmRSS")
                started = time.monotonic()
                carry(product.port, path, size)
                seconds = time.monotonic() - started
                grown[name] = (memory(worker, "VmHWM") - before) / MIB
                bench.say(f"1 GiB {name}: +{grown[name]:.1f} MiB in {seconds:.1f} s")
    finally:
        for server in servers.values():
            server.close()
    return Judgement(
        passed=max(grown.values()) <= 8,
        figures="worker RSS " + "; ".join(f"{name} +{figure:.1f} MiB" for name, figure in grown.items()),
    )


# --- changes under load -----------------------------------------------------------------------------------------------


def changes_under_load(bench: Bench, *, count: int = 20) -> Judgement:
    """Reload and flip again and again while keep-alive clients go on, and count what failed."""
    routes, paths = [*routes_for(API, "shadow"), SPARE], paths_of(API)
    flips = []
    with (
        running(bench, "changes", routes, path=paths[0]) as product,
        open_loop(bench, product, paths, rate=2000) as client,
    ):
        for number in range(count):
            product.write_config(timeout=f"{30 + number}s")
            product.call("POST", "/-/reload", {})
            flips.append(product.flip(routes[number].name, "live"))
        outcome = client.stop()
    return Judgement(
        passed=outcome.failed == 0,
        figures=(
            f"{count} reloads, {count} flips (median {statistics.median(flips) * 1e3:.0f} ms, slowest "
            f"{max(flips) * 1e3:.0f} ms): {outcome.failed_text()}, {outcome.reopened} connections closed while idle"
        ),
    )


def restarts_under_load(bench: Bench, *, reloads: int = 20, restarts: int = 10) -> Judgement:
    """Replace both workers ten times and reload twenty times while keep-alive clients go on, and count what failed."""
    routes, paths = [*routes_for(API, "shadow"), SPARE], paths_of(API)
    took = []
    with (
        running(bench, "restarts", routes, path=paths[0], workers=2) as product,
        open_loop(bench, product, paths, rate=1000) as client,
    ):
        for number in range(reloads):
            product.write_config(timeout=f"{30 + number}s")
            product.call("POST", "/-/reload", {})
            if number * restarts // reloads != (number + 1) * restarts // reloads:
                at = time.monotonic()
                _restart_workers(product)
                took.append(time.monotonic() - at)
        outcome = client.stop()
    return Judgement(
        passed=outcome.failed == 0 and outcome.sent >= 20_000,
        figures=(
            f"{reloads} reloads, {len(took)} restarts of 2 workers (median {statistics.median(took):.1f} s, slowest "
            f"{max(took):.1f} s): {outcome.failed_text()}, {outcome.reopened} connections closed while idle"
        ),
    )


def _restart_workers(product: Product) -> None:
    run = subprocess.run(
        [*COMMAND, "restart", "--local", "-c", str(product.config_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=product.folder,
    )
    if run.returncode:
        raise BenchError(f"restart --local ended with {run.returncode}: {run.stdout}{run.stderr}")


# --- kills ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _busy_cores(bench: Bench) -> Iterator[None]:
    """Keep every core busy with a process that computes nothing."""
    cores = sorted({*bench.cores.proxy, *bench.cores.load})
    burners = [subprocess.Popen(pinned([sys.executable, "-c", "while True: pass"], [core])) for core in cores]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def kill_control(bench: Bench) -> Judgement:
    """Kill control under load with both cores busy: nobody notices, and it is back in three seconds."""
    routes, paths = [*routes_for(API, "shadow"), SPARE], paths_of(API)
    with (
        running(bench, "kill-control", routes, path=paths[0]) as product,
        open_loop(bench, product, paths, rate=500) as client,
        _busy_cores(bench),
    ):
        took = []
        for _ in range(3):
            time.sleep(0.5)
            at = product.kill("control")
            wait_until(product.has_control, "control's return")
            took.append(time.monotonic() - at)
        outcome = client.stop()
    return Judgement(
        passed=outcome.failed == 0 and max(took) <= 3,
        figures=f"{outcome.failed_text()}; back after {', '.join(f'{one:.2f}' for one in took)} s",
    )


def kill_comparer(bench: Bench) -> Judgement:
    """Kill a comparer while unequal pairs run: no client notices."""
    unequal = _prefixes("u", 199)
    routes, paths = [*routes_for(unequal, "shadow"), SPARE], paths_of(unequal)
    with (
        running(bench, "kill-comparer", routes, path=paths[0]) as product,
        open_loop(bench, product, paths, rate=500) as client,
    ):
        for _ in range(3):
            time.sleep(0.5)
            wait_until(lambda: bool(product.pids("comparer")), "a comparer")
            product.kill("comparer")
        wait_until(lambda: bool(product.pids("comparer")), "a comparer's return")
        time.sleep(1)
        lost = product.totals("undecided_total")
        outcome = client.stop()
    counted = ", ".join(f"{reason} {count}" for reason, count in sorted(lost.items()) if count) or "none"
    return Judgement(passed=outcome.failed == 0, figures=f"{outcome.failed_text()}; undecided pairs: {counted}")


def kill_worker(bench: Bench, *, grace_s: float = 0.25) -> Judgement:
    """Kill one of two workers: only what it had in flight is lost."""
    routes, paths = [*routes_for(API, "shadow"), SPARE], paths_of(API)
    with (
        running(bench, "kill-worker", routes, path=paths[0], workers=2) as product,
        open_loop(bench, product, paths, rate=1000) as client,
    ):
        time.sleep(1)
        before = set(product.pids("worker"))
        at = product.kill("worker")
        back = wait_until(
            lambda: len(set(product.pids("worker")) - before) == 1, "the start of a worker for the killed one"
        )
        time.sleep(2)
        outcome = client.stop()

    def was_in_flight(failure: Failure) -> bool:
        return failure.kind in ("reset", "eof") and 0 <= failure.at_s - at <= grace_s

    excepted = sum(map(was_in_flight, outcome.failures))
    others = outcome.failed - excepted
    return Judgement(
        passed=others == 0,
        figures=(
            f"{others} of {outcome.sent:,} failed beyond {excepted} in flight on the killed worker; replaced after "
            f"{back:.2f} s; slowest answer {outcome.max_us / 1e3:.0f} ms"
        ),
    )


# --- start and rollback -----------------------------------------------------------------------------------------------


def start_time(bench: Bench, *, count: int = 5) -> Judgement:
    """Start from nothing, and again on an existing state, and wait for the first answer."""
    routes, path = [*routes_for(API, "shadow"), SPARE], paths_of(API)[0]
    fresh: list[float] = []
    again: list[float] = []
    for number in range(count):
        product = Product(routes, bench.backends, folder=bench.folder / f"start-{number}", cores=bench.cores)
        for times in (fresh, again):
            times.append(product.start(path))
            product.require_control()
            product.stop()
    return Judgement(
        passed=max(*fresh, *again) <= 1.5,
        figures=(
            f"fresh state: median {statistics.median(fresh):.2f} s, slowest {max(fresh):.2f} s; "
            f"existing state: median {statistics.median(again):.2f} s, slowest {max(again):.2f} s"
        ),
    )


def local_rollback(bench: Bench) -> Judgement:
    """Delete the databases, keep control dead, roll everything back on the node itself."""
    routes, paths = routes_for(API, "live"), paths_of(API)
    with (
        running(bench, "rollback", routes, path=paths[0]) as product,
        open_loop(bench, product, paths, rate=1000) as client,
    ):
        require_side(product, paths[0], "new")
        with product.kept_dead("control"):
            databases = list(Path(product.folder / "state").glob("*.db*"))
            if not databases:
                raise BenchError("there is no database file in the state directory, so none can be deleted")
            for file in databases:
                file.unlink()
            time.sleep(0.3)
            at = time.monotonic()
            run = subprocess.run(
                [*COMMAND, "rollback", "--all", "--local", "-c", str(product.config_path), "--reason", "bench"],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                cwd=product.folder,
            )
            took = time.monotonic() - at
            time.sleep(1)
            require_side(product, paths[0], "legacy")
            outcome = client.stop()
    if run.returncode:
        raise BenchError(f"rollback --local ended with {run.returncode}: {run.stdout}{run.stderr}")
    last = outcome.last_s["new"] - at
    return Judgement(
        passed=last <= 1 and outcome.failed == 0,
        figures=f"last answer from new {last:.2f} s after the command was started (it took {took:.2f} s); "
        + outcome.failed_text(),
    )


def require_side(product: Product, path: str, side: str) -> None:
    """Make sure who answers.

    Raises: BenchError.
    """
    answer = answer_of(product.port, path)
    if answer is None or answer.backend != side:
        raise BenchError(f"{path} should be answered by {side}, found {answer and answer.backend!r}")
