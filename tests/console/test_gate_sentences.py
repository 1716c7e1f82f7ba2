"""What a gate says of a running control process, from the tallies of its worker: one route per sentence, by default."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shadow import link
from store.gatehours import HOUR_S, decode_parts, encode_parts
from tests.support.controlnode import DEADLINE_S, ControlNode, FakeWorker, running

pytestmark = pytest.mark.anyio

TOLERATE = ", ".join(
    f'{{path: "$.{name}", reason: clock, owner: team, expires: "2099-01-31"}}' for name in ("at", "took", "id")
)
NAMES = ("soon", "hidden", "few", "failing", "slow", "undecided", "unseen", "classes", "silent", "bad", "held")
ROUTES = "".join(
    f"  - {{name: {name}, match: {{path: /{name}}}, tolerate: [{TOLERATE if name == 'hidden' else ''}]}}\n"
    for name in NAMES
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Be what the worker tells of one route: clean pairs, and what is odd about them."""

    pairs: int = 6_000
    odd: dict[str, int] = field(default_factory=dict)
    """Keys of a tally without the route, to counts; pairs with another verdict are taken from the identical ones."""
    distinct: int = 400
    new_bin: int = 40


def tell(worker: FakeWorker, stories: dict[str, Told]) -> None:
    """Tell all stories in one tally."""
    counts: dict[str, int] = {}
    bins: dict[str, list[int]] = {}
    for route, told in stories.items():
        other = sum(count for key, count in told.odd.items() if key.startswith(("divergent", "tolerated", "undecided")))
        failed = told.odd.get("paired||GET|2xx|5xx", 0)
        counts |= {
            f"eligible|{route}": told.pairs + told.odd.get("skipped||max_per_second", 0),
            f"sent|{route}": told.pairs,
            f"identical|{route}|legacy": told.pairs - other,
            f"unequal|{route}|legacy": other,
            f"paired|{route}|GET|2xx|2xx": told.pairs - failed,
            f"requests|{route}|legacy|old|2xx": told.pairs,
        }
        counts |= {key.replace("||", f"|{route}|"): count for key, count in told.odd.items()}
        bins[f"paired_head|{route}|legacy"] = [0] * 40 + [told.pairs]
        bins[f"paired_head|{route}|new"] = [0] * told.new_bin + [told.pairs]
    bits = {route: array("H", range(told.distinct)).tobytes() for route, told in stories.items()}
    worker.tally(counts, histograms=bins, distinct=bits)


def age(node: ControlNode, seconds: float) -> None:
    """Make all evidence so much older, while control is away."""
    with sqlite3.connect(node.state_dir / "evidence.db") as file:
        rows = file.execute("SELECT node, route, build, body FROM gate_hours").fetchall()
        file.execute("DELETE FROM gate_hours")
        for owner, route, build, body in rows:
            parts = decode_parts(body)
            for part in parts:
                part.began, part.first, part.last = (
                    at - seconds if at else at for at in (part.began, part.first, part.last)
                )
            hour = int(parts[0].began // HOUR_S)
            file.execute(
                "INSERT INTO gate_hours VALUES (?, ?, ?, ?, ?)", (owner, route, build, hour, encode_parts(parts))
            )
    file.close()


async def said(node: ControlNode, *names: str) -> dict[str, dict[str, Any]]:
    """Ask the gates of some routes."""
    return {name: (await node.get(f"/api/v1/routes/{name}/gate")).json() for name in names}


async def judged(node: ControlNode) -> dict[str, dict[str, Any]]:
    """List the routes until every gate was judged: a list asks them for a second, and the next one asks on."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        listed = {one["name"]: one["gate"] for one in (await node.get("/api/v1/routes")).json()["routes"]}
        if not any("the next one asks on" in gate["sentence"] for gate in listed.values()):
            return listed
        assert time.monotonic() < deadline, listed


async def test_every_reason_has_its_sentence(tmp_path: Path) -> None:
    """Rate, time that is missing, tolerances, different requests, errors, latency, undecided, unseen and uncovered
    traffic, silence and a new build: each has its verdict and says why, by the shipped defaults."""
    async with running(tmp_path, gate="{comparisons: 3000}", routes=ROUTES) as node:
        worker = await node.worker()
        tolerances = [one["id"] for one in (await node.get("/api/v1/tolerances")).json()["tolerances"]]
        hits = {f"tolerance_hits||{name}": 1_680 for name in tolerances}
        stories = {
            "soon": Told(pairs=2_280),
            "hidden": Told(odd={"tolerated||legacy": 5_040, **hits}),
            "few": Told(distinct=50),
            "failing": Told(odd={"paired||GET|2xx|5xx": 60}),
            "slow": Told(new_bin=48),
            "undecided": Told(odd={"undecided||legacy|lost": 60}),
            "unseen": Told(odd={"skipped||max_per_second": 600}),
            "classes": Told(odd={"requests||legacy|old|4xx": 1_500, "uncopied||HEAD": 90}),
            "bad": Told(odd={"divergent||legacy": 60}),
            "held": Told(),
        }
        tell(worker, stories)
        deadline = time.monotonic() + DEADLINE_S
        while (found := await said(node, "held"))["held"]["result"] != "pass":
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)
        found = await said(node, *NAMES)
        node.tell(link.Drain(deadline_ns=10**9))  # everything is in its file then
        await node.ended()
        await node.unlink()
        age(node, 7.85 * 3_600)
        await node.start()
        await node.worker()
        later = await said(node, "soon", "hidden")
        listed = await judged(node)
        refused = await node.post("/api/v1/routes/soon/flip", {"stage": "canary", "percent": 1})
        await node.post("/api/v1/deploys", {"backend": "fresh", "version": "v2"})
        renewed = (await said(node, "hidden"))["hidden"]

    results = {name: (one["result"], one["sentence"]) for name, one in found.items()}
    assert results["hidden"] == (
        "pass",
        "0 divergent of 6,000: at most 0.067 % (limit 0.2 %), 84 % tolerated by 3 rules; no build is known, so "
        "a deploy that nobody tells of is not seen (`version_header`)",
    )
    assert results["few"][0] == "inconclusive"
    assert results["few"][1].endswith(" of 200 different requests")
    assert results["failing"] == ("fail", "new alone failed 60, legacy alone 0 of 6,000: too many (limit 0.1 %)")
    assert results["slow"][0] == "fail"
    assert results["slow"][1].startswith("p95 of new is 2.0")
    assert results["undecided"] == ("fail", "0 divergent and 60 undecided of 6,000: too many (limit 0.2 %)")
    assert results["unseen"][0] == "inconclusive"
    assert results["unseen"][1].startswith("9% of the eligible requests were skipped or dropped")
    uncovered = "4xx, HEAD reached clients and was never compared (22 % of the requests)"
    assert results["classes"] == ("inconclusive", uncovered)
    assert results["silent"][0] == "inconclusive"
    assert results["silent"][1].startswith("nothing was compared yet")
    assert results["bad"] == ("fail", "60 divergent of 6,000: too many (limit 0.2 %)")
    assert results["soon"][0] == "inconclusive"
    assert results["soon"][1].startswith("needs 1,742 more clean, about ")
    assert later["soon"]["sentence"].startswith("needs 1,742 more clean, about 6 h at this rate (")
    assert later["hidden"]["result"] == "pass"
    assert {name: one["result"] for name, one in listed.items()} == {name: one[0] for name, one in results.items()}
    assert listed["soon"]["sentence"].startswith("needs 1,742 more clean, about 6 h")
    assert refused.status_code == 409
    assert "needs 1,742 more clean, about 6 h at this rate" in refused.json()["detail"]
    assert renewed["result"] == "inconclusive"
    assert "nothing of build v2 was compared yet" in renewed["sentence"]


async def test_force_goes_over_gates_only(tmp_path: Path) -> None:
    """Force goes over a shut gate; it goes over no stale revision, no journey, no hold and no wrong request."""
    routes = ROUTES + "  - {name: cart, match: {path: /cart}, journey: checkout}\n"
    force = {"stage": "canary", "percent": 5, "force": True, "reason": "first users"}
    async with running(tmp_path, gate="{comparisons: 3000}", routes=routes) as node:
        await node.worker()
        held = await node.post("/api/v1/routes/held/hold", {"reason": "freeze"})
        stale = await node.post("/api/v1/routes/silent/flip", {**force, "if_revision": 99})
        single = await node.post("/api/v1/routes/cart/flip", force)
        wrong = await node.post("/api/v1/routes/silent/flip", {**force, "stage": "live"})
        over = await node.post("/api/v1/routes/silent/flip", force)
        under = await node.post("/api/v1/routes/held/flip", force)
        shown = (await node.get("/api/v1/routes/held")).json()
        marked = (await node.get("/api/v1/routes/silent")).json()["last_flip"]
        entries = (await node.get("/api/v1/audit?route=silent")).json()["entries"]

    assert [answer.status_code for answer in (held, stale, single, wrong)] == [200, 412, 409, 422]
    assert single.json()["type"] == "urn:matapalo:problem:journey"
    assert over.status_code == under.status_code == 200
    assert shown["hold"]["reason"] == "freeze"
    assert under.json()["held"] == ["held"]
    assert (marked["forced"], marked["reason"]) == (True, "first users")
    assert entries[0]["forced"] is True
