"""Rules of letting legacy go."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import RouteSpec
from console.flips import FlipAsk
from console.ledger import require_quiet
from console.problem import ProblemError
from console.state import ControlState
from store.evidence import EvidenceStore
from tests.console.pair import OPS, pair
from tests.rules.made import config, route
from tests.support.controlnode import ROUTES, running

pytestmark = pytest.mark.anyio


async def test_complete_is_refused_while_legacy_is_not_quiet(tmp_path: Path) -> None:
    """complete answers 409 with the evidence until a live route has a day without legacy; force goes over it."""
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
        worker.tally({}, last_legacy={"orders": time.time() - 50})
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
