"""Rules of how divergences are listed, decided about and forgotten."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from store.database import StoreError
from store.divergences import Decision, Divergence, Wanted
from store.evidence import Batch, EvidenceStore
from store.groups import Groups, Sighting
from store.repeats import Noise
from store.triage import State
from tests.store.made import opened, sighting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(place: str) -> AsyncIterator[EvidenceStore]:
    """Open an empty file."""
    store = await opened(place)
    yield store
    await store.close()


async def write(store: EvidenceStore, *sightings: Sighting) -> None:
    """Write one batch of sightings."""
    groups = Groups()
    for one in sightings:
        groups.add(one)
    await store.write(Batch(at=100.0), groups)


async def listed(store: EvidenceStore, **wanted: object) -> list[str]:
    """List the ids of the divergences that are wanted."""
    found = await store.divergences.page(Wanted(**wanted), after=None, limit=100)  # type: ignore[arg-type]  # a bundle
    return [one.id for one in found]


def accepted(state: State | None = State.ACCEPTED, **changed: str) -> Decision:
    """Decide to accept."""
    return Decision(state=state, note=changed.get("note"), ticket=changed.get("ticket"), by="eve", at=150.0)


async def noted(_before: Divergence, after: Divergence) -> Divergence:
    """Stand in for the audit."""
    return after


async def test_the_worst_stands_first_and_what_is_settled_last(store: EvidenceStore) -> None:
    """One wrong price stands before a thousand separators; what somebody accepted stands behind both."""
    await write(store, *(sighting("d-cosmetic", rank=11, at=float(number)) for number in range(1_000)))
    await write(store, sighting("d-price"), sighting("d-price-2"), sighting("d-price-2"), sighting("d-server", rank=0))
    await store.divergences.decide("d-server", accepted(), noted)

    assert await listed(store) == ["d-price-2", "d-price", "d-cosmetic", "d-server"]


async def test_pages_miss_nothing_and_repeat_nothing(store: EvidenceStore) -> None:
    """Paging through groups of equal rank and count shows each exactly once, in order."""
    for number in range(25):
        await write(store, *(sighting(f"d-{number}", rank=number % 2) for _ in range(1 + number % 3)))
    whole = await listed(store)

    paged: list[str] = []
    after = None
    while page := await store.divergences.page(Wanted(), after=after, limit=4):
        paged += [one.id for one in page]
        after = page[-1].standing

    assert len(whole) == 25
    assert paged == whole


async def test_noise_ranks_among_equals_and_hides_nothing(store: EvidenceStore) -> None:
    """What legacy shows by itself stands behind its equals and before lesser ranks, until it is quiet again."""
    clock, price = ("value.changed", "/at"), ("value.changed", "/price")
    await write(store, *(sighting("d-clock", places=(clock,), at=float(number)) for number in range(100)))
    await write(store, sighting("d-both", places=(clock, price)), sighting("d-price", places=(price,)))
    await write(store, sighting("d-cosmetic", rank=11))
    loud = {"orders": Noise(asked=100, places={"/at": 90})}

    before = await listed(store)
    await store.divergences.weigh_noise(loud)
    weighed = await listed(store)
    await store.divergences.weigh_noise({"orders": Noise(asked=100, places={"/at": 1})})

    assert before == ["d-clock", "d-both", "d-price", "d-cosmetic"]
    assert weighed == ["d-both", "d-price", "d-clock", "d-cosmetic"]
    assert await listed(store) == before


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"route": "cart"}, ["d-cart"]),
        ({"cause": "escape.html"}, ["d-escape"]),
        ({"cause": "escape"}, ["d-escape"]),
        ({"cause": "esc"}, []),
        ({"state": State.ACCEPTED}, ["d-escape"]),
        ({"paths": ("/items/*/price",)}, ["d-price"]),
        ({"paths": ("/items",)}, ["d-price"]),
        ({"paths": ("/items/*/price/amount",)}, ["d-price"]),
        ({"paths": ("/item",)}, []),
        ({"paths": ("/nothing", "/total")}, ["d-cart"]),
        ({"request": "r-7"}, ["d-cart"]),
        ({"request": "r-8"}, []),
        ({"route": "orders", "cause": "value.changed"}, ["d-price"]),
    ],
    ids=str,
)
async def test_a_list_can_be_narrowed(store: EvidenceStore, wanted: dict[str, object], ids: list[str]) -> None:
    """Route, cause or family, state, a place with what stands above and below it, and a kept request narrow a list."""
    await write(
        store,
        sighting("d-price", places=(("value.changed", "/items/*/price"), ("whitespace.separator", ""))),
        sighting("d-escape", places=(("escape.html", ""),), rank=11),
        sighting("d-cart", route="cart", places=(("type.changed", "/total"),), rank=4, request_id="r-7"),
    )
    await store.divergences.decide("d-escape", accepted(), noted)

    assert await listed(store, **wanted) == ids


async def test_a_decision_holds_until_the_next_one(store: EvidenceStore) -> None:
    """Accepting and opening again change the state; a note and a ticket stay until they are replaced."""
    await write(store, sighting())

    first = await store.divergences.decide("d-1", accepted(note="known", ticket="T-1"), noted)
    second = await store.divergences.decide("d-1", accepted(State.OPEN), noted)
    third = await store.divergences.decide("d-1", accepted(None, note="fix it"), noted)

    assert first is not None
    assert second is not None
    assert third is not None
    assert [(one.state, one.note, one.ticket) for one in (first, second, third)] == [
        (State.ACCEPTED, "known", "T-1"),
        (State.OPEN, "known", "T-1"),
        (State.OPEN, "fix it", "T-1"),
    ]
    assert (third.decided_by, third.decided_at) == ("eve", 150.0)
    assert await store.divergences.decide("d-none", accepted(), noted) is None


async def test_a_decision_that_the_audit_refuses_is_not_taken(store: EvidenceStore) -> None:
    """No audit entry, no decision."""
    await write(store, sighting())

    async def refused(*_: object) -> None:
        raise StoreError("the audit cannot be written")

    with pytest.raises(StoreError):
        await store.divergences.decide("d-1", accepted(), refused)
    found = await store.divergences.one("d-1")

    assert found is not None
    assert found.state is State.OPEN


async def test_what_was_not_seen_for_long_is_forgotten_unless_it_was_accepted(store: EvidenceStore) -> None:
    """Beyond max_age a divergence goes with its examples; an accepted one stays, without them."""
    await write(store, sighting("d-old", at=10.0), sighting("d-kept", at=10.0), sighting("d-new", at=500.0))
    await store.divergences.decide("d-kept", accepted(), noted)
    store.bound(max_age_s=400.0, cap_bytes=1 << 30)

    await store.forget(500.0)

    assert await listed(store) == ["d-new", "d-kept"]
    assert await store.divergences.examples("d-kept") == await store.divergences.examples("d-old") == []
    assert len(await store.divergences.examples("d-new")) == 1


async def test_a_file_that_is_too_large_loses_examples_before_divergences(store: EvidenceStore) -> None:
    """With large bodies the older examples of each group go first; the divergences and a newest example stay."""
    for at in (1.0, 2.0, 3.0):
        await write(
            store,
            *(sighting(f"d-{number}", at=at, body=os.urandom(20_000), size_bytes=int(9 - at)) for number in range(20)),
        )
    store.bound(max_age_s=1e9, cap_bytes=700_000)

    await store.shrink()

    assert len(await listed(store)) == 20
    assert [one.at for one in await store.divergences.examples("d-7")] == [3.0]


async def test_work_is_counted_per_route_and_rank(store: EvidenceStore) -> None:
    """What is open or regressed is counted per route and rank; what is settled is not."""
    await write(store, sighting("d-1"), sighting("d-2"), sighting("d-3", rank=11), sighting("d-4", route="cart"))
    await store.divergences.decide("d-2", accepted(), noted)

    assert await store.divergences.in_work() == {("orders", 6): 1, ("orders", 11): 1, ("cart", 6): 1}
