"""Rules of every change: durable, acknowledged, audited, once."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.controlnode import running

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 5}


async def test_a_flip_is_durable_acknowledged_and_audited(tmp_path: Path) -> None:
    """A flip answers 200 with before, after, the audit id and the workers that serve it; its audit entry names the
    configuration in force.
    """
    async with running(tmp_path) as node:
        worker = await node.worker()

        answer = await node.post("/api/v1/routes/orders/flip", {**CANARY, "reason": "first users"})
        entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
        digest = (await node.get("/api/v1/status")).json()["config"]["digest"]

    body = answer.json()
    assert answer.status_code == 200
    assert body["changed"]
    assert body["workers"] == {"acked": [0], "missing": []}
    assert body["routes"][0]["before"]["stage"] == "legacy"
    assert body["routes"][0]["after"] == {
        "stage": "canary",
        "percent": 5.0,
        "sample": 100.0,
        "salt": "orders",
        "cohorts": {},
    }
    assert (entry["id"], entry["kind"], entry["reason"]) == (body["audit_id"], "flip", "first users")
    assert entry["before"]["orders"]["stage"] == "legacy"
    assert entry["config"] == digest
    assert worker.revision == body["revision"] == entry["revision"]


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
    """The same key with the same call, however it is spelled, answers the first change again, also after an upgrade to
    a version whose calls have more fields; with another call it is refused."""
    key = {"Idempotency-Key": "deploy-7"}
    async with running(tmp_path) as node:
        first = await node.post("/api/v1/routes/orders/flip", CANARY, headers=key)
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})

        again = await node.post("/api/v1/routes/orders/flip", CANARY, headers=key)
        spelled = [
            await node.post(
                "/api/v1/routes/orders/flip",
                {"percent": share, "reason": None, "stage": "canary", "force": False},
                headers=key,
            )
            for share in (5, 5.0, "5%")
        ]
        other = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"}, headers=key)
        stage = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]
    with closing(sqlite3.connect(node.state_dir / "flags.db")) as database:
        kept = database.execute("SELECT digest FROM idempotency").fetchall()

    assert kept == [(sha256(b'/api/v1/routes/orders/flip\n{"percent": 500, "stage": "canary"}').hexdigest(),)]
    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["audit_id"] == first.json()["audit_id"]
    assert again.json()["revision"] == first.json()["revision"]
    assert [answer.json()["audit_id"] for answer in spelled] == [first.json()["audit_id"]] * 3
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


@pytest.mark.alone
async def test_a_killed_worker_does_not_delay_a_flip(tmp_path: Path) -> None:
    """A worker that dies while a flip is on its way is no laggard: the answer comes at once (best of three) and says
    so."""
    async with running(tmp_path) as node:
        took: list[float] = []
        while len(took) < 3 and min(took, default=9.0) >= 1.0:
            worker = await node.worker()
            worker.dies_on_push = True
            began = time.monotonic()
            answer = await node.post("/api/v1/routes/orders/flip", {**CANARY, "percent": 5 + len(took)})
            took.append(time.monotonic() - began)

            assert answer.status_code == 200
            assert any("went away" in note for note in answer.json()["notes"])

    assert min(took) < 1.0
