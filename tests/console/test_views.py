"""Rules of what the reading calls show."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest

from console.autopilot import Autopilot
from console.call import Asked
from console.recorder import Recorder
from console.views import Views
from console.watchdog import Watchdog
from console.webhooks import Webhooks
from rules.flag import Side
from rules.pin import keys_of, pin_of
from tests.console.pair import pair
from tests.rules.made import config, route
from tests.support.controlnode import ROUTES, running

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


async def test_explain_hears_no_pin_from_before_a_rollback(tmp_path: Path) -> None:
    """What a worker would not hear any more is not explained as heard, though nobody asked in between."""
    (tmp_path / "pins").write_text("pinned")
    top = f"pins: {{secret: 'file:{tmp_path}/pins'}}"
    routes = ROUTES.replace('"/orders/{id:int}"}', '"/orders/{id:int}"}\n    pin: 30s')
    async with running(tmp_path, top=top, routes=routes) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 1})
        pin = pin_of("orders", 30 * 10**9, keys_of([f"file:{tmp_path}/pins"]))
        cookie = f"{pin.cookie.decode()}={pin.value(Side.NEW, time.time()).decode()}"
        query = f"/api/v1/explain?path=/orders/7&header=Cookie:%20{cookie}&method=GET"
        before = (await node.get(query)).json()["pinned"]
        for stage, percent in (("shadow", None), ("canary", 1)):
            await node.post("/api/v1/routes/orders/flip", {"stage": stage} | ({"percent": percent} if percent else {}))
        after = (await node.get(query)).json()["pinned"]

    assert (before, after) == (True, False)


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


async def test_a_list_of_a_thousand_routes_holds_nobody_up(tmp_path: Path) -> None:
    """While all routes are listed flips and rollbacks have their turn: none waits for more than a few milliseconds."""
    async with pair(tmp_path, config(*(route(f"r{number}") for number in range(1_000)))) as (one, _):
        webhooks = Webhooks(one.state)
        watchdog = Watchdog(one.state, one.holds, on_trip=lambda *_: None)
        autopilot = Autopilot(one.state, one.flips, one.state.gates, webhooks)
        views = Views(one.state, Recorder(one.state), watchdog, autopilot, webhooks)

        assert min([await _longest_wait(views) for _ in range(3)]) < 0.05


async def _longest_wait(views: Views) -> float:
    """List all routes; the most CPU time, in seconds, for which nobody else on the loop had a turn."""
    waits = [0.0]

    async def take_turns() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            waits.append(now - last)
            last = now

    turns = asyncio.create_task(take_turns())
    await views.routes(cast("Asked", None))  # it asks for nothing
    await asyncio.sleep(0)
    turns.cancel()
    return max(waits)
