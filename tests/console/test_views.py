"""Rules of what the reading calls show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from shadow import link
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio


def finding(*, folded: str = "", pointer: str = "", cause: str = "value.changed", **changed: Any) -> link.Finding:
    """Make one finding of one difference."""
    item = link.DifferenceItem(
        cause=cause,
        folded=folded,
        legacy_pointer=pointer,
        new_pointer=pointer,
        legacy_span=(3, 8),
        new_span=(3, 7),
        legacy="12.50",
        new="12.5",
    )
    values: dict[str, Any] = {
        "route": "orders",
        "request_id": "r1",
        "method": "GET",
        "target": "/orders/7",
        "at": time.time(),
        "verdict": "divergent",
        "same_meaning": False,
        "statuses": (200, 200),
        "causes": (cause,),
        "differences": (item,),
        "divergence": "d-0123456789",
    }
    return link.Finding(**{**values, **changed})


async def divergences(node: ControlNode, count: int) -> list[dict[str, Any]]:
    """Wait until as many groups are shown."""
    deadline = time.monotonic() + 5
    while True:
        groups: list[dict[str, Any]] = (await node.get("/api/v1/divergences")).json()["divergences"]
        if len(groups) >= count and sum(group["count"] for group in groups) >= count:
            return groups
        assert time.monotonic() < deadline, groups


async def test_findings_become_divergences_most_severe_first(tmp_path: Path) -> None:
    """Findings are grouped by route, statuses, kind and folded pointer, ranked, paged and shown with an example."""
    async with running(tmp_path) as node:
        comparer = await node.comparer()
        for number in range(3):
            comparer.send(finding(folded="/items/*/price", pointer=f"/items/{number}/price"))
        comparer.send(finding(folded="/note", same_meaning=True))
        comparer.send(finding(statuses=(200, 500), cause="http.status"))
        groups = await divergences(node, 3)
        first = (await node.get("/api/v1/divergences?limit=1")).json()
        second = (await node.get(f"/api/v1/divergences?limit=5&cursor={first['next']}")).json()
        price = next(group for group in groups if group["pointer"] == "/items/*/price")
        whole = (await node.get(f"/api/v1/divergences/{price['id']}")).json()

    assert [group["severity"] for group in groups] == ["new_5xx", "value", "cosmetic"]
    assert [group["id"] for group in [*first["divergences"], *second["divergences"]]] == [g["id"] for g in groups]
    assert second["next"] is None
    assert price["count"] == 3
    assert price["same_meaning"] == {"yes": 0, "no": 3, "unknown": 0}
    assert whole["example"]["pointer"] == "/items/2/price"
    assert whole["example"]["legacy"] == "12.50"


async def test_explain_decides_as_a_worker_does(tmp_path: Path) -> None:
    """explain names route, bucket, side and the reasons, with holds respected."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 100})
        query = "/api/v1/explain?path=/orders/7&header=X-User-Id:%2042&method=GET"
        canary = (await node.get(query)).json()
        await node.post("/api/v1/routes/orders/hold")
        held = (await node.get(query)).json()
        nowhere = (await node.get("/api/v1/explain?path=/nowhere")).json()

    assert canary["primary"] == "new"
    assert canary["key"] == "header:x-user-id"
    assert isinstance(canary["bucket"], int)
    assert held["primary"] == "legacy"
    assert held["held"] is True
    assert nowhere["route"] is None
    assert nowhere["why"]


async def test_share_has_every_hour_of_the_window(tmp_path: Path) -> None:
    """share answers one step per hour, none missing, and sums them up."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        worker.tally({"requests|orders|legacy|old|2xx": 3, "requests|orders|new|fresh|5xx": 1})
        deadline = time.monotonic() + 5
        while (shown := (await node.get("/api/v1/share?window=3h")).json())["total"]["sides"]["legacy"] != 3:
            assert time.monotonic() < deadline
        route = (await node.get("/api/v1/routes/orders")).json()

    assert len(shown["steps"]) == 3
    assert shown["total"]["new_share"] == 25.0
    assert route["share"] == {"asked": 0.0, "actual": 25.0}
    assert route["counts"]["requests"] == {"legacy": 3, "new": 1, "none": 0}


async def test_status_says_what_drifted_and_who_is_behind(tmp_path: Path) -> None:
    """status names routes whose flag is not the file's, workers with their revision, and what is degraded."""
    async with running(tmp_path, workers=2) as node:
        await node.worker(0)
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})

        status = (await node.get("/api/v1/status")).json()

    assert status["drift"] == [
        {
            "route": "orders",
            "file": {"stage": "legacy", "percent": 0.0},
            "flag": {"stage": "canary", "percent": 5.0},
        }
    ]
    assert status["workers"][0]["current"] is True
    assert any("1 of 2 workers" in reason for reason in status["degraded"])
