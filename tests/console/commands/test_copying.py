"""``matapalo shadow on|off``."""

from __future__ import annotations

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn


def test_it_switches_one_route_or_all(cli: Cli, admin: StandIn) -> None:
    """`off ROUTE` names the route, `on --all` names none, and what holds now is printed."""
    admin.answers["*"] = (200, {**CHANGE, "routes": [], "copying": {"on": True, "off": ["orders"]}})

    printed = cli("shadow", "off", "orders", at=admin)
    cli("shadow", "on", "--all", at=admin)

    assert "switched off: orders" in printed.out
    assert [one.body for one in admin.asked] == [{"on": False, "route": "orders"}, {"on": True}]


@pytest.mark.parametrize("words", [["on"], ["off", "orders", "--all"], ["maybe", "orders"]])
def test_it_needs_exactly_one_target(cli: Cli, admin: StandIn, words: list[str]) -> None:
    """Neither nor, or both, is a usage error."""
    assert cli("shadow", *words, at=admin).code == 2
    assert admin.asked == []
