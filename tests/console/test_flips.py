"""Rules of flips, switches and undo, over the admin API of a real control process."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.support.controlnode import ROUTES, running

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 5}


@pytest.mark.alone
async def test_a_flip_reaches_every_worker_within_100_ms(tmp_path: Path) -> None:
    """From the call to the last worker's hands a flip takes less than 100 ms."""
    took = []
    async with running(tmp_path, workers=4) as node:
        workers = [await node.worker(slot) for slot in range(4)]

        for percent in range(1, 22):
            began = time.monotonic()
            answer = await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": percent})
            assert answer.json()["workers"]["acked"] == [0, 1, 2, 3]
            took.append(max(worker.pushes[-1][2] for worker in workers) - began)

    assert statistics.median(took) < 0.1


async def test_a_journey_flips_together_or_not_at_all(tmp_path: Path) -> None:
    """A single route of a journey is refused with the way out; the journey flips all its routes in one revision."""
    async with running(tmp_path) as node:
        single = await node.post("/api/v1/routes/cart/flip", CANARY)
        journey = await node.post("/api/v1/journeys/checkout/flip", CANARY)
        unknown = await node.post("/api/v1/journeys/chekout/flip", CANARY)

    assert single.status_code == 409
    assert single.json()["journey"] == "checkout"
    assert "flip --journey checkout" in single.json()["detail"]
    assert [shown["route"] for shown in journey.json()["routes"]] == ["cart", "pay"]
    assert unknown.status_code == 404
    assert unknown.json()["did_you_mean"] == "checkout"


async def test_copying_is_switched_for_one_route_or_all(tmp_path: Path) -> None:
    """shadow off takes copying from one route or all; on for all clears every switch."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        one = await node.post("/api/v1/shadow", {"on": False, "route": "orders"})
        everything = await node.post("/api/v1/shadow", {"on": False})
        back = await node.post("/api/v1/shadow", {"on": True, "route": "cart"})
        cart = (await node.get("/api/v1/routes/cart")).json()["copying"]
        undone = await node.post("/api/v1/undo", {"audit_id": back.json()["audit_id"]})
        cleared = await node.post("/api/v1/shadow", {"on": True})

    assert one.json()["copying"] == {"on": True, "off": ["orders"]}
    assert everything.json()["copying"] == {"on": False, "off": ["orders"]}
    assert back.json()["copying"] == {"on": True, "off": ["beta", "orders", "pay"]}
    assert cart is True
    assert undone.json()["copying"] == {"on": False, "off": ["orders"]}
    assert cleared.json()["copying"] == {"on": True, "off": []}
    assert worker.spec.copying_off == ()


async def test_undo_restores_the_flag_that_an_entry_found(tmp_path: Path) -> None:
    """undo puts the flag back; it is refused once the flag has moved on, unless forced, and for other entries."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        flip = (await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 20})).json()

        undo = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"]})
        again = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"]})
        forced = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"], "force": True})
        start = await node.post("/api/v1/undo", {"audit_id": "a-1"})
        missing = await node.post("/api/v1/undo", {"audit_id": "a-999"})

    assert undo.json()["routes"][0]["after"]["percent"] == 5.0
    assert undo.json()["undid"] == flip["audit_id"]
    assert again.status_code == 409
    assert forced.status_code == 200
    assert forced.json()["changed"] is False
    assert start.status_code == 409
    assert missing.status_code == 404


async def test_with_flags_in_the_file_flips_are_refused_and_rollbacks_hold(tmp_path: Path) -> None:
    """With flags: file a flip names the file to change; a rollback holds and leaves the flag to the file."""
    async with running(tmp_path, top="flags: file", routes=ROUTES.replace("initial_", "")) as node:
        flip = await node.post("/api/v1/routes/orders/flip", CANARY)
        back = await node.post("/api/v1/routes/orders/rollback")

    assert flip.status_code == 409
    assert flip.json()["type"].endswith(":flags-in-file")
    assert back.status_code == 200
    assert back.json()["held"] == ["orders"]
    assert back.json()["flags_written"] is False
