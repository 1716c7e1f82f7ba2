"""Prove that what was decided about a route goes with it to its new name, and that no hold falls between the two."""

from __future__ import annotations

from config.spec import ToleranceSpec
from config.tolerance import tolerance_id
from rules import FieldList, Flag, Hold, SnapshotSpec, build
from rules.rename import followed, formers_in, inherited, inherited_tolerances, renamed
from tests.rules.made import config, flag, route

HELD = Hold(route="orders", reason="broken", actor="ops")
PURCHASES = route("purchases", "/orders", was="orders")


def side(spec: SnapshotSpec, *holds: Hold) -> str:
    """Say who answers a request of the route, whatever its name."""
    decision, _ = build(spec, holds).decide(b"GET", b"/orders", FieldList(), "192.0.2.1", b"1")
    return decision.side


def test_a_hold_by_the_former_name_is_in_force_with_the_first_request_of_the_new_one() -> None:
    """A renamed route is held on legacy, whichever of its two names the node's holds have; a name in use is its own."""
    live: dict[str, Flag] = {"purchases": flag("live")}
    spec = SnapshotSpec(revision=1, config=config(PURCHASES), flags=live)
    both = SnapshotSpec(
        revision=1, config=config(PURCHASES, route("orders", "/old")), flags=live | {"orders": flag("live")}
    )

    assert side(spec) == "new"
    assert side(spec, HELD) == side(spec, Hold(route="purchases")) == "legacy"
    assert side(both, HELD) == "new"


def test_a_hold_of_its_own_comes_before_the_former_names() -> None:
    """Of two holds of one route, that under its present name rules; routes that nobody renamed keep theirs."""
    own, other = Hold(route="purchases", keep_copying=True), Hold(route="cart")
    holds = {"orders": HELD, "purchases": own, "cart": other}

    assert followed(holds, config(PURCHASES)) == {"purchases": own, "cart": other}
    assert formers_in(holds, config(PURCHASES)) == {"orders": "purchases"}
    assert formers_in(holds, config(route("purchases", was="orders", legacy=None))) == {}
    assert followed({}, config(PURCHASES)) == {}


def test_a_route_takes_over_once() -> None:
    """A route with a flag of its own takes nothing over any more, nor while its former name is still a route."""
    assert renamed(["orders"], config(PURCHASES)) == {"purchases": "orders"}
    assert renamed(["orders", "purchases"], config(PURCHASES)) == {}
    assert renamed(["orders"], config(PURCHASES, route("orders"))) == {}
    assert renamed([], config(PURCHASES)) == {}


def test_a_new_name_begins_without_what_an_earlier_route_of_it_left() -> None:
    """What is kept by name moves whole: stale things under the new name go, the former name keeps its own if shared."""
    moved = {"purchases": "orders"}

    assert inherited({"orders": 1, "cart": 2}, moved, shared=False) == {"purchases": 1, "cart": 2}
    assert inherited({"orders": 1, "cart": 2}, moved, shared=True) == {"purchases": 1, "orders": 1, "cart": 2}
    assert inherited({"purchases": 3}, moved, shared=True) == {}


def test_an_applied_tolerance_goes_along_under_the_name_that_it_has_there() -> None:
    """A tolerance of a renamed route hides the same as before, and is the one that its new route would be given."""
    spec = ToleranceSpec(
        id=tolerance_id("orders", "/at", None, None),
        route="orders",
        path="/at",
        reason="clock",
        owner="ops",
        expires="2027-01-01",
    )

    [alone] = inherited_tolerances((spec,), {"purchases": "orders"}, shared=False)
    both = inherited_tolerances((spec,), {"purchases": "orders"}, shared=True)

    assert (alone.route, alone.id) == ("purchases", tolerance_id("purchases", "/at", None, None))
    assert {one.id for one in both} == {spec.id, alone.id}
    assert inherited_tolerances((spec,), {}, shared=False) == (spec,)
