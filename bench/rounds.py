"""Interleaved rounds: every target in turn, the order rotated, one sample per target and round.

The machine is never quiet. Whatever disturbs it disturbs neighbours in time,
so targets are compared within a round, and ratios are computed per round
before any median is taken.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import load, peers, upstreams
from bench.parts import find
from bench.process import BenchError, Cores, Program, own_cpu_s
from bench.product import Product, routes_for
from bench.scenario import Scenario

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Hold what every measurement of one run shares."""

    folder: Path
    cores: Cores
    legacy: upstreams.Upstream
    new: upstreams.Upstream
    rounds: int
    seconds: float
    """Of load per target and round."""
    say: Say
    """Progress, for a person who waits."""

    @property
    def backends(self) -> dict[str, str]:
        """Return the two backends as Matapalo's configuration names them."""
        return {"legacy": f"http://{self.legacy.address}", "new": f"http://{self.new.address}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Keep one target's figures of one round."""

    target: str
    cpu_us: float
    """User and system time of all processes per request, in microseconds."""
    worker_us: float
    """Of that, Matapalo's worker alone; for a peer the same as :attr:`cpu_us`."""
    rate: float
    p50_us: float
    p99_us: float
    rss_bytes: int
    busy: float
    """CPU time over elapsed time while loaded: near 1 means that the proxy was the bottleneck."""
    copies: float
    """Requests that the new backend got, per request of the client."""
    compared: float | None
    """Comparisons with a verdict per request; ``None``: the target compares nothing."""
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Summarise one figure over the rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Summarise values by median, minimum and maximum."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(slots=True, kw_only=True)
class Result:
    """Collect the samples of one scenario."""

    scenario: Scenario
    rounds: list[dict[str, Sample]] = field(default_factory=list)
    """Per round: target to sample."""
    missing: dict[str, str] = field(default_factory=dict)
    """Targets left out, and why."""

    @property
    def targets(self) -> list[str]:
        """Return the targets that were measured."""
        return list(self.rounds[0]) if self.rounds else []

    def figures(self, target: str, of: Callable[[Sample], float]) -> Spread:
        """Summarise one figure of one target."""
        return spread([of(one[target]) for one in self.rounds])

    def ratio(self, target: str, to: str) -> Spread | None:
        """Summarise CPU per request of *target* over that of *to*, round by round; ``None`` if one is missing."""
        if not self.rounds or not {target, to} <= self.rounds[0].keys():
            return None
        return spread([one[target].cpu_us / one[to].cpu_us for one in self.rounds])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    name: str
    port: int
    program: Program
    folder: Path
    product: Product | None


def measure(bench: Bench, scenario: Scenario, wanted: Sequence[str]) -> Result:
    """Start the wanted targets, run the rounds, end the targets.

    Shape: a target that is missing, cannot mirror or does not start is named in :attr:`Result.missing`.
    """
    result = Result(scenario=scenario)
    targets: list[_Target] = []
    try:
        for name in wanted:
            try:
                targets.append(_start(bench, scenario, name))
            except BenchError as error:
                result.missing[name] = str(error)
                bench.say(f"{scenario.name}: without {name}: {str(error).splitlines()[0]}")
        for target in targets:
            _drive(bench, scenario, target, seconds=1)
            settle(target.program)
        for number in range(bench.rounds if targets else 0):
            turn = number % len(targets)
            samples = {one.name: _sample(bench, scenario, one) for one in targets[turn:] + targets[:turn]}
            result.rounds.append({one.name: samples[one.name] for one in targets})
            bench.say(
                f"{scenario.name}: round {number + 1} of {bench.rounds}: "
                + ", ".join(f"{one.target} {one.cpu_us:.1f}" for one in result.rounds[-1].values())
                + " us of CPU per request"
            )
    finally:
        for target in targets:
            target.program.stop()
    return result


def _start(bench: Bench, scenario: Scenario, name: str) -> _Target:
    folder = bench.folder / f"{scenario.name}-{name}"
    if name == "matapalo":
        stage = "shadow" if scenario.mirror else "legacy"
        product = Product(routes_for(scenario.prefixes, stage), bench.backends, folder=folder, cores=bench.cores)
        product.start(scenario.paths[-1])
        try:
            product.require_control()
        except BenchError:
            product.stop()
            raise
        return _Target(name=name, port=product.port, program=product.program, folder=folder, product=product)
    peer = next(one for one in peers.PEERS if one.name == name)
    if find(name) is None:
        raise BenchError("not on this machine")
    if scenario.mirror and not peer.mirrors:
        raise BenchError("has no mirror of its own")
    if scenario.body == "unequal":
        raise BenchError("compares nothing, so it has no unequal case")
    addresses = [bench.legacy.address, bench.new.address]
    running = peers.start(peer, scenario, folder, addresses, bench.cores.proxy)
    return _Target(name=name, port=running.port, program=running.program, folder=folder, product=None)


def _drive(bench: Bench, scenario: Scenario, target: _Target, *, seconds: float) -> load.Load:
    target.program.require_running()
    return load.drive(target.port, scenario.paths, seconds=seconds, folder=bench.folder, cores=bench.cores.load)


def _sample(bench: Bench, scenario: Scenario, target: _Target) -> Sample:
    worker = target.product.worker() if target.product else target.program.pid
    copies = bench.new.requests()
    verdicts = _verdicts(scenario, target)
    cpu, worker_cpu = target.program.cpu_s(), own_cpu_s(worker)
    run = _drive(bench, scenario, target, seconds=bench.seconds)
    busy = (target.program.cpu_s() - cpu) / (run.duration_us / 1e6)
    settle(target.program, quiet_s=0.3 if target.product else 0.1)
    cpu, worker_cpu = target.program.cpu_s() - cpu, own_cpu_s(worker) - worker_cpu
    if run.bad:
        raise BenchError(f"{target.name} failed {run.bad} of {run.requests} requests in scenario {scenario.name}")
    sample = Sample(
        target=target.name,
        cpu_us=cpu / run.requests * 1e6,
        worker_us=(worker_cpu if target.product else cpu) / run.requests * 1e6,
        rate=run.rate,
        p50_us=run.p50_us,
        p99_us=run.p99_us,
        rss_bytes=target.program.rss_bytes(),
        busy=busy,
        # Asking the backend for its count is a request too, and not a copy.
        copies=(bench.new.requests() - copies - 1) / run.requests,
        compared=None
        if target.product is None or not scenario.mirror
        else (_verdicts(scenario, target) - verdicts) / run.requests,
        bad=run.bad,
    )
    _forget_logs(target.folder)
    return sample


def _verdicts(scenario: Scenario, target: _Target) -> int:
    if target.product is None or not scenario.mirror:
        return 0
    totals = target.product.totals("comparisons_total")
    return sum(totals.get(verdict, 0) for verdict in ("identical", "tolerated", "divergent"))


def settle(program: Program, *, quiet_s: float = 0.3, at_most_s: float = 5.0) -> None:
    """Wait until a program is idle again, so that copies and pairs under way are paid for by their round.

    Shape: idle is at most two ticks of CPU in ``quiet_s``, which is what the heartbeats and tallies of four
    processes may cost; Matapalo needs 0.3 s, because a tally is 0.25 s old at most.
    """
    started = time.monotonic()
    before = program.cpu_s()
    while time.monotonic() - started < at_most_s:
        time.sleep(quiet_s)
        now = program.cpu_s()
        if now - before <= 0.021:
            return
        before = now


def _forget_logs(folder: Path) -> None:
    # The logs lie in memory: a long run must not fill it.
    for log in folder.glob("*.log"):
        os.truncate(log, 0)
