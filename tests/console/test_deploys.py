"""Rules of deploys, over the admin API of a real control process, and which build a comparison belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import load_text
from console.deploys import builds_of, version_at
from store.flags import Deploy
from tests.support.controlnode import running

CONFIG = load_text(
    """
backends: {old: {url: "http://old"}, new: {url: "http://new"}}
defaults: {legacy: old, new: new}
routes: [{name: orders, match: {path: /orders}}, {name: fresh, match: {path: /fresh}, legacy: none}]
""",
    environ={},
)


def ran(version: str, at: float, backend: str = "new") -> Deploy:
    """Say that a version was deployed at a moment."""
    return Deploy(backend=backend, version=version, at=at, actor="ci")


@pytest.mark.anyio
async def test_a_deploy_is_audited_shown_and_survives_a_restart(tmp_path: Path) -> None:
    """What was deployed stands in the audit and in status, also after a restart; nonsense changes nothing."""
    async with running(tmp_path) as node:
        first = (await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v1", "reason": "first"})).json()
        await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v2"})
        again = (await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v2"})).json()
        entries = (await node.get("/api/v1/audit")).json()["entries"]
        undone = await node.post("/api/v1/undo", {"audit_id": first["audit_id"]})
        unknown = await node.post("/api/v1/deploys", {"backend": "frehs", "version": "v3"})
        empty = await node.post("/api/v1/deploys", {"backend": "fresh", "version": ""})
        endless = await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v" * 129})
    async with running(tmp_path) as node:
        status = (await node.get("/api/v1/status")).json()

    assert (first["changed"], again["changed"], again["audit_id"]) == (True, False, None)
    assert first["deployed"]["version"] == "v1"
    assert [(entry["kind"], entry["before"], entry["after"]) for entry in entries[:2]] == [
        ("deployed", {"fresh": "v1"}, {"fresh": "v2"}),
        ("deployed", {"fresh": None}, {"fresh": "v1"}),
    ]
    assert entries[1]["reason"] == "first"
    assert undone.status_code == 409
    assert (unknown.status_code, unknown.json()["did_you_mean"]) == (404, "fresh")
    assert (empty.status_code, endless.status_code) == (422, 422)
    assert status["deploys"]["fresh"]["version"] == "v2"


def test_a_comparison_belongs_to_the_version_that_ran_at_its_moment() -> None:
    """A comparison that comes late belongs to the version before; what an answer says of itself wins."""
    deploys = {"new": (ran("v2", 200.0), ran("v1", 100.0)), "old": (ran("k1", 50.0, "old"),)}

    assert builds_of(CONFIG, deploys, "orders", ("", ""), 250.0) == ("k1", "v2")
    assert builds_of(CONFIG, deploys, "orders", ("", ""), 150.0) == ("k1", "v1")
    assert builds_of(CONFIG, deploys, "orders", ("k9", "v9"), 150.0) == ("k9", "v9")
    assert builds_of(CONFIG, deploys, "fresh", ("", ""), 150.0) == ("", "v1")
    assert builds_of(CONFIG, deploys, "gone", ("", ""), 150.0) == ("", "")
    assert version_at(deploys["new"], 99.0) == ""
