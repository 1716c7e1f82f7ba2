"""Rules of what is stored under a route's name: nothing of it is forgotten by a rename."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from rules.flag import Hold
from store.entries import Entry
from store.flags import NOTES, Commit, Remembered
from store.renames import MOVES, NO_ROUTE, STAYS, forgotten, renamed_truth, with_renames
from store.schema import EVIDENCE, FLAGS
from tests.rules.made import config, flag, route

ROOT = Path(__file__).resolve().parents[2]
KEY = re.compile(r'^\w+: Final = "([a-z]+:)"$', re.MULTILINE)
RENAMED = config(route("purchases", was="orders"))
HELD = Hold(route="orders", reason="broken", actor="ops", at="2026-01-01T00:00:00.000Z")


def test_every_place_that_has_a_routes_name_says_what_a_rename_does() -> None:
    """Each column ``route``, and each key of the database with a name in it, moves with its route or says why not."""
    tables = {**FLAGS.tables, **EVIDENCE.tables}
    columns = {f"{name}.route" for name, table in tables.items() if "route" in table.columns}
    sources = "\n".join(path.read_text() for room in ("store", "console") for path in (ROOT / room).glob("*.py"))
    prefixes = {*KEY.findall(sources), *NOTES}

    named = [*MOVES, *STAYS, *NO_ROUTE]

    assert len(named) == len(set(named))
    assert {place for place in named if "." in place} == columns
    assert {place.split()[1] for place in named if " " in place} == prefixes


def truth() -> Remembered:
    """Say what a database holds of a route about which everything was decided that can be."""
    return Remembered(
        revision=7,
        flags={"orders": flag("live"), "cart": flag("live")},
        holds={"orders": HELD},
        copying_off=frozenset(["orders", "*"]),
        notes={f"{prefix}orders": json.dumps({"of": prefix}) for prefix in NOTES} | {"watchdog:purchases": "stale"},
    )


def test_what_was_decided_goes_to_the_new_name() -> None:
    """A rename takes hold, switch, pause, cool-down and reset along; what an earlier route of its name left is gone."""
    moved = renamed_truth(truth(), RENAMED, shared=False)

    assert moved.holds == {"purchases": replace(HELD, route="purchases")}
    assert moved.copying_off == {"purchases", "*"}
    assert moved.notes.keys() == {"watchdog:purchases", "autopilot:purchases", "evidence:purchases", "source:orders"}
    assert moved.notes["watchdog:purchases"] == '{"of": "watchdog:"}'


def test_where_nodes_share_a_database_the_former_name_keeps_its_own() -> None:
    """A node that still has the former name finds everything as it was; the new name has the same beside it."""
    moved = renamed_truth(truth(), RENAMED, shared=True)

    assert moved.holds.keys() == {"orders", "purchases"}
    assert moved.copying_off == {"orders", "purchases", "*"}
    assert moved.notes.keys() >= {"autopilot:orders", "autopilot:purchases"}


def test_a_journeys_autopilot_keeps_its_name() -> None:
    """What the autopilot of a journey does stays the journey's, also where a route had the journey's name."""
    for name in ("orders", "purchases"):
        moved = renamed_truth(truth(), config(route("purchases", was="orders", journey=name)), shared=False)

        assert "autopilot:orders" in moved.notes
        assert "watchdog:orders" not in moved.notes


def test_a_change_writes_all_of_it_and_the_audit_names_both() -> None:
    """One change writes what moved, and its entry says which route took over from which, with the hold."""
    before = truth()
    after = renamed_truth(before, RENAMED, shared=False)
    entry = Entry(kind="reload", source="api", actor="ops", routes=(), reason="", at="", before={}, after={"diff": []})

    change = with_renames(Commit(revision=8, entry=entry), before, after, {"purchases": "orders"})

    assert [hold.route for hold in change.hold] == ["purchases"]
    assert change.release == ("orders",)
    assert change.copying_off == frozenset(["purchases", "*"])
    assert {key for key, value in change.remember.items() if value is None} == {
        "watchdog:orders",
        "autopilot:orders",
        "evidence:orders",
    }
    assert change.entry.after["renamed"] == {"purchases": "orders"}
    assert change.entry.after["holds"].keys() == {"purchases"}
    assert change.entry.after["diff"] == []


def test_what_nobody_has_any_more_is_forgotten_whole() -> None:
    """Of a route that no configuration has nothing is left that a later route of its name would begin with; a journey
    of the same name keeps its autopilot's pause."""
    found = truth()

    left = forgotten(found, config(route("cart")), ["orders"])
    of_journey = forgotten(found, config(route("cart", journey="orders")), ["orders"])

    assert not left.holds
    assert left.copying_off == frozenset(["*"])
    assert left.notes.keys() == {"source:orders", "watchdog:purchases"}
    assert of_journey.notes.keys() - left.notes.keys() == {"autopilot:orders"}


def test_without_a_rename_nothing_is_touched() -> None:
    """A configuration that renames nothing leaves what is stored and the change as they are."""
    found = truth()
    entry = Entry(kind="reload", source="api", actor="ops", routes=(), reason="", at="", before={}, after={})
    change = Commit(revision=8, entry=entry)

    assert renamed_truth(found, config(route("orders")), shared=False) is found
    assert with_renames(change, found, found, {}) is change
