"""Rules of the link to the supervisor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shadow import link
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


async def test_holds_that_came_without_control_stand_in_the_audit(tmp_path: Path) -> None:
    """A local rollback that control hears of later is shown as a hold and written to the audit with its source."""
    async with running(tmp_path) as node:
        node.holds["orders"] = link.HoldItem(route="orders", reason="night", actor="root", at="2026-01-01T00:00:00Z")
        node.tell_holds()
        deadline = time.monotonic() + 60
        entries: list[dict[str, object]] = []
        while not entries and time.monotonic() < deadline:
            found = (await node.get("/api/v1/audit")).json()["entries"]
            entries = [entry for entry in found if entry["source"] == "local"]
        route = (await node.get("/api/v1/routes/orders")).json()
        digest = (await node.get("/api/v1/status")).json()["config"]["digest"]

    assert [(entry["kind"], entry["actor"], entry["reason"]) for entry in entries] == [("hold", "root", "night")]
    assert entries[0]["config"] == digest
    assert route["hold"]["reason"] == "night"


async def test_a_supervisor_that_dies_takes_control_along(tmp_path: Path) -> None:
    """When the parent link closes, control exits by itself."""
    async with running(tmp_path) as node:
        assert node.process is not None
        parent = node._parent
        assert parent is not None
        parent.close()

        code = await node.ended()

    assert code == 0
