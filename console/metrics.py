"""What ``GET /metrics`` shows: one table of families, one collector over the workers' totals.

Rules of this file:

1. :data:`FAMILIES` is the contract: what is not in it is not shown; docs/metrics.md is made from it.
2. Label values come from the configuration and from closed vocabularies, never from a request.
3. Rendering works on a :class:`Scene`, a frozen picture made on the loop, so it may run in a thread.
4. No traffic is absent, not zero: a series begins with its first count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from console.epochs import Record, Sums, sum_up
from rules.autopilot import PHASES
from rules.flag import Stage
from rules.watch import STATES
from shadow.link import DURATION_BOUNDS_S

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe one metric family as people read it."""

    name: str
    """As exposed, without the suffixes of histograms."""
    kind: Kind
    labels: Labels
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteScene:
    """Picture one route's flag."""

    stage: Stage
    new_share: float
    """0 to 1: the share of the clients that new answers, the hold respected."""
    held: bool
    drifts: bool = False
    """A hold keeps the route from what its flag asks for."""
    watchdog: str = ""
    """The watchdog's state; empty: it has not looked yet."""
    autopilot: str = ""
    """The autopilot's phase; empty: there is none, or nothing is known of it."""
    due_at: float = 0.0
    """Unix time at which its step has baked; 0.0: no step follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Picture everything that one scrape shows."""

    version: str
    records: list[Record]
    last_legacy: Mapping[str, float]
    routes: Mapping[str, RouteScene]
    backends: tuple[str, ...]
    flips: Mapping[tuple[str, str], int]
    """(route, kind) to how many."""
    renewals: Mapping[str, int]
    """Result to how many."""
    rechecks: Mapping[tuple[str, str], int]
    """(route, side) to how many requests."""
    build_questions: Mapping[tuple[str, str], int]
    """(route, outcome) to how many."""
    refusals: Mapping[str, int]
    """Kind of problem to how often the admin API did not let somebody in."""
    worker_revisions: Mapping[int, int]
    reload_ok: bool
    reload_success_at: float
    divergences_open: Mapping[tuple[str, str], int]
    """(route, severity) to how many."""
    findings_dropped: int
    examples_dropped: int
    listeners: int
    """Streams of ``GET /api/v1/events``."""
    announcements_dropped: int
    """Events that such a stream was too slow for."""
    events_dropped: int
    """Lines of control itself that its log did not take."""
    degraded: int
    webhooks: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(event, outcome) to messages."""
    tolerances: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(route or ``*``, tolerance) to the Unix time at which it ends."""


def _counter(name: str, labels: str, text: str) -> Family:
    return Family(name=name, kind="counter", labels=tuple(labels.split()), help=text)


def _gauge(name: str, labels: str, text: str) -> Family:
    return Family(name=name, kind="gauge", labels=tuple(labels.split()), help=text)


FAMILIES: Final = (
    _counter(
        "matapalo_requests_total",
        "route side backend code_class",
        "Answers to clients; side none is Matapalo's own answer.",
    ),
    _counter(
        "matapalo_copies_total",
        "route side purpose",
        "Requests sent beside those of clients: compare (to the side that does not answer), noise (to legacy, a second "
        "time), again (to both sides, after a divergent answer), recheck (to both, by hand; since control began).",
    ),
    _counter(
        "matapalo_build_questions_total",
        "route outcome",
        "Requests (OPTIONS) to new for a gate that asks which build it is, since control began: named, unnamed (an "
        "answer without `version_header`), unanswered.",
    ),
    _counter(
        "matapalo_repeats_total",
        "route purpose outcome",
        "Repeats by what they showed: identical, unequal, failed (no answer), dropped (the comparers are full); or by "
        "what held them back: rate, known (asked about often), in_flight, budget, full, shed, circuit, descriptors, "
        "credentials (they would not travel), changed (the configuration), drain.",
    ),
    Family(
        name="matapalo_request_duration_seconds",
        kind="histogram",
        labels=("route", "side"),
        help="Whole request sent to response head, of the side that answers; a slow upload is not its time.",
    ),
    _gauge(
        "matapalo_legacy_last_request_timestamp_seconds",
        "route",
        "Unix time of the last request that legacy answered; survives restarts.",
    ),
    _counter("matapalo_shadow_eligible_total", "route", "Requests that could have been copied."),
    _counter("matapalo_shadow_unsampled_total", "route", "Eligible requests outside the sample."),
    _counter("matapalo_shadow_skipped_total", "route reason", "Sampled requests that were not copied or not compared."),
    _counter("matapalo_shadow_sent_total", "route", "Requests whose copy was sent to be compared."),
    _gauge("matapalo_shadow_in_flight", "route", "Copies whose comparison is not decided by the worker yet."),
    _gauge("matapalo_shadow_circuit_open", "backend", "1 while some worker pauses copies to a backend: no answers."),
    _gauge("matapalo_shadow_shedding", "", "Workers that copy less than asked, because they have too much to do."),
    _gauge("matapalo_comparisons_queued", "route", "Unequal pairs that wait for a comparer's verdict."),
    _counter(
        "matapalo_comparisons_total",
        "route primary verdict",
        "Comparisons by verdict: identical, tolerated, divergent, errored, undecided.",
    ),
    _counter("matapalo_divergences_total", "route cause", "Differing pairs by cause."),
    _gauge(
        "matapalo_divergences_open",
        "route severity",
        "Divergences that need work, open or regressed, by their worst difference.",
    ),
    _gauge(
        "matapalo_tolerance_expiry_timestamp_seconds",
        "route tolerance",
        "Unix time at which the tolerance hides nothing any more; route * is every route.",
    ),
    _counter("matapalo_tolerance_hits_total", "route tolerance", "Differing pairs in which a tolerance hid something."),
    _counter(
        "matapalo_undecided_total", "route reason", "Unequal pairs without a verdict: dropped, lost, killed, limit."
    ),
    Family(
        name="matapalo_shadow_duration_seconds",
        kind="histogram",
        labels=("route", "side"),
        help="Request sent to response head, of the copy.",
    ),
    _gauge("matapalo_route_stage", "route stage", "1 for the stage that the route's flag stands at, 0 for the others."),
    _gauge(
        "matapalo_route_new_weight_ratio",
        "route",
        "Share of the clients that new answers by flag and hold, 0 to 1.",
    ),
    _gauge("matapalo_route_held", "route", "1 while a hold keeps the route on legacy."),
    _gauge("matapalo_route_drift", "route", "1 while a hold keeps the route from what its flag asks for."),
    _gauge(
        "matapalo_watchdog_state",
        "route state",
        "1 for what the watchdog makes of the route, 0 for the others: off, idle (new answers nobody), watching, blind "
        "(too little traffic, or nothing known of legacy), suspicious, alert, tripped.",
    ),
    _gauge(
        "matapalo_autopilot_phase",
        "route phase",
        "1 for what the route's autopilot does, 0 for the others: waiting (for somebody who flips to canary), baking "
        "(a step, or waiting for its gate after that), paused, done.",
    ),
    _gauge(
        "matapalo_autopilot_due_timestamp_seconds",
        "route",
        "Unix time at which the present step has baked; beyond it the autopilot waits for its gate. Absent where no "
        "step follows.",
    ),
    _counter(
        "matapalo_flips_total",
        "route kind",
        "Flips, rollbacks and undos: manual, watchdog, autopilot, file, openfeature.",
    ),
    _counter("matapalo_fallbacks_total", "route reason", "Canary requests that legacy answered because new failed."),
    _counter(
        "matapalo_broken_answers_total",
        "route side",
        "Answers that their backend broke off; `requests_total` has them under the status of their head.",
    ),
    _counter("matapalo_refused_total", "reason", "Requests that Matapalo refused before any backend."),
    _counter(
        "matapalo_client_aborts_total",
        "route side",
        "Requests whose client left, or took nothing for `write_timeout`, before its answer was complete.",
    ),
    _counter(
        "matapalo_retries_total",
        "backend outcome",
        "Requests that met a connection as the backend closed it: sent again, or refused for want of budget.",
    ),
    _counter("matapalo_upstream_errors_total", "backend phase", "Failures of backends by phase."),
    _counter("matapalo_access_log_dropped_total", "", "Access log lines that could not be written."),
    _counter("matapalo_log_dropped_total", "process", "Lines of worker and control on stderr that nobody took."),
    _counter(
        "matapalo_findings_dropped_total",
        "",
        "Pairs that no divergence counts: too many groups at once, or forgotten by age and size.",
    ),
    _counter("matapalo_examples_dropped_total", "", "Pairs that were counted, but too many or large to be examples."),
    _gauge("matapalo_connections", "", "Open client connections."),
    _gauge("matapalo_worker_tasks", "", "Tasks inside the workers: six each when idle, one per opening socket."),
    _counter(
        "matapalo_tls_handshake_failures_total",
        "reason",
        "Connections to a TLS listener that never spoke: timeout, closed, plain_http, not_tls, unsupported (version or "
        "cipher), alert (the client refused us), other.",
    ),
    _gauge(
        "matapalo_certificate_expiry_timestamp_seconds",
        "listener",
        "Unix time at which the certificate in use ends; with several workers the earliest.",
    ),
    _gauge("matapalo_admin_listeners", "", "Streams of GET /api/v1/events."),
    _counter("matapalo_admin_events_dropped_total", "", "Events that such a stream was too slow for; it was told."),
    _counter(
        "matapalo_admin_refused_total",
        "reason",
        "Requests to the admin API that were not let in: no_token, bad_token (unknown, expired, revoked), role (too "
        "low), host (not a name of ours), identity (a person named from elsewhere), cross_site, rate_limited; and "
        "connections that were closed: slow (no request within 10 s), crowded (unused, and its place was needed).",
    ),
    _counter(
        "matapalo_certificate_renewals_total",
        "result",
        "Replaced certificate, key and authority files by result: taken, or refused, and then the former stay.",
    ),
    _gauge("matapalo_config_last_reload_successful", "", "1 if the last reading of the configuration was taken over."),
    _gauge(
        "matapalo_config_last_reload_success_timestamp_seconds",
        "",
        "Unix time at which a configuration was last taken over.",
    ),
    _gauge("matapalo_snapshot_revision", "worker", "The revision that each worker serves."),
    _counter(
        "matapalo_webhooks_total",
        "event outcome",
        "Messages to webhooks since control began: delivered, refused (a step was held back), failed, dropped.",
    ),
    _gauge("matapalo_degraded", "", "Number of reasons in status.degraded."),
    Family(name="matapalo_build_info", kind="gauge", labels=("version",), help="1, labelled with the version."),
)
"""The whole contract, in the order of docs/metrics.md."""

_BY_NAME: Final = {family.name: family for family in FAMILIES}

# Family of Tally.counts -> metric, and which of its labels stay (by place behind the family's name).
_COUNTS: Final[Mapping[str, tuple[str, tuple[int, ...]]]] = {
    "requests": ("matapalo_requests_total", (0, 1, 2, 3)),
    "copies": ("matapalo_copies_total", (0, 1, 2)),
    "repeats": ("matapalo_repeats_total", (0, 1, 2)),
    "eligible": ("matapalo_shadow_eligible_total", (0,)),
    "unsampled": ("matapalo_shadow_unsampled_total", (0,)),
    "skipped": ("matapalo_shadow_skipped_total", (0, 1)),
    "sent": ("matapalo_shadow_sent_total", (0,)),
    "divergences": ("matapalo_divergences_total", (0, 1)),
    "tolerance_hits": ("matapalo_tolerance_hits_total", (0, 1)),
    "fallbacks": ("matapalo_fallbacks_total", (0, 1)),
    "broken": ("matapalo_broken_answers_total", (0, 1)),
    "refused": ("matapalo_refused_total", (0,)),
    "client_aborts": ("matapalo_client_aborts_total", (0, 1)),
    "retries": ("matapalo_retries_total", (0, 1)),
    "upstream_errors": ("matapalo_upstream_errors_total", (0, 1)),
    "log_dropped": ("matapalo_access_log_dropped_total", ()),
    "events_dropped": ("matapalo_log_dropped_total", (0,)),
    "handshake_failures": ("matapalo_tls_handshake_failures_total", (0,)),
}
_VERDICTS: Final = ("identical", "tolerated", "divergent", "errored", "undecided")
_GAUGES: Final = {
    "in_flight": "matapalo_shadow_in_flight",
    "queued": "matapalo_comparisons_queued",
    "circuit_open": "matapalo_shadow_circuit_open",
    "shedding": "matapalo_shadow_shedding",
    "connections": "matapalo_connections",
    "tasks": "matapalo_worker_tasks",
}
_HISTOGRAMS: Final = {
    "request_duration": "matapalo_request_duration_seconds",
    "shadow_duration": "matapalo_shadow_duration_seconds",
}

Series = dict[str, dict[Labels, float]]


def render(scene: Scene, accept: str) -> tuple[bytes, str]:
    """Render one scrape as Prometheus text, or OpenMetrics if *accept* asks for it; return it with its content type.

    Runs: in a thread; blocks for about 10 ms per 1,000 routes and worker.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(scene))
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is no number
        encode, content_type = choose_encoder("")
    body: bytes = encode(registry)
    return body, content_type


def document() -> str:
    """Write docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Made from the table in `console/metrics.py` (`python -m console.metrics > docs/metrics.md`); a test compares.",
        "Served at `admin.listen`, `GET /metrics`, as Prometheus text or OpenMetrics. Label values come from the",
        "configuration and from closed vocabularies. A series begins with its first count: no traffic is absent, not",
        "zero. Counters survive a restart of control; a killed worker costs what it counted in its last 250 ms.",
        "",
        "| name | type | labels | what |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    bounds = ", ".join(f"{bound:g}" for bound in DURATION_BOUNDS_S)
    lines += ["", f"Bounds of both histograms in seconds: {bounds}.", ""]
    return "\n".join(lines)


class _Scrape(Collector):
    """Show one scene to prometheus_client."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def collect(self) -> Iterable[Metric]:
        """Yield every family that has a series, in the order of the table."""
        sums = sum_up(self._scene.records, self._scene.last_legacy)
        series: Series = {}
        _add_counts(series, sums)
        _add_gauges(series, sums)
        _add_expiries(series, self._scene.records)
        _add_scene(series, self._scene)
        histograms = _histograms(sums)
        for family in FAMILIES:
            if family.kind == "histogram":
                yield from _histogram(family, histograms.get(family.name, {}))
            elif family.name in series:
                yield from _samples(family, series[family.name])


def _add(series: Series, name: str, labels: Labels, value: float) -> None:
    held = series.setdefault(name, {})
    held[labels] = held.get(labels, 0) + value


def _add_counts(series: Series, sums: Sums) -> None:
    for key, count in sums.counts.items():
        family, *labels = key.split("|")
        if (known := _COUNTS.get(family)) is not None:
            name, places = known
            if len(labels) > max(places, default=-1):
                _add(series, name, tuple(labels[place] for place in places), count)
        elif family in _VERDICTS and len(labels) >= 2:
            _add(series, "matapalo_comparisons_total", (labels[0], labels[1], family), count)
            if family == "undecided" and len(labels) == 3:
                _add(series, "matapalo_undecided_total", (labels[0], labels[2]), count)


def _add_gauges(series: Series, sums: Sums) -> None:
    for key, value in sums.gauges.items():
        family, *labels = key.split("|")
        if (name := _GAUGES.get(family)) is not None:
            # A worker's circuit is open or not; how many of them are says nothing more.
            shown = min(value, 1) if family == "circuit_open" else value
            _add(series, name, tuple(labels[: len(_BY_NAME[name].labels)]), shown)


def _add_expiries(series: Series, records: Iterable[Record]) -> None:
    """Show the earliest end per listener: moments cannot be added up."""
    held: dict[Labels, float] = {}
    for record in records:
        for key, at in record.gauges.items():
            family, _, listener = key.partition("|")
            if family == "certificate_expiry" and not record.ended:
                held[(listener,)] = min(at, held.get((listener,), at))
    if held:
        series["matapalo_certificate_expiry_timestamp_seconds"] = held


def _add_scene(series: Series, scene: Scene) -> None:
    for route, at in scene.last_legacy.items():
        _add(series, "matapalo_legacy_last_request_timestamp_seconds", (route,), at)
    for route, shown in scene.routes.items():
        for stage in Stage:
            _add(series, "matapalo_route_stage", (route, stage.value), stage is shown.stage)
        for watched in STATES if shown.watchdog else ():
            _add(series, "matapalo_watchdog_state", (route, watched), watched == shown.watchdog)
        for phase in PHASES if shown.autopilot else ():
            _add(series, "matapalo_autopilot_phase", (route, phase), phase == shown.autopilot)
        if shown.due_at:
            _add(series, "matapalo_autopilot_due_timestamp_seconds", (route,), shown.due_at)
        _add(series, "matapalo_route_new_weight_ratio", (route,), shown.new_share)
        _add(series, "matapalo_route_held", (route,), shown.held)
        _add(series, "matapalo_route_drift", (route,), shown.drifts)
    for backend in scene.backends:
        _add(series, "matapalo_shadow_circuit_open", (backend,), 0)
    _add(series, "matapalo_shadow_shedding", (), 0)
    for labels, count in scene.flips.items():
        _add(series, "matapalo_flips_total", labels, count)
    for kind, count in scene.refusals.items():
        _add(series, "matapalo_admin_refused_total", (kind.replace("-", "_"),), count)
    for result, count in scene.renewals.items():
        _add(series, "matapalo_certificate_renewals_total", (result,), count)
    for (route, side), count in scene.rechecks.items():
        _add(series, "matapalo_copies_total", (route, side, "recheck"), count)
    for labels, count in scene.build_questions.items():
        _add(series, "matapalo_build_questions_total", labels, count)
    for slot, revision in scene.worker_revisions.items():
        _add(series, "matapalo_snapshot_revision", (str(slot),), revision)
    _add(series, "matapalo_findings_dropped_total", (), scene.findings_dropped)
    _add(series, "matapalo_examples_dropped_total", (), scene.examples_dropped)
    for labels, count in scene.divergences_open.items():
        _add(series, "matapalo_divergences_open", labels, count)
    _add(series, "matapalo_admin_listeners", (), scene.listeners)
    if scene.announcements_dropped:
        _add(series, "matapalo_admin_events_dropped_total", (), scene.announcements_dropped)
    if scene.events_dropped:
        _add(series, "matapalo_log_dropped_total", ("control",), scene.events_dropped)
    _add(series, "matapalo_config_last_reload_successful", (), scene.reload_ok)
    _add(series, "matapalo_config_last_reload_success_timestamp_seconds", (), scene.reload_success_at)
    _add(series, "matapalo_degraded", (), scene.degraded)
    for labels, count in scene.webhooks.items():
        _add(series, "matapalo_webhooks_total", labels, count)
    for labels, ends_at in scene.tolerances.items():
        _add(series, "matapalo_tolerance_expiry_timestamp_seconds", labels, ends_at)
    _add(series, "matapalo_build_info", (scene.version,), 1)


def _histograms(sums: Sums) -> dict[str, dict[Labels, list[int]]]:
    found: dict[str, dict[Labels, list[int]]] = {}
    for key, buckets in sums.histograms.items():
        family, *labels = key.split("|")
        name = _HISTOGRAMS.get(family)
        if name is not None and len(labels) == 2 and len(buckets) == len(DURATION_BOUNDS_S) + 2:
            found.setdefault(name, {})[labels[0], labels[1]] = buckets
    return found


_MAKE: Final[Mapping[str, Callable[..., CounterMetricFamily | GaugeMetricFamily]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
}


def _samples(family: Family, series: Mapping[Labels, float]) -> Iterator[Metric]:
    metric = _MAKE[family.kind](family.name, family.help, labels=family.labels)
    for labels in sorted(series):
        metric.add_metric(labels, series[labels])
    yield metric


def _histogram(family: Family, series: Mapping[Labels, list[int]]) -> Iterator[Metric]:
    if not series:
        return
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels in sorted(series):
        *counts, sum_us = series[labels]
        total, buckets = 0, []
        for bound, count in zip((*DURATION_BOUNDS_S, float("inf")), counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        metric.add_metric(labels, buckets, sum_value=sum_us / 1e6)
    yield metric


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - this is the command that writes the page
