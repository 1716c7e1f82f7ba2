"""``matapalo tolerate``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.console.commands.conftest import CHANGE, Cli, StandIn

YAML = '- {path: "$.at", reason: "clock", owner: "shop", expires: "2027-01-31"}'
NOTHING = {"sentence": "Of what was seen in the last 7 days it would have hidden nothing.", "examples": []}
PROPOSED: dict[str, Any] = {
    "changed": False,
    "tolerance": {"id": "t-1", "path": "$.at"},
    "yaml": YAML,
    "would_hide": NOTHING,
}
CLOCK: dict[str, Any] = {
    "id": "t-1",
    "route": "orders",
    "path": "$.at",
    "cause": None,
    "rule": {"timestamp": {"within": "5s"}},
    "reason": "clock",
    "owner": "shop",
    "expires": "2027-01-31",
    "days_left": 72,
    "state": "in_force",
    "source": "file",
    "hits": 4711,
    "last_hit": "2026-01-31T03:00:00.000Z",
    "compared": 9000,
}
SAID = ("--reason", "clock", "--owner", "shop", "--expires", "2027-01-31")


def test_by_default_nothing_is_changed_and_the_line_for_the_file_is_printed(cli: Cli, admin: StandIn) -> None:
    """Without --apply the command asks what a tolerance would hide, and prints YAML to paste."""
    found = {
        "sentence": "In the last 7 days it would have hidden 12 pairs.",
        "examples": [
            {"sentence": "/at of GET /orders/1", "comparison": "c-1", "legacy": '"10:00\x1b[2J"', "new": '"10:01"'}
        ],
    }
    admin.answers["*"] = (200, {**PROPOSED, "would_hide": found})

    done = cli("tolerate", "orders", "--path", "$.at", "--days", "3", at=admin)

    assert done.code == 0
    assert admin.asked[0].call == "POST /api/v1/tolerances"
    assert admin.asked[0].body == {"route": "orders", "path": "$.at", "apply": False, "days": 3}
    assert "would have hidden 12 pairs" in done.out
    assert '  legacy  "10:00\\x1b[2J"' in done.out
    assert f"  {YAML}" in done.out


def test_apply_puts_it_in_force(cli: Cli, admin: StandIn) -> None:
    """--apply sends everything that was said, and prints the change with its audit entry."""
    admin.answers["*"] = (200, {**CHANGE, "routes": [], "tolerance": {"id": "t-1"}})

    done = cli("tolerate", "orders", "--path", "$.at", "--rule", "timestamp=5s", *SAID, "--apply", at=admin)

    assert done.code == 0
    assert admin.asked[0].body == {
        "route": "orders",
        "path": "$.at",
        "rule": {"timestamp": {"within": "5s"}},
        "reason": "clock",
        "owner": "shop",
        "expires": "2027-01-31",
        "apply": True,
    }
    assert "t-1 is in force until the end of 2027-01-31 (UTC)." in done.out
    assert "audit a-42" in done.out


@pytest.mark.parametrize(
    ("rule", "sent"),
    [
        ("uuid", "uuid"),
        ("counter", "counter"),
        ("counter=5", {"counter": 5}),
        ("keyed_by=id", {"keyed_by": "id"}),
        ("within=1%", {"within": "1%"}),
        ("nonsense=1", {"nonsense": "1"}),
    ],
)
def test_a_rule_is_sent_as_the_file_has_it(cli: Cli, admin: StandIn, rule: str, sent: object) -> None:
    """The words of --rule become the keys of the file; the server says which are wrong."""
    admin.answers["*"] = (200, PROPOSED)

    cli("tolerate", "--all", "--path", "$.at", "--rule", rule, at=admin)

    assert admin.asked[0].body == {"path": "$.at", "rule": sent, "apply": False, "days": 7}


def test_the_list_shows_hits_owner_and_end(cli: Cli, admin: StandIn) -> None:
    """Each tolerance is a row with what it hides, how often, until when and who answers for it."""
    past = {**CLOCK, "id": "t-2", "route": None, "path": None, "cause": "key_order", "rule": None, "state": "expired"}
    ending = {**CLOCK, "id": "t-3", "rule": "uuid", "state": "ending", "days_left": 3, "hits": 0, "last_hit": None}
    admin.answers["*"] = (200, {"revision": 1, "tolerances": [CLOCK, past, ending]})

    done = cli("tolerate", "--list", "orders", at=admin)

    assert done.code == 0
    assert admin.asked[0].call == "GET /api/v1/tolerances?route=orders"
    rows = done.out.splitlines()
    assert "$.at timestamp within 5s" in rows[1]
    assert "4711" in rows[1]
    assert "every route" in rows[2]
    assert "(expired: hides nothing)" in rows[2]
    assert "$.at uuid" in rows[3]
    assert "(3 days left)" in rows[3]
    assert cli("tolerate", "--list", "--json", at=admin).json["revision"] == 1


def test_an_empty_list_is_a_sentence(cli: Cli, admin: StandIn) -> None:
    """Nothing tolerated is said, not shown as an empty table."""
    admin.answers["*"] = (200, {"revision": 1, "tolerances": []})

    assert cli("tolerate", "--list", at=admin).out == "Nothing is tolerated.\n"
    assert cli("tolerate", "--list", "orders", at=admin).out == "Nothing is tolerated on orders.\n"


def test_one_is_taken_away_by_its_name(cli: Cli, admin: StandIn) -> None:
    """--remove names the tolerance, with a reason for the audit."""
    done = cli("tolerate", "--remove", "t-1", "--reason", "fixed", at=admin)

    assert done.code == 0
    assert (admin.asked[0].call, admin.asked[0].body) == (
        "POST /api/v1/tolerances/t-1/remove",
        {"reason": "fixed"},
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--path", "$.at"),
        ("orders", "--all", "--path", "$.at"),
        ("orders", "--path", "$.at", "--apply", "--dry-run"),
        ("--list", "--remove", "t-1"),
        ("--list", "--path", "$.at"),
        ("--remove", "t-1", "--apply"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(cli: Cli, admin: StandIn, words: tuple[str, ...]) -> None:
    """A command that could mean two things asks nobody and is exit code 2."""
    assert cli("tolerate", *words, at=admin).code == 2
    assert admin.asked == []


def test_json_is_one_object(cli: Cli, admin: StandIn) -> None:
    """--json prints what the API answers, also to a proposal."""
    admin.answers["*"] = (200, PROPOSED)

    assert cli("tolerate", "orders", "--path", "$.at", "--json", at=admin).json == PROPOSED
