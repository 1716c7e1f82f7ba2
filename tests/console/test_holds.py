"""Rules of rollback, hold and release, over the admin API of a real control process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rules.flag import Stage
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 5}


async def test_a_rollback_holds_first_and_then_writes_the_flag(tmp_path: Path) -> None:
    """A rollback answers 200 with the hold acknowledged and the flag on legacy; release leaves the flag there."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})

        back = await node.post("/api/v1/routes/orders/rollback", {"reason": "errors"})
        held = (await node.get("/api/v1/routes/orders")).json()
        flip = await node.post("/api/v1/routes/orders/flip", CANARY)
        free = await node.post("/api/v1/routes/orders/release")
        after = (await node.get("/api/v1/routes/orders")).json()

    assert back.status_code == 200
    assert back.json()["holds"] == {"acked": [0], "missing": []}
    assert back.json()["routes"][0]["after"]["stage"] == "legacy"
    assert held["hold"]["reason"] == "errors"
    assert held["flag"]["stage"] == "legacy"
    assert flip.json()["held"] == ["orders"]
    assert any("held on legacy" in note for note in flip.json()["notes"])
    assert free.status_code == 200
    assert after["hold"] is None
    assert after["flag"]["stage"] == "canary"
    assert worker.spec.flags["orders"].stage is Stage.CANARY


async def test_a_rollback_to_shadow_keeps_the_copies_coming(tmp_path: Path) -> None:
    """to: shadow holds with copying and leaves the flag in shadow; a route in legacy does not begin to copy."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})

        answer = await node.post("/api/v1/rollback", {"all": True, "to": "shadow"})
        stages = {
            route["name"]: route["flag"]["stage"] for route in (await node.get("/api/v1/routes")).json()["routes"]
        }

    assert answer.status_code == 200
    assert stages == {"orders": "shadow", "cart": "legacy", "pay": "legacy", "beta": "live"}
    assert node.holds["orders"].keep_copying
    assert "beta" not in node.holds
    assert any("beta" in note for note in answer.json()["notes"])


async def test_a_rollback_where_legacy_is_off_is_refused_unless_anyway(tmp_path: Path) -> None:
    """From complete, an unreachable legacy refuses the rollback before anything is held; anyway overrides."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "complete", "force": True, "reason": "signed off"})

        refused = await node.post("/api/v1/routes/orders/rollback")
        held = dict(node.holds)
        anyway = await node.post("/api/v1/routes/orders/rollback", {"anyway": True})

    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":legacy-unreachable")
    assert held == {}
    assert anyway.status_code == 200


async def test_a_rollback_from_complete_goes_through_when_legacy_accepts(tmp_path: Path) -> None:
    """A legacy that accepts a connection is reason enough to roll back from complete."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(tmp_path, old_port=port) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "complete", "force": True, "reason": "signed off"})

        answer = await node.post("/api/v1/routes/orders/rollback")

    assert answer.status_code == 200
    assert answer.json()["routes"][0]["after"]["stage"] == "legacy"


async def test_a_rollback_without_a_supervisor_says_what_to_use_instead(tmp_path: Path) -> None:
    """When the supervisor does not answer, the rollback answers 503, changes no flag and names rollback --local."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        node.supervisor_answers = False

        answer = await node.post("/api/v1/routes/orders/rollback")
        stage = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]

    assert answer.status_code == 503
    assert "rollback --local" in answer.json()["detail"]
    assert stage == "live"


async def test_routes_are_chosen_by_exactly_one_of_four(tmp_path: Path) -> None:
    """A rollback of several takes exactly one of all, journey, backend and routes."""
    async with running(tmp_path) as node:
        none = await node.post("/api/v1/rollback")
        both = await node.post("/api/v1/rollback", {"all": True, "journey": "checkout"})
        journey = await node.post("/api/v1/rollback", {"journey": "checkout"})
        backend = await node.post("/api/v1/rollback", {"backend": "fresh", "reason": "b"})
        stranger = await node.post("/api/v1/rollback", {"backend": "frsh"})

    assert [none.status_code, both.status_code] == [422, 422]
    assert journey.json()["held"] == ["cart", "pay"]
    assert not journey.json()["notes"]
    assert backend.json()["held"] == ["orders", "cart", "pay"]
    assert stranger.json()["did_you_mean"] == "fresh"


async def test_a_hold_leaves_the_flag_alone(tmp_path: Path) -> None:
    """hold and release change no flag and stand in the audit; releasing nothing changes nothing."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})

        nothing = await node.post("/api/v1/routes/orders/release")
        hold = await node.post("/api/v1/routes/orders/hold", {"reason": "freeze", "keep_copying": True})
        shown = (await node.get("/api/v1/routes/orders")).json()
        free = await node.post("/api/v1/release", {"all": True})
        kinds = [entry["kind"] for entry in (await node.get("/api/v1/audit?limit=2")).json()["entries"]]

    assert nothing.json()["changed"] is False
    assert hold.json()["held"] == ["orders"]
    assert shown["flag"]["stage"] == "live"
    assert shown["share"]["asked"] == 0.0
    assert free.json()["changed"]
    assert kinds == ["release", "hold"]


async def test_a_route_without_legacy_cannot_be_rolled_back(tmp_path: Path) -> None:
    """legacy: none leaves nothing to roll back to: 409 with the reason."""
    async with running(tmp_path) as node:
        back = await node.post("/api/v1/routes/beta/rollback")
        flip = await node.post("/api/v1/routes/beta/flip", {"stage": "shadow"})

    assert [back.status_code, flip.status_code] == [409, 409]
    assert "legacy: none" in back.json()["detail"]


async def test_a_rollback_of_one_route_names_those_of_its_journey_that_go_on(tmp_path: Path) -> None:
    """Half a journey on legacy is possible in an emergency; the answer says which half is not, and how to take it."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/journeys/checkout/flip", {"stage": "live"})

        half = (await node.post("/api/v1/routes/cart/rollback")).json()
        rest = (await node.post("/api/v1/routes/pay/rollback")).json()

    assert half["notes"] == [
        "route pay of journey checkout still is live; `matapalo rollback --journey checkout` takes all of it back"
    ]
    assert rest["notes"] == []
