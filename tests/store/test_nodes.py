"""Rules of the list of nodes and of the lease of the one that leads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from store.flags import FlagStore
from store.nodes import AWAY_S, FORGET_S, LEASE_S, SKEW_S, NodeSeen, NodeStore
from store.schema import meta, nodes

pytestmark = pytest.mark.anyio

A = NodeSeen(
    name="a",
    address="127.0.0.1:1",
    version="1",
    started_at=1.5,
    revision=7,
    config="d1",
    workers=({"slot": 0, "pid": 1, "revision": 7},),
    reported_age_s=0.5,
)
B = replace(A, name="b", revision=6, workers=({"slot": 0, "pid": 2, "revision": 5},))


async def silence(store: FlagStore, name: str, seconds: float) -> None:
    """Make a node silent for so long, and its lease with it."""
    async with store.database.transaction() as tx:
        await tx.run(update(nodes).where(nodes.c.name == name).values(seen_at=nodes.c.seen_at - seconds))
        for key, value in await tx.rows(select(meta.c.key, meta.c.value).where(meta.c.key.startswith("leader"))):
            leader, until = json.loads(value)
            await tx.run(update(meta).where(meta.c.key == key).values(value=json.dumps([leader, until - seconds])))


async def test_one_leads_until_it_is_silent(place: str) -> None:
    """The first that asks leads as long as it beats; another one leads only after its lease, and never both."""
    store = await FlagStore.open(place)
    listed = NodeStore(store.database)

    first, second, again = await listed.beat(A), await listed.beat(B), await listed.beat(A)
    await silence(store, "a", LEASE_S + 1)
    taken, late = await listed.beat(B), await listed.beat(A)
    await store.close()

    assert [first.leads, second.leads, again.leads] == [True, False, True]
    assert (taken.leads, late.leads, late.leader) == (True, False, "b")


async def test_two_processes_of_one_name_never_lead_both(place: str) -> None:
    """The lease belongs to one start of a node; a second process under its name waits like any other."""
    store = await FlagStore.open(place)
    listed = NodeStore(store.database)

    first, twin = await listed.beat(A), await listed.beat(replace(A, started_at=2.5))
    await store.close()

    assert (first.leads, twin.leads) == (True, False)
    assert twin.former is not None
    assert twin.former.started_at == 1.5


async def test_a_silent_node_is_away_and_later_forgotten(place: str) -> None:
    """A node silent for more than five seconds is away; after a week it is off the list."""
    store = await FlagStore.open(place)
    listed = NodeStore(store.database)
    await listed.beat(A)
    await listed.beat(B)
    await silence(store, "b", AWAY_S + 1)

    seen = {node.name: node for node in await listed.list()}
    await silence(store, "b", FORGET_S)
    beat = await listed.beat(A)
    await store.close()

    assert (seen["a"].is_away, seen["b"].is_away) == (False, True)
    assert (beat.forgotten, [node.name for node in beat.nodes]) == (("b",), ["a"])


async def test_what_a_node_says_is_what_others_read(place: str) -> None:
    """A row comes back as it was written; a node serves a revision only when all its workers do."""
    store = await FlagStore.open(place)
    listed = NodeStore(store.database)
    await listed.beat(B)

    (seen,) = await listed.list()
    await store.close()

    assert replace(seen, seen_at=0.0, age_s=0.0) == B
    assert (seen.serves(5), seen.serves(6)) == (True, False)


async def test_clocks_that_agree_are_not_said_to_differ(place: str) -> None:
    """A beat compares our clock with the database's, and takes the time that the question took for no difference."""
    store = await FlagStore.open(place)

    beat = await NodeStore(store.database).beat(A)
    await store.close()

    assert abs(beat.ahead_s) < SKEW_S


async def test_goodbye_gives_the_lead_away_at_once(place: str) -> None:
    """A node that ends in order leaves the list and its lease, so nobody waits for it."""
    store = await FlagStore.open(place)
    listed = NodeStore(store.database)
    await listed.beat(A)

    was_listed, unknown = await listed.forget("a", goodbye=True), await listed.forget("c")
    beat = await listed.beat(B)
    await store.close()

    assert (was_listed, unknown) == (True, False)
    assert (beat.leads, [node.name for node in beat.nodes]) == (True, ["b"])
