"""Rules of how people are shown what gates said."""

from __future__ import annotations

from dataclasses import replace

from config.spec import GateSpec, MatchSpec, RouteSpec
from console.commits import Caller
from console.judged import (
    Admission,
    Judged,
    Quiet,
    admission_as_json,
    gate_as_json,
    objections,
    refusal,
    unjudged,
    without,
)
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


def test_an_audit_entry_holds_what_gates_and_the_ledger_said() -> None:
    """A change carries what both said of its own routes, and the mark of force; where the file rules the flags, each
    objection is a sentence for the log."""
    loud = Quiet(route="pay", is_quiet=False, sentence="Legacy still answers", evidence={"needed_s": 60})
    still = Quiet(route="cart", is_quiet=True, sentence="Legacy is silent", evidence={"needed_s": 60})
    asked = Admission(judged=(said("orders", "fail"),), ledger=(loud, still))

    whole = asked.on(Caller(actor="ops"))
    part = replace(asked, forced=True).of(["cart"]).on(Caller(actor="ops"))

    assert (whole.evidence["result"], whole.forced, part.forced) == ("fail", False, True)
    assert whole.evidence["ledger"]["pay"] == {"quiet": False, "sentence": "Legacy still answers", "needed_s": 60}
    assert part.evidence == {"ledger": {"cart": {"quiet": True, "sentence": "Legacy is silent", "needed_s": 60}}}
    assert objections(asked, "the file") == [
        ("gate.not_passed", "orders: the file gives new more clients, though its gate is fail: it is fail"),
        ("ledger.not_quiet", "pay: the file lets legacy go, though the ledger is against it: Legacy still answers"),
    ]
