"""``matapalo autopilot``."""

from __future__ import annotations

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn


@pytest.mark.parametrize(("word", "on"), [("on", True), ("off", False)])
def test_the_autopilot_is_switched_by_name(cli: Cli, admin: StandIn, word: str, on: bool) -> None:
    """The command names the route and the reason, and prints what the autopilot does now."""
    shown = {"on": on, "phase": "baking", "sentence": "canary 1 % bakes 60 min longer", "next": None}
    admin.answers["*"] = (200, {**CHANGE, "autopilot": shown})

    printed = cli("autopilot", "orders", word, "--reason", "friday", at=admin)

    assert printed.code == 0
    assert "autopilot of orders: canary 1 % bakes 60 min longer" in printed.out
    assert admin.asked[0].call == "POST /api/v1/routes/orders/autopilot"
    assert admin.asked[0].body == {"on": on, "reason": "friday"}
