"""Rules of the control process as a whole: it comes back, and what it acknowledged is never lost."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from pathlib import Path

import httpx2
import pytest

from rules.flag import Stage
from rules.snapshot import decode
from shadow import link
from tests.support.controlnode import ROUTES, ControlNode, running, until

pytestmark = pytest.mark.anyio

KILLS = 30


async def test_a_new_node_begins_with_the_flags_of_the_file(tmp_path: Path) -> None:
    """A first start takes every flag from the file, writes the snapshot at rest and says Ready with the address."""
    async with running(tmp_path) as node:
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


async def test_an_acknowledged_flip_survives_a_kill_at_any_instant(tmp_path: Path) -> None:
    """After kill -9 at any instant the flag is the last acknowledged one, or the one that was on its way."""
    dice = random.Random(7)
    node = ControlNode(tmp_path)
    acknowledged, asked = 1, 1
    try:
        for _ in range(KILLS):
            await node.start()
            shown = (await node.get("/api/v1/routes/orders")).json()["flag"]
            kept = 1 if shown["stage"] == "legacy" else round(shown["percent"])
            assert kept in (acknowledged, asked), f"{acknowledged} was acknowledged, {asked} was asked, {kept} was kept"
            acknowledged = asked = kept
            killer = asyncio.get_running_loop().call_later(dice.uniform(0.0, 0.12), node.kill)
            async with httpx2.AsyncClient(base_url=node.url, timeout=5, trust_env=False) as client:
                try:
                    while True:
                        asked = acknowledged % 99 + 1
                        body = {"stage": "canary", "percent": asked}
                        answer = await client.post("/api/v1/routes/orders/flip", json=body)
                        assert answer.status_code == 200
                        acknowledged = asked
                except httpx2.TransportError:
                    pass
            killer.cancel()
            await node.ended()
    finally:
        if node.process is not None:
            await node.close()


async def test_control_is_back_within_three_seconds_on_busy_cores(tmp_path: Path) -> None:
    """After kill -9, with every core busy, control serves its admin API again within three seconds."""
    burn = [sys.executable, "-c", "while True: pass"]
    burners = [await asyncio.create_subprocess_exec(*burn) for _ in range(os.cpu_count() or 1)]
    node = ControlNode(tmp_path)
    try:
        await node.start()
        node.kill()
        await node.ended()

        began = time.monotonic()
        await node.start()
        answer = await node.get("/api/v1/status")
        took = time.monotonic() - began
    finally:
        for burner in burners:
            burner.kill()
            await burner.wait()
        await node.close()

    assert answer.status_code == 200
    assert took < 3.0


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


async def test_a_database_that_vanishes_refuses_flips_and_lets_rollbacks_through(tmp_path: Path) -> None:
    """With flags.db deleted under a running control, flips answer 503, a rollback holds, everything else serves."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        (node.state_dir / "flags.db").unlink()

        flip = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        rollback = await node.post("/api/v1/routes/orders/rollback", {"reason": "3 am"})
        routes = await node.get("/api/v1/routes")

    assert flip.status_code == 503
    assert flip.json()["type"] == "urn:matapalo:problem:database"
    assert rollback.status_code == 200
    assert rollback.json()["held"] == ["orders"]
    assert node.holds["orders"].reason == "3 am"
    assert routes.status_code == 200
    assert worker.spec.flags["orders"].stage is Stage.LIVE


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
    node = ControlNode(tmp_path)
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
        first = worker.spec.config
        await until(lambda: worker.spec.config != first, "the new configuration")
        paths = [route.match[0].path for route in worker.spec.config.routes]
    finally:
        await node.close()

    assert first.routes[1].match[0].path == "/cart"
    assert "/basket" in paths


async def test_holds_that_came_without_control_stand_in_the_audit(tmp_path: Path) -> None:
    """A local rollback that control hears of later is shown as a hold and written to the audit with its source."""
    async with running(tmp_path) as node:
        node.holds["orders"] = link.HoldItem(route="orders", reason="night", actor="root", at="2026-01-01T00:00:00Z")
        node.tell_holds()
        deadline = time.monotonic() + 5
        entries: list[dict[str, object]] = []
        while not entries and time.monotonic() < deadline:
            found = (await node.get("/api/v1/audit")).json()["entries"]
            entries = [entry for entry in found if entry["source"] == "local"]
        route = (await node.get("/api/v1/routes/orders")).json()

    assert [(entry["kind"], entry["actor"], entry["reason"]) for entry in entries] == [("hold", "root", "night")]
    assert route["hold"]["reason"] == "night"


async def test_counters_survive_a_restart_of_control(tmp_path: Path) -> None:
    """Totals of dead and living workers, hours and the last legacy request are the same after kill -9 and restart."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        dead = await node.worker()
        dead.tally({"requests|orders|legacy|old|2xx": 7}, final=True, last_legacy={"orders": 1_700_000_000.0})
        living = await node.worker(epoch="w0-lives")
        living.tally({"requests|orders|new|fresh|2xx": 3})
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            share = (await node.get("/api/v1/share?route=orders&window=1h")).json()["total"]["sides"]
            if share["legacy"] + share["new"] == 10:
                break
        node.kill()
        await node.ended()
        await living.close()

        await node.start()
        back = await node.worker(epoch="w0-lives")
        back.sequence = living.sequence
        back.tally({"requests|orders|new|fresh|2xx": 4})
        while time.monotonic() < deadline + 10:
            counts = (await node.get("/api/v1/totals")).json()["counts"]
            if counts.get("requests|orders|new|fresh|2xx") == 4:
                break
        share = (await node.get("/api/v1/share?route=orders&window=1h")).json()["total"]["sides"]
        metrics = (await node.get("/metrics")).text
    finally:
        await node.close()

    assert counts == {"requests|orders|legacy|old|2xx": 7, "requests|orders|new|fresh|2xx": 4}
    assert (share["legacy"], share["new"]) == (7, 4)
    assert 'matapalo_legacy_last_request_timestamp_seconds{route="orders"} 1.7e+09' in metrics


async def test_a_drain_ends_control_with_exit_code_zero(tmp_path: Path) -> None:
    """Told to drain, control writes its last batch and exits 0."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        worker.tally({"requests|orders|legacy|old|2xx": 5}, final=True)
        await asyncio.sleep(0)
        assert (await node.get("/api/v1/totals")).status_code == 200
        await worker.close()
        node.tell(link.Drain(deadline_ns=10**9))

        code = await node.ended()

    database = sqlite3.connect(tmp_path / "state" / "evidence.db")
    rows = database.execute("SELECT route, side, count FROM answered").fetchall()
    database.close()
    assert code == 0
    assert rows == [("orders", "legacy", 5)]


async def test_a_supervisor_that_dies_takes_control_along(tmp_path: Path) -> None:
    """When the parent link closes, control exits by itself."""
    async with running(tmp_path) as node:
        assert node.process is not None
        parent = node._parent
        assert parent is not None
        parent.close()

        code = await node.ended()

    assert code == 0
