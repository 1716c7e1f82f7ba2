"""Rules of knowing since when legacy was watched."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from store.evidence import EvidenceStore
from store.schema import evidence_meta
from store.watched import GAP_S

pytestmark = pytest.mark.anyio
ORDERS = {"orders": "a"}
_NOTED = select(evidence_meta.c.value).where(evidence_meta.c.key == "watched")


async def test_a_watch_goes_on_over_restarts_and_breaks_with_a_gap(place: str) -> None:
    """Who watches again within an hour has never stopped; later, or when the clock jumped, the watch begins anew."""
    began, since = 0.0, []
    for after in (0.0, 30.0, GAP_S, 2 * GAP_S + 30, 2 * GAP_S + 40):
        store = await EvidenceStore.open(place)
        began = began or store.began_at
        await store.watched.note(began + after, ORDERS, after)
        since.append(store.watched.since("orders") - began)
        await store.close()

    assert since == pytest.approx([0.0, 0.0, 0.0, 2 * GAP_S + 30, 2 * GAP_S + 30])


async def test_a_clock_that_jumps_breaks_the_watch(place: str) -> None:
    """Time that did not pass is no quiet: a clock that runs ahead by more than a minute begins the watch anew."""
    store = await EvidenceStore.open(place)
    began, since = store.began_at, []
    for after, tick in ((0.0, 0.0), (40.0, 30.0), (640.0, 70.0), (680.0, 110.0)):
        await store.watched.note(began + after, ORDERS, tick)
        since.append(store.watched.since("orders") - began)
    await store.close()

    assert since == pytest.approx([0.0, 0.0, 640.0, 640.0])


async def test_a_route_that_takes_other_requests_was_not_watched_before(place: str) -> None:
    """Another match begins the watch of its route anew, and of no other; going back does, too."""
    store = await EvidenceStore.open(place)
    began, since = store.began_at, []
    for step, takes in enumerate(("a", "b", "a")):
        await store.watched.note(began + step, {"orders": takes, "cart": "c"}, step)
        since.append((store.watched.since("orders") - began, store.watched.since("cart") - began))
    await store.close()

    assert since == [pytest.approx(both) for both in ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))]


async def test_saying_it_again_costs_nothing(place: str) -> None:
    """Within a minute nothing is written again; a clock that went back is."""
    store = await EvidenceStore.open(place)
    await store.watched.note(1_000_000.0, ORDERS, 0.0)
    noted = []
    for now in (1_000_050.0, 999_000.0):
        await store.watched.note(now, ORDERS, 50.0)
        noted.append(await store.database.rows(_NOTED))
    await store.close()

    assert [str(1_000_000.0) in rows[0][0] for rows in noted] == [True, False]
