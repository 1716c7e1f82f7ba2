"""``matapalo audit`` and ``matapalo undo``."""

from __future__ import annotations

from tests.console.commands.conftest import CHANGE, FLAG, Cli, StandIn

ENTRY = {
    "id": "a-42",
    "at": "2026-01-31T02:00:00Z",
    "actor": "ops",
    "source": "api",
    "kind": "flip",
    "routes": ["orders"],
    "reason": "first [users]",
    "revision": 13,
    "before": {"orders": FLAG},
    "after": {"orders": {**FLAG, "stage": "live"}},
}


def test_the_trail_is_a_table(cli: Cli, admin: StandIn) -> None:
    """Each entry is one line with id, moment, who, kind, what and why; the next page is named."""
    hold = {**ENTRY, "id": "a-41", "kind": "hold", "before": {"route": None}, "after": {"route": {}}, "reason": None}
    admin.answers["*"] = (200, {"entries": [ENTRY, hold], "next": "41"})

    printed = cli("audit", "--route", "orders", "--limit", "2", at=admin)

    assert printed.code == 0
    line = next(line for line in printed.out.splitlines() if "a-42" in line)
    assert "shadow (copies 100%) → live (copies 100%)" in line
    assert "first [users]" in line
    assert "--cursor 41" in printed.out
    assert admin.asked[0].call == "GET /api/v1/audit?route=orders&limit=2"


def test_a_switch_of_copying_says_what_it_left(cli: Cli, admin: StandIn) -> None:
    """An entry of `shadow on|off` names the routes that are off afterwards."""
    entries = [
        {**ENTRY, "kind": "shadow", "before": {}, "after": {"copying": {"on": on, "off": off}}}
        for on, off in ((True, ["orders"]), (False, []), (True, []))
    ]
    admin.answers["*"] = (200, {"entries": entries, "next": None})

    printed = cli("audit", at=admin)

    assert [line.split("copying off: ")[1].split()[0] for line in printed.out.splitlines()[1:]] == [
        "orders",
        "everywhere",
        "nowhere",
    ]


def test_json_is_the_page_as_it_is(cli: Cli, admin: StandIn) -> None:
    """--json prints the API's own object."""
    admin.answers["*"] = (200, {"entries": [ENTRY], "next": None})

    assert cli("audit", "--json", at=admin).json == {"entries": [ENTRY], "next": None}


def test_undo_names_the_entry(cli: Cli, admin: StandIn) -> None:
    """Undo sends the audit id and prints what it undid."""
    admin.answers["*"] = (200, {**CHANGE, "undid": "a-42"})

    printed = cli("undo", "a-42", "--if-revision", "13", at=admin)

    assert printed.code == 0
    assert "undid a-42" in printed.out
    assert admin.asked[0].body == {"audit_id": "a-42", "if_revision": 13}
