"""``matapalo gate``, and what a flip prints when its gate is shut."""

from __future__ import annotations

from typing import Any

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn

GATE: dict[str, Any] = {
    "route": "orders",
    "result": "inconclusive",
    "sentence": "needs 1,742 more clean, about 6 h at this rate",
    "needs_s": 21_600.0,
    "checks": [
        {"name": "divergence", "result": "inconclusive", "sentence": "0 divergent of 1,258", "value": 0, "limit": 0.002}
    ],
    "evidence": {"build": "v2", "since": "2026-01-31T01:00:00Z", "until": "2026-01-31T02:00:00Z"},
}


def test_a_gate_says_what_it_looked_at(cli: Cli, admin: StandIn) -> None:
    """The sentence comes first, then every check, then what the evidence is of; exit 1 unless it passes."""
    admin.answers["*"] = (200, GATE)

    printed = cli("gate", "orders", at=admin)

    assert printed.code == 1
    assert admin.asked[0].call == "GET /api/v1/routes/orders/gate"
    assert printed.out.splitlines()[0] == "orders: inconclusive: needs 1,742 more clean, about 6 h at this rate"
    assert "divergence  inconclusive  0 divergent of 1,258" in printed.out
    assert "Evidence of build v2, from 2026-01-31T01:00:00Z to 2026-01-31T02:00:00Z." in printed.out
    assert cli("gate", "orders", "--json", at=admin).json == GATE


@pytest.mark.parametrize(("result", "code"), [("pass", 0), ("off", 0), ("fail", 1), ("inconclusive", 1)])
def test_the_exit_code_is_the_verdict(cli: Cli, admin: StandIn, result: str, code: int) -> None:
    """A script may wait for exit 0; a route without evidence, or without a gate, prints no table."""
    nothing = {"build": "", "since": None, "until": None}
    admin.answers["*"] = (200, {**GATE, "result": result, "checks": [], "evidence": nothing})

    printed = cli("gate", "orders", at=admin)

    assert printed.code == code
    assert len(printed.out.splitlines()) == 1


def test_a_shut_gate_is_shown_by_flip(cli: Cli, admin: StandIn) -> None:
    """A flip that the gate refuses exits 1 and shows why; with --json it prints nothing but the problem."""
    problem = {
        "type": "urn:matapalo:problem:gate",
        "status": 409,
        "detail": "New gets no more clients yet.",
        "errors": [],
    }
    admin.answers["*"] = (409, {**problem, "gates": [GATE]})

    printed = cli("flip", "orders", "live", at=admin)

    assert printed.code == 1
    assert "divergence  inconclusive  0 divergent of 1,258" in printed.out
    assert "New gets no more clients yet." in printed.err
    assert cli("flip", "orders", "live", "--json", at=admin).code == 1


def test_a_flip_says_what_it_rests_on(cli: Cli, admin: StandIn) -> None:
    """A flip prints what its gate said, and that it went over it."""
    told = {"result": "fail", "sentence": "orders: 60 divergent of 9,000: too many", "forced": True}
    admin.answers["*"] = (200, {**CHANGE, "gate": told})

    printed = cli("flip", "orders", "live", "--force", "--reason", "it is a demo", at=admin)

    assert "Gate fail (forced: stands in the audit for ever): orders: 60 divergent of 9,000: too many" in printed.out
