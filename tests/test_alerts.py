"""The rules that ship for Prometheus, in Prometheus itself: each alert fires on what it is for, and on nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.metrics import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "docs" / "alerts.yaml"

DAY = 24 * 3_600
TWO = 'job="m",route="orders"'
UP = {'matapalo_build_info{job="m",instance="a"}': "1x99999"}

Series = Mapping[str, str]
"""A series to its values, one each *every*, in the words of `promtool test rules`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Say what makes an alert fire at a moment, and what does not."""

    fires: Series
    calm: tuple[Series, ...]
    at_s: int
    every: str = "1m"
    too_early_s: int | None = field(default=None)
    """A moment at which the same series do not make it fire yet."""


def state(name: str, value: str, *, instance: str = "a") -> Series:
    """Have the watchdog say one thing of a route all the time."""
    return {f'matapalo_watchdog_state{{{TWO},instance="{instance}",state="{name}"}}': value}


def told(name: str, labels: str, value: str) -> Series:
    """Have one series."""
    return {f"matapalo_{name}{{{labels}}}": value}


REFUSED = 'job="m",instance="a",reason="internal"'
RENEWED = 'job="m",instance="a",result="refused"'
HOOK = 'job="m",instance="a",event="watchdog.tripped",outcome="failed"'
A, B = 'job="m",instance="a",worker="0"', 'job="m",instance="b",worker="0"'
AGREED = 'job="m",instance="a",route="*",tolerance="t-1"'

CASES = {
    "MatapaloAbsent": Case(fires={"up": "1x999"}, calm=(UP,), at_s=600, too_early_s=240),
    "MatapaloInternalErrors": Case(
        # The first fault ever is a series that was not there before.
        fires=told("refused_total", REFUSED, "_x20 1x99"),
        calm=(told("refused_total", REFUSED, "7x99"), told("refused_total", 'job="m",reason="framing"', "0+9x99")),
        at_s=1_500,
    ),
    "MatapaloWatchdogTripped": Case(
        fires={**state("tripped", "0x9 1x99"), **state("tripped", "0x99", instance="b")},
        calm=(state("alert", "1x99"), state("tripped", "1x5 0x99")),
        at_s=660,
    ),
    "MatapaloWatchdogAlert": Case(
        fires=state("alert", "1x99"), calm=(state("alert", "0 1 0 0 1 0x99"),), at_s=240, too_early_s=60
    ),
    "MatapaloWatchdogSuspicious": Case(
        fires=state("suspicious", "1x99"), calm=(state("suspicious", "1x3 0x99"),), at_s=600, too_early_s=240
    ),
    "MatapaloWatchdogBlind": Case(
        fires={**state("blind", "1x99"), **state("blind", "1x99", instance="b")},
        # A node that sees the sum is not blind; and at a start every route is, for a minute.
        calm=({**state("blind", "1x99"), **state("blind", "0x99", instance="b")}, state("blind", "1x3 0x99")),
        at_s=3_900,
        too_early_s=3_300,
    ),
    "MatapaloHeldLong": Case(
        fires=told("route_held", TWO, "1x400"),
        calm=(told("route_held", TWO, "1x200 0 1x200"), told("route_held", TWO, "0x400")),
        at_s=25 * 3_600,
        every="4m",
        too_early_s=23 * 3_600,
    ),
    "MatapaloNodeLags": Case(
        fires={**told("snapshot_revision", A, "7x99"), **told("snapshot_revision", B, "7x9 6x99")},
        calm=(
            {**told("snapshot_revision", A, "7x9 8x99"), **told("snapshot_revision", B, "7x10 8x99")},
            # Somebody else's nodes have revisions of their own.
            {**told("snapshot_revision", A, "7x99"), 'matapalo_snapshot_revision{job="n",instance="c"}': "99x99"},
        ),
        at_s=900,
        too_early_s=660,
    ),
    "MatapaloDegraded": Case(
        fires=told("degraded", 'job="m",instance="a"', "1x99"),
        calm=(told("degraded", 'job="m",instance="a"', "1x5 0x99"),),
        at_s=900,
        too_early_s=540,
    ),
    "MatapaloReloadRefused": Case(
        fires=told("config_last_reload_successful", 'job="m",instance="a"', "0x99"),
        calm=(told("config_last_reload_successful", 'job="m",instance="a"', "1x99"),),
        at_s=600,
        too_early_s=240,
    ),
    "MatapaloShadowCircuitOpen": Case(
        fires=told("shadow_circuit_open", 'job="m",backend="shop"', "1x99"),
        calm=(told("shadow_circuit_open", 'job="m",backend="shop"', "1 1 0 1 1 0 1 1 0 1 0x99"),),
        at_s=600,
        too_early_s=240,
    ),
    "MatapaloCopiesSkipped": Case(
        fires={
            **told("shadow_skipped_total", f'{TWO},reason="rate"', "0+4x99"),
            **told("shadow_skipped_total", f'{TWO},reason="shed"', "0+3x99"),
            **told("shadow_eligible_total", TWO, "0+100x99"),
        },
        calm=(
            {
                **told("shadow_skipped_total", f'{TWO},reason="rate"', "0+4x99"),
                **told("shadow_eligible_total", TWO, "0+100x99"),
            },
        ),
        at_s=1_800,
        too_early_s=300,
    ),
    "MatapaloToleranceExpired": Case(
        fires=told("tolerance_expiry_timestamp_seconds", AGREED, "600x99"),
        calm=(told("tolerance_expiry_timestamp_seconds", AGREED, "6000x99"),),
        at_s=660,
        too_early_s=540,
    ),
    "MatapaloToleranceEnds": Case(
        fires=told("tolerance_expiry_timestamp_seconds", AGREED, f"{7 * DAY}x99"),
        calm=(
            told("tolerance_expiry_timestamp_seconds", AGREED, f"{9 * DAY}x99"),
            told("tolerance_expiry_timestamp_seconds", AGREED, "500x99"),  # that is over already
        ),
        at_s=600,
    ),
    "MatapaloAutopilotWaits": Case(
        fires=told("autopilot_due_timestamp_seconds", TWO, "3600x99"),
        calm=(told("autopilot_due_timestamp_seconds", TWO, "3600x14 36000x99"), told("route_held", TWO, "0x99")),
        at_s=7 * 3_600 + 1_800,
        every="30m",
        too_early_s=6 * 3_600,
    ),
    "MatapaloAutopilotPaused": Case(
        fires=told("autopilot_phase", f'{TWO},phase="paused"', "1x99"),
        calm=(told("autopilot_phase", f'{TWO},phase="waiting"', "1x99"),),
        at_s=3_900,
        too_early_s=3_300,
    ),
    "MatapaloWebhookFails": Case(
        fires=told("webhooks_total", HOOK, "_x30 1x99"),
        calm=(
            told("webhooks_total", HOOK, "1x99"),
            told("webhooks_total", HOOK.replace("failed", "delivered"), "0+1x99"),
        ),
        at_s=2_100,
    ),
    "MatapaloCertificateEnds": Case(
        fires=told("certificate_expiry_timestamp_seconds", 'job="m",listener="l"', f"{14 * DAY}x99"),
        calm=(told("certificate_expiry_timestamp_seconds", 'job="m",listener="l"', f"{15 * DAY}x99"),),
        at_s=600,
    ),
    "MatapaloCertificateRefused": Case(
        fires=told("certificate_renewals_total", RENEWED, "_x70 1x99"),
        calm=(told("certificate_renewals_total", RENEWED, "1x200"),),
        at_s=4_500,
    ),
    "MatapaloDiverges": Case(
        fires=told("comparisons_total", f'{TWO},verdict="divergent"', "0+1x99"),
        calm=(
            told("comparisons_total", f'{TWO},verdict="divergent"', "9x99"),
            told("comparisons_total", f'{TWO},verdict="identical"', "0+1x99"),
        ),
        at_s=1_800,
        too_early_s=300,
    ),
    "MatapaloLegacyQuiet": Case(
        fires={
            **told("legacy_last_request_timestamp_seconds", f'{TWO},instance="a"', "60x200"),
            **told("legacy_last_request_timestamp_seconds", f'{TWO},instance="b"', "90x200"),
            **told("route_stage", f'{TWO},instance="a",stage="complete"', "0x200"),
        },
        calm=(
            {  # another node had a request since
                **told("legacy_last_request_timestamp_seconds", f'{TWO},instance="a"', "60x200"),
                **told("legacy_last_request_timestamp_seconds", f'{TWO},instance="b"', f"60x80 {5 * DAY}x200"),
            },
            {  # it is done
                **told("legacy_last_request_timestamp_seconds", f'{TWO},instance="a"', "60x200"),
                **told("route_stage", f'{TWO},instance="a",stage="complete"', "1x200"),
            },
        ),
        at_s=7 * DAY + 7_200,
        every="2h",
        too_early_s=6 * DAY,
    ),
}


def rules() -> list[dict[str, Any]]:  # Any: YAML
    """Read every rule that ships."""
    found = yaml.safe_load(RULES.read_text())
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_every_alert_has_its_case_and_its_line_for_operators() -> None:
    """No alert ships that nobody has seen fire, or that docs/operations.md does not name."""
    names = [rule["alert"] for rule in rules() if "alert" in rule]

    assert names == list(CASES)
    page = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_series_of_a_rule_is_one_of_ours() -> None:
    """Rules ask for metrics and labels that /metrics has."""
    known = {family.name: {*family.labels, "job", "instance"} for family in FAMILIES}
    for rule in rules():
        for name, labels in re.findall(r"\b(matapalo_[a-z_]+)(?:\{([^}]*)\})?", re.sub(r"job:\S+", "", rule["expr"])):
            assert name in known, f"{rule}: {name}"
            assert set(re.findall(r"(\w+)=~?\"", labels)) <= known[name], f"{rule}: {labels}"


def _count(name: str, wanted: int, at_s: int) -> dict[str, Any]:  # Any: YAML
    asked = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    return {"expr": asked, "eval_time": f"{at_s}s", "exp_samples": [{"labels": "{}", "value": wanted}]}


def _scene(name: str, series: Series, every: str, wanted: list[tuple[int, int]]) -> dict[str, Any]:  # Any: YAML
    extra = {} if name == "MatapaloAbsent" else UP
    return {
        "interval": every,
        "input_series": [{"series": one, "values": values} for one, values in {**series, **extra}.items()],
        "promql_expr_test": [_count(name, count, at_s) for at_s, count in wanted],
    }


@pytest.mark.needs("promtool")
def test_prometheus_fires_each_alert_on_what_it_is_for(part_path: Callable[[str], Path], tmp_path: Path) -> None:
    """Each rule loads; each alert fires once on its case, not before its time, and not on what only looks like it."""
    scenes = []
    for name, case in CASES.items():
        early = [] if case.too_early_s is None else [(case.too_early_s, 0)]
        scenes.append(_scene(name, case.fires, case.every, [*early, (case.at_s, 1)]))
        scenes += [_scene(name, calm, case.every, [(case.at_s, 0)]) for calm in case.calm]
    share = {
        "interval": "1m",
        "input_series": [
            {"series": 'matapalo_requests_total{job="m",instance="a",side="legacy"}', "values": "0+3x60"},
            {"series": 'matapalo_requests_total{job="m",instance="b",side="new"}', "values": "0+9x60"},
            {"series": 'matapalo_requests_total{job="done",instance="c",side="new"}', "values": "0+9x60"},
        ],
        "promql_expr_test": [
            {
                "expr": "job:matapalo_legacy_share:ratio_rate5m",
                "eval_time": "30m",
                "exp_samples": [
                    {"labels": f'job:matapalo_legacy_share:ratio_rate5m{{job="{job}"}}', "value": value}
                    for job, value in (("done", 0), ("m", 0.25))
                ],
            }
        ],
    }
    found = [_promtool(part_path, "check", "rules", str(RULES))]
    for every in dict.fromkeys(scene["interval"] for scene in (share, *scenes)):
        asked = tmp_path / f"{every}.yaml"
        # Rules are looked at as often as there is something new: a week by the minute takes promtool a minute.
        tests = [scene for scene in (share, *scenes) if scene["interval"] == every]
        # JSON is YAML.
        asked.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": every, "tests": tests}))
        found.append(_promtool(part_path, "test", "rules", str(asked)))

    for done in found:
        assert done.returncode == 0, done.stdout + done.stderr


def _promtool(part_path: Callable[[str], Path], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([part_path("promtool"), *words], capture_output=True, text=True, timeout=300)
