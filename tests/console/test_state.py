"""Rules of how a change becomes true: the database first, memory and push together, the snapshot at rest whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.state import read_snapshot
from rules.snapshot import SnapshotError
from tests.support.controlnode import ROUTES, running

pytestmark = pytest.mark.anyio


async def test_the_snapshot_at_rest_follows_every_change(tmp_path: Path) -> None:
    """When a change is answered, state_dir/snapshot already holds it, private, with no half file beside it."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        for percent in (1, 2, 3):
            answer = await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": percent})
            at_rest = read_snapshot(str(node.state_dir))

            assert at_rest == worker.spec
            assert at_rest.revision == answer.json()["revision"]
        left = sorted(path.name for path in node.state_dir.iterdir() if path.name.startswith("snapshot"))
        mode = (node.state_dir / "snapshot").stat().st_mode & 0o777

    assert left == ["snapshot"]
    assert mode == 0o600


async def test_a_snapshot_that_cannot_be_written_is_said_and_the_flip_stands(tmp_path: Path) -> None:
    """When only the file at rest cannot be written, the flip is durable in the database and status is degraded."""
    async with running(tmp_path) as node:
        (node.state_dir / "snapshot").unlink()
        (node.state_dir / "snapshot").mkdir()
        (node.state_dir / "snapshot" / "in the way").touch()

        answer = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        degraded = (await node.get("/api/v1/status")).json()["degraded"]

    assert answer.status_code == 200
    assert any("snapshot cannot be written" in reason for reason in degraded)


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
        logged = [json.loads(line) for line in node.log.read_text().splitlines() if '"event": "change.' in line]

    assert [(one["audit_id"], one["hash"]) for one in logged] == [(one["id"], one["hash"]) for one in reversed(entries)]
    assert len(logged) > 6
    told = {one["event"]: one["message"] for one in logged}
    assert told["change.flip"] == "flip of cart, pay by local"
    assert told["change.shadow"] == "shadow of all routes by local"
    assert told["change.reload"] == "reload of the configuration by local"


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


def test_a_missing_snapshot_is_none_and_a_broken_one_is_a_sentence(tmp_path: Path) -> None:
    """No snapshot is no error; one that cannot be read says what to do."""
    assert read_snapshot(str(tmp_path)) is None

    (tmp_path / "snapshot").write_bytes(b"\xc1 nonsense")
    with pytest.raises(SnapshotError, match="remove the file"):
        read_snapshot(str(tmp_path))
