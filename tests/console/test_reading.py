"""Rules of the calls about differences."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from shadow import link
from tests.console.made import finding, item
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio


async def divergences(node: ControlNode, count: int, query: str = "") -> list[dict[str, Any]]:  # Any: JSON
    """Wait until so many pairs are counted."""
    deadline = time.monotonic() + 60
    while True:
        groups: list[dict[str, Any]] = (await node.get(f"/api/v1/divergences?{query}")).json()["divergences"]
        if sum(group["count"] for group in groups) >= count:
            return groups
        assert time.monotonic() < deadline, groups


async def test_findings_become_divergences_most_severe_first(tmp_path: Path) -> None:
    """Findings are grouped by their divergence, ranked, paged, narrowed and shown with their examples."""
    separator = item("whitespace.separator", "")
    async with running(tmp_path) as node:
        comparer = await node.comparer()
        for number in range(3):
            comparer.send(finding(item(), separator, request_id=f"r{number}", legacy_bytes=100 - number))
        comparer.send(finding(separator, same_meaning=True))
        comparer.send(finding(item("http.status", ""), statuses=(200, 500)))
        price = finding(item(), separator).divergence
        comparer.send(link.Seen(route="orders", counts={price: 40}, at=time.time()))
        groups = await divergences(node, 45)
        first = (await node.get("/api/v1/divergences?limit=1")).json()
        second = (await node.get(f"/api/v1/divergences?limit=5&cursor={first['next']}")).json()
        narrowed = await divergences(node, 43, "cause=value.changed&path=/items/3/price&state=open&request=r2")
        whole = (await node.get(f"/api/v1/divergences/{price}")).json()
        one = (await node.get(f"/api/v1/comparisons/{whole['examples'][-1]['id']}")).json()

    assert [group["severity"] for group in groups] == ["new_5xx", "value", "cosmetic"]
    assert [group["id"] for group in [*first["divergences"], *second["divergences"]]] == [g["id"] for g in groups]
    assert second["next"] is None
    assert [group["id"] for group in narrowed] == [price]
    assert (whole["count"], whole["same_meaning"], whole["state"]) == (43, False, "open")
    assert [kept["roles"] for kept in whole["examples"]] == [["newest", "smallest"], ["first"]]
    assert whole["example"]["request_id"] == "r2"
    assert [shown["cause"] for shown in whole["example"]["differences"]] == ["value.changed", "whitespace.separator"]
    assert (one["request_id"], one["divergence"]) == ("r0", price)


async def test_a_divergence_is_accepted_and_opened_again_with_an_audit_entry(tmp_path: Path) -> None:
    """Triage changes state, note and ticket, stands last in the list when accepted, and each time in the audit."""
    async with running(tmp_path) as node:
        comparer = await node.comparer()
        comparer.send(finding())
        comparer.send(finding(item("key_order", "")))
        worst = (await divergences(node, 2))[0]["id"]
        path = f"/api/v1/divergences/{worst}"
        done = (await node.patch(path, {"state": "accepted", "note": "a clock", "ticket": "T-7"})).json()
        listed = await divergences(node, 2)
        metrics = (await node.get("/metrics")).text
        again = (await node.patch(path, {"state": "open"})).json()
        entries = (await node.get("/api/v1/audit?route=orders")).json()["entries"]
        refused = [
            (await node.patch(path, {"state": "fixed"})).status_code,
            (await node.patch(path, {})).status_code,
            (await node.patch("/api/v1/divergences/d-none", {"note": "x"})).status_code,
        ]

    assert (done["state"], done["note"], done["ticket"], done["decided"]["by"]) == (
        "accepted",
        "a clock",
        "T-7",
        "local",
    )
    assert [group["id"] for group in listed][-1] == worst
    assert 'matapalo_divergences_open{route="orders",severity="cosmetic"} 1.0' in metrics
    assert 'severity="value"' not in metrics
    assert (again["state"], again["note"]) == ("open", "a clock")
    assert [(entry["kind"], entry["after"][worst]["state"]) for entry in entries[:2]] == [
        ("triage", "open"),
        ("triage", "accepted"),
    ]
    assert refused == [422, 422, 404]


async def test_evidence_is_kept_per_build_of_new(tmp_path: Path) -> None:
    """A build that new names itself, or that was said to be deployed, decides what is fixed and what came back."""
    async with running(tmp_path) as node:
        worker, comparer = await node.worker(), await node.comparer()
        comparer.send(finding(builds=("", "v1")))
        name = finding().divergence
        await divergences(node, 1)
        worker.tally({"identical|orders|legacy": 9, "unequal|orders|legacy": 1})
        await divergences(node, 1)
        deadline = time.monotonic() + 60
        while (counted := (await node.get(f"/api/v1/divergences/{name}")).json())["compared"] < 10:
            assert time.monotonic() < deadline, counted
        said = await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v2"})
        worker.tally({"identical|orders|legacy": 209, "unequal|orders|legacy": 1})
        deadline = time.monotonic() + 60
        while (fixed := (await node.get(f"/api/v1/divergences/{name}")).json())["state"] != "fixed":
            assert time.monotonic() < deadline, fixed
        comparer.send(finding())
        while (back := (await node.get(f"/api/v1/divergences/{name}")).json())["state"] != "regressed":
            assert time.monotonic() < deadline, back

    assert said.status_code == 200
    assert "gone since build v2" in fixed["state_sentence"]
    assert [(build["build"], build["state"]) for build in fixed["builds"]] == [("v1", "open"), ("v2", "fixed")]
    assert "is back on v2" in back["state_sentence"]
    assert back["example"]["new"]["build"] == "v2"


async def test_an_unknown_comparison_is_a_problem_with_the_next_step(tmp_path: Path) -> None:
    """A comparison that is not kept is refused with a sentence that names where to look."""
    async with running(tmp_path) as node:
        answer = await node.get("/api/v1/comparisons/c-0000000000")

    assert answer.status_code == 404
    assert "matapalo diff d-" in answer.json()["detail"]
