"""What nodes over one database know of each other's counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import WatchdogSpec
from console.degraded import degraded
from console.neighbours import FRESH_S, SAID_S, DamagedError, Neighbours, Share, basis_of, packed, unpacked
from rules.flag import CohortFlag, Flag, Stage
from rules.window import Known, Window
from store.counts import CountStore, Told
from tests.console.pair import pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio

SHARE = Share(
    windows=(
        Window(seconds=5, covers_s=2.5, new=7, new_failed=1, legacy=3, pairs={("2xx", "none"): 1}),
        Window(seconds=60, new=70, new_failed=2, fallbacks=2, legacy=30, legacy_failed=4, compared=9, divergent=2),
        Window(seconds=1.5, latency={"new": [1, 0, 2], "legacy": []}),
    ),
    known=Known(requests=1_000, failed=3),
)


async def test_nodes_know_what_the_others_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one node tells of a route another one reads whole, under the same flag and windows only, for three seconds;
    once it sees nothing, or the database is away, it counts no more."""
    assert FRESH_S == 3.0
    fresh_s = 60.0  # the database's clock is not the test's: it goes on while the test is not given its turn
    monkeypatch.setattr("console.neighbours.FRESH_S", fresh_s)
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        now = [100.0]
        here, there = (Neighbours(node.state, clock=lambda: now[0]) for node in (one, two))
        here.see({"orders": ("x", SHARE), "cart": ("x", SHARE)})
        for exchange in (here, there):
            await exchange.exchange()
        found = there.of("orders", "x")
        others = there.of("orders", "another flag"), there.of("pay", "x"), here.of("orders", "x")

        now[0] += fresh_s + 0.1
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

        assert there.shares(found) == [SHARE]
        assert not found["a"].is_calm
        assert others == ({}, {}, {})
        assert (old, nothing, there.of("orders", "x")) == ({}, {}, {})
        assert again.keys() == back.keys() == {"a"}


async def test_who_is_alone_tells_nothing(tmp_path: Path) -> None:
    """A node that sees no other one writes nothing into the database."""
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        one.replicas.nodes = one.replicas.nodes[:1]
        alone = Neighbours(one.state)
        alone.see({"orders": ("x", SHARE)})
        await alone.exchange()
        assert one.state.flag_store is not None

        assert await CountStore(one.state.flag_store.database).others("", 60.0) == []


def test_what_cannot_be_read_or_counts_something_else_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that cannot be read is as good as none, and named; so is one that counts something else, unnamed."""
    good = Told(node="a", body=packed({"orders": ("x", SHARE)}), age_s=1.0)
    bad = [Told(node=f"b{at}", body=body, age_s=0.0) for at, body in enumerate((b"", b"{}", good.body[:-9]))]
    with monkeypatch.context() as later:
        later.setattr("console.neighbours._FIELDS", ("seconds", "new"))
        other = Told(node="c", body=packed({"orders": ("x", SHARE)}), age_s=0.0)

    (heard,), damaged = unpacked([*bad, other, good], 100.0)

    assert (heard.node, heard.until) == ("a", 99.0 + FRESH_S)
    assert heard.routes["orders"].share == SHARE
    assert damaged.keys() == {"b0", "b1", "b2"}


FIRST, *REST = SHARE.windows


@pytest.mark.parametrize(
    "damaged",
    [
        replace(SHARE, windows=(replace(FIRST, new_failed=-1), *REST)),
        replace(SHARE, windows=(replace(FIRST, new_failed=FIRST.new + 1), *REST)),
        replace(SHARE, windows=(replace(FIRST, legacy_failed=FIRST.legacy + 1), *REST)),
        replace(SHARE, windows=(replace(FIRST, fallbacks=FIRST.new_failed + 1), *REST)),
        replace(SHARE, windows=(replace(FIRST, divergent=1), *REST)),
        replace(SHARE, windows=(replace(FIRST, covers_s=60.0), *REST)),
        replace(SHARE, windows=(replace(FIRST, pairs={("2xx", "2xx"): -1}), *REST)),
        replace(SHARE, windows=(replace(FIRST, latency={"neither": [1]}), *REST)),
        replace(SHARE, windows=(FIRST,)),
        replace(SHARE, known=Known(requests=1, failed=2)),
    ],
)
def test_what_no_node_can_have_counted_is_damaged(damaged: Share) -> None:
    """A negative count, a part that is more than its whole, or a window too few is never taken for counts."""
    ((heard,), _) = unpacked([Told(node="a", body=packed({"orders": ("x", damaged)}), age_s=0.0)], 0.0)

    with pytest.raises(DamagedError):
        _ = heard.routes["orders"].share


async def test_a_damaged_neighbour_is_said_and_forgotten_when_it_is_well(tmp_path: Path) -> None:
    """What a node tells of a route and cannot have counted adds to nothing; the status names the node until some
    seconds after it was met last."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        now = [100.0]
        here, there = (Neighbours(node.state, clock=lambda: now[0]) for node in (one, two))

        async def told(share: Share) -> tuple[list[Share], bool]:
            here.see({"orders": ("x", share)})
            await here.exchange()
            await there.exchange()
            found = there.shares(there.of("orders", "x"))
            await there.exchange()
            return found, any("node a tells of its counts is damaged" in reason for reason in degraded(two.state))

        damaged = await told(replace(SHARE, windows=(FIRST,)))
        soon = await told(SHARE)
        now[0] += SAID_S + 0.1
        later = await told(SHARE)

    assert damaged == ([], True)
    assert soon == ([SHARE], True)
    assert later == ([SHARE], False)


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
