"""Rules of how people are shown what gates said."""

from __future__ import annotations

import pytest

from config.spec import GateSpec, MatchSpec, RouteSpec
from console.commits import Caller
from console.judged import Admission, Judged, admission_as_json, gate_as_json, refusal, unjudged, without
from rules.gate import GateEvidence, GateVerdict, Result


def said(route: str, result: Result) -> Judged:
    """Make what one gate said."""
    verdict = GateVerdict(result=result, sentence=f"it is {result}")
    return Judged(route=route, spec=GateSpec(), verdict=verdict, evidence=GateEvidence())


def test_the_worst_gate_speaks_for_all() -> None:
    """Several gates are shown as the worst of them, with every sentence; a refusal names those that did not pass."""
    asked = Admission(judged=(said("cart", "pass"), said("pay", "inconclusive"), said("orders", "fail")))

    shown, refused = admission_as_json(asked), refusal(asked)

    assert shown == {
        "result": "fail",
        "sentence": "cart: it is pass; pay: it is inconclusive; orders: it is fail",
        "forced": False,
    }
    assert [one.route for one in asked.shut] == ["pay", "orders"]
    assert "pay: inconclusive, it is inconclusive; orders: fail, it is fail" in refused.detail
    assert "cart" not in refused.detail
    assert admission_as_json(asked.of(["elsewhere"])) is None


def test_no_gate_and_a_gate_that_was_not_judged_are_told_apart() -> None:
    """`gate: off` passes and is shown as off; a gate that nobody could judge in time is inconclusive."""
    route = RouteSpec(
        name="orders", match=(MatchSpec(path="/o"),), legacy="old", new="fresh", sticky=(), gate=GateSpec()
    )

    off, late = without(route, 1.0), unjudged(route, "too many at once")

    assert (off.verdict.result, gate_as_json(off)["result"]) == ("pass", "off")
    assert gate_as_json(late) == {
        "result": "inconclusive",
        "sentence": "not judged: too many at once",
        "needs_s": None,
    }


@pytest.mark.parametrize(("gate", "ledger"), [(True, False), (False, True), (True, True), (False, False)])
def test_what_went_over_a_gate_or_the_ledger_is_marked(gate: bool, ledger: bool) -> None:
    """A change that went over a gate, over the ledger or over both is forced for the audit, and no other one is."""
    asked = Admission(judged=(said("orders", "fail"),), forced=gate)

    assert asked.on(Caller(actor="ops"), ledger_forced=ledger).forced is (gate or ledger)
