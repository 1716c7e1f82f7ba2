"""Rules of the gates over the admin API of a real control process, and of what they are told."""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from config.spec import GateSpec, MatchSpec, RouteSpec, ToleranceSpec
from console.builds import Word
from console.flips import FlipAsk
from console.gates import FRESH_S, HEARD_S, Gates
from console.judged import judged_as_json, objections
from console.problem import ProblemError
from console.state import ControlState
from rules.flag import Flag, Stage
from rules.gate import GateEvidence
from store.database import StoreError
from tests.console.pair import OPS, pair
from tests.rules import made as rules_made
from tests.support.controlnode import DEADLINE_S, ControlNode, FakeWorker, running
from tests.support.recorder import Recorder, answer

pytestmark = pytest.mark.anyio

SMALL = "{comparisons: 200, distinct_requests: 3, divergent_max: 5%, error_delta_max: 5%, p95_ratio_max: 10}"
CANARY = {"stage": "canary", "percent": 5}


def compare(
    worker: FakeWorker,
    *routes: str,
    pairs: int = 400,
    divergent: int = 0,
    builds: dict[str, str] | None = None,
) -> None:
    """Tell of comparisons as a worker does."""
    counts: dict[str, int] = {}
    for route in routes:
        counts |= {
            f"eligible|{route}": pairs,
            f"sent|{route}": pairs,
            f"identical|{route}|legacy": pairs - divergent,
            f"unequal|{route}|legacy": divergent,
            f"divergent|{route}|legacy": divergent,
            f"paired|{route}|GET|2xx|2xx": pairs,
            f"requests|{route}|legacy|old|2xx": pairs,
        }
    bins = {
        f"paired_head|{route}|{side}": [0] * 40 + [pairs // 2, pairs // 2]
        for route in routes
        for side in ("legacy", "new")
    }
    bits = {route: array("H", range(50)).tobytes() for route in routes}
    worker.tally(counts, histograms=bins, distinct=bits, builds=builds or {})


async def gate_of(node: ControlNode, route: str = "orders") -> dict[str, Any]:
    """Ask for one gate."""
    return cast(dict[str, Any], (await node.get(f"/api/v1/routes/{route}/gate")).json())


async def says(node: ControlNode, result: str, route: str = "orders") -> dict[str, Any]:
    """Wait until a gate says something; its verdict is a second old at most."""
    deadline = time.monotonic() + DEADLINE_S
    while (found := await gate_of(node, route))["result"] != result:
        assert time.monotonic() < deadline, f"{route} never said {result}: {found}"
        await asyncio.sleep(0.05)
    return found


async def flip(node: ControlNode, body: dict[str, Any], route: str = "orders") -> httpx2.Response:
    """Flip one route."""
    return await node.post(f"/api/v1/routes/{route}/flip", body)


async def flip_on_its_word(node: ControlNode, body: dict[str, Any]) -> httpx2.Response:
    """Flip as soon as new says in time which build it is; it has a second, and a busy machine may take it."""
    deadline = time.monotonic() + DEADLINE_S
    while "could not be asked" in (answer := await flip(node, body)).text:
        assert time.monotonic() < deadline, answer.text
    return answer


async def test_a_flip_rests_on_evidence(tmp_path: Path) -> None:
    """What gives new more clients is refused until the gate passes; both the refusal and the audit carry the
    evidence, and what takes clients from new, or only copies, asks nothing."""
    async with running(tmp_path, gate=SMALL) as node:
        worker = await node.worker()
        shadow = await flip(node, {"stage": "shadow"})
        early = await flip(node, CANARY)
        undone = await node.get("/api/v1/audit")
        compare(worker, "orders")
        passed = await says(node, "pass")
        shown = (await node.get("/api/v1/routes/orders")).json()["gate"]
        allowed = await flip(node, CANARY)
        entry = (await node.get("/api/v1/audit")).json()["entries"][0]
        back = await flip(node, {"stage": "shadow"})

    assert shadow.status_code == 200
    assert shadow.json()["gate"] is None
    assert early.status_code == 409
    assert early.json()["type"] == "urn:matapalo:problem:gate"
    assert early.json()["gates"][0]["result"] == "inconclusive"
    assert "nothing was compared yet" in early.json()["detail"]
    assert undone.json()["entries"][0]["kind"] == "flip"
    assert undone.json()["entries"][0]["after"]["orders"]["stage"] == "shadow"
    assert passed["sentence"].startswith("0 divergent of 400: at most ")
    assert [check["result"] for check in passed["checks"]] == ["pass"] * 9
    assert passed["evidence"]["compared"] == 400
    assert passed["evidence"]["classes"] == [{"method": "GET", "legacy": "2xx", "new": "2xx", "pairs": 400}]
    assert (shown["result"], shown["sentence"]) == ("pass", passed["sentence"])
    assert allowed.status_code == 200
    assert allowed.json()["gate"]["result"] == "pass"
    assert entry["forced"] is False
    assert entry["evidence"]["gates"][0]["evidence"]["compared"] == 400
    assert back.status_code == 200


async def test_force_goes_over_a_gate_and_is_marked_for_ever(tmp_path: Path) -> None:
    """Force needs a reason, and the audit, the route and the status say who forced what; undo asks the gate, too, and
    is marked like a flip."""
    async with running(tmp_path, gate=SMALL) as node:
        worker = await node.worker()
        compare(worker, "orders", divergent=200)
        failed = await says(node, "fail")
        silent = await flip(node, CANARY | {"force": True})
        blank = await flip(node, CANARY | {"force": True, "reason": " "})
        refused = await flip(node, CANARY)
        forced = await flip(node, CANARY | {"force": True, "reason": "first users asked for it"})
        entry = (await node.get("/api/v1/audit")).json()["entries"][0]
        status = (await node.get("/api/v1/status")).json()["forced"]
        back = await flip(node, {"stage": "shadow"})
        after = (await node.get("/api/v1/status")).json()["forced"]
        undo = await node.post("/api/v1/undo", {"audit_id": back.json()["audit_id"]})
        over = {"audit_id": back.json()["audit_id"], "force": True, "reason": "they asked again"}
        undone = await node.post("/api/v1/undo", over)
        marked = (await node.get("/api/v1/audit?limit=1")).json()["entries"][0]

    assert failed["sentence"] == "200 divergent of 400: too many (limit 5 %)"
    assert [answer.status_code for answer in (silent, blank, refused, forced)] == [422, 422, 409, 200]
    assert silent.json()["errors"][0]["where"] == "reason"
    assert forced.json()["gate"]["forced"] is True
    assert (entry["forced"], entry["reason"]) == (True, "first users asked for it")
    assert entry["evidence"]["gates"][0]["result"] == "fail"
    assert [(one["route"], one["reason"]) for one in status] == [("orders", "first users asked for it")]
    assert after == []
    assert undo.status_code == 409
    assert (undone.status_code, undone.json()["gate"]["forced"]) == (200, True)
    assert (marked["kind"], marked["forced"], marked["reason"]) == ("undo", True, "they asked again")
    assert marked["evidence"]["gates"][0]["result"] == "fail"


async def test_all_routes_of_a_journey_must_pass(tmp_path: Path) -> None:
    """One member without evidence keeps the whole journey back, and is named."""
    async with running(tmp_path, gate=SMALL) as node:
        worker = await node.worker()
        compare(worker, "cart")
        await says(node, "pass", "cart")
        refused = await node.post("/api/v1/journeys/checkout/flip", CANARY)
        compare(worker, "cart", "pay")
        await says(node, "pass", "pay")
        passed = await node.post("/api/v1/journeys/checkout/flip", CANARY)

    assert refused.status_code == 409
    assert [(one["route"], one["result"]) for one in refused.json()["gates"]] == [
        ("cart", "pass"),
        ("pay", "inconclusive"),
    ]
    assert "pay: inconclusive" in refused.json()["detail"]
    assert "cart" not in refused.json()["detail"]
    assert passed.status_code == 200


class FakeEvidence:
    """Know what a test says, and count the questions."""

    def __init__(self, evidence: GateEvidence, *, build: str = "v1") -> None:
        self.evidence, self.build, self.asked = evidence, build, 0
        self.basis = "here"
        self.word, self.words = Word(), list[float]()
        self.told: Callable[[], object] = lambda: None
        self.broken = False
        self.lately = evidence

    def current_build(self, route: str) -> str:
        """Give the build that a test says."""
        return self.build

    def current_basis(self, route: str) -> str:
        """Give the basis that a test says."""
        return self.basis

    async def ask_build(self, route: RouteSpec, heard_s: float) -> Word:
        """Say what a test says, and which build new is from then on."""
        self.words.append(heard_s)
        self.told()
        self.build = self.word.build or self.build
        return self.word

    async def gate_evidences(self, route: str, build: str, sinces: Sequence[float]) -> list[GateEvidence]:
        """Give the evidence that a test says, or break."""
        self.asked += 1
        if self.broken:
            raise StoreError("the disk is gone")
        return [self.evidence, *(self.lately for _ in sinces[1:])]

    async def client_classes(self, route: str, since: float) -> dict[tuple[str, str], int]:
        """Say that clients got 2xx from legacy, and something else from new."""
        return {("legacy", "2xx"): 1_000, ("new", "5xx"): 500}

    async def requests(self, route: str, since: float) -> tuple[int, int]:
        """Say that a sixth of the requests can be copied."""
        return 1_500, 250


def gates_over(evidence: FakeEvidence, **route: Any) -> tuple[Gates, Any]:  # any field of a route
    """Make the gates of one route."""
    spec = RouteSpec(
        name="orders", match=(MatchSpec(path="/o"),), legacy=route.pop("legacy", "old"), new="fresh", sticky=(), **route
    )
    state: Any = SimpleNamespace(  # what the gates read of control's state
        notes={},
        config=SimpleNamespace(routes=(spec,), tolerate=(), cohorts=(), backends=()),
        spec=SimpleNamespace(tolerate=()),
        route=lambda _: state.config.routes[0],
        flag=lambda _: state.now,
        now=Flag(stage=Stage.SHADOW, salt="s"),
    )
    return Gates(cast(ControlState, state), evidence), state


LIVE = {"orders": Flag(stage=Stage.LIVE, salt="s")}


async def test_evidence_that_cannot_be_read_opens_no_gate() -> None:
    """With the evidence away every gate is inconclusive and says why; force still goes over it."""
    evidence = FakeEvidence(GateEvidence())
    evidence.broken = True
    gates, _ = gates_over(evidence)

    verdict = await gates.verdict("orders")
    with pytest.raises(ProblemError, match="the evidence cannot be read: the disk is gone"):
        await gates.admit(LIVE, force=False)
    forced = await gates.admit(LIVE, force=True)

    assert verdict.result == "inconclusive"
    assert forced.forced is True


async def test_whoever_rules_the_flags_is_told_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for a file or a provider gates refuse nothing, say what stands against it, and take a bounded time; what
    was compared of other requests or services counts for nothing."""
    gates, state = gates_over(FakeEvidence(GateEvidence()))
    routes, before = state.config.routes, {"orders": state.now}

    judged = await gates.ask(routes, before, LIVE)
    anew = await gates.ask(routes, before, LIVE, anew=["orders"])
    down, born = await gates.ask(routes, LIVE, before), await gates.ask(routes, {}, LIVE)
    monkeypatch.setattr("console.gates.ASK_S", 0.0)
    late = await gates.ask(routes, before, LIVE)

    assert judged.forced is False
    said = (
        "orders: the file gives new more clients, though its gate is inconclusive: " + judged.shut[0].verdict.sentence
    )
    assert objections(judged, "the file") == [("gate.not_passed", said)]
    assert "as the new file has it" in anew.shut[0].verdict.sentence
    assert (down.judged, born.judged) == ((), ())
    assert "many gates were asked at once" in late.shut[0].verdict.sentence


async def test_a_route_without_gate_says_so() -> None:
    """With `gate: off` a flip asks for nothing, and its audit entry says that there was no gate."""
    gates, _ = gates_over(FakeEvidence(GateEvidence()), gate=None)

    admission = await gates.admit(LIVE, force=False)

    assert admission.forced is False
    assert [judged_as_json(one)["result"] for one in admission.judged] == ["off"]
    assert gates.results() == {}


async def test_a_route_without_legacy_has_no_gate() -> None:
    """A new feature has nothing to be compared with."""
    gates, _ = gates_over(FakeEvidence(GateEvidence()), legacy=None)

    assert (await gates.admit(LIVE, force=False)).judged == ()
    assert (await gates.verdict("orders")).result == "pass"


async def test_a_verdict_is_remembered_for_a_second() -> None:
    """Asking again at once costs nothing; another build, basis, flag, gate or reset makes a verdict worthless."""
    evidence = FakeEvidence(GateEvidence(build="v1"))
    gates, state = gates_over(evidence)
    await gates.verdict("orders")
    first = evidence.asked
    await gates.verdict("orders")
    again = evidence.asked
    changes = []
    for change in ("build", "basis", "flag", "reset"):
        before = evidence.asked
        if change == "build":
            evidence.build = "v2"
        elif change == "basis":
            evidence.basis = "elsewhere"
        elif change == "flag":
            state.now = Flag(stage=Stage.LEGACY, salt="s")
        else:
            state.notes = {"evidence:orders": json.dumps({"since": 1.0})}
        await gates.verdict("orders")
        changes.append(evidence.asked > before)

    assert again == first
    assert changes == [True, True, True, True]
    assert gates.results() == {"orders": "inconclusive"}


async def test_a_list_asks_gates_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a list could not judge in its time is inconclusive; what is known is shown, and the next list asks on."""
    evidence = FakeEvidence(GateEvidence(build="v1"))
    gates, state = gates_over(evidence)
    monkeypatch.setattr("console.gates.LIST_S", 0.0)
    late = await gates.shown(["orders"])
    asked = evidence.asked
    monkeypatch.setattr("console.gates.LIST_S", 60.0)
    judged = await gates.shown(["orders"])
    monkeypatch.setattr("console.gates.LIST_S", 0.0)
    monkeypatch.setattr("console.gates.SHOWN_S", 0.0)
    known = await gates.shown(["orders"])
    state.now = Flag(stage=Stage.LEGACY, salt="s")
    moved = await gates.shown(["orders"])

    assert (late["orders"].verdict.result, asked) == ("inconclusive", 0)
    assert "the next one asks on" in late["orders"].verdict.sentence
    assert evidence.asked > 0
    assert known["orders"] is judged["orders"]
    assert moved["orders"] is not known["orders"]


async def test_only_what_legacy_answered_clients_is_held_against_the_pairs() -> None:
    """Classes that only new answered clients with are no part of coverage; requests of both sides are counted."""
    seen = GateEvidence(build="v1", since=1.0, until=2.0, identical=10, classes={("GET", "2xx", "2xx"): 10})
    gates, _ = gates_over(FakeEvidence(seen), gate=GateSpec())

    judged = await gates.judge("orders")

    assert dict(judged.evidence.clients) == {"2xx": 1_000}
    assert (judged.evidence.asked, judged.evidence.comparable) == (1_500, 250)


def passing() -> FakeEvidence:
    """Make evidence on which a gate of few wishes passes, whoever asks."""
    now = time.time()
    seen = GateEvidence(
        build="v1",
        since=now - 600,
        until=now,
        identical=10_000,
        eligible=10_000,
        distinct=500,
        classes={("GET", "2xx", "2xx"): 10_000},
        latency={side: [0] * 40 + [10_000] for side in ("legacy", "new")},
    )
    return FakeEvidence(seen)


async def test_the_last_day_and_hour_are_looked_at_on_their_own() -> None:
    """A gate that passes on its week fails when what was compared lately is bad, and says which stretch it was."""
    evidence = passing()
    week = replace(evidence.evidence, since=time.time() - 6 * 86_400)
    evidence.evidence = evidence.lately = week
    gates, _ = gates_over(evidence, gate=GateSpec(p95_ratio_max=10.0))
    good = await gates.verdict("orders")
    evidence.lately = replace(week, since=time.time() - 3_600, identical=970, divergent=30)
    gates.forget(["orders"])
    bad = await gates.verdict("orders")

    assert (good.result, bad.result) == ("pass", "fail")
    assert bad.sentence == "30 of 1,000 were divergent in the last 1 h: too many (limit 0.2 %)"


@pytest.mark.parametrize(
    ("place", "result"),
    [("route", "pass"), ("file", "pass"), ("operators", "pass"), ("operators, elsewhere", "inconclusive")],
)
async def test_every_tolerance_in_force_is_known_to_the_gate(place: str, result: str) -> None:
    """Evidence that a tolerance made clean counts while it is in force, wherever it was written: with the route, in the
    file, or by an operator; one of another route is none of this one's."""
    name = "elsewhere" if place.endswith("elsewhere") else "orders" if place == "operators" else ""
    date = ToleranceSpec(id="t-1", route=name, path="$.at", reason="clocks", owner="shop", expires="2999-01-01")
    own, everywhere, applied = ((date,) if place.startswith(one) else () for one in ("route", "file", "operators"))
    evidence = passing()
    evidence.evidence = evidence.lately = replace(
        evidence.evidence, identical=9_000, tolerated=1_000, tolerated_by={"t-1": 1_000}
    )
    gates, state = gates_over(evidence, gate=GateSpec(p95_ratio_max=10.0), tolerate=own)
    state.config.tolerate, state.spec.tolerate = everywhere, applied

    verdict = await gates.verdict("orders")

    assert verdict.result == result, verdict.sentence
    assert ("tolerances that are gone hid differences: t-1" in verdict.sentence) is (result != "pass")


@pytest.mark.parametrize(
    ("word", "result", "said"),
    [
        (Word(), "pass", "0 divergent"),
        (Word(build="v1"), "pass", "0 divergent"),
        (
            Word(build="v2", note="it says v2"),
            "inconclusive",
            "new runs v2; it has to be compared first; it",
        ),
        (Word(note="it sent no X-Build"), "pass", "it sent no X-Build"),
        (Word(trouble="fresh could not be asked"), "inconclusive", "fresh could not be asked; 0 divergent"),
    ],
)
async def test_a_pass_is_of_the_build_that_new_says_it_is(word: Word, result: str, said: str) -> None:
    """Before a flip new is asked which build it is: another one, or one that cannot be asked, passes nothing."""
    evidence = passing()
    gates, state = gates_over(evidence, gate=GateSpec(p95_ratio_max=10.0))
    evidence.word = word

    asked = await gates.ask(state.config.routes, {"orders": state.now}, LIVE)

    assert [one.verdict.result for one in asked.judged] == [result]
    assert said in asked.judged[0].verdict.sentence
    assert evidence.words == [FRESH_S]


async def test_a_list_asks_new_nothing() -> None:
    """Lists show what is known; who looks at one gate takes a recent word of new, and no gate asks for nothing."""
    evidence, unasked = passing(), passing()
    gates, _ = gates_over(evidence, gate=GateSpec(p95_ratio_max=10.0))
    off, _ = gates_over(unasked, gate=None)

    await gates.shown(["orders"])
    before = list(evidence.words)
    await gates.judge("orders")
    await off.judge("orders")

    assert (before, evidence.words, unasked.words) == ([], [HEARD_S], [])


async def test_nobody_waits_for_new_with_the_turn(tmp_path: Path) -> None:
    """New is asked for its build before a flip takes the turn, so that a rollback never waits for a new that hangs; a
    flip that takes clients away asks nobody."""
    evidence, turns = passing(), list[bool]()
    orders = rules_made.route("orders", gate=GateSpec(p95_ratio_max=10.0))
    async with pair(tmp_path, rules_made.config(orders), gated=True) as (one, _):
        evidence.told = lambda: turns.append(one.state.turn.locked())
        one.state.gates = Gates(one.state, evidence)
        answer = await one.flips.flip("orders", FlipAsk(stage="canary", percent_bp=500), OPS)
        asked = len(turns)
        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)

    assert answer.body["gate"]["result"] == "pass"
    assert turns == [False]
    assert asked == 1


async def test_a_silent_deploy_does_not_pass_on_the_evidence_of_the_build_before(tmp_path: Path) -> None:
    """New names its build in every answer, another one is deployed and nobody says so: the next flip is refused, though
    nothing was compared since; a new that is away passes nothing either, and the route back to the first build does."""
    build = ["v1"]
    routes = "  - {name: orders, match: {path: '/orders/{id:int}', methods: [GET]}}\n"
    with Recorder(lambda _: answer(b"", status=404, headers=(("X-Build", build[0]),))) as new:
        fresh = f'{{url: "{new.url}", version_header: X-Build}}'
        async with running(tmp_path, gate=SMALL, routes=routes, fresh=fresh) as node:
            worker = await node.worker()
            compare(worker, "orders", builds={"orders": "v1"})
            await says(node, "pass")
            build[0] = "v2"
            silent = await flip_on_its_word(node, CANARY)
            build[0] = "v1"
            back = await flip_on_its_word(node, CANARY)
            new.close()
            away = await flip(node, CANARY | {"percent": 10})
            lower = await flip(node, {"stage": "shadow"})
            metrics = (await node.get("/metrics")).text

    asked = new.requests[0]
    assert (asked.method, asked.target, asked.values("x-matapalo-shadow")) == (b"OPTIONS", b"/orders/918273645", [b"1"])
    assert silent.status_code == 409
    assert "nothing of build v2 was compared yet" in silent.json()["detail"]
    assert "fresh says v2 when asked" in silent.json()["detail"]
    assert back.status_code == 200, back.text
    assert (away.status_code, away.json()["gates"][0]["result"]) == (409, "inconclusive")
    assert "fresh could not be asked which build it is" in away.json()["detail"]
    assert lower.status_code == 200
    kinds = ("named", "unnamed", "unanswered")
    counted = [kind for kind in kinds if f'build_questions_total{{outcome="{kind}",route="orders"}}' in metrics]
    assert counted == ["named", "unanswered"]


async def test_live_and_a_cohort_of_everybody_ask_the_gate(tmp_path: Path) -> None:
    """From a canary of 100 % live still brings the clients without a key, and a cohort of every address is everybody:
    both are refused without evidence; a cohort of few people is not asked for any, and its flip says so."""
    top = "cohorts: [{name: all, match: {cidr: 0.0.0.0/0}}, {name: staff, match: {header: X-Staff}}]"
    forced = {"force": True, "reason": "test"}
    async with running(tmp_path, gate=SMALL, top=top) as node:
        everybody = await flip(node, {"stage": "live", "cohort": "all"})
        staff = await flip(node, {"stage": "live", "cohort": "staff"})
        ended = await flip(node, {"stage": "none", "cohort": "staff"})
        whole = await flip(node, {"stage": "canary", "percent": 100} | forced)
        live = await flip(node, {"stage": "live"})
        over = await flip(node, {"stage": "live", "cohort": "all"} | forced)

    assert (everybody.status_code, everybody.json()["type"]) == (409, "urn:matapalo:problem:gate")
    assert "no gate was asked" in staff.json()["notes"][0]
    assert ended.json()["notes"] == []
    assert (whole.status_code, live.status_code) == (200, 409)
    assert (over.status_code, over.json()["gate"]["forced"]) == (200, True)
    assert not any("no gate was asked" in note for note in over.json()["notes"])
