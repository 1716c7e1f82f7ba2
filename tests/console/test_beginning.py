"""Rules of what control begins with: a lost or wrong file never moves traffic."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from config.loader import load
from proxy.firststart import lay_snapshot
from rules.flag import Stage
from rules.snapshot import decode
from shadow import link
from tests.support.controlnode import ROUTES, ControlNode, running, until

pytestmark = pytest.mark.anyio


async def test_a_new_node_begins_with_the_flags_of_the_file(tmp_path: Path) -> None:
    """A first start takes every flag from the file, writes the snapshot at rest and says Ready with the address."""
    async with running(tmp_path, as_shipped=True) as node:
        worker = await node.worker()

        flags = worker.spec.flags
        at_rest = decode((node.state_dir / "snapshot").read_bytes())

    assert {name: flag.stage for name, flag in flags.items()} == {
        "orders": Stage.LEGACY,
        "cart": Stage.LEGACY,
        "pay": Stage.LEGACY,
        "beta": Stage.LIVE,
    }
    assert at_rest == worker.spec


async def test_a_lost_database_does_not_move_traffic(tmp_path: Path) -> None:
    """When flags.db is gone at a start, the flags of the last snapshot go on."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})
        node.kill()
        await node.ended()
        for file in node.state_dir.glob("flags.db*"):
            file.unlink()

        await node.start()
        shown = (await node.get("/api/v1/routes/orders")).json()
        audit = (await node.get("/api/v1/audit")).json()["entries"]
    finally:
        await node.close()

    assert shown["flag"]["stage"] == "canary"
    assert [(entry["kind"], entry["reason"]) for entry in audit] == [("start", "the database is new")]


async def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path) -> None:
    """A damaged flags.db is never deleted: control serves without it, refuses flips with 503 and says what to do."""
    node = ControlNode(tmp_path)
    damaged = b"this is not a database" * 100
    (node.state_dir / "flags.db").write_bytes(damaged)
    try:
        await node.start()
        flip = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        rollback = await node.post("/api/v1/routes/orders/rollback")
        status = (await node.get("/api/v1/status")).json()
        metrics = await node.get("/metrics")
        kept = (node.state_dir / "flags.db").read_bytes()
    finally:
        await node.close()

    assert kept == damaged
    assert flip.status_code == 503
    assert "move it away" in flip.json()["detail"]
    assert rollback.status_code == 200
    assert rollback.json()["flags_written"] is False
    assert set(node.holds) == {"orders"}
    assert not status["database"]["ok"]
    assert any("flags cannot be changed" in reason for reason in status["degraded"])
    assert metrics.status_code == 200


async def test_a_newer_schema_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A database of a newer version is not touched; the sentence names both revisions."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        node.kill()
        await node.ended()
        database = sqlite3.connect(node.state_dir / "flags.db")
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
        database.close()

        await node.start()
        error = (await node.get("/api/v1/status")).json()["database"]["error"]
    finally:
        await node.close()

    assert "'9999'" in error
    assert "start the version that wrote it" in error


async def test_a_bad_file_at_the_start_leaves_the_last_good_configuration(tmp_path: Path) -> None:
    """Control starts with the configuration of the last snapshot when the file is wrong, and says so."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        node.kill()
        await node.ended()
        node.config.write_text("listen: [")

        await node.start()
        status = (await node.get("/api/v1/status")).json()
        metrics = (await node.get("/metrics")).text
        routes = (await node.get("/api/v1/routes")).json()["routes"]
    finally:
        await node.close()

    assert [route["name"] for route in routes] == ["orders", "cart", "pay", "beta"]
    assert status["config"]["last_reload"]["ok"] is False
    assert any("matapalo.yaml" in reason for reason in status["degraded"])
    assert "matapalo_config_last_reload_successful 0.0" in metrics


async def test_without_any_configuration_control_says_why_and_exits(tmp_path: Path) -> None:
    """Without a usable file and without a snapshot control tells the supervisor the reason and exits 1."""
    node = ControlNode(tmp_path, as_shipped=True)
    node.config.write_text("listen: [")
    await node.start()

    code = await node.ended()

    assert code == 1
    assert node.ready is not None
    assert not node.ready.ok
    assert "matapalo.yaml" in node.ready.detail


async def test_a_configuration_that_changed_meanwhile_goes_to_one_worker_first(tmp_path: Path) -> None:
    """A file that changed while control was away is reloaded after the start, not applied blindly."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        node.kill()
        await node.ended()
        node.write(ROUTES.replace("path: /cart", "path: /basket"))

        await node.start()
        worker = await node.worker()
        first = decode(worker.pushes[0][1]).config
        await until(lambda: worker.spec.config != first, "the new configuration")
        paths = [route.match[0].path for route in worker.spec.config.routes]
    finally:
        await node.close()

    assert first.routes[1].match[0].path == "/cart"
    assert "/basket" in paths


async def test_a_database_that_went_back_is_told_as_it_is(tmp_path: Path) -> None:
    """Where a backup took flips back, the start's entry says from which revision, what moved and whither, and status
    says so until somebody has looked."""
    node = ControlNode(tmp_path)
    file = node.state_dir / "flags.db"
    try:
        await node.start()
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        await _end(node)
        backup = file.read_bytes()
        await node.start()
        await node.post("/api/v1/routes/orders/flip", {"stage": "legacy"})
        lost = (await node.post("/api/v1/routes/cart/hold")).json()["revision"]
        await _end(node)
        file.write_bytes(backup)
        await node.start()
        entry = (await node.get("/api/v1/audit")).json()["entries"][0]
        flag = (await node.get("/api/v1/routes/orders")).json()["flag"]
        degraded = (await node.get("/api/v1/status")).json()["degraded"]
    finally:
        await node.close()

    said = f"the database went back from revision {lost} to {lost - 1}, as a backup does, and took orders along"
    assert flag["stage"] == "live"
    assert (entry["kind"], entry["routes"]) == ("start", ["orders"])
    assert entry["reason"].startswith(said)
    assert entry["before"]["flags"]["orders"]["stage"] == "legacy"
    assert entry["after"]["flags"]["orders"]["stage"] == "live"
    assert any(reason.startswith(said) for reason in degraded)


async def test_a_restart_with_another_configuration_stands_in_the_audit(tmp_path: Path) -> None:
    """The supervisor lays a changed configuration before control begins; the start's entry names both digests."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        former = (await node.get("/api/v1/status")).json()["config"]["digest"]
        await _end(node)
        node.write(ROUTES.replace("/orders/{id:int}", "/orders/**"))
        lay_snapshot(str(node.state_dir / "snapshot"), load(str(node.config)))
        await node.start()
        digest = (await node.get("/api/v1/status")).json()["config"]["digest"]
        entries = (await node.get("/api/v1/audit")).json()["entries"]
        await _end(node)
        await node.start()
        again = (await node.get("/api/v1/audit")).json()["entries"]
    finally:
        await node.close()

    assert digest != former
    assert (entries[0]["kind"], entries[0]["reason"]) == ("start", "the configuration changed while control was away")
    assert (entries[0]["before"]["digest"], entries[0]["after"]["digest"]) == (former, digest)
    assert again == entries


async def _end(node: ControlNode) -> None:
    """Let control end by itself: everything is in its file then."""
    node.tell(link.Drain(deadline_ns=10**9))
    await node.ended()
