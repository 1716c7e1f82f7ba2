"""Rules of the flags: a change and its audit entry are one, and both come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.sql import ClauseElement

from config.spec import RuleSpec, ToleranceSpec
from rules.flag import Flag, Hold, Stage, flag_as_json
from store import chain
from store.database import Row, StoreError, Transaction
from store.entries import Entry
from store.flags import KEEP_DEPLOYS, Commit, Deploy, FlagStore, Key, StaleRevisionError
from store.schema import flags

pytestmark = pytest.mark.anyio

CANARY = Flag(stage=Stage.CANARY, percent_bp=1_250, sample_bp=10_000, salt="orders")
HOLD = Hold(route="orders", keep_copying=True, reason="night", actor="ops", at="2026-01-01T00:00:00Z")


def entry(kind: str = "flip", routes: tuple[str, ...] = ("orders",), source: str = "api") -> Entry:
    """Make an audit entry."""
    return Entry(
        kind=kind,
        source=source,
        actor="ops",
        routes=routes,
        reason="why",
        at="2026-01-01T00:00:00Z",
        before={},
        after={"orders": flag_as_json(CANARY)},
    )


async def test_what_was_committed_comes_back(place: str) -> None:
    """Flags, holds, switches, revision and audit are the same after the file was closed and opened."""
    store = await FlagStore.open(place)
    (written,) = await store.commit(
        Commit(
            revision=7,
            entry=entry(),
            set_flags={"orders": CANARY},
            hold=(HOLD,),
            copying_off=frozenset({"cart"}),
        )
    )
    await store.close()

    store = await FlagStore.open(place)
    found, told = await store.load(), await store.entry(written.id)
    await store.close()

    assert (found.revision, found.flags, found.holds) == (7, {"orders": CANARY}, {"orders": HOLD})
    assert found.copying_off == {"cart"}
    assert told == written == replace(entry(), id=1, revision=7, previous=chain.GENESIS, hash=written.hash)


async def test_notes_come_back_until_they_are_forgotten(place: str) -> None:
    """Small values of control's parts are kept by key, and one is forgotten without the others."""
    store = await FlagStore.open(place)
    await store.commit(Commit(revision=1, entry=entry(), remember={"watchdog:a": "1", "autopilot:b": "2"}))
    both = await store.load()
    await store.commit(Commit(revision=2, entry=entry(), remember={"watchdog:a": None}))
    one = await store.load()
    await store.close()

    assert both.notes == {"watchdog:a": "1", "autopilot:b": "2"}
    assert one.notes == {"autopilot:b": "2"}


async def test_deploys_come_back_newest_first_and_bounded(place: str) -> None:
    """Of each backend the newest deploys are remembered, a fixed number of them, apart from the others'."""
    ran = tuple(Deploy(backend="new", version=f"v{n}", at=float(n), actor="ci") for n in range(30, 0, -1))
    other = (Deploy(backend="old", version="k1", at=1.0, actor="ci"),)
    store = await FlagStore.open(place)
    await store.commit(Commit(revision=7, entry=entry("deployed"), deploys=ran))
    await store.commit(Commit(revision=7, entry=entry("deployed"), deploys=other))

    found = await store.load()
    await store.close()

    assert found.deploys == {"new": ran[:KEEP_DEPLOYS], "old": other}
    assert found.revision == 7


async def test_tolerances_come_back_until_they_are_taken_away(place: str) -> None:
    """Applied tolerances are kept whole; None leaves them, a new set replaces them, and nothing else goes with them."""
    clock = ToleranceSpec(
        id="t-1",
        route="orders",
        path="$.at",
        rule=RuleSpec(name="timestamp", within_ns=5),
        reason="a clock",
        owner="shop",
        expires="2027-01-31",
    )
    order = ToleranceSpec(id="t-2", route="", cause="key_order", reason="maps", owner="shop", expires="2027-01-31")
    store = await FlagStore.open(place)
    ran = (Deploy(backend="new", version="v1", at=1.0, actor="ci"),)
    await store.commit(Commit(revision=1, entry=entry("tolerate"), tolerate=(order, clock), deploys=ran))
    await store.commit(Commit(revision=2, entry=entry()))
    both = await store.load()
    await store.commit(Commit(revision=3, entry=entry("untolerate"), tolerate=(order,)))
    one = await store.load()
    await store.close()

    assert (both.tolerate, one.tolerate) == ((clock, order), (order,))
    assert one.deploys == {"new": ran}


async def test_a_commit_that_fails_writes_neither_flag_nor_audit(place: str) -> None:
    """When any part of a change cannot be written, none of it is."""
    store = await FlagStore.open(place)
    key = Key(key="k", actor="ops", digest="d")
    await store.commit(Commit(revision=1, entry=entry(), key=key))

    with pytest.raises(StoreError):
        await store.commit(Commit(revision=2, entry=entry(), set_flags={"orders": CANARY}, key=key))
    found, entries = await store.load(), await store.entries(before=None, limit=10)
    await store.close()

    assert found.revision == 1
    assert found.flags == {}
    assert len(entries) == 1


async def test_a_change_rests_on_one_entry_not_on_its_number(place: str) -> None:
    """A change is refused where another entry has the number of the one that it was planned on."""
    store = await FlagStore.open(place)
    (first,) = await store.commit(Commit(revision=1, entry=entry(), base=(0, "")))
    change = Commit(revision=2, entry=entry(), set_flags={"orders": CANARY})

    refused = []
    for base in ((0, ""), (1, chain.GENESIS), (2, first.hash)):
        with pytest.raises(StaleRevisionError) as caught:
            await store.commit(replace(change, base=base))
        refused.append((caught.value.expected, caught.value.found))
    untouched = (await store.load()).flags
    (second,) = await store.commit(replace(change, base=(1, first.hash)))
    found = [await store.has(base) for base in ((2, second.hash), (1, first.hash), (1, second.hash), (3, second.hash))]
    await store.close()

    assert refused == [(0, 1), (1, 1), (2, 1)]
    assert untouched == {}
    assert found == [True, True, False, False]


async def test_sets_are_replaced_and_flags_dropped(place: str) -> None:
    """A new set of holds or switches replaces the old one, None leaves it; a dropped flag is gone."""
    store = await FlagStore.open(place)
    both = {"orders": CANARY, "cart": replace(CANARY, salt="cart")}
    await store.commit(
        Commit(
            revision=1,
            entry=entry(),
            set_flags=both,
            hold=(HOLD,),
            copying_off=frozenset({"a", "b"}),
        )
    )
    await store.commit(Commit(revision=2, entry=entry()))
    same = await store.load()
    await store.commit(
        Commit(revision=3, entry=entry(), drop_flags=("cart",), release=("orders",), copying_off=frozenset())
    )
    less = await store.load()
    await store.close()

    assert (same.flags, same.holds, set(same.copying_off)) == (both, {"orders": HOLD}, {"a", "b"})
    assert (less.flags, less.holds, set(less.copying_off)) == ({"orders": CANARY}, {}, set())


async def test_the_audit_is_paged_newest_first_and_filtered_by_route(place: str) -> None:
    """Entries come newest first, from a place on, for one route or all."""
    store = await FlagStore.open(place)
    for number in range(6):
        routes = ("orders",) if number % 2 else ("cart", "pay")
        await store.commit(Commit(revision=number, entry=entry(routes=routes)))

    page = await store.entries(before=None, limit=4)
    rest = await store.entries(before=page[-1].id, limit=4)
    pay = await store.entries(before=None, limit=10, route="pay")
    await store.close()

    assert [one.id for one in [*page, *rest]] == [6, 5, 4, 3, 2, 1]
    assert [one.id for one in pay] == [5, 3, 1]


async def test_the_last_flip_of_each_route_is_found(place: str) -> None:
    """The last flip is the newest flip, rollback or undo of a route; holds and reloads are none."""
    store = await FlagStore.open(place)
    for kind, routes in (("flip", ("orders",)), ("undo", ("orders", "cart")), ("hold", ("orders",)), ("reload", ())):
        await store.commit(Commit(revision=1, entry=entry(kind, routes)))

    last, counts = await store.last_flips(), await store.flip_counts()
    await store.close()

    assert {route: one.kind for route, one in last.items()} == {"orders": "undo", "cart": "undo"}
    assert counts == {("orders", "api"): 2, ("cart", "api"): 1}


async def test_an_entry_that_names_every_route_is_read_once(place: str) -> None:
    """What last moved 1,000 routes is one entry, not 1,000 copies of it: a status of a large configuration is quick."""
    names = tuple(f"r{number}" for number in range(1_000))
    store = await FlagStore.open(place)
    await store.commit(Commit(revision=1, entry=entry("start", names)))
    await store.commit(Commit(revision=2, entry=entry("flip", ("r7",))))

    moves, flips = await store.last_moves(), await store.last_flips()
    await store.close()

    assert moves.keys() == set(names)
    assert len({id(one) for one in moves.values()}) == 2
    assert (moves["r7"].kind, moves["r8"].kind) == ("flip", "start")
    assert flips.keys() == {"r7"}


class Journeys:
    """Hand statements on to a transaction, and count how often somebody waits for it."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.count = 0

    async def run(self, statement: ClauseElement) -> None:
        """Count one."""
        self.count += 1
        await self.transaction.run(statement)

    async def run_many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Count one for all rows."""
        self.count += bool(rows)
        await self.transaction.run_many(statement, rows)

    async def rows(self, statement: ClauseElement) -> list[Row]:
        """Count one."""
        self.count += 1
        return await self.transaction.rows(statement)


async def test_a_change_of_every_route_waits_as_seldom_as_one_of_one(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback of 1,000 routes, and the release of all, make as many journeys to the database as those of one."""
    store = await FlagStore.open(place)
    begun = store.database.transaction
    seen: list[Journeys] = []

    @asynccontextmanager
    async def counted() -> AsyncIterator[Transaction]:
        async with begun() as transaction:
            seen.append(Journeys(transaction))
            yield seen[-1]

    monkeypatch.setattr(store.database, "transaction", counted)
    changes = []
    for count in (1, 1_000):
        names = tuple(f"r{number}" for number in range(count))
        flags_of_all = {name: replace(CANARY, salt=name) for name in names}
        holds_of_all = tuple(replace(HOLD, route=name) for name in names)
        changes += [
            Commit(revision=1, entry=entry("start", names), set_flags=flags_of_all),
            Commit(revision=2, entry=entry("rollback", names), hold=holds_of_all, copying_off=frozenset(names)),
            Commit(revision=3, entry=entry("release", names), release=names, drop_flags=names),
        ]

    for change in changes[:5]:
        await store.commit(change)
    held = await store.load()
    await store.commit(changes[5])
    left = await store.load()
    await store.close()
    journeys = [one.count for one in seen]

    assert journeys[:3] == journeys[3:]
    assert max(journeys) < 12
    assert (len(held.flags), len(held.holds), len(held.copying_off)) == (1_000, 1_000, 1_000)
    assert (left.flags, left.holds) == ({}, {})


async def test_a_key_is_remembered_with_its_change(place: str) -> None:
    """The answer of a change is found under its key and actor, with the id of its entry, and under no other."""
    store = await FlagStore.open(place)
    key = Key(key="k", actor="ops", digest="d", answer={"revision": 3})
    (written,) = await store.commit(Commit(revision=3, entry=entry(), key=key))

    found, stranger = await store.recall("k", "ops"), await store.recall("k", "dev")
    await store.close()

    assert found == replace(key, answer={"revision": 3, "audit_id": f"a-{written.id}"})
    assert stranger is None


async def test_a_stage_of_another_version_is_a_sentence(place: str) -> None:
    """A value that this version cannot read refuses the file with the way out."""
    store = await FlagStore.open(place)
    await store.commit(Commit(revision=3, entry=entry(), set_flags={"orders": CANARY}))
    async with store.database.transaction() as tx:
        await tx.run(update(flags).values(stage="retired"))

    with pytest.raises(StoreError, match="start the version that wrote it"):
        await store.load()
    await store.close()
