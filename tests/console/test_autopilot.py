"""The autopilot on real flags, notes and audit, with a clock and a gate that the test turns."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config import load_text
from config.spec import AutopilotSpec
from console.autopilot import AGAIN_S, Autopilot
from console.beginning import Places
from console.change import Changing
from console.commits import Caller
from console.degraded import degraded
from console.flips import FlipAsk, Flips
from console.gates import Gates as RealGates
from console.peers import Peers
from console.problem import ProblemError
from console.state import ControlState
from console.totals import Totals
from console.webhooks import Webhooks
from rules.flag import Hold, Stage
from rules.gate import GateVerdict
from rules.snapshot import SnapshotSpec
from rules.stage import initial_flag
from store.flags import FlagStore
from tests.console.pair import pair
from tests.rules.made import config, route
from tests.support.recorder import Gate, Recorder, answer

pytestmark = pytest.mark.anyio

CONFIG = """
backends: {old: {url: "http://127.0.0.1:9"}, fresh: {url: "http://127.0.0.1:7"}}
defaults: {legacy: old, new: fresh, gate: off}
routes:
  - {name: orders, match: {path: /orders}, autopilot: {steps: [1%, 50%], bake: 1h}}
  - {name: cart, match: {path: /cart}, journey: checkout, autopilot: {steps: 10%, bake: 1h}}
  - {name: pay, match: {path: /pay}, journey: checkout, autopilot: {steps: 10%, bake: 1h}}
  - {name: manual, match: {path: /manual}}
"""
OPS = Caller(actor="ops")


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no worker: there is none."""
    monkeypatch.setattr("console.state.ABSENT_S", 0.0)


class Gates:
    """Say what the test wants."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}
        self.broken: set[str] = set()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens while a gate is asked, once."""

    async def verdict(self, route: str) -> GateVerdict:
        """Pass, unless told otherwise."""
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()
        if route in self.broken:
            raise KeyError(route)
        result: Any = self.results.get(route, "pass")  # Any: the test writes right words only
        return GateVerdict(result=result, sentence=f"it says {result}")


class Node:
    """Be one control without workers, whose time is the test's."""

    def __init__(self, directory: Path, webhooks: str = "[]") -> None:
        self.directory, self.now, self.gates = directory, 1_000_000.0, Gates()
        self._config = load_text(f"{CONFIG}webhooks: {webhooks}", base_dir=directory, environ={})

    async def open(self) -> Node:
        """Begin as control does: with what the database remembers."""
        path = os.path.join(self.directory, "flags.db")
        store = await FlagStore.open(path)
        known = await store.load()
        flags = {route.name: known.flags.get(route.name) or initial_flag(route) for route in self._config.routes}
        self.log: list[str] = []
        say = lambda event, sentence, **_: self.log.append(f"{event} {sentence}")  # noqa: E731 - one use
        journal: Any = SimpleNamespace(say=say)  # Any: all that is asked of a journal
        state = self.state = ControlState(
            state_dir=str(self.directory),
            config_path="test.yaml",
            journal=journal,
            spec=SnapshotSpec(revision=max(1, known.revision), config=self._config, flags=flags),
            holds=known.holds,
            totals=Totals(),
            places=Places(flags=path, evidence="", node=""),
        )
        state.notes = dict(known.notes)
        state.flag_store = store
        unasked: Any = None  # no route here has a gate that flips ask
        state.gates = RealGates(state, unasked)
        nobody: Any = lambda *_: None  # noqa: E731 - one for all callbacks; Any: of any shape
        names = ("on_worker", "on_lost", "on_tally", "on_finding", "on_seen", "on_repeated", "on_error")
        state.peers = Peers(current=state.current, **dict.fromkeys(names, nobody))
        self.flips, self.webhooks = Flips(state), Webhooks(state)
        self.pilot = Autopilot(state, self.flips, self.gates, self.webhooks, clock=lambda: self.now)
        return self

    async def look(self, *, hours: float = 0.0) -> str:
        """Let time pass, look once, and say where orders is."""
        self.now += hours * 3_600
        await self.pilot.look()
        return self.stage("orders")

    async def asked(self, name: str) -> None:
        """Look until the webhooks have answered."""
        deadline = time.monotonic() + 60
        await self.pilot.look()
        while self.said(name).startswith("asks the webhooks"):
            assert time.monotonic() < deadline, "the webhooks do not answer"
            await asyncio.sleep(0.01)
            await self.pilot.look()

    def stage(self, name: str) -> str:
        """Name a route's stage and percent."""
        flag = self.state.flag(self.state.route(name))
        return f"{flag.stage.value} {flag.percent_bp / 100:g}"

    def said(self, name: str = "orders") -> str:
        """Give the autopilot's sentence."""
        shown = self.pilot.shown(name)
        assert shown is not None
        return str(shown["sentence"])

    async def close(self) -> None:
        """Close everything."""
        await self.webhooks.close()
        await self.state.close()


async def test_it_walks_to_live_over_restarts_and_every_step_is_in_the_audit(tmp_path: Path) -> None:
    """From canary it makes each step after its bake time, goes on where it was after a restart, and each step stands
    in the audit with what the gate said."""
    node = await Node(tmp_path).open()
    await node.look()
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100), OPS)
    began, early = await node.look(), await node.look(hours=0.9)
    said, walk = node.said(), node.pilot.walk(node.state.route("orders"))
    due_in_s = walk[1] - node.now
    nothing = node.pilot.walk(node.state.route("manual"))
    await node.close()

    again = Node(tmp_path)
    again.now = node.now
    await again.open()
    still, raised = await again.look(hours=0.09), await again.look(hours=0.02)
    again.gates.results["orders"] = "inconclusive"
    waits = await again.look(hours=5)
    waiting = again.said()
    again.gates.results["orders"] = "pass"
    live = await again.look()
    await again.look()
    store = again.state.flag_store
    assert store is not None
    entries = await store.entries(before=None, limit=10, route="orders")
    await again.close()

    assert [began, early, still, raised, waits, live] == [
        "canary 1",
        "canary 1",
        "canary 1",
        "canary 50",
        "canary 50",
        "live 0",
    ]
    assert (walk[0], round(due_in_s), nothing) == ("baking", 360, ("", 0.0))
    assert said == "canary 1 % bakes 6 min longer; then canary 50 %"
    assert waiting == "waits for live: the gate is inconclusive: it says inconclusive"
    assert again.said() == "done: it arrived in live"
    steps = [(entry.actor, entry.source, entry.reason) for entry in entries if entry.kind == "flip"]
    assert steps == [
        ("autopilot", "autopilot", "live: the gate passes: it says pass"),
        ("autopilot", "autopilot", "canary 50 %: the gate passes: it says pass"),
        ("ops", "api", ""),
    ]
    assert entries[0].evidence["autopilot"]["from"] == {"stage": "canary", "percent": 50.0}


async def test_it_stands_aside_for_people_and_the_watchdog(tmp_path: Path) -> None:
    """A flip or a hold by somebody else pauses it until it is switched on again; it can be switched off; a failing
    gate takes a step back."""
    node = await Node(tmp_path).open()
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=5_000), OPS)
    await node.look()
    node.gates.results["orders"] = "fail"
    back = await node.look()
    node.gates.results["orders"] = "pass"
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=300), OPS)
    await node.look(hours=2)
    flipped, paused = await node.look(hours=2), node.said()
    on = await node.pilot.switch("orders", on=True, reason="", caller=OPS)
    baking, raised = await node.look(hours=0.5), await node.look(hours=0.5)
    node.state.set_holds({"orders": Hold(route="orders", actor="watchdog")})
    await node.look()
    await node.look()
    held = node.said()
    with pytest.raises(ProblemError, match="release it first"):
        await node.pilot.switch("orders", on=True, reason="", caller=OPS)
    node.state.set_holds({})
    again = await node.pilot.switch("orders", on=False, reason="friday", caller=OPS)
    on_canary = await node.pilot.switch("orders", on=True, reason="", caller=OPS)
    off = await node.pilot.switch("orders", on=False, reason="friday", caller=OPS)
    twice = await node.pilot.switch("orders", on=False, reason="monday", caller=OPS)
    await node.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
    in_shadow = await node.pilot.switch("orders", on=True, reason="", caller=OPS)
    with pytest.raises(ProblemError, match="no `autopilot` in the configuration"):
        await node.pilot.switch("manual", on=True, reason="", caller=OPS)
    await node.close()

    assert (back, flipped, baking, raised) == ("canary 1", "canary 3", "canary 3", "canary 50")
    way_on = "it goes on after `matapalo autopilot orders on`, not by a release or a flip alone"
    assert paused == f"paused: somebody flipped it to canary 3 %; {way_on}"
    assert on.body["audit_id"] is not None
    assert held == again.body["autopilot"]["sentence"] == f"paused: watchdog held it on legacy; {way_on}"
    assert (again.body["changed"], again.body["audit_id"]) == (False, None)
    assert on_canary.body["autopilot"]["sentence"] == "goes on"
    assert off.body["audit_id"] is not None
    assert (twice.body["changed"], twice.body["audit_id"]) == (False, None)
    assert twice.body["autopilot"]["sentence"] == off.body["autopilot"]["sentence"]
    assert off.body["autopilot"]["sentence"] == f"paused: switched off by ops: friday; {way_on}"
    assert in_shadow.body["autopilot"]["sentence"] == "waits until a person flips the route to canary"


async def test_whoever_changes_something_while_it_decides_wins(tmp_path: Path) -> None:
    """A step that was decided before a person's flip, or before it was switched off, is not made after it."""
    node = await Node(tmp_path).open()
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=5_000), OPS)
    await node.look()
    node.gates.meanwhile = lambda: node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=300), OPS)
    flipped = await node.look(hours=1), await node.look(hours=1)
    by_hand = node.said()
    await node.pilot.switch("orders", on=True, reason="", caller=OPS)
    node.gates.results["orders"] = "fail"
    node.gates.meanwhile = lambda: node.pilot.switch("orders", on=False, reason="", caller=OPS)
    switched = await node.look(), await node.look()
    off = node.said()
    await node.close()

    assert (flipped, switched) == (("canary 3", "canary 3"), ("canary 3", "canary 3"))
    assert by_hand.startswith("pauses: somebody flipped it to canary 3 %")
    assert off.startswith("paused: switched off by ops")


async def test_it_raises_nothing_until_the_cool_down_after_a_trip_is_over(tmp_path: Path) -> None:
    """A canary that has baked on a passing gate waits until the watchdog's cool-down is over, and then steps."""
    node = await Node(tmp_path).open()
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100), OPS)
    await node.look()
    node.state.notes["watchdog:orders"] = json.dumps({"unix": node.now + 3_600})
    cooling = await node.look(hours=1.2), node.said()
    after = await node.look(hours=0.1)
    await node.close()

    assert cooling == ("canary 1", "cools down 3 min longer after the watchdog's trip")
    assert after == "canary 50"


async def test_what_breaks_on_one_route_is_said_and_stops_no_other(tmp_path: Path) -> None:
    """While a route cannot be looked at for an error of ours, others still go back; log and status say it, once, and
    no longer than it lasts."""
    node = await Node(tmp_path).open()
    await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100), OPS)
    await node.flips.flip_journey("checkout", FlipAsk(stage="canary", percent_bp=1_000), OPS)
    await node.look()
    node.gates.broken.add("orders")
    node.gates.results["pay"] = "fail"
    still, back = await node.look(), node.stage("pay")
    await node.look()
    said, reasons = node.said(), [why for why in degraded(node.state) if "autopilot" in why]
    node.gates.broken.clear()
    await node.look()
    over = [why for why in degraded(node.state) if "autopilot" in why]
    await node.close()

    told = "the autopilot of orders cannot go on: KeyError('orders'); flip by hand, and report it"
    assert (still, back, said) == ("canary 1", "shadow 0", "cannot go on: KeyError('orders')")
    assert (reasons, over) == ([told], [])
    assert [line for line in node.log if "KeyError" in line] == [f"autopilot.failed {told}"]


async def test_nodes_that_share_a_database_walk_and_switch_on_the_newest_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch on a node that others were faster than is made on what they left; the leader's step that was decided
    before it is not made, nor one that is overtaken for ever; a follower makes no move of its own."""
    for lease in ("console.replicas.LEASE_S", "store.nodes.LEASE_S"):
        monkeypatch.setattr(lease, 600.0)
    async with pair(tmp_path, config(route("orders", autopilot=AutopilotSpec()), route("cart"))) as (one, two):
        gates = Gates()
        leads, follows = (Autopilot(node.state, node.flips, gates, Webhooks(node.state)) for node in (one, two))
        await two.rollback("cart")
        await leads.look()
        begun = one.state.notes["autopilot:orders"]
        await one.flips.flip("orders", FlipAsk(stage="canary", percent_bp=2_500), OPS)
        await leads.look()
        gates.results["orders"] = "fail"
        await two.replicas.look()
        await follows.look()
        followed, said = two.stage(), follows.shown("orders")
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        off = await follows.switch("orders", on=False, reason="", caller=OPS)
        await leads.look()
        await leads.look()
        orders, paused = one.state.flag(one.state.route("orders")), leads.shown("orders")
        await two.replicas.look()
        await leads.switch("orders", on=True, reason="", caller=OPS)
        on = await follows.switch("orders", on=False, reason="", caller=OPS)

    assert json.loads(begun)["phase"] == "waiting"
    assert followed is Stage.CANARY
    assert said is not None
    assert said["sentence"] == "the leader walks"
    assert (off.body["changed"], on.body["changed"]) == (True, True)
    assert (orders.stage, orders.percent_bp) == (Stage.CANARY, 2_500)
    assert paused is not None
    assert paused["sentence"].startswith("paused: switched off by ops")


async def test_its_flips_ask_the_gate_like_everybody_elses(tmp_path: Path) -> None:
    """A step whose gate does not pass at the flip itself is not made, whatever the gate said before."""
    walking = route("orders", autopilot=AutopilotSpec(bake_ns=(0,)))
    async with pair(tmp_path, config(walking), gated=True) as (one, _):
        pilot = Autopilot(one.state, one.flips, Gates(), Webhooks(one.state))
        await one.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100, force=True, reason="a test"), OPS)
        await pilot.look()
        await pilot.look()
        shown = pilot.shown("orders")
        percent_bp = one.state.flag(one.state.route("orders")).percent_bp

    assert percent_bp == 100
    assert shown is not None
    assert shown["sentence"].startswith("cannot go on: ")
    assert "orders: inconclusive" in shown["sentence"]


async def test_a_journey_walks_as_one_and_a_webhook_may_hold_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst gate of a journey counts, all its routes flip together, and a step that is not agreed to waits."""
    monkeypatch.setenv("HOOK", "key")
    with Recorder(answer(b"", status=423, reason="Locked")) as hook:
        node = await Node(tmp_path, f"[{{url: '{hook.url}', secret: 'env:HOOK'}}]").open()
        await node.flips.flip_journey("checkout", FlipAsk(stage="canary", percent_bp=1_000), OPS)
        await node.look()
        node.gates.results["pay"] = "inconclusive"
        await node.look(hours=1)
        waits = node.said("cart")
        node.gates.results["pay"] = "pass"
        await node.asked("cart")
        vetoed, where = node.said("cart"), node.stage("cart")
        asked = len(hook.requests)
        hook.answer = answer(b"", status=204, reason="No Content")
        await node.look()
        soon = len(hook.requests)
        await node.look(hours=AGAIN_S / 3_600)
        await node.asked("cart")
        stages = (node.stage("cart"), node.stage("pay"))
        await node.close()

    assert waits == "waits for live: the gate is inconclusive: pay: it says inconclusive"
    assert "is held back: the webhook of 127.0.0.1 does not agree: it answered 423" in vetoed
    assert (where, asked, soon) == ("canary 10", 1, 1)
    assert stages == ("live 0", "live 0")


async def test_webhooks_hear_of_every_step_before_and_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step up is asked for before the flag moves; a step back does not wait, and is told as before and after, in
    this order; all are signed, and what comes after names the entry of the audit."""
    monkeypatch.setenv("HOOK", "key")
    with Recorder(answer(b"", status=204, reason="No Content")) as hook:
        node = await Node(tmp_path, f"[{{url: '{hook.url}', secret: 'env:HOOK'}}]").open()
        telling = asyncio.create_task(node.webhooks.run())

        async def heard(count: int) -> list[tuple[str, dict[str, Any]]]:
            deadline = time.monotonic() + 60
            while len(hook.requests) < count:
                assert time.monotonic() < deadline, hook.requests
                await asyncio.sleep(0.01)
            assert all(request.values("x-matapalo-signature") for request in hook.requests)
            return [
                (request.values("x-matapalo-event")[0].decode(), json.loads(request.body)) for request in hook.requests
            ]

        await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100), OPS)
        await node.look()
        await node.look(hours=1)
        asked, between = await heard(1), node.stage("orders")
        await node.asked("orders")
        raised = await heard(2)
        node.gates.results["orders"] = "fail"
        lowered = await node.look()
        all_four = await heard(4)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        store = node.state.flag_store
        assert store is not None
        entries = await store.entries(before=None, limit=2, route="orders")
        await node.close()

    one, half = ({"stage": "canary", "percent": percent} for percent in (1.0, 50.0))
    assert ([event for event, _ in asked], between, lowered) == (["autopilot.before"], "canary 1", "canary 1")
    assert [(told["from"], told["to"]) for _, told in raised] == [(one, half)] * 2
    assert [event for event, _ in all_four] == ["autopilot.before", "autopilot.after"] * 2
    assert [(told["step"], told["from"], told["to"]) for _, told in all_four[2:]] == [("back", half, one)] * 2
    after = {told["to"]["percent"]: told["audit_id"] for event, told in all_four if event == "autopilot.after"}
    assert after == {1.0: f"a-{entries[0].id}", 50.0: f"a-{entries[1].id}"}


async def test_a_deaf_webhook_delays_no_step_back_and_what_happens_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a receiver does not answer, a route whose gate fails goes back at once, whatever it asked, and a hold
    that comes before the answer wins; after a veto a failing gate is not waited with either."""
    monkeypatch.setenv("HOOK", "key")
    monkeypatch.setattr("console.webhooks.TRY_S", 600.0)  # whoever waits for the receiver waits for good
    gate = Gate()
    with Recorder([gate, answer(b"", status=204, reason="No Content")]) as hook:
        node = await Node(tmp_path, f"[{{url: '{hook.url}', secret: 'env:HOOK'}}]").open()
        await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=5_000), OPS)
        await node.flips.flip_journey("checkout", FlipAsk(stage="canary", percent_bp=1_000), OPS)
        await node.look()
        await node.look(hours=1)
        asks = node.said("orders"), node.said("cart")
        node.gates.results["orders"] = "fail"
        async with asyncio.timeout(60):
            back = await node.look()
        node.gates.results["orders"] = "pass"
        node.state.set_holds({"cart": Hold(route="cart", actor="ops")})
        gate.open()
        await node.asked("cart")
        held, cart = node.said("cart"), node.stage("cart")

        hook.answer = answer(b"", status=423, reason="Locked")
        await node.look(hours=1)
        await node.asked("orders")
        vetoed = node.said("orders")
        node.gates.results["orders"] = "fail"
        lowest = await node.look()
        await node.close()

    assert asks == (
        "asks the webhooks before live: the gate passes: it says pass",
        "asks the webhooks before live: the gate passes: cart: it says pass",
    )
    assert (back, cart) == ("canary 1", "canary 10")
    assert held.startswith("pauses: ops held it on legacy")
    assert "is held back: the webhook of 127.0.0.1 does not agree: it answered 423" in vetoed
    assert lowest == "shadow 0"


@pytest.mark.parametrize("change", ["another step", "begun anew"])
async def test_an_answer_of_a_webhook_counts_for_the_step_that_was_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A receiver that agreed to one step is asked again before another one, or the same one after a new beginning."""
    monkeypatch.setenv("HOOK", "key")
    with Recorder(answer(b"", status=204, reason="No Content")) as hook:
        node = await Node(tmp_path, f"[{{url: '{hook.url}', secret: 'env:HOOK'}}]").open()
        await node.flips.flip("orders", FlipAsk(stage="canary", percent_bp=100), OPS)
        await node.look()
        await node.look(hours=1)
        deadline = time.monotonic() + 60
        while not node.webhooks.sent:
            assert time.monotonic() < deadline, "the webhook does not answer"
            await asyncio.sleep(0.005)
        if change == "another step":
            state, less = node.state, AutopilotSpec(steps_bp=(100, 2_500))
            routes = tuple(replace(one, autopilot=less) if one.name == "orders" else one for one in state.config.routes)
            state.adopt(replace(state.spec, revision=9, config=replace(state.config, routes=routes)))
        else:
            for on in (False, True):
                await node.pilot.switch("orders", on=on, reason="", caller=OPS)
        stays = await node.look(hours=1), node.said()
        await node.asked("orders")
        steps = node.stage("orders"), len(hook.requests)
        await node.close()

    after = "canary 25" if change == "another step" else "canary 50"
    assert stays == ("canary 1", f"asks the webhooks before {after} %: the gate passes: it says pass")
    assert steps == (after, 2)


def test_the_autopilot_changes_flags_like_everybody() -> None:
    """It is one more caller of the same flips, not a second way to change a flag."""
    assert issubclass(Autopilot, Changing)
