"""Rules of resets: what a gate no longer counts, and who said so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


async def test_a_reset_begins_anew_and_is_kept(tmp_path: Path) -> None:
    """After a reset nothing of before counts, also in the next life of control; the audit says who did it and why, and
    the gate that somebody did, and how often."""
    async with running(tmp_path, gate="{comparisons: 1, distinct_requests: 1}") as node:
        worker = await node.worker()
        told = {"eligible|orders": 9, "sent|orders": 9, "identical|orders|legacy": 9, "paired|orders|GET|2xx|2xx": 9}
        before: dict[str, int] = {}
        deadline = time.monotonic() + 60
        worker.tally(told)
        while before.get("compared") != 9 and time.monotonic() < deadline:
            before = (await node.get("/api/v1/routes/orders/gate")).json()["evidence"]
        done = await node.post("/api/v1/routes/orders/evidence/reset", {"reason": "new data"})
        again = await node.post("/api/v1/routes/orders/evidence/reset", {})
        emptied = (await node.get("/api/v1/routes/orders/gate")).json()
        entries = (await node.get("/api/v1/audit")).json()["entries"]
        unknown = await node.post("/api/v1/routes/order/evidence/reset", {})
        node.kill()
        await node.ended()
        await node.start()
        still = (await node.get("/api/v1/routes/orders/gate")).json()

    assert before["compared"] == 9
    assert done.status_code == 200
    assert (emptied["result"], emptied["evidence"]["compared"]) == ("inconclusive", 0)
    assert (entries[1]["kind"], entries[1]["routes"], entries[1]["reason"]) == ("evidence", ["orders"], "new data")
    assert entries[1]["before"] == {"orders": None}
    assert entries[1]["after"] == entries[0]["before"] == {"orders": done.json()["since"]}
    assert entries[0]["after"] == {"orders": again.json()["since"]}
    assert unknown.status_code == 404
    assert "; local reset the evidence " in emptied["sentence"]
    assert emptied["sentence"].endswith(" ago, 2 times so far")
    assert still["evidence"]["compared"] == 0
