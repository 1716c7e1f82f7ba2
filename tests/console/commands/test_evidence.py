"""``matapalo evidence reset``: what is sent and what is said."""

from __future__ import annotations

from tests.console.commands.conftest import CHANGE, Cli, StandIn


def test_a_reset_says_from_when_on_evidence_counts(cli: Cli, admin: StandIn) -> None:
    """The reset names its moment and its audit entry."""
    admin.answers["*"] = (200, {**CHANGE, "routes": [], "route": "orders", "since": "2026-01-31T01:00:00.000Z"})

    printed = cli("evidence", "reset", "orders", "--reason", "new data", at=admin)

    assert printed.code == 0
    assert admin.asked[0].call == "POST /api/v1/routes/orders/evidence/reset"
    assert admin.asked[0].body == {"reason": "new data"}
    assert "The gate of orders counts from 2026-01-31T01:00:00.000Z on." in printed.out
    assert "audit a-42" in printed.out
