"""What it costs to treat clients apart: buckets, cohorts and pins on every route, against the same routes without."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator, Mapping

from bench import load
from bench.drills import API, Judgement, paths_of, require_side
from bench.process import own_cpu_s
from bench.product import Product, Route, routes_for
from bench.rounds import Bench, settle

STARTS = 12
"""Where a process happens to lie in memory makes it up to 3 % quicker or slower for as long as it lives: pairs of one
start are not independent, so the bound is taken over the starts."""

PAIRS = 5
"""Per start. The bar asks for 30 in all at least; a busy machine makes single ratios wrong by 12 %."""

STUDENT = 1.796
"""One-sided 95 % with 11 degrees of freedom, one less than there are starts."""

SECONDS = 1
"""Of load per sample."""

LIMIT = 1.05

_ALIKE = {"initial_stage": "legacy", "shadow": "never"}
"""Everybody gets legacy unasked. Nothing is copied: beside a copy the same cost would look smaller."""

_APART = {"initial_stage": "canary", "initial_percent": 0, "shadow": "never", "pin": "30s"}
"""Everybody is asked for cohort, pin and bucket, and gets legacy: what the backends do is the same in both."""

_COHORTS = [
    {"name": "staff", "match": {"header": "X-Staff", "value": "yes"}},
    {"name": "office", "match": {"cidr": ["10.0.0.0/8", "2001:db8::/32"]}},
]


def cost(bench: Bench) -> Judgement:
    """Ask both in turn, the order swapped each time, and bound the mean of the ratios from above at 95 %.

    Shape: the load belongs to no cohort and has no pin, so every request is asked everything; it has a session cookie
    in which a pin is looked for, and a sticky key whose bucket is computed.
    """
    key = bench.folder / "pin.key"
    key.write_text("not a secret")
    apart = {"cohorts": _COHORTS, "pins": {"secret": f"file:{key}"}}
    stages = {"cohorts": {cohort["name"]: "live" for cohort in _COHORTS}}
    routes, paths = routes_for(API, "canary"), paths_of(API)
    ratios: list[float] = []
    means: list[float] = []
    for start in range(STARTS):
        with (
            _running(bench, f"audiences-off-{start}", routes, paths, {}, _ALIKE) as plain,
            _running(bench, f"audiences-on-{start}", routes, paths, apart, _APART | stages) as treating,
        ):
            for number in range(PAIRS):
                order = (plain, treating) if number % 2 else (treating, plain)
                spent = {id(one): _cpu_us(bench, one, paths) for one in order}
                ratios.append(spent[id(treating)] / spent[id(plain)])
                bench.say(f"audiences: pair {len(ratios)} of {STARTS * PAIRS}: {ratios[-1]:.3f}")
        means.append(statistics.fmean(ratios[-PAIRS:]))
    mean = statistics.fmean(means)
    upper = mean + STUDENT * statistics.stdev(means) / math.sqrt(STARTS)
    return Judgement(
        passed=upper <= LIMIT,
        figures=f"{mean:.3f} x, upper bound {upper:.3f} (median {statistics.median(ratios):.3f}, "
        f"{len(ratios)} pairs over {STARTS} starts)",
    )


@contextlib.contextmanager
def _running(
    bench: Bench,
    name: str,
    routes: list[Route],
    paths: list[str],
    more: Mapping[str, object],
    route_keys: Mapping[str, object],
) -> Iterator[Product]:
    product = Product(
        routes, bench.backends, folder=bench.folder / name, cores=bench.cores, more=more, route_keys=route_keys
    )
    product.start(paths[0])
    try:
        product.require_control()
        for path in paths:
            require_side(product, path, "legacy")
        load.drive(product.port, paths, seconds=1, folder=bench.folder, cores=bench.cores.load)
        yield product
    finally:
        product.stop()


def _cpu_us(bench: Bench, product: Product, paths: list[str]) -> float:
    """Measure the worker's CPU per request."""
    settle(product.program, quiet_s=0.1)
    worker = product.worker()
    before = own_cpu_s(worker)
    run = load.drive(product.port, paths, seconds=SECONDS, folder=bench.folder, cores=bench.cores.load)
    return (own_cpu_s(worker) - before) / run.requests * 1e6
