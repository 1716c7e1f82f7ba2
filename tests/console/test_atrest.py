"""Rules of the snapshot at rest: whole, private, never behind an answer, and read or explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.atrest import read_snapshot
from rules.snapshot import SnapshotError
from tests.support.controlnode import running

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


def test_a_missing_snapshot_is_none_and_a_broken_one_is_a_sentence(tmp_path: Path) -> None:
    """No snapshot is no error; one that cannot be read says what to do."""
    assert read_snapshot(str(tmp_path)) is None

    (tmp_path / "snapshot").write_bytes(b"\xc1 nonsense")
    with pytest.raises(SnapshotError, match="remove the file"):
        read_snapshot(str(tmp_path))
