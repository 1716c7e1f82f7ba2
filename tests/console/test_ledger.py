"""Rules of letting legacy go."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.spec import MatchSpec, OverrideSpec, RouteSpec
from console.flips import FlipAsk
from console.journal import moment_text
from console.ledger import quiet_of
from console.state import ControlState
from console.totals import Totals
from rules.basis import takes_of
from rules.flag import CohortFlag, Hold, Stage, flag_as_json
from shadow.link import Tally
from store.entries import Entry
from store.evidence import EvidenceStore
from store.watched import GAP_S, WatchStore
from tests.console.pair import OPS, pair
from tests.rules.made import config, flag, route
from tests.support.controlnode import ROUTES, running
from tests.support.product import Product, wait_until

pytestmark = pytest.mark.anyio


async def test_complete_is_refused_while_legacy_is_not_quiet(tmp_path: Path) -> None:
    """complete answers 409 with the evidence until a live route has a day without legacy; force goes over it
    and is marked. gone asks nothing, and says when legacy last answered."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        early = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        watched = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        worker.tally({}, last_legacy={"orders": time.time()})
        deadline = time.monotonic() + 60
        while (await node.get("/api/v1/routes/orders")).json()["last_legacy"] is None:
            assert time.monotonic() < deadline
        loud = await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})
        forced = await node.post(
            "/api/v1/routes/orders/flip", {"stage": "complete", "force": True, "reason": "signed off"}
        )
        entry = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]
        status = (await node.get("/api/v1/status")).json()["forced"]
        gone = await node.post("/api/v1/routes/orders/flip", {"stage": "gone"})

    assert gone.json()["notes"][0].startswith("legacy last answered route orders at 20")
    assert [early.status_code, watched.status_code, loud.status_code] == [409, 409, 409]
    assert early.json()["evidence"]["live_since"] is None
    assert watched.json()["evidence"]["live_since"] is not None
    assert loud.json()["evidence"]["last_legacy"] is not None
    assert loud.json()["evidence"]["needed_s"] == 86_400
    assert forced.status_code == 200
    assert entry["evidence"]["ledger"]["orders"]["last_legacy"] == loud.json()["evidence"]["last_legacy"]
    assert entry["evidence"]["ledger"]["orders"]["sentence"].startswith("Legacy still answered route 'orders' at 20")
    assert (entry["after"]["orders"]["stage"], entry["forced"], entry["reason"]) == ("complete", True, "signed off")
    assert [(one["route"], one["reason"]) for one in status] == [("orders", "signed off")]


async def test_quiet_is_the_routes_own_and_counts_from_the_last_answer(tmp_path: Path) -> None:
    """A route says how long legacy must have been silent: one answer within it refuses, one before it does not."""
    routes = ROUTES.replace('path: "/orders/{id:int}"}', 'path: "/orders/{id:int}"}\n    quiet: 1m', 1)
    async with running(tmp_path, routes=routes) as node:
        worker = await node.worker()
        await node.post("/api/v1/routes/orders/flip", {"stage": "live"})
        worker.tally({}, last_legacy={"orders": time.time() - 10})
        deadline = time.monotonic() + 60
        while (await node.get("/api/v1/routes/orders")).json()["last_legacy"] is None:
            assert time.monotonic() < deadline
        loud = (await node.post("/api/v1/routes/orders/flip", {"stage": "complete"})).json()

    assert loud["evidence"]["needed_s"] == 60
    assert "expected quiet for 1m" in loud["detail"]


async def test_a_node_is_taken_for_quiet_only_up_to_its_last_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another node did since it last reported is not known: it is no quiet, and one that says nothing is named."""
    monkeypatch.setattr("console.ledger.REPORT_S", 600.0)  # the test itself may take longer than ten seconds
    orders = replace(route("orders"), quiet_ns=0)
    async with pair(tmp_path, config(orders)) as (one, two):
        one.state.totals.hello("e0", 0, 0.0)
        one.state.totals.take(Tally(epoch="e0", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
        one.state.evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"), node="a")
        await one.state.evidence.watched.note(time.time(), takes_of(one.state.config), time.monotonic())
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        said = {}
        for age_s in (0.0, 300.0, 900.0):
            two.reported_age_s = age_s
            await two.replicas.beat()
            said[age_s] = await _refusal(one.state, orders)

    assert said[0.0] == ""
    assert "watched without legacy only since" in said[300.0]
    assert "node b (no evidence from it) has not reported" in said[900.0]


async def _refusal(state: ControlState, orders: RouteSpec) -> str:
    """Ask the ledger; give what it says against it."""
    said = await quiet_of(state, orders)
    return "" if said.is_quiet else said.sentence


@pytest.mark.parametrize("broken", ["match", "gap"])
async def test_quiet_that_nobody_watched_is_none(tmp_path: Path, broken: str) -> None:
    """A worker that has said nothing yet, requests that the route did not take then, and time in which Matapalo was
    off: each refuses complete, though legacy answered nothing that anybody saw."""
    now, ticked, orders = time.time(), time.monotonic(), route("orders", "/orders/{id}")
    evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    evidence.watched = WatchStore(evidence.database, now - 0.9 * 48 * GAP_S)
    state: Any = SimpleNamespace(  # what the ledger reads of control's state
        config=config(orders),
        spec=SimpleNamespace(flags={"orders": flag("live")}),
        flag_store=SimpleNamespace(entries=_live_for_ten_days),
        evidence=evidence,
        holds={},
        totals=Totals(),
        replicas=None,
    )
    for ago in range(48, 0, -1):
        await evidence.watched.note(now - 0.9 * ago * GAP_S, takes_of(state.config), ticked - 0.9 * ago * GAP_S)
    state.totals.hello("e0", 0, 0.0)

    unheard = await _refusal(cast(ControlState, state), orders)
    state.totals.take(Tally(epoch="e0", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
    quiet = await _refusal(cast(ControlState, state), orders)
    if broken == "match":
        state.config = config(replace(orders, match=(MatchSpec(path="/orders/**"),)))
    else:
        # Off for an hour, and on again half an hour ago.
        for hours in (2.0, 0.5):
            evidence.watched = WatchStore(evidence.database, now - 9 * 86_400)
            await evidence.watched.note(now - hours * GAP_S, takes_of(state.config), ticked - hours * GAP_S)
    unwatched = await _refusal(cast(ControlState, state), orders)
    await evidence.close()

    assert "worker 0 has not reported what it answered" in unheard
    assert quiet == ""
    assert "watched without legacy only since" in unwatched


def lived(evidence: EvidenceStore | None, orders: RouteSpec) -> Any:
    """Make what the ledger reads of control's state: a route that is live for ten days, and a worker that tells."""
    state: Any = SimpleNamespace(
        config=config(orders),
        spec=SimpleNamespace(flags={orders.name: flag("live")}),
        flag=lambda _: state.spec.flags[orders.name],
        flag_store=SimpleNamespace(entries=_live_for_ten_days),
        evidence=evidence,
        holds={},
        totals=Totals(),
        replicas=None,
    )
    state.totals.hello("e0", 0, 0.0)
    state.totals.take(Tally(epoch="e0", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
    return state


@pytest.mark.parametrize(
    ("quiet_s", "on_s", "off_s", "refused"),
    [
        (86_400, 90_000, 3_000, False),  # the day was watched, without the hole
        (86_400, 88_000, 3_000, True),  # the hole is no part of the day
        (86_400, 180_000, 3_700, True),  # a hole of more than an hour ends the watch
        (1_800, 7_200, 60, False),
        (1_800, 7_200, 80, True),  # and of half an hour one of more than 75 s
        (120, 1_000, 6, True),
    ],
)
async def test_quiet_is_what_was_watched(tmp_path: Path, quiet_s: int, on_s: int, off_s: int, refused: bool) -> None:
    """Time in which Matapalo was off counts for nothing, and a hole of more than a part in 24 of `quiet` ends the
    watch: a short quiet is as honest as a day."""
    orders = replace(route("orders"), quiet_ns=quiet_s * 10**9)
    evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    now, ticked = time.time(), time.monotonic()
    state = lived(evidence, orders)
    for ago in map(float, (on_s, 60 + off_s, 60)):
        if ago != 60.0 + off_s:  # a process that begins
            evidence.watched = WatchStore(evidence.database, now - on_s)
        await evidence.watched.note(now - ago, takes_of(state.config), ticked - ago, anew=True)

    said = await _refusal(cast(ControlState, state), orders)
    await evidence.close()

    assert (said != "") is refused
    if refused:
        assert "watched without legacy only since" in said


@pytest.mark.parametrize("kind", ["rollback", "reload"])
async def test_a_rollback_begins_the_quiet_anew(tmp_path: Path, kind: str) -> None:
    """A route that was live, was taken back and went live again an hour ago has been without legacy for that hour, by
    a rollback as by a reload, though nobody asked legacy anything since."""
    orders, now = route("orders"), time.time()
    state = lived(await EvidenceStore.open(str(tmp_path / "evidence.db")), orders)
    state.evidence.watched = WatchStore(state.evidence.database, now - 9 * 86_400)
    await state.evidence.watched.note(now - 9 * 86_400, takes_of(state.config), time.monotonic() - 9 * 86_400)
    (first,) = await _live_for_ten_days()
    after = {"orders": flag_as_json(flag("shadow"))}
    back = replace(first, kind=kind, at=moment_text(now - 7_200), after={"flags": after} if kind == "reload" else after)
    again = replace(first, at=moment_text(now - 3_600))

    async def newest_first(**_: object) -> list[Entry]:
        return [again, back, first]

    quiet = await _refusal(cast(ControlState, state), orders)
    state.flag_store = SimpleNamespace(entries=newest_first)
    said = await _refusal(cast(ControlState, state), orders)
    await state.evidence.close()

    assert quiet == ""
    assert said.startswith(f"Route 'orders' has been watched without legacy only since {again.at}")


@pytest.mark.parametrize("exposed", ["", "override", "pin", "cohort", "hold"])
async def test_a_worker_that_takes_its_counts_along_ends_the_quiet(tmp_path: Path, exposed: str) -> None:
    """A worker that ended without its last tally may have answered with legacy last: on a live route with an override,
    a pin, a cohort of its own or a hold that moment counts as an answer, on any other live route it cannot have."""
    now, orders = time.time(), replace(route("orders"), pin_ns=10**9 if exposed == "pin" else None)
    evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    state, past = lived(evidence, orders), 9 * 86_400
    evidence.watched = WatchStore(evidence.database, now - past)
    await evidence.watched.note(now - past, takes_of(state.config), time.monotonic() - past)
    if exposed == "override":
        state.config = replace(state.config, override=OverrideSpec(header="x-side", token="env:X"))
    elif exposed == "pin":
        state.config = replace(state.config, pins=("env:X",))
    elif exposed == "cohort":
        state.spec.flags["orders"] = replace(flag("live"), cohorts={"staff": CohortFlag(stage=Stage.SHADOW)})
    elif exposed == "hold":
        state.holds = {"orders": Hold(route="orders")}

    quiet = await _refusal(cast(ControlState, state), orders)
    state.totals.take(Tally(epoch="e0", sequence=2, counts={}, gauges={}, histograms={}, last_legacy={}, final=True))
    state.totals.hello("e1", 0, 1.0)
    state.totals.take(Tally(epoch="e1", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
    clean = await _refusal(cast(ControlState, state), orders)
    state.totals.lost("e1", 2.0)
    state.totals.hello("e2", 0, 3.0)
    state.totals.take(Tally(epoch="e2", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
    said = await _refusal(cast(ControlState, state), orders)
    state.holds = {}
    later = await _refusal(cast(ControlState, state), orders)
    await evidence.close()

    assert (quiet, clean) == ("", "")
    assert said == later
    assert said.startswith("A worker ended without its last counts at 20") is (exposed != "")


def test_a_killed_worker_shows_in_the_ledger() -> None:
    """A rolling restart keeps the ledger as it was; after `kill -9` of one, routes whose clients may still
    reach legacy show when its last counts were lost, and complete is refused for it."""
    routes = [{"name": name, "match": {"path": f"/{name}"}, "initial_stage": "live"} for name in ("orders", "cart")]
    routes[0] |= {"pin": "30s"}
    config = {
        "backends": {"old": {"url": "http://127.0.0.1:9"}, "shop": {"url": "http://127.0.0.1:7"}},
        "defaults": {"legacy": "old", "new": "shop", "quiet": "1m"},
        "pins": {"secret": "env:TEST_PIN"},
        "routes": routes,
    }
    with Product(config, environment={"TEST_PIN": "pinned"}) as product:

        def lost() -> list[bool]:
            """Ask for complete, and whether the ledger shows lost counts."""
            paths = [f"/api/v1/routes/{name}/flip" for name in ("orders", "cart")]
            refusals = [product.admin("POST", path, {"stage": "complete"}, status=409) for path in paths]
            return [one["evidence"]["counts_lost"] is not None for one in refusals]

        before, former = lost(), product.pids()["worker"]
        assert product.process is not None
        product.process.send_signal(signal.SIGUSR2)
        product.wait_log("restarted")
        restarted, successors = lost(), product.wait_replaced("worker", former)
        os.kill(successors[0], signal.SIGKILL)
        product.wait_replaced("worker", successors)
        killed = wait_until(lambda: found if any(found := lost()) else None, "lost counts in the ledger")

    assert (before, restarted, killed) == ([False, False], [False, False], [True, False])


async def _live_for_ten_days(**_: object) -> list[Entry]:
    at = moment_text(time.time() - 10 * 86_400)
    live = flag_as_json(flag("live"))
    return [
        Entry(
            kind="flip", source="api", actor="", routes=("orders",), reason="", at=at, before={}, after={"orders": live}
        )
    ]
