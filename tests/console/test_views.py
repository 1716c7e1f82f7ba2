"""Rules of what the reading calls show."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


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
        deadline = time.monotonic() + 60
        while (shown := (await node.get("/api/v1/share?window=3h")).json())["total"]["sides"]["legacy"] != 3:
            assert time.monotonic() < deadline
        route = (await node.get("/api/v1/routes/orders")).json()

    assert len(shown["steps"]) == 3
    assert shown["total"]["new_share"] == 25.0
    assert route["share"] == {"asked": 0.0, "actual": 25.0}
    assert route["counts"]["requests"] == {"legacy": 3, "new": 1, "none": 0}


async def test_status_says_what_drifted_and_who_is_behind(tmp_path: Path) -> None:
    """A flip is no drift, a hold on it is, and so is a file that nobody has read; workers come with their revision."""
    async with running(tmp_path, workers=2) as node:
        await node.worker(0)
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        before = (await node.get("/api/v1/status")).json()["drift"]
        await node.post("/api/v1/routes/orders/hold")
        node.config.write_text(node.config.read_text() + "# changed\n")

        status = (await node.get("/api/v1/status")).json()
        route = (await node.get("/api/v1/routes/orders")).json()
        metrics = (await node.get("/metrics")).text

    assert before == []
    assert [(one["route"], one["kind"], one["serves"]) for one in status["drift"]] == [
        (None, "file", None),
        ("orders", "hold", "legacy"),
    ]
    assert route["drift"] == status["drift"][1]["sentence"]
    assert "the flag says canary 5 %, a hold keeps it in legacy" in route["drift"]
    assert 'matapalo_route_drift{route="orders"} 1.0' in metrics
    assert 'matapalo_route_drift{route="cart"} 0.0' in metrics
    assert status["workers"][0]["current"] is True
    assert any("1 of 2 workers" in reason for reason in status["degraded"])
