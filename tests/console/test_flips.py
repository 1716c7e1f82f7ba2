"""Rules of flips, switches and undo, over the admin API of a real control process."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import pytest

from console.change import entry_for
from console.commits import commit
from console.flips import NO_WAY_BACK, UNDONE
from console.problem import ProblemError
from store.entries import ENTRY_KINDS
from store.flags import Commit
from tests.console.pair import OPS, pair
from tests.rules.made import config, route
from tests.support.controlnode import ROUTES, running, until

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
        flipped = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        silent = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow", "sample": 0})
        undone = await node.post("/api/v1/undo", {"audit_id": back.json()["audit_id"]})
        again = await node.post("/api/v1/undo", {"audit_id": undone.json()["audit_id"]})
        cleared = await node.post("/api/v1/shadow", {"on": True})

    assert one.json()["copying"] == {"on": True, "off": ["orders"]}
    assert everything.json()["copying"] == {"on": False, "off": ["orders"]}
    assert back.json()["copying"] == {"on": True, "off": ["beta", "orders", "pay"]}
    assert any("copying of orders is switched off" in note for note in flipped.json()["notes"])
    assert not any("switched off" in note for note in silent.json()["notes"])
    assert cart is True
    assert undone.json()["copying"] == {"on": False, "off": ["orders"]}
    assert again.json()["copying"] == back.json()["copying"]
    assert cleared.json()["copying"] == {"on": True, "off": []}
    assert worker.spec.copying_off == ()


async def test_undo_restores_the_flag_that_an_entry_found(tmp_path: Path) -> None:
    """undo puts the flag back; it is refused once the flag has moved on, unless forced, and for other entries."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        flip = (await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 20})).json()

        undo = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"]})
        again = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"]})
        forced = await node.post("/api/v1/undo", {"audit_id": flip["audit_id"], "force": True, "reason": "sure"})
        start = await node.post("/api/v1/undo", {"audit_id": "a-1"})
        missing = await node.post("/api/v1/undo", {"audit_id": "a-999"})

    assert undo.json()["routes"][0]["after"]["percent"] == 5.0
    assert undo.json()["undid"] == flip["audit_id"]
    assert again.status_code == 409
    assert forced.status_code == 200
    assert forced.json()["changed"] is False
    assert start.status_code == 409
    assert missing.status_code == 404


async def test_undo_says_for_every_kind_what_it_takes_back_or_what_there_is_instead(tmp_path: Path) -> None:
    """A rollback and a tolerance are undone, and their undo too; a hold, a release, a deploy, a token and the start are
    refused with the way that there is instead."""
    tolerance = {"path": "$.at", "reason": "clock", "owner": "us", "expires": "2099-01-31", "apply": True}
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        undone, stages = [], []
        for path, body in (
            ("/api/v1/routes/orders/rollback", {}),
            ("/api/v1/tolerances", tolerance),
            ("/api/v1/tolerances/{name}/remove", {}),
        ):
            applied = (await node.get("/api/v1/tolerances")).json()["tolerances"]
            done = await node.post(path.replace("{name}", applied[0]["id"] if applied else ""), body)
            for _ in range(2):
                done = await node.post("/api/v1/undo", {"audit_id": done.json()["audit_id"], "force": False})
                undone.append((done.status_code, (await node.get("/api/v1/tolerances")).json()["tolerances"] != []))
            stage = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]
            stages.append(stage)
        refused = {}
        for path, asked in (
            ("/api/v1/routes/orders/hold", {}),
            ("/api/v1/routes/orders/release", {}),
            ("/api/v1/deploys", {"backend": "fresh", "version": "v1"}),
            ("/api/v1/tokens", {"name": "ci", "role": "viewer"}),
        ):
            await node.post(path, asked)
            entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
            answer = await node.post("/api/v1/undo", {"audit_id": entry["id"]})
            refused[entry["kind"]] = (answer.status_code, answer.json()["detail"])

    assert stages == ["legacy"] * 3
    assert undone == [(200, False)] * 2 + [(200, False), (200, True)] + [(200, True), (200, False)]
    assert {kind: status for kind, (status, _) in refused.items()} == {
        "hold": 409,
        "release": 409,
        "deployed": 409,
        "token": 409,
    }
    assert "matapalo release" in refused["hold"][1]


async def test_every_kind_of_entry_is_undone_or_names_its_way_back(tmp_path: Path) -> None:
    """There is no kind of audit entry of which undo knows neither how to take it back nor what to do instead."""
    assert UNDONE | NO_WAY_BACK.keys() == set(ENTRY_KINDS)
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        state, said = one.state, {}
        for kind in NO_WAY_BACK:
            async with state.turn:
                entry = entry_for(kind, (), "", OPS, state)
                number, _pushed = await commit(state, Commit(revision=state.revision, entry=entry), state.spec)
            with pytest.raises(ProblemError) as caught:
                await one.flips.undo(number, reason="", force=False, if_revision=None, caller=OPS)
            said[kind] = (caught.value.kind, caught.value.detail)

    assert {kind for kind, _ in said.values()} == {"undo"}
    assert all(
        f"is of the kind {kind}, which undo does not take back: {NO_WAY_BACK[kind]}" in said[kind][1] for kind in said
    )


async def test_with_flags_in_the_file_flips_are_refused_and_rollbacks_hold(tmp_path: Path) -> None:
    """With flags: file a reload flips, route by route in the audit, with what gates and ledger say against it; the API
    refuses, a rollback holds as drift, in status, routes and metrics."""
    canary = ROUTES.replace("{path: /cart}", "{path: /cart}\n    stage: shadow")
    canary = canary.replace("{path: /pay}", "{path: /pay}\n    stage: shadow")
    canary = canary.replace('{id:int}"}', '{id:int}"}\n    stage: canary\n    percent: 5', 1)
    async with running(tmp_path, top="flags: file", gate="{comparisons: 200}") as node:
        flip = await node.post("/api/v1/routes/orders/flip", CANARY)
        node.write(canary)
        reload = (await node.post("/-/reload")).json()
        audit = (await node.get("/api/v1/audit")).json()["entries"]
        await until(lambda: '"gate.not_passed"' in node.log.read_text(), "the log says it, too")
        last = (await node.get("/api/v1/routes/pay")).json()["last_flip"]
        back = await node.post("/api/v1/routes/orders/rollback")
        drift = (await node.get("/api/v1/status")).json()["drift"]
        shown = (await node.get("/api/v1/routes/orders")).json()["drift"]
        drifting = (await node.get("/metrics")).text
        node.write(ROUTES)
        await node.post("/-/reload")
        agreed = (await node.get("/api/v1/status")).json()["drift"]
        metrics = (await node.get("/metrics")).text
        ended = {}
        for stage in ("live", "complete"):
            node.write(ROUTES.replace('{id:int}"}', f'{{id:int}}"}}\n    stage: {stage}', 1))
            ended[stage] = (await node.post("/-/reload")).json()["notes"][-1]
        let_go = (await node.get("/api/v1/audit")).json()["entries"][0]
        await until(lambda: '"ledger.not_quiet"' in node.log.read_text(), "the log says that, too")
    logged = [line for line in node.log.read_text().splitlines() if '"gate.not_passed"' in line]

    assert "though its gate is inconclusive" in ended["live"]
    unknown = "Whether legacy still answers route 'orders' is not known: worker 0 has not reported what it answered"
    assert ended["complete"] == f"orders: the file lets legacy go, though the ledger is against it: {unknown}"
    assert (let_go["source"], let_go["routes"], let_go["forced"]) == ("file", ["orders"], False)
    assert let_go["evidence"]["ledger"]["orders"]["sentence"] == unknown
    assert let_go["evidence"]["ledger"]["orders"]["quiet"] is False
    assert flip.status_code == 409
    assert flip.json()["type"].endswith(":flags-in-file")
    assert "change `stage` of 'orders' in" in flip.json()["detail"]
    assert [(one["kind"], one["source"], one["routes"]) for one in audit[:3]] == [
        ("flip", "file", ["cart", "pay"]),
        ("flip", "file", ["orders"]),
        ("reload", "api", ["orders", "cart", "pay"]),
    ]
    assert audit[1]["after"]["orders"]["percent"] == 5.0
    assert {one["revision"] for one in audit[:3]} == {reload["revision"]}
    assert {one["config"] for one in audit[:3]} == {audit[2]["after"]["digest"]} != {audit[2]["before"]["digest"]}
    assert (audit[0]["evidence"], audit[1]["evidence"]["result"], audit[1]["forced"]) == ({}, "inconclusive", False)
    warned = reload["notes"][-1]
    assert warned.startswith("orders: the file gives new more clients, though its gate is inconclusive: nothing was")
    assert [json.loads(line)["message"] for line in logged] == [warned, ended["live"]]
    assert last["id"] == audit[0]["id"]
    assert back.status_code == 200
    assert back.json()["held"] == ["orders"]
    assert back.json()["flags_written"] is False
    assert "the file says canary 5 %, a hold keeps it in legacy" in drift[0]["sentence"]
    assert shown == drift[0]["sentence"]
    assert 'matapalo_route_drift{route="orders"} 1.0' in drifting
    assert agreed == []
    assert 'matapalo_flips_total{kind="file",route="orders"} 2.0' in metrics


COHORTS = """cohorts:
  - {name: staff, match: {header: X-Staff}}
  - {name: office, match: {cidr: 10.0.0.0/8}}"""


async def test_a_cohort_flips_alone_and_is_undone_and_rolled_back(tmp_path: Path) -> None:
    """A cohort's flip is a flip like any other: audited, noted, kept over a restart, undone; a rollback ends it."""
    async with running(tmp_path, top=COHORTS) as node:
        worker = await node.worker()
        place = "/api/v1/routes/orders/flip"
        await node.post(place, {"stage": "shadow"})
        staff = (await node.post(place, {"stage": "live", "cohort": "staff"})).json()
        office = (await node.post(place, {"stage": "canary", "percent": 50, "cohort": "office"})).json()
        pushed = worker.spec.flags["orders"]
        told = (await node.get("/api/v1/explain", params={"path": "/orders/1", "header": "X-Staff:1"})).json()
        ended = (await node.post(place, {"stage": "none", "cohort": "office"})).json()
        undone = (await node.post("/api/v1/undo", {"audit_id": ended["audit_id"]})).json()
        everybody = (await node.post(place, {"stage": "canary", "percent": 5})).json()
        journey = (await node.post("/api/v1/journeys/checkout/flip", {"stage": "live", "cohort": "staff"})).json()
        node.kill()
        await node.ended()
        await node.start()
        kept = (await node.get("/api/v1/routes/orders")).json()["flag"]
        back = (await node.post("/api/v1/routes/orders/rollback")).json()
        entries = (await node.get("/api/v1/audit", params={"route": "orders"})).json()["entries"]

    live, canary = {"stage": "live", "percent": 0, "sample": 1}, {"stage": "canary", "percent": 50, "sample": 100}
    assert staff["routes"][0]["after"]["cohorts"] == {"staff": live}
    assert staff["routes"][0]["after"]["stage"] == "shadow"
    assert "no gate was asked" in " ".join(staff["notes"])
    assert office["routes"][0]["after"]["cohorts"] == {"staff": live, "office": canary}
    assert {name: own.stage.value for name, own in pushed.cohorts.items()} == {"staff": "live", "office": "canary"}
    assert (told["cohort"], told["primary"], told["reason"]) == ("staff", "new", "cohort")
    assert ended["routes"][0]["after"]["cohorts"] == {"staff": live}
    assert undone["routes"][0]["after"]["cohorts"] == {"staff": live, "office": canary}
    assert "cohort staff of route orders keeps its own stage: live" in everybody["notes"]
    assert {shown["route"]: shown["after"]["cohorts"] for shown in journey["routes"]} == {
        "cart": {"staff": live},
        "pay": {"staff": live},
    }
    assert kept["cohorts"] == {"staff": live, "office": canary}
    assert kept["stage"] == "canary"
    assert back["routes"][0]["after"] == {
        "stage": "legacy",
        "percent": 0,
        "sample": 0,
        "salt": "orders",
        "cohorts": {},
    }
    assert [entry["kind"] for entry in entries][:3] == ["rollback", "flip", "undo"]


async def test_a_cohorts_flip_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """An unknown cohort is a 404 with the nearest name, a bad share a 422, and what the route cannot do a 409."""
    async with running(tmp_path, top=COHORTS) as node:
        place = "/api/v1/routes/orders/flip"
        unknown = await node.post(place, {"stage": "live", "cohort": "stuff"})
        percent = await node.post(place, {"stage": "canary", "cohort": "staff"})
        word = await node.post(place, {"stage": "none"})
        answers = [
            await node.post(place, {"stage": "complete", "cohort": "staff"}),
            await node.post("/api/v1/routes/beta/flip", {"stage": "live", "cohort": "staff"}),
            await node.post("/api/v1/routes/cart/flip", {"stage": "live", "cohort": "staff"}),
        ]

    assert (unknown.status_code, unknown.json()["did_you_mean"]) == (404, "staff")
    assert (percent.status_code, percent.json()["errors"][0]["where"]) == (422, "percent")
    assert (word.status_code, word.json()["errors"][0]["where"]) == (422, "stage")
    assert [answer.status_code for answer in answers] == [409, 409, 409]
    kinds = [answer.json()["type"].rpartition(":")[2] for answer in answers]
    assert kinds == ["refused", "refused", "journey"]
