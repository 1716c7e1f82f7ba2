"""Rules of how a change becomes true: the database first, then memory and workers together, then the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.controlnode import ROUTES, ControlNode, running, until

pytestmark = pytest.mark.anyio


async def test_a_refused_change_leaves_memory_and_workers_alone(tmp_path: Path) -> None:
    """A change that the database refuses is neither shown nor pushed."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        (node.state_dir / "flags.db").unlink()

        answer = await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        shown = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]

    assert answer.status_code == 503
    assert shown == "legacy"
    assert len(worker.pushes) == 1


def changes(node: ControlNode) -> list[dict[str, Any]]:  # Any: JSON
    """Read the log's whole lines about changes; they are written behind the answers."""
    whole = node.log.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if '"event": "change.' in line]


async def test_the_log_names_every_entry_of_the_audit_with_its_hash(tmp_path: Path) -> None:
    """Each entry of the audit, also the start's and a reload's, has its line in the log, with number and hash."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "shadow", "reason": "first look"})
        await node.post("/api/v1/journeys/checkout/flip", {"stage": "shadow"})
        await node.post("/api/v1/routes/orders/rollback", {"reason": "boom"})
        await node.post("/api/v1/shadow", {"on": False})
        await node.post("/api/v1/deploys", {"backend": "fresh", "version": "2"})
        node.write(ROUTES.replace("path: /beta", "path: /gamma"))
        await node.post("/-/reload")
        entries = (await node.get("/api/v1/audit")).json()["entries"]
        await until(lambda: len(changes(node)) >= len(entries), "a line for each entry")
        logged = changes(node)

    assert [(one["audit_id"], one["hash"]) for one in logged] == [(one["id"], one["hash"]) for one in reversed(entries)]
    assert len(logged) > 6
    told = {one["event"]: one["message"] for one in logged}
    assert told["change.flip"] == "flip of cart, pay by local"
    assert told["change.shadow"] == "shadow of all routes by local"
    assert told["change.reload"] == "reload of the configuration by local"
