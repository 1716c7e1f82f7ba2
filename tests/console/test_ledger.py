"""Rules of letting legacy go."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config.spec import MatchSpec, RouteSpec
from console.flips import FlipAsk
from console.journal import moment_text
from console.ledger import require_quiet
from console.problem import ProblemError
from console.state import ControlState
from console.totals import Totals
from rules.basis import takes_of
from rules.flag import flag_as_json
from shadow.link import Tally
from store.entries import Entry
from store.evidence import EvidenceStore
from store.watched import GAP_S, WatchStore
from tests.console.pair import OPS, pair
from tests.rules.made import config, flag, route
from tests.support.controlnode import ROUTES, running

pytestmark = pytest.mark.anyio


async def test_complete_is_refused_while_legacy_is_not_quiet(tmp_path: Path) -> None:
    """complete answers 409 with the evidence until a live route has a day without legacy; force goes over it.
    gone asks nothing, and says when legacy last answered."""
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
        gone = await node.post("/api/v1/routes/orders/flip", {"stage": "gone"})

    assert gone.json()["notes"][0].startswith("legacy last answered route orders at 20")
    assert [early.status_code, watched.status_code, loud.status_code] == [409, 409, 409]
    assert early.json()["evidence"]["live_since"] is None
    assert watched.json()["evidence"]["live_since"] is not None
    assert loud.json()["evidence"]["last_legacy"] is not None
    assert loud.json()["evidence"]["needed_s"] == 86_400
    assert forced.status_code == 200


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


async def test_a_node_is_taken_for_quiet_only_up_to_its_last_report(tmp_path: Path) -> None:
    """What another node did since it last reported is not known: it is no quiet, and one that says nothing is named."""
    orders = replace(route("orders"), quiet_ns=0)
    async with pair(tmp_path, config(orders)) as (one, two):
        one.state.totals.hello("e0", 0, 0.0)
        one.state.totals.take(Tally(epoch="e0", sequence=1, counts={}, gauges={}, histograms={}, last_legacy={}))
        one.state.evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"), node="a")
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        said = {}
        for age_s in (0.0, 5.0, 60.0):
            two.reported_age_s = age_s
            await two.replicas.beat()
            said[age_s] = await _refusal(one.state, orders)

    assert said[0.0] == ""
    assert "watched without legacy only since" in said[5.0]
    assert "node b (no evidence from it) has not reported" in said[60.0]


async def _refusal(state: ControlState, orders: RouteSpec) -> str:
    """Ask the ledger; give what it says against it."""
    try:
        await require_quiet(state, orders)
    except ProblemError as error:
        return error.detail
    return ""


@pytest.mark.parametrize("broken", ["match", "gap"])
async def test_quiet_that_nobody_watched_is_none(tmp_path: Path, broken: str) -> None:
    """A worker that has said nothing yet, requests that the route did not take then, and time in which Matapalo was
    off: each refuses complete, though legacy answered nothing that anybody saw."""
    now, ticked, orders = time.time(), time.monotonic(), route("orders", "/orders/{id}")
    evidence = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    evidence.watched = WatchStore(evidence.database, now - 9 * 86_400)
    state: Any = SimpleNamespace(  # what the ledger reads of control's state
        config=config(orders),
        spec=SimpleNamespace(flags={"orders": flag("live")}),
        flag_store=SimpleNamespace(entries=_live_for_ten_days),
        evidence=evidence,
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
        await evidence.watched.note(
            now - 2 * GAP_S, takes_of(state.config), ticked - 2 * GAP_S
        )  # the last word before it went off
    unwatched = await _refusal(cast(ControlState, state), orders)
    await evidence.close()

    assert "worker 0 has not reported what it answered" in unheard
    assert quiet == ""
    assert "watched without legacy only since" in unwatched


async def _live_for_ten_days(**_: object) -> list[Entry]:
    at = moment_text(time.time() - 10 * 86_400)
    live = flag_as_json(flag("live"))
    return [
        Entry(
            kind="flip", source="api", actor="", routes=("orders",), reason="", at=at, before={}, after={"orders": live}
        )
    ]
