"""Rules of how pending groups join what the file has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from store.divergences import Decision
from store.evidence import Batch, EvidenceStore
from store.groups import MAX_CONSUMERS, Groups
from store.merge import MAX_BUILDS
from store.triage import State
from tests.store.made import opened, sighting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(place: str) -> AsyncIterator[EvidenceStore]:
    """Open an empty file."""
    store = await opened(place)
    yield store
    await store.close()


async def write(
    store: EvidenceStore,
    *sightings: object,
    compared: dict[str, int] | None = None,
    counts: dict[str, dict[str, int]] | None = None,
    at: float = 100.0,
) -> Groups:
    """Write one batch: sightings, pairs compared per build, pairs only counted per build."""
    groups = Groups()
    for one in sightings:
        groups.add(one)  # type: ignore[arg-type]  # sightings, as `sighting` makes them
    for build, seen in (counts or {}).items():
        groups.count("orders", build, seen, at)
    batch = Batch(compared={("orders", build): count for build, count in (compared or {}).items()}, at=at)
    await store.write(batch, groups)
    return groups


async def state(store: EvidenceStore) -> State:
    """Read the state of the one divergence."""
    found = await store.divergences.one("d-1")
    assert found is not None
    return found.state


async def test_pairs_of_one_group_add_up_over_batches(store: EvidenceStore) -> None:
    """Explained and merely counted pairs add up: counts, moments, consumers, builds, share of what was compared."""
    await write(store, compared={"v1": 1_000}, at=90.0)
    await write(store, sighting(consumer="app", build="v1"), compared={"v1": 10}, at=100.0)
    await write(store, sighting(at=120.0, consumer="web", build="v2"), compared={"v1": 5, "v2": 10}, at=120.0)
    await write(store, counts={"v2": {"d-1": 7}}, compared={"v2": 15}, at=130.0)

    found = await store.divergences.one("d-1")

    assert found is not None
    assert (found.count, found.compared, found.different, found.same) == (9, 40, 2, 0)
    assert (found.first_seen, found.last_seen) == (100.0, 130.0)
    assert [(build.build, build.count, build.compared) for build in found.builds] == [("v1", 1, 1_015), ("v2", 8, 25)]
    assert found.consumers == ("app", "web")
    assert not found.more_consumers
    assert found.places == (("value.changed", "/price"),)


async def test_a_newer_build_without_it_fixes_it_once_it_was_compared_enough(store: EvidenceStore) -> None:
    """Open, then fixed by a newer build that was compared enough, then regressed where it comes back, then fixed."""
    await write(store, sighting(build="v1"), compared={"v1": 20}, at=100.0)
    await write(store, compared={"v1": 40}, at=110.0)
    on_its_own_build = await state(store)
    await write(store, compared={"v2": 179}, at=120.0)
    too_few = await state(store)
    await write(store, compared={"v2": 1}, at=121.0)
    fixed = await state(store)
    await write(store, sighting(build="v1", at=122.0), at=122.0)
    late_news_of_the_old_build = await state(store)
    await write(store, counts={"v2": {"d-1": 1}}, at=123.0)
    back = await state(store)
    await write(store, sighting(build="v2", at=124.0), compared={"v3": 180}, at=124.0)
    fixed_again = await state(store)
    found = await store.divergences.one("d-1")

    assert on_its_own_build is too_few is State.OPEN
    assert fixed is late_news_of_the_old_build is State.FIXED
    assert back is State.REGRESSED
    assert fixed_again is State.FIXED
    assert found is not None
    assert (found.fixed_build, found.last_build) == ("v3", "v2")


async def test_what_was_rare_is_not_called_fixed_early(store: EvidenceStore) -> None:
    """One pair in ten thousand needs thirty thousand comparisons of newer builds without it."""
    await write(store, sighting(build="v1"), compared={"v1": 10_000}, at=100.0)
    await write(store, compared={"v2": 29_999}, at=110.0)
    before = await state(store)
    await write(store, compared={"v3": 1}, at=120.0)

    assert before is State.OPEN
    assert await state(store) is State.FIXED


async def test_without_names_of_builds_nothing_is_found_to_be_fixed(store: EvidenceStore) -> None:
    """A route whose new side does not name its builds keeps its divergences open."""
    await write(store, sighting(), compared={"": 10}, at=100.0)
    await write(store, compared={"": 100_000}, at=110.0)

    assert await state(store) is State.OPEN


async def test_an_accepted_divergence_stays_accepted(store: EvidenceStore) -> None:
    """What somebody accepted is neither fixed nor reopened by traffic."""

    async def nothing(*_: object) -> bool:
        return True

    await write(store, sighting(build="v1"), compared={"v1": 10}, at=100.0)
    await store.divergences.decide(
        "d-1", Decision(state=State.ACCEPTED, note="known", ticket="T-1", by="eve", at=105.0), nothing
    )
    await write(store, compared={"v2": 1_000}, at=110.0)
    unseen = await state(store)
    await write(store, sighting(build="v2", at=120.0), at=120.0)

    assert unseen is await state(store) is State.ACCEPTED


async def test_pairs_of_a_forgotten_group_are_counted_as_dropped(store: EvidenceStore) -> None:
    """Pairs that are only counted make no group, and are not lost silently."""
    groups = await write(store, counts={"": {"d-unknown": 7}})

    assert groups.dropped == 7
    assert await store.divergences.one("d-unknown") is None


async def test_three_examples_stay_however_many_come(store: EvidenceStore) -> None:
    """Over many batches the first, the newest and the smallest comparison stay, each under its roles."""
    for number in range(10):
        await write(store, sighting(at=100.0 + number, size_bytes=1 if number == 4 else 10))

    kept = await store.divergences.examples("d-1")

    assert [(one.at, one.roles) for one in kept] == [
        (109.0, ("newest",)),
        (104.0, ("smallest",)),
        (100.0, ("first",)),
    ]
    assert await store.divergences.comparison(kept[1].id) == ("d-1", b"{}")


async def test_builds_and_consumers_stay_bounded(store: EvidenceStore) -> None:
    """A backend that names a new build in every answer costs a bounded number of rows, and no comparison is lost."""
    sightings = [
        sighting(at=100.0 + number, build=f"v{number:03}", consumer=f"app {number:03}") for number in range(150)
    ]
    await write(store, *sightings, compared={f"v{number:03}": 2 for number in range(150)}, at=99.0)
    await write(store, compared={"v149": 1}, at=300.0)

    found = await store.divergences.one("d-1")

    assert found is not None
    assert len(found.builds) == MAX_BUILDS
    assert found.count == 150
    assert found.compared == 301
    assert len(found.consumers) == MAX_CONSUMERS
    assert found.more_consumers
