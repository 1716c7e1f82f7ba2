"""Rules of what nodes tell each other of what they count now."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from store.counts import CountStore
from store.flags import FlagStore
from store.nodes import NodeStore
from store.schema import node_counts

pytestmark = pytest.mark.anyio


async def test_others_read_what_was_told_last_while_it_is_fresh(place: str) -> None:
    """A node reads the newest of what each other node told, never its own, and nothing that is too old or of a node
    that has left."""
    store = await FlagStore.open(place)
    counts = CountStore(store.database)
    for node, body in (("a", b"1"), ("b", b"2"), ("b", b"\x00\xff"), ("c", b"4"), ("d", b"5")):
        await counts.tell(node, body)
    async with store.database.transaction() as tx:
        await tx.run(update(node_counts).where(node_counts.c.node == "c").values(at=node_counts.c.at - 60))
    await NodeStore(store.database).forget("d")

    fresh, old = await counts.others("a", 30.0), await counts.others("a", 90.0)
    await store.close()

    assert [(one.node, one.body) for one in fresh] == [("b", b"\x00\xff")]
    assert 0 <= fresh[0].age_s < 30
    assert {one.node: round(one.age_s // 60) for one in old} == {"b": 0, "c": 1}
