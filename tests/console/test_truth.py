"""Rules of how several nodes' configurations and one database become one truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.truth import HoldPlan, join, plan_holds, start_commit, tidied
from rules.flag import Flag, Hold, Stage
from rules.snapshot import SnapshotSpec
from store.flags import Remembered, name_of_hold
from store.nodes import NodeSeen
from tests.rules.made import config, flag, route

LIVE = flag("live", salt="orders")
CANARY = flag("canary", 500, salt="cart")


def truth(revision: int = 7, **flags: Flag) -> Remembered:
    """Make what the database says."""
    return Remembered(revision=revision, number=revision, flags=flags, holds={}, copying_off=frozenset({"pay"}))


def before(revision: int, **flags: Flag) -> SnapshotSpec:
    """Make what is in force on a node."""
    routes = tuple(route(name) for name in flags)
    return SnapshotSpec(revision=revision, config=config(*routes), flags=flags, copying_off=("cart",))


def test_the_database_rules_what_it_knows() -> None:
    """A node takes flags, switches and revision as the database has them, whatever was in force on it."""
    joined = join(config(route("orders")), truth(orders=LIVE), before(5, orders=flag("legacy", salt="orders")))

    assert joined.spec.flags == {"orders": LIVE}
    assert (joined.spec.revision, joined.spec.copying_off) == (7, ("pay",))
    assert not joined.is_news


def test_a_new_database_takes_what_is_in_force() -> None:
    """With an empty database nothing moves: it is told what the node serves, under the revision of the node."""
    at_rest = before(5, orders=LIVE)
    joined = join(config(route("orders")), truth(0), at_rest)
    commit = start_commit(joined, truth(0))

    assert (joined.spec.flags, joined.spec.revision, joined.spec.copying_off) == ({"orders": LIVE}, 5, ("cart",))
    assert joined.is_news
    assert (commit.set_flags, commit.copying_off, commit.base) == ({"orders": LIVE}, frozenset({"cart"}), (0, ""))


def test_a_route_that_only_this_node_has_is_offered() -> None:
    """A route of a newer file is added to what the database has; the flags of other nodes' routes stay."""
    joined = join(config(route("orders"), route("extra")), truth(orders=LIVE, cart=CANARY), None)
    commit = start_commit(joined, truth(orders=LIVE, cart=CANARY))

    assert joined.spec.flags == {"orders": LIVE, "extra": Flag(stage=Stage.LEGACY, salt="extra")}
    assert joined.spec.revision == 8
    assert set(commit.set_flags) == {"extra"}
    assert commit.drop_flags == ()
    assert commit.copying_off is None


def test_an_older_file_drops_nothing() -> None:
    """A node whose file lacks a route leaves that route's flag alone, and needs to tell the database nothing."""
    joined = join(config(route("orders")), truth(orders=LIVE, cart=CANARY), None)

    assert joined.spec.flags == {"orders": LIVE}
    assert not joined.is_news


def test_a_rename_takes_the_flag_of_the_database_along() -> None:
    """A route that ``was`` another one begins with the flag and salt that the other one has in the database now."""
    joined = join(
        config(route("purchases", was="orders")), truth(orders=LIVE), before(7, orders=flag("legacy", salt="orders"))
    )

    assert joined.spec.flags == {"purchases": LIVE}
    assert joined.offered == {"purchases": LIVE}


def test_a_rename_takes_along_what_the_database_knows_now() -> None:
    """What a start laid down under the new name is as old as that node; the former name's flag, hold and pause in the
    database are newer, and stay for nodes that still have that name."""
    hold = Hold(route="orders", reason="broken", actor="ops")
    paused = {"autopilot:orders": "{}"}
    found = replace(truth(orders=CANARY), holds={"orders": hold}, copying_off=frozenset(["orders"]), notes=paused)

    joined = join(config(route("purchases", was="orders")), found, before(7, purchases=LIVE))
    commit = start_commit(joined, found)

    assert joined.spec.flags == joined.offered == {"purchases": CANARY}
    assert commit.hold == (replace(hold, route="purchases"),)
    assert (commit.release, commit.remember) == ((), {"autopilot:purchases": "{}"})
    assert commit.copying_off == frozenset(["orders", "purchases"])
    assert joined.spec.copying_off == ("orders", "purchases")
    assert joined.truth.holds.keys() == {"orders", "purchases"}
    assert commit.entry.after["renamed"] == {"purchases": "orders"}


def test_who_renames_second_takes_the_flag_under_its_new_name() -> None:
    """The node that gets the renaming file later follows what the first one wrote under the new name."""
    joined = join(
        config(route("purchases", was="orders")), truth(orders=LIVE, purchases=CANARY), before(7, orders=LIVE)
    )

    assert joined.spec.flags == {"purchases": CANARY}
    assert not joined.is_news


def test_a_flag_that_the_file_cannot_follow_is_said() -> None:
    """A stage that needs a backend which this node's file does not name leaves the route as it was, and says so."""
    alone = replace(route("orders"), new=None)
    legacy = flag("legacy", salt="orders")
    joined = join(config(alone), truth(orders=LIVE), before(5, orders=legacy))

    assert joined.spec.flags == {"orders": legacy}
    assert "orders (live)" in joined.complaint


def test_a_database_that_went_back_gets_the_next_revision() -> None:
    """After a restored backup its flags rule, under a revision that no worker has ever seen."""
    found = truth(3, orders=CANARY)
    joined = join(config(route("orders")), found, before(9, orders=LIVE))

    assert (joined.spec.flags, joined.spec.revision) == ({"orders": CANARY}, 10)
    assert joined.is_news
    assert start_commit(joined, found).entry.reason.startswith("the database went back")


@pytest.mark.parametrize(("in_force", "revision"), [(6, 7), (7, 8), (8, 9)])
def test_a_revision_that_stood_for_something_lost_is_not_used_again(in_force: int, revision: int) -> None:
    """After a failover that counted on, what the database has rules under a number that meant nothing else here."""
    joined = join(config(route("orders")), truth(7, orders=CANARY), before(in_force, orders=LIVE), went_back=True)

    assert (joined.spec.flags, joined.spec.revision) == ({"orders": CANARY}, revision)
    assert joined.is_news is (revision != 7)


MINE = Hold(route="orders", keep_copying=False, reason="mine", actor="ops", at="2026-01-01T00:00:00.000Z")
THEIRS = Hold(route="orders", keep_copying=False, reason="theirs", actor="ops", at="2026-01-01T00:00:01.000Z")


@pytest.mark.parametrize(
    ("here", "written", "heard", "plan"),
    [
        (None, None, (), HoldPlan()),
        (MINE, MINE, (MINE,), HoldPlan()),
        (None, THEIRS, (THEIRS,), HoldPlan(add=(THEIRS,))),
        (MINE, None, (), HoldPlan(bring=(MINE,))),
        (MINE, None, (MINE,), HoldPlan(remove=("orders",))),
        (MINE, None, (MINE, THEIRS), HoldPlan(remove=("orders",))),
        (MINE, None, (THEIRS,), HoldPlan(bring=(MINE,))),
        (MINE, THEIRS, (THEIRS,), HoldPlan(bring=(MINE,))),
        (MINE, THEIRS, (MINE, THEIRS), HoldPlan(add=(THEIRS,))),
    ],
    ids=[
        "nothing is held",
        "both hold the same",
        "held elsewhere",
        "held here while the database was away",
        "released elsewhere",
        "replaced and released elsewhere",
        "held here after another was released",
        "held here later",
        "replaced elsewhere",
    ],
)
def test_holds_are_neither_lost_nor_brought_back(
    here: Hold | None, written: Hold | None, heard: tuple[Hold, ...], plan: HoldPlan
) -> None:
    """A hold that the database never heard of is brought to it; one that it has heard of follows it."""
    names = {"orders": frozenset(map(name_of_hold, heard))}

    found = plan_holds({"orders": here} if here else {}, {"orders": written} if written else {}, names, ["orders"])

    assert found == plan
    assert bool(found) == (plan != HoldPlan())


def test_watchdogs_of_two_nodes_hold_once() -> None:
    """Watchdogs that trip apart from each other make one hold; one that copies on beside one that does not are two."""
    first = Hold(route="orders", actor="watchdog", reason="20 %", at="2026-11-21T10:00:00.000Z")
    second = Hold(route="orders", actor="watchdog", reason="30 %", at="2026-11-21T10:00:01.000Z")
    other = Hold(route="orders", actor="watchdog", reason="30 %", at="2026-11-21T10:00:01.000Z", keep_copying=True)
    heard = {"orders": frozenset([name_of_hold(first)])}

    assert plan_holds({"orders": second}, {"orders": first}, heard, ["orders"]) == HoldPlan(add=(first,))
    assert plan_holds({"orders": other}, {"orders": first}, heard, ["orders"]) == HoldPlan(bring=(other,))


def test_a_hold_of_a_route_that_is_not_ours_is_left_alone() -> None:
    """What another node's newer file has cannot be held here, and is not released for that."""
    assert not plan_holds({}, {"orders": THEIRS}, {}, ["cart"])


def node(name: str, digest: str) -> NodeSeen:
    """Make one node of the list."""
    return NodeSeen(name=name, address="", version="1", started_at=0.0, revision=1, config=digest)


def test_a_flag_is_forgotten_when_no_node_needs_it() -> None:
    """Flags that our file lacks are forgotten only when every node that is known has our file."""
    assert tidied("d1", {"orders"}, [node("a", "d1"), node("b", "d1")]) == ("orders",)
    assert tidied("d1", {"orders"}, [node("a", "d1"), node("b", "d2")]) == ()
