"""What repeats have shown: counted per day and place, bounded, and kept when it cannot be written."""

from __future__ import annotations

import time

import pytest

from store.evidence import Batch, EvidenceStore
from store.groups import Groups
from store.repeats import DAY_S, ENOUGH_ASKED, MAX_PENDING, WINDOW_DAYS, Noise, Recheck, RepeatLog, place_of

TODAY = int(time.time() // DAY_S)
NOW = (TODAY + 0.5) * DAY_S
"""Noon: the file forgets by the clock."""


def test_a_second_question_counts_each_place_once() -> None:
    """However often one answer differs at a place, legacy was asked once and differed there once."""
    log = RepeatLog()
    log.ask("orders", ["/at", "/at", "/items/*/id"], 3.5 * DAY_S)
    log.ask("orders", [], 3.9 * DAY_S)

    found = log.take()

    assert found.asked == {("orders", 3): 2}
    assert found.noisy == {("orders", 3, "/at"): 1, ("orders", 3, "/items/*/id"): 1}
    assert not log.take()


def test_what_is_pending_is_bounded_and_counted() -> None:
    """Beyond the bound new places and divergences are dropped and counted; known ones go on."""
    log = RepeatLog()
    log.repeat("d-1", 1, "gone")
    log.ask("orders", [f"/{number}" for number in range(MAX_PENDING)], 0.0)
    log.repeat("d-2", 1, "gone")
    log.repeat("d-1", 1, "gone")

    assert log.dropped == 2
    found = log.take()
    assert len(found.noisy) + len(found.again) == MAX_PENDING
    assert found.again == {("d-1", 1, "gone"): 2}


def test_what_could_not_be_written_is_added_to_what_came_since() -> None:
    """A batch that failed is joined with the next one, count by count."""
    log = RepeatLog()
    log.ask("orders", ["/at"], 0.0)
    log.repeat("d-1", 1, "stays")
    taken = log.take()
    log.ask("orders", ["/at"], 0.0)
    log.repeat("d-1", 1, "stays")

    log.put_back(taken)
    found = log.take()

    assert found.asked == {("orders", 0): 2}
    assert found.noisy == {("orders", 0, "/at"): 2}
    assert found.again == {("d-1", 1, "stays"): 2}


def test_what_stands_in_no_body_is_placed_by_its_cause() -> None:
    """A status or header has no pointer: two causes at the root are two places."""
    assert place_of("http.status", "") == "http.status"
    assert place_of("http.header", "") == "http.header"
    assert place_of("number.value", "/a/*/b") == "/a/*/b"


def test_a_divergence_is_as_noisy_as_its_quietest_place() -> None:
    """A clock excuses no price, a separator silences no clock; below enough questions nobody knows."""
    noise = Noise(asked=40, places={"/at": 40, "/id": 10, "http.status": 2})

    assert noise.rate_of([("string.value", "/at")]) == 1.0
    assert noise.rate_of([("string.value", "/at"), ("number.value", "/id")]) == 0.25
    assert noise.rate_of([("string.value", "/at"), ("number.value", "/price")]) == 0.0
    assert noise.rate_of([("http.status", "")]) == 0.05
    assert noise.rate_of([("volatile.timestamp", "/at"), ("whitespace.separator", "")]) == 1.0
    assert noise.rate_of([("key_order", ""), ("whitespace.separator", "")]) == 0.0
    assert noise.rate_of([]) is None
    assert Noise(asked=ENOUGH_ASKED - 1, places={"/at": 19}).rate_of([("string.value", "/at")]) is None


@pytest.mark.anyio
async def test_what_was_learnt_is_kept_per_day_and_forgotten(place: str) -> None:
    """A rate is that of the last days: older ones leave it, and then the file."""
    store = await EvidenceStore.open(place)
    log = RepeatLog()
    for day, places in ((0, ["/at"]), (0, []), (-1, ["/at", "/id"]), (-WINDOW_DAYS, ["/at"])):
        log.ask("orders", places, NOW + day * DAY_S)
        await store.write(Batch(), Groups(), log)

    found = await store.repeats.noise(["orders", "other"], NOW)
    later = await store.repeats.noise(["orders"], NOW + WINDOW_DAYS * DAY_S)
    await store.forget(NOW + 2 * WINDOW_DAYS * DAY_S)
    emptied = await store.repeats.noise(["orders"], NOW)
    await store.close()

    assert found == {"orders": Noise(asked=3, places={"/at": 2, "/id": 1})}
    assert later == {}
    assert emptied == {}


@pytest.mark.anyio
async def test_repeats_add_up_and_the_last_recheck_stays(place: str) -> None:
    """Outcomes are counted per divergence and attempt; a later recheck takes the place of the one before."""
    store = await EvidenceStore.open(place)
    log = RepeatLog()
    for attempt, outcome in ((1, "gone"), (1, "gone"), (1, "stays"), (2, "other")):
        log.repeat("d-1", attempt, outcome)
        await store.write(Batch(), Groups(), log)
    for outcome in ("still", "fixed"):
        told = Recheck(
            divergence="d-1",
            comparison="c-1",
            at=NOW,
            outcome=outcome,
            sentence="Why.",
            actor="dev",
            build_legacy="",
            build_new="v2",
        )
        await store.repeats.remember(told)

    repeated = await store.repeats.repeated(["d-1", "d-2"])
    rechecks = await store.repeats.rechecks(["d-1", "d-2"])
    await store.close()

    assert repeated == {"d-1": {1: {"gone": 2, "stays": 1}, 2: {"other": 1}}}
    assert rechecks == {"d-1": told}
    assert rechecks["d-1"].outcome == "fixed"


@pytest.mark.anyio
async def test_a_batch_that_cannot_be_written_is_kept(place: str) -> None:
    """When the file refuses, nothing that was learnt is lost."""
    store = await EvidenceStore.open(place)
    await store.close()
    log = RepeatLog()
    log.ask("orders", ["/at"], NOW)

    with pytest.raises(Exception, match="closed"):
        await store.write(Batch(), Groups(), log)

    assert log.take().asked == {("orders", TODAY): 1}
