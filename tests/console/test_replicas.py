"""Rules of how nodes that share a database follow each other; with two of them over one file, no server needed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from console.change import entry_for
from console.commits import commit, confirm
from console.degraded import degraded
from console.flips import FlipAsk
from console.problem import ProblemError
from console.replicas import MARGIN_S, hear
from rules.flag import Flag, Hold, Stage
from store.database import Database, StoreError
from store.flags import Commit, FlagStore, Remembered
from store.nodes import LEASE_S
from tests.console.pair import OPS, joining, pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio

LATER = replace(config(route("orders")), digest="later")
HOLD = Hold(route="orders", keep_copying=False, reason="", actor="ops", at="2026-01-01T00:00:00.000Z")


async def test_a_flip_on_one_node_is_the_truth_of_all(tmp_path: Path) -> None:
    """What one node flips the other one serves after one look, under the same revision."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        answer = await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
        await two.replicas.look()

        assert two.stage() is Stage.SHADOW
        assert two.state.revision == one.state.revision == answer.body["revision"]
        assert [node["name"] for node in answer.body["nodes"]] == ["b"]


async def test_a_flip_from_an_old_revision_is_planned_again(tmp_path: Path) -> None:
    """A node that was overtaken makes its flip on the new truth; neither change is lost."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        await one.replicas.look()

        assert [two.stage("orders"), two.stage("cart")] == [Stage.LIVE, Stage.SHADOW]
        assert one.state.spec.flags == two.state.spec.flags


async def test_a_flip_for_a_revision_is_refused_once_that_is_old(tmp_path: Path) -> None:
    """With ``if_revision`` a node that was overtaken answers 412 instead of planning again."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        old = two.state.revision
        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)

        with pytest.raises(ProblemError) as caught:
            await two.flips.flip("orders", FlipAsk(stage="live", if_revision=old), OPS)

        assert caught.value.status == 412
        assert two.stage() is Stage.SHADOW


async def test_a_revision_that_another_node_answered_is_understood(tmp_path: Path) -> None:
    """A caller who learned a newer revision from another node is not told that it is stale."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        newer = (await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)).body["revision"]

        answer = await two.flips.flip("orders", FlipAsk(stage="live", if_revision=newer), OPS)

        assert answer.status == 200


async def test_nothing_to_change_is_only_said_of_the_newest_truth(tmp_path: Path) -> None:
    """A flip to where a route stood here is no "already so" when another node has moved it since."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)

        answer = await two.flips.flip("orders", FlipAsk(stage="legacy"), OPS)
        await one.replicas.look()

        assert answer.body["changed"]
        assert one.stage() is Stage.LEGACY


async def test_holds_go_round_and_so_do_releases(tmp_path: Path) -> None:
    """A rollback holds on every node, and a release on any node lets go everywhere."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await one.rollback()
        await two.replicas.look()
        held = dict(two.supervisor.held)
        await two.holds.release(two.holds.choose("orders"), reason="", caller=OPS)
        await one.replicas.look()

        assert set(held) == {"orders"}
        assert (one.supervisor.held, two.supervisor.held) == ({}, {})
        assert one.stage() is two.stage() is Stage.LEGACY


async def test_without_the_database_rollback_holds_and_flips_are_refused(tmp_path: Path) -> None:
    """A node that is cut off rolls back for itself and says who has not heard; everything else answers 503."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        await two.cut()

        body = await two.rollback()
        refused = []
        for work in (
            two.flips.flip("cart", FlipAsk(stage="shadow"), OPS),
            two.flips.flip("cart", FlipAsk(stage="legacy"), OPS),
            two.holds.release(two.holds.choose("orders"), reason="", caller=OPS),
        ):
            with pytest.raises(ProblemError) as caught:
                await work
            refused.append(caught.value.status)

        assert refused == [503, 503, 503]
        assert set(two.supervisor.held) == {"orders"}
        assert not body["flags_written"]
        assert "a (--url http://127.0.0.1:97)" in str(body["notes"])
        assert any("flags cannot be changed" in reason for reason in degraded(two.state))


async def test_a_database_that_can_only_be_read_is_away(tmp_path: Path) -> None:
    """Where nothing can be written no reading says that all is well, and no flip waits for a lock to find out."""
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        assert one.state.flag_store is not None
        async with one.state.flag_store.database.transaction() as tx:
            await tx.run(text("CREATE TRIGGER stuck BEFORE INSERT ON nodes BEGIN SELECT RAISE(ABORT, 'stuck'); END"))
        await one.replicas.beat()
        await one.replicas.look()
        away = degraded(one.state)
        with pytest.raises(ProblemError) as caught:
            await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        async with one.state.flag_store.database.transaction() as tx:
            await tx.run(text("DROP TRIGGER stuck"))
        await one.replicas.beat()

        assert any("stuck" in reason for reason in away)
        assert caught.value.kind == "database"
        assert one.replicas.away == ""


async def test_a_hold_made_while_cut_off_reaches_everybody_afterwards(tmp_path: Path) -> None:
    """When the database is back the hold is brought to it, audited, and in force on every node."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        await two.cut()
        await two.rollback()
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)

        await two.heal()
        await one.replicas.look()

        assert set(one.supervisor.held) == set(two.supervisor.held) == {"orders"}
        assert two.stage("cart") is Stage.SHADOW
        assert one.state.flag_store is not None
        newest = (await one.state.flag_store.entries(before=None, limit=1))[0]
        assert (newest.kind, newest.source, newest.actor, newest.routes) == ("hold", "local", "ops", ("orders",))


async def test_a_release_is_not_undone_by_a_node_that_missed_it(tmp_path: Path) -> None:
    """A node that still holds what was released while it was cut off lets go; it does not bring the hold back."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        await one.rollback()
        await two.replicas.look()
        await two.cut()
        await one.holds.release(one.holds.choose("orders"), reason="", caller=OPS)

        await two.heal()
        await one.replicas.look()

        assert (one.supervisor.held, two.supervisor.held) == ({}, {})


async def test_a_hold_goes_with_a_route_that_one_node_renames(tmp_path: Path) -> None:
    """Who renames a held route holds it by the new name, and releases it there; a node with the older file goes on
    holding it, and what it still had by the former name when it follows is released with the new name, too."""
    newer = config(route("purchases", was="orders"))
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await one.holds.hold(one.holds.choose("orders"), reason="broken", keep_copying=False, caller=OPS)
        async with joining(tmp_path, newer, config(route("orders"))) as (renaming, older):
            renamed_to = dict(renaming.supervisor.held)
            written = set(renaming.state.written)
            await renaming.holds.release(renaming.holds.choose("purchases"), reason="", caller=OPS)
            for node in (older, one):
                await node.replicas.look()
            still = set(older.supervisor.held), set(one.supervisor.held)
            one.state.adopt(replace(one.state.spec, revision=one.state.revision + 1, config=newer))
            in_force = dict(one.state.holds)
            await one.replicas.look()
            await one.replicas.catch_up()
            await one.replicas.look()

            assert set(renamed_to) == {"purchases"}
            assert written == {"orders", "purchases"}
            assert renaming.supervisor.held == {}
            assert still == ({"orders"}, {"orders"})
            assert set(in_force) == {"purchases"}
            assert one.supervisor.held == {}


async def test_of_a_route_that_no_node_has_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once no node's file has a route, its flag, hold, switch and notes are forgotten: the next one of its name begins
    anew."""
    monkeypatch.setattr("console.replicas.TIDY_S", 0.0)
    async with pair(tmp_path, config(route("orders"), route("extra"))) as (one, two):
        await one.flips.flip("extra", FlipAsk(stage="live"), OPS)
        await one.rollback("extra")
        await two.replicas.look()
        entry = entry_for("shadow", ("extra",), "", OPS, two.state)
        off, notes = frozenset(["extra"]), {"watchdog:extra": "{}"}
        change = Commit(revision=two.state.revision, entry=entry, copying_off=off, remember=notes)
        await commit(two.state, change, replace(two.state.spec, copying_off=("extra",)))
        for node in (one, two):
            await node.replicas.look()
            node.state.adopt(replace(node.state.spec, flags={"orders": node.state.spec.flags["orders"]}, config=LATER))
        for node in (one, two, one, two):
            await node.replicas.beat()

        assert one.state.flag_store is not None
        left = await one.state.flag_store.load()
        assert left.flags.keys() == {"orders"}
        assert {**left.holds, **left.notes, **dict.fromkeys(left.copying_off)} == {}


async def test_a_newer_file_on_one_node_costs_the_others_nothing(tmp_path: Path) -> None:
    """Routes that one node has and the other has not keep their flags, whoever commits; unlike files are said."""
    newer = replace(config(route("orders"), route("extra")), digest="newer")
    async with pair(tmp_path, newer, config(route("orders"))) as (one, two):
        await one.flips.flip("extra", FlipAsk(stage="live"), OPS)
        await two.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
        await one.replicas.look()

        assert [one.stage("orders"), one.stage("extra")] == [Stage.SHADOW, Stage.LIVE]
        assert two.state.foreign == {"extra": one.state.spec.flags["extra"]}
        assert any("another configuration" in reason for reason in degraded(one.state))


async def test_a_roll_out_of_a_file_stands_in_the_audit_once(tmp_path: Path) -> None:
    """The first node that starts with another file says so, with both digests; the others that follow do not."""
    former, newer = (replace(config(route("orders")), digest=name) for name in ("former", "newer"))
    async with pair(tmp_path, former, newer) as (one, two), joining(tmp_path, newer, former) as (three, four):
        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
        for node in (one, two, three, four):
            await node.replicas.look()
        assert one.state.flag_store is not None
        entries = await one.state.flag_store.entries(before=None, limit=9)

        starts = [entry for entry in reversed(entries) if entry.kind == "start"]
        assert [(entry.before.get("digest"), entry.config) for entry in starts] == [
            (None, "former"),
            ("former", "newer"),
            ("newer", "former"),
        ]
        assert [entry.reason for entry in starts[1:]] == [
            f"node {name} started with another configuration" for name in "bd"
        ]
        assert all(node.state.base == one.state.base for node in (two, three, four))


async def test_one_of_two_leads(tmp_path: Path) -> None:
    """Exactly one node leads, and a node without database stops leading before its lease ends."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        assert [one.state.is_leader, two.state.is_leader] == [True, False]


async def test_a_change_with_several_entries_is_one_step(tmp_path: Path) -> None:
    """What writes several audit entries at once overtakes nobody by itself, and the other node takes it whole."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        state = one.state
        assert state.flag_store is not None
        async with state.turn:
            entry = entry_for("reload", (), "", OPS, state)
            flips = tuple(replace(entry, kind="flip", routes=(name,)) for name in ("orders", "cart"))
            change = Commit(revision=state.revision + 1, entry=entry, more=flips)
            number, _ = await commit(state, change, replace(state.spec, revision=state.revision + 1))
        newest = await state.flag_store.position()
        await confirm(state)
        await two.flips.flip("orders", FlipAsk(stage="shadow"), OPS)

        assert state.position == newest.number == number + 2
        assert two.state.position == number + 3
        assert two.state.revision == state.revision + 1


class Loud(FlagStore):
    """Say when everything was read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.read = asyncio.Event()

    async def load(self) -> Remembered:
        """Read everything, then say so."""
        found = await super().load()
        self.read.set()
        return found


async def test_an_older_truth_never_replaces_a_newer_one(tmp_path: Path) -> None:
    """What was read before one's own change is not taken over after it."""
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        state = one.state
        assert state.flag_store is not None
        store = state.flag_store = Loud(state.flag_store.database)
        async with state.turn:
            reading = asyncio.create_task(one.replicas.catch_up())
            await store.read.wait()
            entry = entry_for("hold", ("orders",), "", OPS, state)
            number, _ = await commit(state, Commit(revision=state.revision, entry=entry, hold=(HOLD,)), state.spec)
        await reading

        assert state.written == {"orders": HOLD}
        assert state.position == number


def _put_back(kept: Path, file: Path) -> None:
    """Restore a backup of the database."""
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    kept.rename(file)


def _copy(source: Path, target: Path) -> None:
    """Make a file what another one is, also under whoever has it open, as a failover does."""
    with contextlib.closing(sqlite3.connect(source)) as before, contextlib.closing(sqlite3.connect(target)) as after:
        before.backup(after)


async def test_a_change_planned_on_what_a_failover_lost_is_planned_again(tmp_path: Path) -> None:
    """A database that lost an entry and counted to its number again refuses what was planned on the lost one."""
    file, kept = tmp_path / "flags.db", tmp_path / "kept"
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        _copy(file, kept)
        await two.flips.flip("orders", FlipAsk(stage="live"), OPS)
        _copy(kept, file)
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        assert one.state.position == two.state.position, "two has an entry of that number, too, and did not look since"

        await two.flips.flip("cart", FlipAsk(stage="canary", percent_bp=500), OPS)
        await one.replicas.look()

        assert one.state.base == two.state.base
        assert one.state.spec.flags == two.state.spec.flags
        assert (two.stage("orders"), two.stage("cart")) == (Stage.LEGACY, Stage.CANARY)


async def test_a_node_whose_truth_was_lost_says_so(tmp_path: Path) -> None:
    """After a failover that counted beyond what a node knew, that node takes what is there and names what moved."""
    file, kept = tmp_path / "flags.db", tmp_path / "kept"
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        _copy(file, kept)
        await two.flips.flip("orders", FlipAsk(stage="live"), OPS)
        lost = two.state.position
        _copy(kept, file)
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        await one.flips.flip("cart", FlipAsk(stage="live"), OPS)

        await two.replicas.look()

        assert two.state.position == one.state.position > lost
        assert two.stage("orders") is Stage.LEGACY
        assert [reason for reason in degraded(two.state) if f"up to a-{lost} " in reason and "moved orders" in reason]
        assert not any("no longer has" in reason for reason in degraded(one.state)), "one knew nothing of the change"


async def test_one_revision_never_stands_for_two_things(tmp_path: Path) -> None:
    """After a failover that lost a flip and counted to its revision with another, all nodes have a newer one."""
    file, kept = tmp_path / "flags.db", tmp_path / "kept"
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        _copy(file, kept)
        await two.flips.flip("orders", FlipAsk(stage="live"), OPS)
        lost = two.state.revision
        _copy(kept, file)
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        assert one.state.revision == lost

        for node in (two, one, two):
            await node.replicas.look()

        assert one.state.revision == two.state.revision == lost + 1
        assert [(node.stage("orders"), node.stage("cart")) for node in (one, two)] == [(Stage.LEGACY, Stage.SHADOW)] * 2


async def test_a_hold_that_follows_on_a_lost_entry_hides_no_loss(tmp_path: Path) -> None:
    """What needs no newest truth is written behind whatever is there; that this is another past still shows."""
    file, kept = tmp_path / "flags.db", tmp_path / "kept"
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, two):
        _copy(file, kept)
        await two.flips.flip("orders", FlipAsk(stage="live"), OPS)
        _copy(kept, file)
        await one.flips.flip("cart", FlipAsk(stage="shadow"), OPS)
        state = two.state
        async with state.turn:
            entry = entry_for("hold", ("orders",), "", OPS, state)
            await commit(state, Commit(revision=state.revision, entry=entry, hold=(HOLD,)), state.spec)

        await two.replicas.look()

        assert two.stage("orders") is Stage.LEGACY
        assert any("no longer has" in reason for reason in degraded(two.state))


async def test_a_database_that_lost_a_change_and_counted_on_is_not_taken_for_known(tmp_path: Path) -> None:
    """After a failover that lost an entry, with a new one in its place, every node has what the database has."""
    file, kept = tmp_path / "flags.db", tmp_path / "kept"
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
        _copy(file, kept)
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        known = one.state.position
        await one.cut()
        await two.cut()
        _put_back(kept, file)

        await two.heal()
        await one.heal()

        assert two.state.position == known
        assert one.state.head == two.state.head
        assert [one.stage(), two.stage()] == [Stage.SHADOW, Stage.SHADOW]
        assert one.state.revision == two.state.revision


async def test_flags_of_a_lost_database_are_written_again(tmp_path: Path) -> None:
    """A node whose route is missing in the database tells it what is in force, and nobody's traffic moves."""
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        await one.flips.flip("orders", FlipAsk(stage="live"), OPS)
        await two.replicas.look()
        assert one.state.flag_store is not None
        async with one.state.flag_store.database.transaction() as tx:
            await tx.run(text("DELETE FROM flags"))
        await one.flips.shadow(False, None, reason="", caller=OPS)
        await two.replicas.look()
        await one.replicas.look()

        kept: dict[str, Flag] = dict((await one.state.flag_store.load()).flags)
        assert kept["orders"].stage is two.stage() is Stage.LIVE


async def test_who_leads_stops_believing_it_before_anybody_else_may_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that the database no longer hears thinks so until a second before its lease ends there, and not a
    moment longer."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr("console.replicas._clock", lambda: clock.now)
    monkeypatch.setattr("store.nodes.LEASE_S", 600.0)  # however long it takes to begin, the database gives it one lease
    async with pair(tmp_path, config(route("orders"))) as (one, two):
        began = one.replicas.is_leader, two.replicas.is_leader
        clock.now += LEASE_S - MARGIN_S - 0.25
        still = one.replicas.is_leader, two.replicas.is_leader
        clock.now += 0.25
        ended = one.replicas.is_leader, two.replicas.is_leader

    assert (began, still, ended) == ((True, False), (True, False), (False, False))


async def test_notices_are_heard_again_after_their_connection_died() -> None:
    """Each notice stirs; a connection that dies is said once and made again."""
    stirred = asyncio.Semaphore(0)
    said: list[str] = []
    lives = iter((2, 1))

    async def notices() -> AsyncIterator[str]:
        for _ in range(next(lives, 0)):
            yield ""
        raise StoreError("died")

    task = asyncio.create_task(hear(notices, stirred.release, said.append))
    async with asyncio.timeout(60):
        for _ in range(3):
            await stirred.acquire()
    task.cancel()

    assert said == ["died"] * len(said)
    assert said
