"""Rules of flips, rollbacks, holds, switches and undo, over the admin API of a real control process."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from rules.flag import Stage
from tests.support.controlnode import ROUTES, ControlNode, running, until

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 5}


async def test_a_flip_is_durable_acknowledged_and_audited(tmp_path: Path) -> None:
    """A flip answers 200 with before, after, the audit id and the workers that serve it."""
    async with running(tmp_path) as node:
        worker = await node.worker()

        answer = await node.post("/api/v1/routes/orders/flip", {**CANARY, "reason": "first users"})
        entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]

    body = answer.json()
    assert answer.status_code == 200
    assert body["changed"]
    assert body["workers"] == {"acked": [0], "missing": []}
    assert body["routes"][0]["before"]["stage"] == "legacy"
    assert body["routes"][0]["after"] == {"stage": "canary", "percent": 5.0, "sample": 100.0, "salt": "orders"}
    assert (entry["id"], entry["kind"], entry["reason"]) == (body["audit_id"], "flip", "first users")
    assert entry["before"]["orders"]["stage"] == "legacy"
    assert worker.revision == body["revision"] == entry["revision"]


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


async def test_the_same_flip_twice_changes_nothing(tmp_path: Path) -> None:
    """A flip to where the route already stands answers 200 with changed false and leaves no audit entry."""
    async with running(tmp_path) as node:
        first = (await node.post("/api/v1/routes/orders/flip", CANARY)).json()

        second = await node.post("/api/v1/routes/orders/flip", CANARY)
        newest = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]["id"]

    assert second.status_code == 200
    assert second.json()["changed"] is False
    assert second.json()["revision"] == first["revision"]
    assert newest == first["audit_id"]


async def test_a_worker_that_does_not_acknowledge_is_named_with_202(tmp_path: Path) -> None:
    """A laggard makes the answer 202 and is named; the flip is durable all the same."""
    async with running(tmp_path, workers=2) as node:
        await node.worker(0)
        await node.worker(1, answers=False)

        answer = await node.post("/api/v1/routes/orders/flip", CANARY)

    body = answer.json()
    assert answer.status_code == 202
    assert body["workers"] == {"acked": [0], "missing": [1]}
    assert any("worker 1 has not acknowledged" in note for note in body["notes"])


async def test_a_stale_revision_is_refused(tmp_path: Path) -> None:
    """if_revision that is not the current revision answers 412 with the current one and changes nothing."""
    async with running(tmp_path) as node:
        first = (await node.post("/api/v1/routes/orders/flip", CANARY)).json()["revision"]

        stale = await node.post("/api/v1/routes/orders/flip", {"stage": "live", "if_revision": first - 1})
        fresh = await node.post("/api/v1/routes/orders/flip", {"stage": "live", "if_revision": first})

    assert stale.status_code == 412
    assert stale.json()["revision"] == first
    assert fresh.status_code == 200


async def test_an_idempotency_key_stands_for_one_change(tmp_path: Path) -> None:
    """The same key with the same call answers the first change again; with another call it is refused."""
    key = {"Idempotency-Key": "deploy-7"}
    async with running(tmp_path) as node:
        first = await node.post("/api/v1/routes/orders/flip", CANARY, headers=key)
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})

        again = await node.post("/api/v1/routes/orders/flip", CANARY, headers=key)
        other = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"}, headers=key)
        stage = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]

    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["audit_id"] == first.json()["audit_id"]
    assert again.json()["revision"] == first.json()["revision"]
    assert other.status_code == 422
    assert stage == "live"


async def test_concurrent_flips_each_get_a_revision_of_their_own(tmp_path: Path) -> None:
    """Flips at the same time happen one after the other: no revision twice, and the last one is in force."""
    async with running(tmp_path) as node:
        worker = await node.worker()

        answers = await asyncio.gather(
            *(
                node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": percent})
                for percent in range(1, 11)
            )
        )
        shown = (await node.get("/api/v1/routes/orders")).json()["flag"]["percent"]

    bodies = [answer.json() for answer in answers]
    revisions = [body["revision"] for body in bodies]
    last = max(bodies, key=lambda body: int(body["revision"]))
    assert len(set(revisions)) == 10
    assert shown == last["routes"][0]["after"]["percent"]
    assert worker.revision == max(revisions)


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


async def test_complete_is_refused_while_legacy_is_not_quiet(tmp_path: Path) -> None:
    """complete answers 409 with the evidence until a live route has a day without legacy; force goes over it."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        early = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        watched = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        worker.tally({}, last_legacy={"orders": time.time()})
        deadline = time.monotonic() + 5
        while (await node.get("/api/v1/routes/orders")).json()["last_legacy"] is None:
            assert time.monotonic() < deadline
        loud = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        forced = await node.post("/api/v1/routes/orders/flip", {"stage": "complete", "force": True})

    assert [early.status_code, watched.status_code, loud.status_code] == [409, 409, 409]
    assert early.json()["evidence"]["live_since"] is None
    assert watched.json()["evidence"]["live_since"] is not None
    assert loud.json()["evidence"]["last_legacy"] is not None
    assert loud.json()["evidence"]["needed_s"] == 86_400
    assert forced.status_code == 200


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
        await node.post("/api/v1/routes/orders/flip", {"stage": "complete", "force": True})

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
        await node.post("/api/v1/routes/orders/flip", {"stage": "complete", "force": True})

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


async def test_a_route_without_legacy_cannot_be_rolled_back(tmp_path: Path) -> None:
    """legacy: none leaves nothing to roll back to: 409 with the reason."""
    async with running(tmp_path) as node:
        back = await node.post("/api/v1/routes/beta/rollback")
        flip = await node.post("/api/v1/routes/beta/flip", {"stage": "shadow"})

    assert [back.status_code, flip.status_code] == [409, 409]
    assert "legacy: none" in back.json()["detail"]


async def test_a_worker_that_links_late_gets_the_current_snapshot(tmp_path: Path) -> None:
    """A worker that links after a flip is pushed the newest revision at once."""
    async with running(tmp_path) as node:
        revision = (await node.post("/api/v1/routes/orders/flip", CANARY)).json()["revision"]

        late = await node.worker(3)
        await until(lambda: late.revision == revision, "the newest revision")


async def test_a_killed_worker_does_not_delay_a_flip(tmp_path: Path) -> None:
    """A worker that dies while a flip is on its way is no laggard: the answer comes at once and says so."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        worker = await node.worker()
        worker.dies_on_push = True

        began = time.monotonic()
        answer = await node.post("/api/v1/routes/orders/flip", CANARY)
        took = time.monotonic() - began
    finally:
        await node.close()

    assert answer.status_code == 200
    assert took < 1.0
    assert any("went away" in note for note in answer.json()["notes"])
