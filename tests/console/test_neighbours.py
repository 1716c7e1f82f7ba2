"""What nodes over one database know of each other's counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.spec import WatchdogSpec
from console.neighbours import FRESH_S, Neighbours, Share, basis_of, packed, unpacked
from rules.flag import CohortFlag, Flag, Stage
from rules.window import Known, Window
from store.counts import CountStore, Told
from tests.console.pair import pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio

SHARE = Share(
    windows=(
        Window(seconds=5, covers_s=2.5, new=7, new_failed=1, legacy=3, pairs={("2xx", "none"): 1}),
        Window(seconds=60, new=70, fallbacks=2, legacy=30, legacy_failed=4, compared=9, divergent=2),
        Window(seconds=1.5, latency={"new": [1, 0, 2], "legacy": []}),
    ),
    known=Known(requests=1_000, failed=3),
)


async def test_nodes_know_what_the_others_see(tmp_path: Path) -> None:
    """What one node tells of a route another one reads whole, under the same flag and windows only, for three seconds;
    once it sees nothing, or the database is away, it counts no more."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        now = [100.0]
        here, there = (Neighbours(node.state, clock=lambda: now[0]) for node in (one, two))
        here.see({"orders": ("x", SHARE), "cart": ("x", SHARE)})
        for exchange in (here, there):
            await exchange.exchange()
        (row,) = there.of("orders", "x")
        others = there.of("orders", "another flag"), there.of("pay", "x"), here.of("orders", "x")

        now[0] += FRESH_S + 0.1
        old = there.of("orders", "x")
        await there.exchange()
        again = there.of("orders", "x")
        here.see({})
        await here.exchange()
        await there.exchange()
        nothing = there.of("orders", "x")
        here.see({"orders": ("x", SHARE)})
        await here.exchange()
        await there.exchange()
        back = there.of("orders", "x")
        await two.cut()
        await there.exchange()

        assert row.share == SHARE
        assert not row.is_calm
        assert others == ([], [], [])
        assert (old, nothing, there.of("orders", "x")) == ([], [], [])
        assert len(again) == len(back) == 1


async def test_who_is_alone_tells_nothing(tmp_path: Path) -> None:
    """A node that sees no other one writes nothing into the database."""
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        one.replicas.nodes = one.replicas.nodes[:1]
        alone = Neighbours(one.state)
        alone.see({"orders": ("x", SHARE)})
        await alone.exchange()
        assert one.state.flag_store is not None

        assert await CountStore(one.state.flag_store.database).others("", 60.0) == []


def test_what_another_version_tells_is_left_out() -> None:
    """A body that cannot be read, or counts something else, is as good as none."""
    good = Told(node="a", body=packed({"orders": ("x", SHARE)}), age_s=1.0)
    bad = [Told(node="b", body=body, age_s=0.0) for body in (b"", b"{}", good.body[:-9])]

    (heard,) = unpacked([*bad, good], 100.0)

    assert heard.until == 99.0 + FRESH_S
    assert heard.routes["orders"].share == SHARE


def test_what_adds_up_is_named_alike_on_every_node() -> None:
    """Flag and windows make the name, in whatever order a flag has its cohorts."""
    staff, crew = CohortFlag(stage=Stage.LIVE), CohortFlag(stage=Stage.SHADOW)
    flag = Flag(stage=Stage.CANARY, percent_bp=100, salt="s", cohorts={"staff": staff, "crew": crew})
    same = Flag(stage=Stage.CANARY, percent_bp=100, salt="s", cohorts={"crew": crew, "staff": staff})
    spec = WatchdogSpec()

    assert basis_of(flag, spec) == basis_of(same, spec)
    assert basis_of(flag, spec) != basis_of(Flag(stage=Stage.CANARY, percent_bp=100, salt="s"), spec)
    assert basis_of(flag, spec) != basis_of(flag, WatchdogSpec(window_ns=90_000_000_000))


@pytest.mark.parametrize(
    ("window", "is_calm"),
    [
        (Window(seconds=5, new=900, legacy=900, legacy_failed=9, pairs={("2xx", "2xx"): 5, ("4xx", "4xx"): 1}), True),
        (Window(seconds=5, new_failed=1), False),
        (Window(seconds=5, divergent=1), False),
        (Window(seconds=5, pairs={("2xx", "4xx"): 1}), False),
        (Window(seconds=5, latency={"new": [1]}), False),
    ],
)
def test_a_share_is_calm_where_no_fault_can_be_found(window: Window, is_calm: bool) -> None:
    """Whatever a rule of the watchdog looks at makes a share worth adding up at once."""
    assert Share(windows=(window,), known=None).is_calm is is_calm
