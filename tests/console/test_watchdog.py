"""The watchdog: what it makes of workers' tallies, what it does about it, and what survives it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from config.spec import WatchdogSpec
from console.commits import Caller
from console.flips import FlipAsk
from console.holds import RollbackAsk
from console.neighbours import Neighbours, Share, basis_of
from console.watchdog import CLOSER, LOOK_S, Watchdog, cools_down_until
from rules.sure import SURE_S
from rules.window import Window, looks
from shadow import link
from tests.console.pair import OPS, Node, pair
from tests.rules.made import config, route
from tests.support.controlnode import ControlNode, FakeWorker, running, until
from tests.support.recorder import Recorder, answer

pytestmark = pytest.mark.anyio

CANARY = {"stage": "canary", "percent": 50}
ROUTES = """\
  - name: orders
    match: {path: "/orders/{id:int}"}
  - name: cart
    match: {path: /cart}
    journey: checkout
  - name: pay
    match: {path: /pay}
    journey: checkout
  - name: done
    match: {path: /done}
  - name: quiet
    match: {path: /quiet}
    watchdog: off
"""


class Memory:
    """Take what a worker counted straight into the memory of one node's control."""

    def __init__(self, node: Node) -> None:
        self._totals, self._sequence = node.state.totals, 0
        self._totals.hello("w", 0, 0.0)

    def tally(self, counts: dict[str, int]) -> None:
        """Take cumulative totals."""
        self._sequence += 1
        told = link.Tally(epoch="w", sequence=self._sequence, counts=counts, gauges={}, histograms={}, last_legacy={})
        self._totals.take(told)


class Traffic:
    """Count, as a worker would, what clients got."""

    def __init__(self, worker: FakeWorker | Memory) -> None:
        self._worker, self._counts = worker, dict[str, int]()

    def compare(self, route: str, **verdicts: int) -> None:
        """Add comparisons: ``divergent=10`` are ten divergent ones, of answers that legacy gave."""
        for verdict, count in verdicts.items():
            name = f"{verdict}|{route}|legacy"
            self._counts[name] = self._counts.get(name, 0) + count

    def add(self, route: str, **answered: int) -> None:
        """Add answers, and tell: ``new_5xx=10`` is ten of new."""
        for key, count in answered.items():
            side, _, code = key.partition("_")
            name = f"requests|{route}|{side}|{'fresh' if side == 'new' else 'old'}|{code}"
            self._counts[name] = self._counts.get(name, 0) + count
        self._worker.tally(dict(self._counts))


async def watched(node: ControlNode, route: str) -> dict[str, Any]:
    """Ask what the watchdog makes of a route."""
    found: dict[str, Any] = (await node.get(f"/api/v1/routes/{route}")).json()["watchdog"]
    return found


async def is_state(node: ControlNode, route: str, state: str) -> dict[str, Any]:
    """Wait until the watchdog says so."""
    deadline = time.monotonic() + 60
    while (found := await watched(node, route) or {}).get("state") != state:
        assert time.monotonic() < deadline, f"{route} is not {state}: {found}"
        await asyncio.sleep(0.02)
    return found


async def trips(
    node: ControlNode, traffic: Traffic, route: str, until: str = "tripped", **answered: int
) -> dict[str, Any]:
    """Answer so, again and again, until the watchdog has taken the route back, or is in another state."""
    deadline = time.monotonic() + 60
    while (found := await watched(node, route))["state"] != until:
        assert time.monotonic() < deadline, f"{route} is not {until}: {found}"
        traffic.add(route, **answered)
        await asyncio.sleep(0.2)
    return found


async def test_new_that_fails_is_taken_back_with_its_value_in_the_audit(tmp_path: Path) -> None:
    """A trip holds, flips and audits with the value; blindness, equal failure and a switched-off watchdog do not trip;
    a journey goes back whole; a second trip waits for a release; all of that survives a restart of control."""
    async with running(tmp_path, routes=ROUTES) as node:
        worker = await node.worker()
        for path in ("routes/orders", "journeys/checkout", "routes/quiet"):
            assert (await node.post(f"/api/v1/{path}/flip", CANARY)).status_code == 200
        traffic = Traffic(worker)
        traffic.add("orders", new_2xx=30)

        blind = await is_state(node, "orders", "blind")
        traffic.add("quiet", new_5xx=400, legacy_2xx=400)
        traffic.add("pay", new_5xx=300, legacy_5xx=300)
        both = await is_state(node, "pay", "alert")
        tripped = await trips(node, traffic, "orders", new_5xx=50, new_2xx=50, legacy_2xx=100)
        held = dict(node.holds)
        await is_state(node, "quiet", "off")

        await trips(node, traffic, "cart", new_5xx=30, legacy_2xx=30)
        # A hold stands before its entry is written, and is written before it is logged.
        await until(lambda: node.log.read_text().count('"watchdog.tripped"') == 2, "both trips are written")
        status = (await node.get("/api/v1/status")).json()["watchdog"]
        metrics = (await node.get("/metrics")).text
        audit = (await node.get("/api/v1/audit")).json()["entries"]
        flags = {one["name"]: one["flag"]["stage"] for one in (await node.get("/api/v1/routes")).json()["routes"]}

        assert blind["sentence"].startswith("blind: ")
        assert "both sides fail: new failed 100 % of 300 requests" in both["sentence"]
        assert re.fullmatch(
            r"new failed [1-5]\S+ % of \d+ requests \(5xx or no answer\) within (5|60) s "
            r"against 0 % of \d+ of legacy, limit 1 % more",
            tripped["sentence"],
        ), tripped["sentence"]
        assert held["orders"].actor == "watchdog"
        assert not held["orders"].keep_copying
        assert flags == {"orders": "legacy", "cart": "legacy", "pay": "legacy", "done": "legacy", "quiet": "canary"}
        journey, single = audit[0], audit[1]
        assert (single["actor"], single["source"], single["kind"]) == ("watchdog", "watchdog", "rollback")
        assert single["reason"] == tripped["sentence"]
        assert single["routes"] == ["orders"]
        assert journey["routes"] == ["cart", "pay"]
        assert journey["reason"].startswith("cart: new failed 100 % of ")
        assert set(status["tripped"]) == {"orders", "cart", "pay"}
        assert 'matapalo_flips_total{kind="watchdog",route="orders"} 1.0' in metrics
        assert 'matapalo_watchdog_state{route="orders",state="tripped"} 1.0' in metrics
        assert 'matapalo_watchdog_state{route="quiet",state="off"} 1.0' in metrics

        # A person may flip it meanwhile: the hold still rules, and that is said.
        flip = (await node.post("/api/v1/routes/orders/flip", CANARY)).json()
        assert any("held on legacy" in note for note in flip["notes"])
        before = len((await node.get("/api/v1/audit")).json()["entries"])
        await node.unlink()
        node.kill()
        await node.ended()
        await node.start()
        worker = await node.worker()
        traffic = Traffic(worker)
        assert (await is_state(node, "orders", "tripped"))["sentence"] == tripped["sentence"]
        assert len((await node.get("/api/v1/audit")).json()["entries"]) == before

        # Released, it is watched again from nothing: what failed before does not trip it once more.
        await node.post("/api/v1/routes/orders/release")
        await is_state(node, "orders", "blind")
        await trips(node, traffic, "orders", "watching", new_2xx=300, legacy_2xx=300)
        await trips(node, traffic, "orders", new_5xx=50, legacy_2xx=50)


async def test_a_flip_begins_a_new_window_and_doubt_asks_for_more_copies(tmp_path: Path) -> None:
    """What legacy answered before a flip does not outweigh that it fails now, too; in live, new that fails while
    legacy's copies are too few to tell makes the workers copy more, until they tell."""
    async with running(tmp_path, routes=ROUTES) as node:
        worker = await node.worker()
        traffic = Traffic(worker)
        await node.post("/api/v1/routes/orders/flip", CANARY)
        traffic.add("orders", new_2xx=1)
        await is_state(node, "orders", "blind")
        await trips(node, traffic, "orders", "watching", new_2xx=200, legacy_2xx=5_000)

        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        await is_state(node, "orders", "blind")
        traffic.add("orders", new_2xx=200, new_5xx=200, legacy_2xx=4, legacy_5xx=4)
        both = await is_state(node, "orders", "alert")
        assert both["sentence"].startswith("both sides fail: new failed 50 % of 400 requests")
        assert not worker.closer

        await node.post("/api/v1/routes/orders/hold")
        await is_state(node, "orders", "idle")
        await node.post("/api/v1/routes/orders/release")
        await is_state(node, "orders", "blind")
        traffic.add("orders", new_2xx=200, new_5xx=200)
        await is_state(node, "orders", "suspicious")
        await until(lambda: {"orders": CLOSER} in worker.closer, "the workers are asked to copy more")
        assert not node.holds


async def test_a_divergence_trip_keeps_the_copies_flowing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs too much goes back to shadow, under a hold that keeps copying, and whoever has a webhook hears of
    it, with the entry of the audit."""
    monkeypatch.setenv("HOOK", "key")
    routes = ROUTES.replace('{id:int}"}', '{id:int}"}\n    watchdog: {divergent_max: 5%}', 1)
    with Recorder(answer(b"", status=204, reason="No Content")) as hook:
        top = f"webhooks: [{{url: '{hook.url}', secret: 'env:HOOK', events: watchdog.tripped}}]"
        async with running(tmp_path, routes=routes, top=top) as node:
            traffic = Traffic(await node.worker())
            await node.post("/api/v1/routes/orders/flip", CANARY)
            traffic.add("orders", new_2xx=1)
            await is_state(node, "orders", "blind")
            deadline = time.monotonic() + 60
            while (tripped := await watched(node, "orders"))["state"] != "tripped":
                assert time.monotonic() < deadline, tripped
                traffic.compare("orders", identical=50, divergent=50)
                traffic.add("orders", new_2xx=50, legacy_2xx=50)
                await asyncio.sleep(0.2)
            await until(lambda: bool(hook.requests), "the webhook is told")
            entry = (await node.get("/api/v1/audit")).json()["entries"][0]
            hold = node.holds["orders"]

    assert "comparisons of answers without 5xx were divergent" in tripped["sentence"]
    assert (hold.actor, hold.keep_copying) == ("watchdog", True)
    assert (entry["kind"], entry["after"]["orders"]["stage"]) == ("rollback", "shadow")
    assert entry["evidence"]["value"] > entry["evidence"]["limit"] == 0.05
    (request,) = hook.requests
    told = json.loads(request.body)
    assert request.values("x-matapalo-event") == [b"watchdog.tripped"]
    assert (told["routes"], told["to"], told["reason"]) == (["orders"], "shadow", tripped["sentence"])
    assert (told["audit_id"], told["evidence"]) == (entry["id"], entry["evidence"])


async def test_a_trip_works_without_a_database_and_never_leads_to_a_dead_legacy(tmp_path: Path) -> None:
    """With flags.db away the hold is in force at once, and audited when it is back, also by the next control; from
    complete, where legacy does not accept connections, nobody is sent there: it is an alert that says why."""
    async with running(tmp_path, routes=ROUTES) as node:
        worker = await node.worker()
        await node.post("/api/v1/routes/orders/flip", CANARY)
        await node.post("/api/v1/routes/done/flip", {"stage": "complete", "force": True, "reason": "signed off"})
        traffic = Traffic(worker)
        traffic.add("done", legacy_2xx=1_000, new_2xx=1)
        traffic.add("orders", new_2xx=1)
        await is_state(node, "orders", "blind")
        await is_state(node, "done", "blind")
        database = node.state_dir / "flags.db"
        database.rename(node.state_dir / "away.db")

        await trips(node, traffic, "orders", new_5xx=50, legacy_2xx=50)

        def fails_still() -> bool:
            traffic.add("done", new_5xx=10, legacy_2xx=10)
            log = node.log.read_text()
            return "watchdog.failed" in log and "watchdog.tripped" in log

        await until(fails_still, "the watchdog says what it cannot, and what it did")
        status = (await node.get("/api/v1/status")).json()
        held = dict(node.holds)
        await node.unlink()
        node.kill()
        await node.ended()
        (node.state_dir / "away.db").rename(database)
        await node.start()
        await node.worker()
        entry = await audited(node)
        flag = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]
        await settled(node)

    assert set(held) == {"orders"}
    assert held["orders"].actor == "watchdog"
    assert any("the watchdog holds orders on legacy, but could not write" in reason for reason in status["degraded"])
    assert any("the watchdog cannot take done back: Legacy" in reason for reason in status["degraded"])
    assert (entry["actor"], entry["routes"]) == ("watchdog", ["orders"])
    assert entry["reason"] == held["orders"].reason
    assert entry["reason"].startswith("new failed ")
    assert flag == "legacy"


async def audited(node: ControlNode) -> dict[str, Any]:
    """Wait until the newest audit entry is one of the watchdog."""
    deadline = time.monotonic() + 60
    while True:
        answer = await node.get("/api/v1/audit")
        if answer.status_code == 200 and (entry := answer.json()["entries"][0])["source"] == "watchdog":
            return dict(entry)
        assert time.monotonic() < deadline, "the trip is audited when the database is back"
        await asyncio.sleep(0.1)


async def settled(node: ControlNode) -> None:
    """Wait until nothing is said any more of a trip that was not written; the entry stands before that."""
    deadline = time.monotonic() + 60
    while any("the watchdog holds" in reason for reason in (await node.get("/api/v1/status")).json()["degraded"]):
        assert time.monotonic() < deadline, "the trip is written, and status says that it is not"
        await asyncio.sleep(0.02)


async def test_a_trip_waits_until_its_reason_has_lasted_and_legacy_has_answered(tmp_path: Path) -> None:
    """What new alone fails goes back when it was seen for 1.5 s, not at the first look; where legacy has gone silent
    at the same moment, it is waited for."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (_, two):
        watchdog, traffic, seen = Watchdog(two.state, two.holds), Traffic(Memory(two)), []
        for name in ("orders", "cart"):
            await two.flips.flip(name, FlipAsk(stage="canary", percent_bp=5_000), OPS)
        for look in range(130):
            traffic.add("orders", new_2xx=10, legacy_2xx=10)
            traffic.add("cart", new_2xx=10, legacy_2xx=10)
            watchdog.look(look * LOOK_S)
        for look in range(130, 134):
            traffic.add("orders", new_5xx=50, legacy_2xx=10)
            traffic.add("cart", new_5xx=50)
            watchdog.look(look * LOOK_S)
            seen.append(watchdog.states())
        silent = watchdog.shown("cart")
        await until(lambda: bool(two.state.holds), "the hold is in force")

    assert [states["orders"] for states in seen] == ["suspicious"] * 3 + ["alert"]
    assert [states["cart"] for states in seen] == ["suspicious"] * 4
    assert silent is not None
    assert "it may have the same trouble" in silent["sentence"]
    assert set(two.state.holds) == {"orders"}


async def test_a_trip_that_was_released_before_it_was_written_is_not_held_anew(tmp_path: Path) -> None:
    """What tripped without a database is written when that is back only if nobody has released it by then."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        watchdog, traffic = Watchdog(two.state, two.holds), Traffic(Memory(two))
        await one.flips.flip("orders", FlipAsk(stage="canary", percent_bp=5_000), OPS)
        await two.replicas.look()
        watchdog.look(0.0)
        traffic.add("orders", new_2xx=0)
        watchdog.look(0.5)
        await two.cut()
        for look in range(4):
            traffic.add("orders", new_5xx=100, legacy_2xx=100)
            watchdog.look(1.0 + look * LOOK_S)
        await until(lambda: "watchdog:orders" in two.state.complaints, "the trip is in force and owed")
        held = dict(two.supervisor.held)
        await two.heal()
        await two.holds.release(two.holds.choose("orders"), reason="", caller=OPS)

        watchdog.look(100.0)  # begins what the end of the node waits for

    assert held["orders"].actor == "watchdog"
    assert two.supervisor.held == {}
    assert "watchdog:orders" not in two.state.complaints


async def test_a_trip_of_another_node_that_was_released_between_two_looks_leaves_no_counts(tmp_path: Path) -> None:
    """What failed before a trip does not count after its release, nor on a node that never looked while it was held."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        watchdog = Watchdog(two.state, two.holds)
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        traffic = Traffic(Memory(two))
        watchdog.look(0.0)
        traffic.add("orders", new_2xx=0)
        watchdog.look(0.5)
        traffic.add("orders", new_2xx=50)
        watchdog.look(1.0)
        before = watchdog.shown("orders")
        told = {"watchdog:orders": '{"unix": 1.0, "to": "legacy"}'}
        ask, caller = RollbackAsk(anyway=True), Caller(actor="watchdog", source="watchdog", notes=told)
        await one.holds.rollback(one.holds.choose("orders"), ask, caller)
        await two.replicas.look()
        await one.holds.release(one.holds.choose("orders"), reason="", caller=OPS)
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        watchdog.look(1.5)
        after = watchdog.shown("orders")

    assert before is not None
    assert after is not None
    assert (before["window"]["new"], after["window"]["new"]) == (50, 0)


async def test_what_was_amiss_on_another_node_is_over_when_that_node_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum is made of what the nodes told last, not of what they told while something was amiss."""
    monkeypatch.setattr("console.neighbours.FRESH_S", 60.0)
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        here, there = Neighbours(one.state), Neighbours(two.state)
        watchdog = Watchdog(two.state, two.holds, neighbours=there)
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        watched = two.state.route("orders")
        assert watched.watchdog is not None
        basis = basis_of(two.state.flag(watched), watched.watchdog)
        failed = []
        for now, failing in enumerate((20, 0)):
            windows = tuple(
                Window(seconds=seconds, new=90, new_failed=failing) for seconds in (*looks(watched.watchdog), SURE_S)
            )
            here.see({"orders": (basis, Share(windows=windows, known=None))})
            await here.exchange()
            await there.exchange()
            watchdog.look(float(now))
            shown = watchdog.shown("orders")
            assert shown is not None
            failed.append((shown["window"]["nodes"], shown["window"]["new"], shown["window"]["new_failed"]))

    assert failed == [(2, 90, 20), (2, 90, 0)]


async def test_a_damaged_neighbour_is_never_judged_on(tmp_path: Path) -> None:
    """With damage in what the only other node tells, a node goes on judging its own counts alone."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        here, there = Neighbours(one.state), Neighbours(two.state)
        watchdog = Watchdog(two.state, two.holds, neighbours=there)
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        watched = two.state.route("orders")
        assert watched.watchdog is not None
        basis = basis_of(two.state.flag(watched), watched.watchdog)
        windows = tuple(
            Window(seconds=seconds, new=90, new_failed=91) for seconds in (*looks(watched.watchdog), SURE_S)
        )
        here.see({"orders": (basis, Share(windows=windows, known=None))})
        await here.exchange()
        await there.exchange()

        watchdog.look(0.0)
        shown = watchdog.shown("orders")

    assert shown is not None
    assert (shown["state"], shown["window"]["nodes"], shown["window"]["new"]) == ("blind", 1, 0)


def test_the_cool_down_is_read_from_the_note() -> None:
    """A route that never tripped is not cooling down; after a trip it is for as long as configured."""
    spec = WatchdogSpec(cool_down_ns=60_000_000_000)

    assert cools_down_until({}, "orders", spec) == 0.0
    assert cools_down_until({"watchdog:orders": '{"unix": 100.0}'}, "orders", spec) == 160.0
