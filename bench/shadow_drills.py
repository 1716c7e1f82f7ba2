"""What copies may cost when everything goes wrong at once: overload, large bodies, a shadow that hangs for long."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from urllib import request

from bench import load
from bench.bulk import BulkServer, ListedServer, download
from bench.drills import API, MIB, SPARE, Judgement, paths_of, running
from bench.openloop import OpenLoop, Outcome
from bench.process import BenchError, memory, own_cpu_s, reset_peak, wait_until
from bench.product import Route, routes_for
from bench.rounds import Bench, settle, spread
from tests.explaining.hostile import MAKERS

CROWD = 3 * load.CONNECTIONS
"""Clients that never pause, three times as many as keep one worker busy."""


def overload(bench: Bench) -> Judgement:
    """Saturate one worker with and without copies: shedding leaves the clients what they have without a shadow.

    Goodput is counted per second of the worker's processor: on a machine that others use, answers per second say more
    about the others.
    """
    kinds = {"off": ("legacy", False), "on": ("shadow", True), "on, never shed": ("shadow", False)}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    copied = []
    for number in range(max(1, bench.rounds // 3)):
        for place, (kind, (stage, sheds)) in enumerate(kinds.items()):
            routes, paths = [*routes_for(API, stage), SPARE], paths_of(API)
            with running(bench, f"overload-{number}-{place}", routes, path=paths[0], sheds=sheds) as product:
                # The share of copies falls for some seconds; what counts is what it comes to.
                _crowd(bench, product.port, paths, seconds=8)
                before, cpu_s = product.totals("shadow_sent_total"), own_cpu_s(product.worker())
                run = _crowd(bench, product.port, paths, seconds=max(5, bench.seconds))
                cpu_s = own_cpu_s(product.worker()) - cpu_s
                settle(product.program)
                rates[kind].append(run.requests / cpu_s)
                if kind == "on":
                    sent = sum(product.totals("shadow_sent_total").values()) - sum(before.values())
                    copied.append(sent / run.requests)
                bench.say(
                    f"overload, shadow {kind}: {run.rate:,.0f} answers/s, {run.requests / cpu_s:,.0f} per second of "
                    f"processor time, p99 {run.p99_us / 1e3:.1f} ms"
                )
    ratio = spread([one / base for one, base in zip(rates["on"], rates["off"], strict=True)])
    without = statistics.median(one / base for one, base in zip(rates["on, never shed"], rates["off"], strict=True))
    return Judgement(
        passed=ratio.median >= 0.9,
        figures=(
            f"goodput {ratio.median:.2f} x that without a shadow ({ratio.low:.2f} to {ratio.high:.2f}), with "
            f"{statistics.median(copied):.0%} still copied; {without:.2f} x if nothing is shed"
        ),
    )


def _crowd(bench: Bench, port: int, paths: list[str], *, seconds: float) -> load.Load:
    return load.drive(port, paths, seconds=seconds, folder=bench.folder, cores=bench.cores.load, connections=CROWD)


def compare_lag(bench: Bench, *, size: int = MIB) -> Judgement:
    """Compare 1 MiB bodies as fast as they come, and look at what small requests beside them wait."""
    servers = {"bulk": BulkServer(), "bulk-new": BulkServer()}
    urls = {name: f"http://127.0.0.1:{server.port}" for name, server in servers.items()}
    routes = [
        *routes_for(API[:100], "legacy"),
        Route(name="bulk", path="/bulk/{size}", legacy="bulk", new="bulk-new"),
        Route(name="bulk-copied", path="/copied/{size}", stage="shadow", legacy="bulk", new="bulk-new"),
    ]
    found: dict[str, Outcome] = {}
    counts = {}
    try:
        with running(bench, "compare-lag", routes, path=paths_of(API)[0], backends=urls) as product:
            for name, path in (("alone", ""), ("beside 1 MiB answers", "/bulk"), ("compared", "/copied")):
                with _fetching(product.port, path, size) as counted:
                    client = OpenLoop(
                        product.port,
                        paths_of(API[:100]),
                        rate=500,
                        folder=product.folder,
                        cores=bench.cores.load,
                        connections=16,
                        seconds=max(10, bench.seconds),
                    )
                    try:
                        found[name] = client.wait()
                    finally:
                        client.abandon()
                counts[name] = counted[0] / max(10, bench.seconds)
                bench.say(
                    f"small requests {name}: p99 {found[name].p99_us / 1e3:.2f} ms, p99.9 "
                    f"{found[name].p999_us / 1e3:.2f} ms, {counts[name]:.0f} large ones per second"
                )
    finally:
        for server in servers.values():
            server.close()
    # Of the wait, what comparing adds: the large answers themselves are carried with and without it.
    base, compared = found["beside 1 MiB answers"].p999_us / 1e3, found["compared"].p999_us / 1e3
    return Judgement(
        passed=compared - base <= 10,
        figures=(
            f"p99.9 of small requests {compared:.2f} ms while {counts['compared']:.0f} answers of 1 MiB per second are "
            f"compared, {base:.2f} ms beside {counts['beside 1 MiB answers']:.0f} uncompared ones, "
            f"{found['alone'].p999_us / 1e3:.2f} ms alone"
        ),
    )


@contextlib.contextmanager
def _fetching(port: int, path: str, size: int, *, clients: int = 4) -> Iterator[list[int]]:
    """Fetch large answers one after the other; does nothing without a path."""
    counted, ending = [0], threading.Event()

    def fetch() -> None:
        while not ending.is_set():
            download(port, path, size)
            counted[0] += 1

    threads = [threading.Thread(target=fetch, name="fetch") for _ in range(clients if path else 0)]
    for thread in threads:
        thread.start()
    try:
        yield counted
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def hostile(bench: Bench) -> Judgement:
    """Let backends send answers that are dear to compare, and look at what other clients wait."""
    pairs = [make() for make in MAKERS.values()]
    sides = [[(_fields(one.headers[side]), (one.legacy, one.new)[side]) for one in pairs] for side in (0, 1)]
    servers = dict(zip(("sly", "sly-new"), map(ListedServer, sides), strict=True))
    urls = {name: f"http://127.0.0.1:{server.port}" for name, server in servers.items()}
    routes = [
        *routes_for(API[:100], "legacy"),
        Route(name="plain", path="/plain/{number}", legacy="sly", new="sly-new"),
        Route(name="copied", path="/copied/{number}", stage="shadow", legacy="sly", new="sly-new"),
    ]
    ratios, base_ms, compared_ms = [], [], []
    try:
        with running(bench, "hostile", routes, path=paths_of(API)[0], backends=urls) as product:
            for _ in range(max(3, bench.rounds)):
                found = []
                for path in ("/plain", "/copied"):
                    with _visiting(product.port, path, len(pairs)):
                        found.append(_paced(bench, product.port).p99_us / 1e3)
                    settle(product.program)
                base_ms.append(found[0])
                compared_ms.append(found[1])
                ratios.append(found[1] / found[0])
                bench.say(f"hostile: p99 {found[0]:.2f} ms, with their comparison {found[1]:.2f} ms")
            verdicts = product.totals("comparisons_total")
    finally:
        for server in servers.values():
            server.close()
    ratio = spread(ratios)
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(verdicts.items()) if count)
    return Judgement(
        passed=ratio.median <= 1.05,
        figures=(
            f"p99 {ratio.median:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}), {statistics.median(compared_ms):.2f} "
            f"against {statistics.median(base_ms):.2f} ms, with {len(pairs)} kinds of hostile pairs compared: {counts}"
        ),
    )


def _fields(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in headers)


def _paced(bench: Bench, port: int) -> Outcome:
    client = OpenLoop(
        port, paths_of(API[:100]), rate=500, folder=bench.folder, cores=bench.cores.load, seconds=max(4, bench.seconds)
    )
    try:
        return client.wait()
    finally:
        client.abandon()


@contextlib.contextmanager
def _visiting(port: int, path: str, count: int, *, per_second: float = 8.0) -> Iterator[None]:
    """Fetch the answers of *path* in turn, some per second: each may take a comparer a second."""
    ending = threading.Event()

    def fetch() -> None:
        number = 0
        while not ending.wait(1 / per_second):
            request.urlopen(f"http://127.0.0.1:{port}{path}/{number % count}", timeout=30).read()
            number += 1

    thread = threading.Thread(target=fetch, name="visitor")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def hung_shadow(bench: Bench, *, hang_s: float = 600.0, rate: float = 200.0, size: int = 100 << 10) -> Judgement:
    """Let the shadow hang for ten minutes under 100 KiB answers: memory stays, copies come back with it."""
    server = BulkServer()
    urls = {"bulk": f"http://127.0.0.1:{server.port}"}
    routes = [
        Route(name="hung", path="/hung/{size}", stage="shadow", legacy="bulk", new="new"),
        *routes_for(API[:10], "shadow"),
    ]
    try:
        with running(bench, "hung-shadow", routes, path=paths_of(API)[0], backends=urls) as product:
            _open_loop(bench, product.port, f"/hung/{size}", rate=rate, seconds=5)
            worker = product.worker()
            reset_peak(worker)
            before = memory(worker, "VmRSS")
            bench.new.freeze()
            try:
                outcome = _open_loop(bench, product.port, f"/hung/{size}", rate=rate, seconds=hang_s)
            finally:
                bench.new.thaw()
            grown = (memory(worker, "VmHWM") - before) / MIB
            skipped = product.totals("shadow_skipped_total")
            healed = time.monotonic()
            copies = sum(product.totals("shadow_sent_total").values())

            def is_back() -> bool:
                _open_loop(bench, product.port, paths_of(API)[0], rate=50, seconds=0.2)
                return sum(product.totals("shadow_sent_total").values()) >= copies + 5

            wait_until(is_back, "copies to come back")
            back = time.monotonic() - healed
    finally:
        server.close()
    if outcome.failed:
        raise BenchError(f"the clients failed by themselves: {outcome.failed_text()}")
    reasons = ", ".join(f"{reason} {count:,.0f}" for reason, count in sorted(skipped.items()) if count)
    return Judgement(
        passed=grown <= 32 and back <= 5,
        figures=(
            f"{outcome.sent:,} requests in {hang_s:.0f} s, p99 {outcome.p99_us / 1e3:.2f} ms; worker RSS "
            f"+{grown:.1f} MiB; skipped {reasons}; copies back after {back:.1f} s"
        ),
    )


def _open_loop(bench: Bench, port: int, path: str, *, rate: float, seconds: float) -> Outcome:
    client = OpenLoop(port, [path], rate=rate, folder=bench.folder, cores=bench.cores.load, seconds=seconds)
    try:
        return client.wait()
    finally:
        client.abandon()
