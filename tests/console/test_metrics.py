"""Rules of the metrics: the names that dashboards rely on, valid in both formats."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from console.epochs import Record
from console.metrics import FAMILIES, RouteScene, Scene, document, render
from rules.flag import Stage
from shadow.link import DURATION_BOUNDS_S

ROOT = Path(__file__).resolve().parents[2]

CONTRACT = {
    "matapalo_requests_total": {"route", "side", "backend", "code_class"},
    "matapalo_copies_total": {"route", "side", "purpose"},
    "matapalo_build_questions_total": {"route", "outcome"},
    "matapalo_request_duration_seconds": {"route", "side"},
    "matapalo_legacy_last_request_timestamp_seconds": {"route"},
    "matapalo_shadow_eligible_total": {"route"},
    "matapalo_shadow_skipped_total": {"route", "reason"},
    "matapalo_shadow_sent_total": {"route"},
    "matapalo_shadow_in_flight": {"route"},
    "matapalo_shadow_circuit_open": {"backend"},
    "matapalo_shadow_shedding": set(),
    "matapalo_comparisons_total": {"route", "primary", "verdict"},
    "matapalo_divergences_total": {"route", "cause"},
    "matapalo_divergences_open": {"route", "severity"},
    "matapalo_tolerance_hits_total": {"route", "tolerance"},
    "matapalo_undecided_total": {"route", "reason"},
    "matapalo_shadow_duration_seconds": {"route", "side"},
    "matapalo_route_stage": {"route", "stage"},
    "matapalo_route_new_weight_ratio": {"route"},
    "matapalo_route_held": {"route"},
    "matapalo_flips_total": {"route", "kind"},
    "matapalo_fallbacks_total": {"route", "reason"},
    "matapalo_refused_total": {"reason"},
    "matapalo_client_aborts_total": {"route", "side"},
    "matapalo_retries_total": {"backend", "outcome"},
    "matapalo_upstream_errors_total": {"backend", "phase"},
    "matapalo_config_last_reload_successful": set(),
    "matapalo_config_last_reload_success_timestamp_seconds": set(),
    "matapalo_snapshot_revision": {"worker"},
    "matapalo_repeats_total": {"route", "purpose", "outcome"},
}
"""What dashboards and alerts rely on, by hand."""

COUNTS = {
    "requests|orders|new|shop|2xx": 48,
    "requests|-|undeclared|django|4xx": 2,
    "copies|orders|new|compare": 9,
    "repeats|orders|noise|identical": 2,
    "eligible|orders": 12,
    "unsampled|orders": 1,
    "skipped|orders|rate": 1,
    "handshake_failures|timeout": 4,
    "sent|orders": 10,
    "identical|orders|legacy": 5,
    "unequal|orders|legacy": 3,
    "errored|orders|legacy|shadow": 1,
    "errored|orders|legacy|both": 1,
    "tolerated|orders|legacy": 1,
    "divergent|orders|legacy": 1,
    "undecided|orders|legacy|lost": 1,
    "divergences|orders|unexplained": 1,
    "tolerance_hits|orders|t-765eb8cdf3": 1,
    "fallbacks|orders|connect": 1,
    "broken|orders|new": 1,
    "refused|framing": 1,
    "client_aborts|orders|new": 3,
    "retries|shop|sent": 3,
    "upstream_errors|shop|connect": 2,
    "log_dropped": 4,
    "events_dropped|worker": 5,
}
HISTOGRAM = [1, *([0] * (len(DURATION_BOUNDS_S) - 1)), 2, 65_000_000]


def scene(**changed: object) -> Scene:
    """Make a picture in which every family has a series."""
    values: dict[str, object] = {
        "version": "0.1.0",
        "records": [
            Record(
                epoch="e1",
                slot=0,
                counts=COUNTS,
                gauges={
                    "in_flight|orders|legacy": 2,
                    "queued|orders|legacy": 1,
                    "connections": 7,
                    "tasks": 6,
                    "certificate_expiry|0.0.0.0:8443": 1_900_000_000,
                    "circuit_open|shop": 1,
                },
                histograms={"request_duration|orders|new": HISTOGRAM, "shadow_duration|orders|legacy": HISTOGRAM},
            )
        ],
        "last_legacy": {"orders": 1_700_000_000.5},
        "routes": {
            "orders": RouteScene(
                stage=Stage.CANARY,
                new_share=0.05,
                held=False,
                watchdog="blind",
                autopilot="baking",
                due_at=1_700_000_100.0,
            )
        },
        "backends": ("django", "shop"),
        "flips": {("orders", "manual"): 3},
        "renewals": {"taken": 1},
        "refusals": {"bad-token": 2},
        "rechecks": {("orders", "legacy"): 2},
        "build_questions": {("orders", "named"): 1},
        "worker_revisions": {0: 13},
        "reload_ok": True,
        "reload_success_at": 1_700_000_000.0,
        "divergences_open": {("orders", "value"): 2},
        "findings_dropped": 0,
        "examples_dropped": 0,
        "listeners": 1,
        "announcements_dropped": 1,
        "events_dropped": 2,
        "degraded": 0,
        "webhooks": {("watchdog.tripped", "delivered"): 1},
        "tolerances": {("*", "t-765eb8cdf3"): 1_800_000_000.0},
    }
    return Scene(**{**values, **changed})  # type: ignore[arg-type]  # a bundle of keywords


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read a scrape back."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_every_family_of_the_contract_is_there_with_its_labels() -> None:
    """Names and labels are those that dashboards rely on, and each of them appears in a scrape."""
    declared = {family.name: set(family.labels) for family in FAMILIES}
    shown = {name for name, _ in samples(render(scene(), "")[0].decode())}

    for name, labels in CONTRACT.items():
        assert declared[name] == labels
        assert name in shown or f"{name}_bucket" in shown
    assert set(declared) <= shown | {re.sub("_bucket$", "", name) for name in shown}


def test_values_are_those_of_the_workers() -> None:
    """Counters, verdicts, gauges and histograms show exactly what the tallies say."""
    shown = samples(render(scene(), "")[0].decode())

    def value(name: str, **labels: str) -> float:
        return shown[f"matapalo_{name}", frozenset(labels.items())]

    assert value("requests_total", route="orders", side="new", backend="shop", code_class="2xx") == 48
    assert value("comparisons_total", route="orders", primary="legacy", verdict="errored") == 2
    assert value("comparisons_total", route="orders", primary="legacy", verdict="undecided") == 1
    assert value("undecided_total", route="orders", reason="lost") == 1
    assert value("shadow_in_flight", route="orders") == 2
    assert value("comparisons_queued", route="orders") == 1
    assert value("route_stage", route="orders", stage="canary") == 1
    assert value("route_stage", route="orders", stage="live") == 0
    assert value("route_new_weight_ratio", route="orders") == 0.05
    assert value("watchdog_state", route="orders", state="blind") == 1
    assert value("watchdog_state", route="orders", state="tripped") == 0
    assert value("autopilot_phase", route="orders", phase="baking") == 1
    assert value("autopilot_phase", route="orders", phase="paused") == 0
    assert value("autopilot_due_timestamp_seconds", route="orders") == 1_700_000_100.0
    assert value("tolerance_expiry_timestamp_seconds", route="*", tolerance="t-765eb8cdf3") == 1_800_000_000.0
    assert value("request_duration_seconds_count", route="orders", side="new") == 3
    assert value("request_duration_seconds_sum", route="orders", side="new") == 65.0
    assert value("request_duration_seconds_bucket", route="orders", side="new", le="30.0") == 1
    assert value("legacy_last_request_timestamp_seconds", route="orders") == 1_700_000_000.5


def test_no_traffic_is_absent_not_zero() -> None:
    """A node that has counted nothing shows no counters of routes, so a ratio over them is absent too."""
    text = render(scene(records=[], last_legacy={}, flips={}), "")[0].decode()

    assert "matapalo_requests_total" not in text
    assert "matapalo_legacy_last_request_timestamp_seconds" not in text
    assert 'matapalo_route_stage{route="orders",stage="canary"} 1.0' in text


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=1.0.0", "application/openmetrics-text"])
def test_openmetrics_is_answered_to_who_asks_for_it(accept: str) -> None:
    """With an Accept of OpenMetrics the scrape is valid OpenMetrics with its content type."""
    body, content_type = render(scene(), accept)

    families = list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call]  # not annotated there

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert {f"{family.name}_total" for family in families} >= {"matapalo_requests_total"}


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "application/openmetrics-text; version=x", "\x00"])
def test_any_other_accept_gets_text(accept: str) -> None:
    """Whatever else stands in Accept, the answer is Prometheus text."""
    assert render(scene(), accept)[1].startswith("text/plain")


@pytest.mark.needs("promtool")
def test_promtool_accepts_a_scrape(part_path: Callable[[str], Path]) -> None:
    """Prometheus' own linter finds nothing to complain about."""
    body, _ = render(scene(), "")

    found = subprocess.run([part_path("promtool"), "check", "metrics"], input=body, capture_output=True, timeout=30)

    assert (found.returncode, found.stdout + found.stderr) == (0, b"")


def test_the_page_of_metrics_is_the_table() -> None:
    """docs/metrics.md is what the table says; `python -m console.metrics > docs/metrics.md` writes it."""
    assert (ROOT / "docs" / "metrics.md").read_text() == document()


def test_an_open_circuit_is_open_whatever_the_number_of_workers() -> None:
    """The circuit of a backend shows 1 while any worker's is open and 0 otherwise; shedding counts workers."""
    gauges = {"circuit_open|shop": 1, "shedding": 1}
    records = [Record(epoch=epoch, slot=slot, gauges=gauges) for slot, epoch in enumerate("ab")]

    shown = samples(render(scene(records=records), "")[0].decode())

    assert shown["matapalo_shadow_circuit_open", frozenset({("backend", "shop")})] == 1
    assert shown["matapalo_shadow_circuit_open", frozenset({("backend", "django")})] == 0
    assert shown["matapalo_shadow_shedding", frozenset()] == 2


def test_the_end_of_a_certificate_is_the_earliest() -> None:
    """Several workers with one listener show the first end among them, never a sum; who is gone does not count."""
    ends = {"a": (2_000_000_000, False), "b": (1_950_000_000, False), "c": (1_000_000_000, True)}
    records = [
        Record(epoch=name, slot=0, gauges={"certificate_expiry|[::1]:443": at}, ended=ended)
        for name, (at, ended) in ends.items()
    ]

    shown = samples(render(scene(records=records), "")[0].decode())

    assert (
        shown["matapalo_certificate_expiry_timestamp_seconds", frozenset({("listener", "[::1]:443")})] == 1_950_000_000
    )
