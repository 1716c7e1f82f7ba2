"""What repeats have shown looks the same for every divergence, also where nobody asked again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from console.noise import again_as_json, beside, noise_as_json, recheck_as_json
from store.divergences import Wanted
from store.evidence import Batch, EvidenceStore
from store.groups import Groups
from store.repeats import Noise, RepeatLog
from tests.store.made import opened, sighting


async def seen(path: Path) -> EvidenceStore:
    """Keep one divergence at a clock and a price."""
    store = await opened(path)
    groups = Groups()
    groups.add(sighting(places=(("value.changed", "/price"), ("value.changed", "/at"))))
    await store.write(Batch(at=100.0), groups)
    return store


@pytest.mark.anyio
async def test_where_nobody_asked_again_nothing_is_claimed(tmp_path: Path) -> None:
    """Without second questions a rate is unknown, not zero."""
    store = await seen(tmp_path / "evidence.db")

    (note,) = await beside(store, await store.divergences.page(Wanted(), after=None, limit=9))
    await store.close()

    assert note["noise"]["asked"] == 0
    assert note["noise"]["rate"] is None
    assert note["noise"]["places"] == [
        {"cause": "value.changed", "path": "/price", "rate": None},
        {"cause": "value.changed", "path": "/at", "rate": None},
    ]
    assert (note["again"], note["recheck"]) == ([], None)


@pytest.mark.anyio
async def test_each_place_has_its_rate_and_the_quietest_counts(tmp_path: Path) -> None:
    """A clock is loud and a price beside it silent: the divergence is as noisy as the price."""
    store = await seen(tmp_path / "evidence.db")
    log = RepeatLog()
    for number in range(40):
        log.ask("orders", ["/at"] if number % 4 else [], time.time())
    log.repeat("d-1", 1, "stays")
    await store.write(Batch(), Groups(), log)

    (note,) = await beside(store, await store.divergences.page(Wanted(), after=None, limit=9))
    await store.close()

    assert note["noise"]["asked"] == 40
    assert note["noise"]["rate"] == 0.0
    assert [place["rate"] for place in note["noise"]["places"]] == [0.0, 75.0]
    assert note["again"] == [{"attempt": 1, "gone": 0, "stays": 1, "other": 0}]


@pytest.mark.parametrize(
    ("asked", "places", "words"),
    [
        (0, {}, "unknown: legacy is not asked twice"),
        (3, {"/price": 1}, "too few to tell"),
        (40, {}, "never differed from itself at one of these places"),
        (40, {"/at": 40}, "never differed from itself at one of these places; at /at in 100 %"),
        (40, {"/at": 40, "/price": 3}, "in 7.5 % of 40 answers"),
    ],
)
@pytest.mark.anyio
async def test_the_sentence_says_what_is_known(tmp_path: Path, asked: int, places: dict[str, int], words: str) -> None:
    """Not asked, hardly asked, never noisy and how noisy are four different sentences."""
    store = await seen(tmp_path / "evidence.db")
    (found,) = await store.divergences.page(Wanted(), after=None, limit=9)
    await store.close()

    assert words in noise_as_json(found, Noise(asked=asked, places=places))["sentence"]


def test_attempts_come_in_order_and_a_missing_recheck_is_null() -> None:
    """Every outcome of an attempt is a number, also one that was never seen."""
    assert again_as_json({2: {"gone": 1}, 1: {"stays": 2}}) == [
        {"attempt": 1, "gone": 0, "stays": 2, "other": 0},
        {"attempt": 2, "gone": 1, "stays": 0, "other": 0},
    ]
    assert recheck_as_json(None) is None
