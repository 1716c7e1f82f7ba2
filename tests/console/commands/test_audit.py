"""``matapalo audit`` and ``matapalo undo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store.chain import GENESIS, digest
from tests.console.commands.conftest import CHANGE, FLAG, Cli, StandIn

ENTRY = {
    "id": "a-42",
    "at": "2026-01-31T02:00:00Z",
    "actor": "ops",
    "source": "api",
    "address": "10.1.2.3",
    "kind": "flip",
    "routes": ["orders"],
    "reason": "first [users]",
    "revision": 13,
    "before": {"orders": FLAG},
    "after": {"orders": {**FLAG, "stage": "live"}},
    "evidence": {},
    "builds": {},
    "config": "",
    "forced": False,
}


def trail(count: int) -> list[dict[str, Any]]:
    """Make a whole trail, oldest first, as an export holds it."""
    entries: list[dict[str, Any]] = []
    previous = GENESIS
    for number in range(1, count + 1):
        entry: dict[str, Any] = {**ENTRY, "id": number, "previous": previous}
        entry["hash"] = previous = digest(entry)
        entries.append(entry)
    return entries


def page(entries: list[dict[str, Any]], following: str | None = None) -> dict[str, Any]:
    """Show entries as the API does: newest first, by name."""
    return {"entries": [{**one, "id": f"a-{one['id']}"} for one in reversed(entries)], "next": following}


@pytest.mark.parametrize(
    ("kind", "before", "after", "what"),
    [
        ("deployed", {"shop": "v1"}, {"shop": "v2"}, "shop: runs v2"),
        ("triage", {"d-1": {"state": "open"}}, {"d-1": {"state": "accepted", "note": "x"}}, "d-1: accepted"),
        ("tolerate", {"t-1": None}, {"t-1": {"path": "$.at", "expires": "2027-01-31"}}, "t-1: $.at until 2027-01-31"),
        ("untolerate", {"t-1": {"cause": "key_order"}}, {"t-1": None}, "t-1: key_order is not tolerated any more"),
    ],
)
def test_what_is_no_flag_is_told_by_what_it_is(
    cli: Cli, admin: StandIn, kind: str, before: dict[str, Any], after: dict[str, Any], what: str
) -> None:
    """A deploy by its version, a decision by its group, a tolerance by its place; not by the routes behind them."""
    entry = {**ENTRY, "kind": kind, "routes": ["orders", "cart"], "before": before, "after": after}
    admin.answers["*"] = (200, {"entries": [entry], "next": None})

    assert f"{kind}  {what}" in cli("audit", at=admin).out


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


def test_who_and_why_are_said_in_full(cli: Cli, admin: StandIn) -> None:
    """A forced flip says so for ever, evidence is a sentence, a person is told apart from a token, and a token's entry
    says what happened to it."""
    forced = {**ENTRY, "forced": True, "evidence": {"gate": {"result": "fail", "sentence": "0.9 % diverge"}}}
    person = {
        **ENTRY,
        "actor": "alice",
        "source": "identity",
        "evidence": {"rule": "errors", "value": 0.1, "window": {"2xx": 31}},
    }
    watchdog = {**ENTRY, "actor": "watchdog", "source": "watchdog", "address": "", "reason": ""}
    made = {"role": "admin", "made_at": "", "expires_at": "2027-01-01"}
    ruled = {**ENTRY, "evidence": {"result": "fail", "sentence": "0.9 % diverge", "forced": False}}
    ended = {**ENTRY, "evidence": {"ledger": {"orders": {"quiet": False, "sentence": "legacy still answered"}}}}
    token = {**ENTRY, "kind": "token", "before": {"ci": None}, "after": {"ci": made}}
    admin.answers["*"] = (200, {"entries": [forced, person, watchdog, token, ruled, ended], "next": None})

    lines = cli("audit", at=admin).out.splitlines()[1:]

    assert "ops from 10.1.2.3" in lines[0]
    assert "FORCED first [users] [0.9 % diverge]" in lines[0]
    assert "GATE NOT PASSED first [users] [0.9 % diverge]" in lines[4]
    assert "LEGACY NOT QUIET first [users] [legacy still answered]" in lines[5]
    assert "alice (identity) from 10.1.2.3" in lines[1]
    assert "[rule errors, value 0.1]" in lines[1]
    assert "watchdog  " in lines[2]
    assert "ci: made (admin, until 2027-01-01)" in lines[3]


def test_an_export_verifies_without_a_server(cli: Cli, admin: StandIn, tmp_path: Path) -> None:
    """Every page is exported, oldest first, and the file verifies offline: whole as it is, broken by a changed word, a
    missing line and, against the head that the export named, a cut end."""
    entries = trail(5)
    pages = iter([page(entries[3:], "4"), page(entries[:3])])
    admin.answers = _Pages(pages)

    exported = cli("audit", "--export", "trail.jsonl", at=admin)
    lines = (tmp_path / "trail.jsonl").read_text().splitlines(keepends=True)
    admin.url = "http://127.0.0.1:9"
    whole = cli("audit", "--verify", "trail.jsonl", at=admin)
    head = f"a-5:{entries[4]['hash']}"
    outcomes = {}
    for name, harmed in {
        "changed": "".join(lines).replace("first [users]", "nothing", 1),
        "missing": "".join(lines[:2] + lines[3:]),
        "moved": "".join([lines[0], lines[2], lines[1], *lines[3:]]),
        "garbled": "".join([*lines[:4], "{\n"]),
        "twice": "".join(['{"reason": "approved", ' + lines[0][1:], *lines[1:]]),
        "no text": "".join([*lines[:2], "\xff\n", *lines[3:]]),
        "cut": "".join(lines[:4]),
    }.items():
        (tmp_path / "harmed.jsonl").write_text(harmed, encoding="latin-1")
        outcomes[name] = cli("audit", "--verify", "harmed.jsonl", "--head", head, "--json", at=admin)
    unknown_cut = cli("audit", "--verify", "harmed.jsonl", at=admin)

    assert exported.code == 0
    assert head in exported.out
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3, 4, 5]
    assert (whole.code, head in whole.out, "--head" in whole.out) == (0, True, True)
    assert {name: (one.code, one.json["broken"]) for name, one in outcomes.items()} == {
        "changed": (1, "a-1"),
        "missing": (1, "a-3"),
        "moved": (1, "a-2"),
        "garbled": (1, "a-5"),
        "twice": (1, "a-1"),
        "no text": (1, "a-3"),
        "cut": (1, "a-5"),
    }
    assert unknown_cut.code == 0


@pytest.mark.parametrize("text", ["", "\n"], ids=["empty", "blank"])
def test_a_file_without_entries_proves_nothing(cli: Cli, admin: StandIn, tmp_path: Path, text: str) -> None:
    """An export with nothing in it, as a full disk leaves one, is not whole."""
    (tmp_path / "trail.jsonl").write_text(text)

    told = cli("audit", "--verify", "trail.jsonl", at=admin)
    shown = cli("audit", "--verify", "trail.jsonl", "--json", at=admin)

    assert (told.code, shown.code, shown.json["whole"], shown.json["entries"]) == (1, 1, False, 0)
    assert told.out.startswith("NOTHING: trail.jsonl has no entries" if not text else "BROKEN: a-1")


@pytest.mark.parametrize("found", [bytes(range(256)) * 40, b"id,at,actor\n1,2,3\n", None], ids=["bytes", "csv", "none"])
def test_what_is_no_export_says_what_was_expected(
    cli: Cli, admin: StandIn, tmp_path: Path, found: bytes | None
) -> None:
    """A file that is something else, or is not there, is refused with how an export is made."""
    if found is not None:
        (tmp_path / "trail.jsonl").write_bytes(found)

    told = cli("audit", "--verify", "trail.jsonl", at=admin)

    assert told.code == 1
    assert "expected" in told.out + told.err
    assert "`matapalo audit --export FILE`" in told.out + told.err
    assert "Traceback" not in told.err


def test_the_servers_own_trail_is_verified(cli: Cli, admin: StandIn) -> None:
    """--verify without a file reads the server's trail and names the first broken entry."""
    entries = trail(3)
    admin.answers["*"] = (200, page(entries))
    whole = cli("audit", "--verify", at=admin)
    entries[1] = {**entries[1], "actor": "somebody"}
    admin.answers["*"] = (200, page(entries))
    broken = cli("audit", "--verify", at=admin)
    admin.answers["*"] = (200, page([]))
    empty = cli("audit", "--verify", at=admin)

    assert (whole.code, broken.code, empty.code) == (0, 1, 0)
    assert "BROKEN: a-2 was changed" in broken.out
    assert "The 1 entries before it are whole" in broken.out


@pytest.mark.parametrize(
    "words",
    [
        ("--verify", "x", "--export", "y"),
        ("--route", "a", "--verify", "x"),
        ("--head", "0" * 64),
        ("--verify", "x", "--head", "no"),
    ],
    ids=str,
)
def test_a_part_of_a_chain_is_not_verified(cli: Cli, admin: StandIn, words: tuple[str, ...]) -> None:
    """Options that contradict each other, and a head that is none, are usage errors."""
    assert cli("audit", *words, at=admin).code == 2


class _Pages(dict[str, Any]):
    """Answer one page after the other."""

    def __init__(self, pages: Any) -> None:
        super().__init__({"*": None})
        self._pages = pages

    def __getitem__(self, key: str) -> Any:
        return (200, next(self._pages))
