"""Rules of flags from OpenFeature, over a real control process with flagd's provider in file mode."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from config.spec import GateSpec, OpenFeatureSpec, RouteSpec
from console.degraded import degraded
from console.gates import Gates
from console.openfeature import Provided, keys_of
from rules.flag import Stage
from tests.console.pair import pair
from tests.console.test_gates import passing
from tests.rules.made import config, route
from tests.support import providers
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio

DEADLINE_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def events_have_their_threads() -> None:
    """What the SDK keeps for good is there before the first test looks what it leaves behind."""
    providers.start_event_threads()


def write(path: Path, **values: object) -> None:
    """Write flagd's file, whole, with one variant for each flag."""
    flags = {
        f"shop.{name}": {"state": "ENABLED", "variants": {"now": value}, "defaultVariant": "now"}
        for name, value in values.items()
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"flags": flags}))
    fresh.rename(path)


async def flags_become(node: ControlNode, **stages: str) -> dict[str, Any]:
    """Wait until routes stand in these stages; gives them by name."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        routes = {one["name"]: one for one in (await node.get("/api/v1/routes")).json()["routes"]}
        if all(routes[name]["flag"]["stage"] == stage for name, stage in stages.items()):
            return routes
        assert time.monotonic() < deadline, {name: one["flag"] for name, one in routes.items()}
        await anyio.sleep(0.02)


async def degraded_says(node: ControlNode, text: str) -> str:
    """Wait until the status complains of something."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        said = "; ".join((await node.get("/api/v1/status")).json()["degraded"])
        if text in said:
            return said
        assert time.monotonic() < deadline, said
        await anyio.sleep(0.02)


def section(file: Path) -> str:
    """Write the section of the configuration."""
    options = f"{{resolver: file, offline_flag_source_path: {file}, deadline_ms: 50}}"
    return f"flags: openfeature\nopenfeature: {{prefix: shop., poll: 200ms, timeout: 20s, options: {options}}}"


async def test_the_provider_rules_and_rollback_still_works(tmp_path: Path) -> None:
    """Values are adopted and audited, refused ones change nothing, flips name the flag, a rollback holds as drift."""
    file = tmp_path / "flags.json"
    write(file, orders={"stage": "canary", "percent": 5, "sample": 10}, checkout="shadow")
    async with running(tmp_path, top=section(file)) as node:
        worker = await node.worker()
        routes = await flags_become(node, orders="canary", cart="shadow", pay="shadow")
        assert (routes["orders"]["flag"]["percent"], routes["orders"]["flag"]["sample"]) == (5.0, 10.0)
        assert (routes["beta"]["flag"]["stage"], routes["beta"]["last_flip"]) == ("live", None)
        audit = (await node.get("/api/v1/audit?route=orders")).json()["entries"][0]
        assert (audit["kind"], audit["source"], audit["actor"]) == ("flip", "openfeature", "flagd")
        assert (await node.get("/api/v1/audit?route=cart")).json()["entries"][0]["routes"] == ["cart", "pay"]
        assert "shop.beta" in await degraded_says(node, "it has no flag")

        flip = await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        undo = await node.post("/api/v1/undo", {"audit_id": audit["id"]})
        assert {flip.json()["type"], undo.json()["type"]} == {"urn:matapalo:problem:flags-in-provider"}
        assert "change the flag shop.orders there" in flip.json()["detail"]

        back = (await node.post("/api/v1/routes/orders/rollback", {"reason": "boom"})).json()
        assert (back["held"], back["flags_written"]) == (["orders"], False)
        status = (await node.get("/api/v1/status")).json()
        assert [one["route"] for one in status["drift"]] == ["orders"]
        assert "the provider says canary 5 %" in status["drift"][0]["sentence"]
        write(file, orders="legacy", checkout={"stage": "canary"}, beta="live")
        await flags_become(node, orders="legacy")
        assert (await node.get("/api/v1/status")).json()["drift"] == []

        # One value cannot be used: it is refused whole, and everything else stays.
        said = await degraded_says(node, "refused")
        assert "shop.checkout is refused whole (found a canary without percent" in said
        assert "shop.beta" not in said
        await flags_become(node, cart="shadow", pay="shadow", orders="legacy")
        metrics = (await node.get("/metrics")).text
        assert 'matapalo_flips_total{kind="openfeature",route="orders"} 2.0' in metrics
        assert worker.spec.flags["orders"].stage.value == "legacy"


async def test_the_last_known_values_survive_the_provider_and_a_restart(tmp_path: Path) -> None:
    """Without its provider a route keeps its last value, also over a restart; one that never had any is legacy."""
    file = tmp_path / "flags.json"
    async with running(tmp_path, top=section(file)) as node:
        await degraded_says(node, "flags from the provider")
        assert {one["flag"]["stage"] for one in (await node.get("/api/v1/routes")).json()["routes"]} == {
            "legacy",
            "live",
        }
        write(file, orders="canary 5%")
        await flags_become(node, orders="canary")
        file.write_text("{ half")
        await degraded_says(node, "ERROR")
        node.kill()
        await node.ended()
        await node.start()

        await degraded_says(node, "the last known values stay")
        routes = await flags_become(node, orders="canary", cart="legacy")
        assert routes["orders"]["flag"]["percent"] == 5.0
        write(file, orders="shadow")
        await flags_become(node, orders="shadow")


async def test_of_two_nodes_one_adopts_and_both_serve(tmp_path: Path) -> None:
    """Of two nodes the leader alone adopts, also where the other one reads something else: one entry for each change,
    with what the gate and the ledger say against it."""
    file, late = tmp_path / "flags.json", tmp_path / "late.json"
    write(late, orders="live")
    ruled = [
        config(
            route("orders"),
            flags="openfeature",
            openfeature=OpenFeatureSpec(
                prefix="shop.",
                options=(("resolver", "file"), ("offline_flag_source_path", str(path)), ("deadline_ms", 50)),
                poll_ns=50_000_000,
                timeout_ns=60 * 10**9,
            ),
        )
        for path in (file, late)
    ]
    async with pair(tmp_path, *ruled, gated=True) as (one, two), anyio.create_task_group() as group:
        for node in (one, two):
            group.start_soon(Provided(node.state).run)
            group.start_soon(node.replicas.live)
        for value, stage in (
            ("shadow", Stage.SHADOW),
            ("canary 5%", Stage.CANARY),
            ("complete", Stage.COMPLETE),
            ("legacy", Stage.LEGACY),
        ):
            write(file, orders=value)
            deadline = time.monotonic() + DEADLINE_S
            while {one.stage(), two.stage()} != {stage}:
                assert time.monotonic() < deadline, (one.stage(), two.stage(), degraded(two.state))
                await two.replicas.look()
                await anyio.sleep(0.02)
        await anyio.sleep(0.2)  # four polls of both nodes
        assert one.state.flag_store is not None
        entries = await one.state.flag_store.entries(before=None, limit=10)
        group.cancel_scope.cancel()

    flips = [entry for entry in reversed(entries) if entry.kind == "flip"]
    assert [flip.after["orders"]["stage"] for flip in flips] == ["shadow", "canary", "complete", "legacy"]
    assert [flip.evidence.get("result") for flip in flips] == [None, "inconclusive", "inconclusive", None]
    assert [flip.evidence.get("ledger", {}).keys() for flip in flips] == [set(), set(), {"orders"}, set()]
    assert [flip.forced for flip in flips] == [False] * 4
    log = (tmp_path / "log").read_text().splitlines()
    said, ledger = ([line for line in log if f'"{event}"' in line] for event in ("gate.not_passed", "ledger.not_quiet"))
    assert (len(said), len(ledger)) == (2, 1)
    assert "the flag shop.orders gives new more clients, though its gate is inconclusive" in said[0]
    assert (
        "the flag shop.orders lets legacy go, though the ledger is against it: Route 'orders' is not live" in ledger[0]
    )


async def test_nobody_waits_for_new_with_the_turn(tmp_path: Path) -> None:
    """New is asked for its build before a value takes the turn, so that a rollback never waits for a new that hangs."""
    file = tmp_path / "flags.json"
    write(file, orders="canary 5%")
    options = (("resolver", "file"), ("offline_flag_source_path", str(file)), ("deadline_ms", 50))
    ruled = config(
        route("orders", gate=GateSpec(p95_ratio_max=10.0)),
        flags="openfeature",
        openfeature=OpenFeatureSpec(prefix="shop.", options=options, poll_ns=50_000_000, timeout_ns=60 * 10**9),
    )
    evidence, turns = passing(), list[bool]()
    async with pair(tmp_path, ruled, gated=True) as (one, _), anyio.create_task_group() as group:
        evidence.told = lambda: turns.append(one.state.turn.locked())
        one.state.gates = Gates(one.state, evidence)
        group.start_soon(Provided(one.state).run)
        group.start_soon(one.replicas.live)
        deadline = time.monotonic() + DEADLINE_S
        while one.stage() is not Stage.CANARY:
            assert time.monotonic() < deadline, degraded(one.state)
            await anyio.sleep(0.02)
        group.cancel_scope.cancel()

    assert turns
    assert not any(turns)


def test_a_journey_has_one_flag() -> None:
    """Routes of one journey are ruled by one flag with the journey's name, others by their own."""
    routes = [
        RouteSpec(name=name, match=(), legacy="a", new="b", sticky=(), journey=journey)
        for name, journey in (("cart", "checkout"), ("orders", None), ("pay", "checkout"))
    ]

    assert {key: [route.name for route in found] for key, found in keys_of(routes, "shop.").items()} == {
        "shop.checkout": ["cart", "pay"],
        "shop.orders": ["orders"],
    }
