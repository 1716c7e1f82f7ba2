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
    """Who watches again within an hour goes on, and what nobody watched meanwhile counts for nothing; a longer hole, or
    one that is long against what is to be proven, begins the watch anew."""
    began, since, strict, unwatched = 0.0, [], [], []
    for after in (0.0, 30.0, GAP_S, 2 * GAP_S + 30, 2 * GAP_S + 40):
        store = await EvidenceStore.open(place)
        began = began or store.began_at
        await store.watched.note(began + after, ORDERS, after)
        await store.watched.note(began + after + 5, ORDERS, after + 5, anew=True)
        since.append(store.watched.since("orders") - began)
        strict.append(store.watched.since("orders", 20.0) - began)
        unwatched.append(store.watched.unwatched_s(began))
        await store.close()

    assert since == pytest.approx([0.0, 0.0, 0.0, 2 * GAP_S + 30, 2 * GAP_S + 30])
    assert strict == pytest.approx([0.0, 30.0, GAP_S, 2 * GAP_S + 30, 2 * GAP_S + 30])
    assert unwatched == pytest.approx([0.0, 25.0, GAP_S - 10, 2 * GAP_S + 15, 2 * GAP_S + 20])


async def test_time_that_passed_by_the_clock_alone_is_not_watched(place: str) -> None:
    """A clock that jumps ten years, runs ahead bit by bit, or goes back and forth brings no quiet, and one that is set
    right again leaves no hole of ten years behind."""
    store = await EvidenceStore.open(place)
    began, unwatched, decade = store.began_at, [], 315_360_000.0
    steps = ((0.0, 0.0), (2.0, 2.0), (2.9, 2.2), (3.8, 2.4), (decade, 10.0), (20.0, 20.0), (30.0, 30.0), (decade, 40.0))
    for after, tick in steps:
        await store.watched.note(began + after, ORDERS, tick)
        unwatched.append(store.watched.unwatched_s(began))
    await store.close()

    assert unwatched[:5] == pytest.approx([0.0, 0.0, 0.0, 1.4, decade - 10.0], abs=1e-3)
    assert unwatched[5:7] == pytest.approx([10.0, 10.0], abs=1e-3), "of a decade that never was nothing is left"
    assert unwatched[7] == pytest.approx(decade - 30.0, abs=1e-3), "and what went back is no credit"


async def test_a_clock_that_jumps_before_the_first_word_is_found_out(place: str) -> None:
    """From the moment at which the evidence began to the first word nobody watched, however long that was."""
    store = await EvidenceStore.open(place)
    await store.watched.note(store.began_at + 10 * GAP_S, ORDERS, 1.0)
    since, unwatched = store.watched.since("orders"), store.watched.unwatched_s(store.began_at)
    await store.close()

    assert (since - store.began_at, unwatched) == pytest.approx((10 * GAP_S, 10 * GAP_S))


async def test_lost_counts_are_remembered_for_the_routes_that_they_may_be_of(place: str) -> None:
    """Counts that a worker took along are noted at once, route by route, and known to whoever opens it next."""
    store = await EvidenceStore.open(place)
    began = store.began_at
    await store.watched.note(began, ORDERS, 0.0)
    other = await EvidenceStore.open(place)
    await other.watched.note(began, ORDERS, 0.0)
    await store.watched.note(began + 1, ORDERS, 1.0, lost=["orders"])
    await other.watched.note(began + 2, ORDERS, 2.0, anew=True)
    known = [one.watched.lost(route) for one in (store, other) for route in ("orders", "cart")]
    await store.close()
    await other.close()

    assert known == [pytest.approx(began + 1), 0.0] * 2


async def test_only_the_youngest_holes_are_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the oldest hole is forgotten the watch begins behind it: forgetting never makes anything quieter."""
    monkeypatch.setattr("store.watched.KEPT_HOLES", 2)
    store = await EvidenceStore.open(place)
    began = store.began_at
    for step in range(4):
        await store.watched.note(began + 100 * step, ORDERS, 50 * step)
    since, unwatched = store.watched.since("orders") - began, store.watched.unwatched_s(began)
    await store.close()

    assert (since, unwatched) == pytest.approx((100.0, 100.0))


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
