"""``matapalo flip``: what is sent, what is printed, what is refused before anything is sent."""

from __future__ import annotations

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn


def test_a_flip_sends_what_was_asked_and_prints_what_happened(cli: Cli, admin: StandIn) -> None:
    """A flip names route, stages, revision and audit entry, and exits 0."""
    printed = cli("flip", "orders", "canary", "--percent", "12.5%", "--reason", "first", at=admin)

    assert printed.code == 0
    assert admin.asked[0].call == "POST /api/v1/routes/orders/flip"
    assert admin.asked[0].body == {"stage": "canary", "percent": 12.5, "reason": "first"}
    assert "orders: shadow (copies 100%) → canary 5% (copies 100%)" in printed.out
    assert "revision 13 · audit a-42 · in force on 1 worker" in printed.out


def test_all_options_travel(cli: Cli, admin: StandIn) -> None:
    """--sample, --force and --if-revision reach the server; a percent without the sign is the same percent."""
    cli("flip", "orders", "live", "--sample", "0.5", "--force", "--if-revision", "12", at=admin)

    assert admin.asked[0].body == {"stage": "live", "sample": 0.5, "force": True, "if_revision": 12}


def test_a_journey_flips_at_its_own_place(cli: Cli, admin: StandIn) -> None:
    """--journey flips all its routes by one call."""
    cli("flip", "--journey", "check out", "live", at=admin)

    assert admin.asked[0].call == "POST /api/v1/journeys/check%20out/flip"


def test_laggards_are_exit_code_1(cli: Cli, admin: StandIn) -> None:
    """A flip that not every worker has taken is exit code 1 and names the workers."""
    admin.answers["*"] = (202, {**CHANGE, "workers": {"acked": [0], "missing": [1, 2]}})

    printed = cli("flip", "orders", "live", at=admin)

    assert printed.code == 1
    assert "worker 1, 2 has not acknowledged" in printed.err
    assert cli("flip", "orders", "live", "--json", at=admin).code == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["orders", "canary", "--percent", "140"], "a share cannot exceed 100%"),
        (["orders", "canary", "--percent", "half"], "expected a share from 0% to 100%"),
        (["orders", "canary"], "canary needs --percent"),
        (["orders", "live", "--percent", "5"], "--percent belongs to canary, not to live"),
        (["orders", "beta"], "'beta' is not a stage; expected one of legacy, shadow, canary, live, complete, gone"),
        (["live"], "flip takes ROUTE and STAGE"),
        (["orders", "more", "live"], "flip takes ROUTE and STAGE"),
        (["--journey", "checkout", "orders", "live"], "flip takes ROUTE and STAGE"),
        ([], "flip takes ROUTE and STAGE"),
    ],
)
def test_a_wrong_flip_is_a_usage_error_with_one_sentence(
    cli: Cli, admin: StandIn, words: list[str], sentence: str
) -> None:
    """What cannot be meant is refused here with exit code 2, and nothing is sent."""
    printed = cli("flip", *words, at=admin)

    assert printed.code == 2
    assert sentence in printed.err
    assert admin.asked == []
