"""``matapalo rollback`` through the admin API."""

from __future__ import annotations

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn


@pytest.mark.parametrize(
    ("words", "call", "body"),
    [
        (["orders"], "POST /api/v1/routes/orders/rollback", {"to": "legacy"}),
        (
            ["orders", "--to", "shadow", "--anyway", "--reason", "slow"],
            "POST /api/v1/routes/orders/rollback",
            {"to": "shadow", "anyway": True, "reason": "slow"},
        ),
        (["--all"], "POST /api/v1/rollback", {"all": True, "to": "legacy"}),
        (["--journey", "checkout"], "POST /api/v1/rollback", {"journey": "checkout", "to": "legacy"}),
        (["--backend", "shop"], "POST /api/v1/rollback", {"backend": "shop", "to": "legacy"}),
    ],
)
def test_every_target_is_one_call(
    cli: Cli, admin: StandIn, words: list[str], call: str, body: dict[str, object]
) -> None:
    """A route, everything, a journey or a backend goes back with one call, reason optional."""
    printed = cli("rollback", *words, at=admin)

    assert printed.code == 0
    assert (admin.asked[0].call, admin.asked[0].body) == (call, body)


def test_it_prints_the_holds_acknowledgements_and_notes(cli: Cli, admin: StandIn) -> None:
    """What protects the clients is the hold: its workers are printed, and every note."""
    answer = {**CHANGE, "holds": {"acked": [0, 1], "missing": []}, "held": ["orders"], "notes": ["flags not written"]}
    admin.answers["*"] = (200, answer)

    printed = cli("rollback", "orders", at=admin)

    assert "in force on 2 workers" in printed.out
    assert "matapalo release orders" in printed.out
    assert "Note: flags not written" in printed.out


@pytest.mark.parametrize("words", [[], ["orders", "--all"], ["--all", "--journey", "x"], ["--local"]])
def test_exactly_one_target_is_needed(cli: Cli, admin: StandIn, words: list[str]) -> None:
    """No target, or two, is a usage error; nothing is rolled back by accident."""
    printed = cli("rollback", *words, at=admin)

    assert printed.code == 2
    assert "name exactly one target" in printed.err
    assert admin.asked == []


@pytest.mark.parametrize("words", [["--state-dir", "x"], ["-c", "x"]])
def test_local_options_need_local(cli: Cli, admin: StandIn, words: list[str]) -> None:
    """--state-dir and -c without --local are refused instead of ignored."""
    printed = cli("rollback", "--all", *words, at=admin)

    assert printed.code == 2
    assert "--local" in printed.err
