"""The bars: one table of what the product must reach, and how each row is judged.

A bar is never weakened here because it was missed: the report says by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import audiences, crowds, drills, gates, replicas, shadow_drills
from bench.drills import Judgement
from bench.process import BenchError
from bench.rounds import Bench, Result

Results = Mapping[str, Result]
"""Scenario name to its samples, for what was measured in rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Name one row of the table."""

    name: str
    """What ``--only`` takes."""
    what: str
    bar: str
    judge: Callable[[Bench, Results], Judgement]
    """Raises: BenchError with the reason when it cannot be judged."""
    scenario: str | None = None
    """The scenario whose rounds it needs; ``None``: a drill of its own."""
    long: bool = False
    """Takes many minutes: measured only when it is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Keep one judged row."""

    bar: Bar
    verdict: str
    """``met``, ``missed`` or ``not measured``."""
    figures: str


def _cpu(name: str, scenario: str, peer: str, limit: float) -> Bar:
    def judge(_: Bench, results: Results) -> Judgement:
        if scenario not in results:
            raise BenchError(f"scenario {scenario} was not run")
        result = results[scenario]
        ratio = result.ratio("matapalo", peer)
        if ratio is None:
            absent = [f"{one}: {result.missing[one]}" for one in ("matapalo", peer) if one in result.missing]
            raise BenchError("; ".join(absent) or f"matapalo and {peer} did not run together")
        own, other = (result.figures(one, lambda sample: sample.cpu_us).median for one in ("matapalo", peer))
        return Judgement(
            passed=ratio.median <= limit,
            figures=f"{ratio.median:.2f} x ({ratio.low:.2f} to {ratio.high:.2f}); {own:.1f} us against {other:.1f} us",
        )

    mirrored = scenario == "shadow"
    return Bar(
        name=name,
        what="100 % shadow, equal bodies, CPU per request" if mirrored else "plain proxying, CPU per request",
        bar=f"at most {limit} x {peer}{' mirror' if mirrored else ''}",
        judge=judge,
        scenario=scenario,
    )


def _drill(name: str, what: str, bar: str, measure: Callable[[Bench], Judgement], *, long: bool = False) -> Bar:
    return Bar(name=name, what=what, bar=bar, judge=lambda bench, _: measure(bench), long=long)


BARS = (
    _cpu("plain-envoy", "plain", "envoy", 0.8),
    _cpu("plain-traefik", "plain", "traefik", 0.5),
    _cpu("plain-caddy", "plain", "caddy", 0.5),
    _cpu("plain-nginx", "plain", "nginx", 1.8),
    _cpu("shadow-nginx", "shadow", "nginx", 0.65),
    _cpu("shadow-envoy", "shadow", "envoy", 0.6),
    _drill(
        "unequal-cost",
        "100 % shadow, 100 % unequal 1 KB bodies, a scrape each second",
        "worker CPU at most 1.3 x the equal case; flips within 100 ms",
        drills.unequal_cost,
    ),
    _drill(
        "hanging-shadow",
        "shadow backend hanging 60 s, open loop at half of capacity",
        "client p99 at most +3 ms or +15 %, the larger; worker RSS at most +32 MiB",
        drills.hanging_shadow,
    ),
    _drill("large-bodies", "1 GiB up and down", "worker RSS at most +8 MiB", drills.large_bodies),
    _drill("events", "server-sent events to 20 clients", "each within 20 ms of the backend's write", crowds.events),
    _drill(
        "attackers",
        "200 slow heads, bodies, readers and silent sockets beside honest traffic",
        "honest p99 below 2 x, 0 failed",
        crowds.slow_attackers,
    ),
    _drill(
        "idle",
        "9,000 idle connections, then 3,000 more",
        "at most 32 KiB each; the excess is told 503, nobody else notices",
        crowds.idle_connections,
    ),
    _drill("changes", "20 reloads and 20 flips under load, keep-alive clients", "0 failed", drills.changes_under_load),
    _drill(
        "replicas",
        "a flip until every worker serves it, two workers per node, one node and three over one PostgreSQL",
        "p99 at most 50 ms on one node, 300 ms on three",
        replicas.flips_everywhere,
    ),
    _drill(
        "restarts",
        "20 reloads and 10 restarts of the workers under load, keep-alive clients",
        "0 failed of at least 20,000",
        drills.restarts_under_load,
    ),
    _drill(
        "kill-control",
        "kill -9 of control, both cores busy",
        "0 failed; control back within 3 s",
        drills.kill_control,
    ),
    _drill("kill-comparer", "kill -9 of a comparer, unequal answers", "0 failed", drills.kill_comparer),
    _drill(
        "kill-worker",
        "kill -9 of one of two workers",
        "0 failed beyond what it had in flight",
        drills.kill_worker,
    ),
    _drill("start", "start to first request served", "within 1.5 s", drills.start_time),
    _drill(
        "rollback",
        "databases deleted, control dead: rollback --local",
        "all traffic on legacy within 1 s",
        drills.local_rollback,
    ),
    _drill(
        "audiences",
        "buckets, two cohorts and pins asked on each of 200 routes, nobody treated apart",
        "worker CPU at most 1.05 x that of the same routes without them, at the upper bound of 60 interleaved pairs",
        audiences.cost,
    ),
    _drill(
        "overload",
        "three times the clients that saturate a worker, 100 % shadow",
        "goodput at least 0.9 x that without a shadow: copies are shed first",
        shadow_drills.overload,
    ),
    _drill(
        "compare-lag",
        "1 MiB answers compared at full rate, small requests beside them",
        "p99.9 of the small ones at most +10 ms over uncompared 1 MiB answers",
        shadow_drills.compare_lag,
    ),
    _drill(
        "hostile",
        "answers made to be dear to compare, 8 per second, small requests beside them",
        "p99 of the small ones at most +5 % over the same answers uncompared",
        shadow_drills.hostile,
    ),
    _drill(
        "gates",
        "25 simulated traffics of known divergence, a look each minute for a week (docs/gates.md)",
        "at the limit or over it at most 5 % promoted; 0 and 0.01 % divergent: 95 % within 10,000 comparisons",
        gates.hold_bars,
        long=True,
    ),
    _drill(
        "hung-shadow",
        "shadow backend hanging 10 min, 200 requests/s, 100 KiB answers",
        "worker RSS at most +32 MiB; copies back within 5 s",
        shadow_drills.hung_shadow,
        long=True,
    ),
)
"""Every bar, in the order of the report."""


def judge(bench: Bench, results: Results, bar: Bar) -> Row:
    """Judge one bar; what cannot be measured says why instead of stopping the run."""
    try:
        judgement = bar.judge(bench, results)
    except BenchError as error:
        return Row(bar=bar, verdict="not measured", figures=str(error).splitlines()[0])
    return Row(bar=bar, verdict="met" if judgement.passed else "missed", figures=judgement.figures)
