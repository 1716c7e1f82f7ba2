"""The plan of ``check --against`` knows what the admin API shows, and says nothing about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.loader import load
from console.commands.plan import Plan, plan_against
from tests.console.commands.conftest import FLAG, StandIn
from tests.console.commands.test_check import VALID, write
from tests.console.commands.test_status import ROUTE, STATUS


def test_the_same_routes_are_no_change(admin: StandIn, tmp_path: Path) -> None:
    """A server that shows the very routes of the file has an empty plan, whatever their flags are."""
    write(tmp_path, VALID)
    shown = {**ROUTE, "legacy": "old", "new": "fresh", "sticky": ["ip"], "flag": {**FLAG, "stage": "live"}}
    admin.answers |= {
        "GET /api/v1/status": (200, STATUS),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [shown]}),
    }

    assert plan_against(load(tmp_path / "matapalo.yaml"), url=admin.url, token=None) == Plan(is_whole=False)


def test_what_a_header_must_be_is_taken_as_unchanged(admin: StandIn, tmp_path: Path) -> None:
    """The admin API shows which headers a match asks for, not their values: only another name is a change."""
    asked = "[{path: /o, headers: {x: a}}, {path: /o, headers: {x: b}}]"
    write(tmp_path, VALID.replace('{path: "/api/orders/{id}", methods: [GET]}', asked))
    match: dict[str, Any] = {**ROUTE["match"][0], "path": "/o", "methods": [], "headers": {"x": "…"}}
    shown = {**ROUTE, "legacy": "old", "new": "fresh", "sticky": ["ip"], "match": [match, match]}
    admin.answers |= {
        "GET /api/v1/status": (200, STATUS),
        "GET /api/v1/routes": (200, {"revision": 13, "routes": [shown]}),
    }

    alike = plan_against(load(tmp_path / "matapalo.yaml"), url=admin.url, token=None)
    shown["match"] = [match, {**match, "headers": {"y": "…"}}]
    other = plan_against(load(tmp_path / "matapalo.yaml"), url=admin.url, token=None)

    assert alike == Plan(is_whole=False)
    assert "headers: [y: …]" in other.lines[0]


def test_the_same_digest_asks_no_further(admin: StandIn, tmp_path: Path) -> None:
    """Equal files are known by their digest."""
    write(tmp_path, VALID)
    spec = load(tmp_path / "matapalo.yaml")
    admin.answers["*"] = (200, {**STATUS, "config": {"digest": spec.digest}})

    assert plan_against(spec, url=admin.url, token=None) == Plan()
    assert len(admin.asked) == 1
