"""Rules of what is collected between two batches."""

from __future__ import annotations

from store.groups import MAX_CONSUMERS, MAX_EXAMPLE_BYTES, MAX_PENDING, Groups
from tests.store.made import sighting


def test_pending_groups_are_bounded_and_drops_are_counted() -> None:
    """A service that differs in endless ways fills a bounded number of groups; every pair beyond is counted."""
    groups = Groups()

    for number in range(MAX_PENDING + 10):
        groups.add(sighting(f"d-{number}"))
    groups.count("orders", "", {"d-0": 5, "d-new": 7}, 101.0)
    taken = groups.take()

    assert len(taken) == MAX_PENDING
    assert groups.dropped == 17
    assert taken["d-0"].count == 6


def test_the_first_the_newest_and_the_smallest_pair_stay_as_examples() -> None:
    """Of a thousand pairs of one group three examples are kept, and all are counted."""
    groups = Groups()
    for number in range(1_000):
        groups.add(sighting(at=1_000.0 - number, size_bytes=3 if number == 500 else 10, build="v1"))

    group = groups.take()["d-1"]

    assert group.count == 1_000
    assert {example.at for example in group.examples.values()} == {1.0, 500.0, 1_000.0}
    assert (group.builds["v1"].first_seen, group.builds["v1"].last_seen) == (1.0, 1_000.0)


def test_examples_are_bounded_in_bytes_and_their_pairs_still_counted() -> None:
    """Large bodies cost examples, never counts."""
    groups = Groups()
    body = bytes(MAX_EXAMPLE_BYTES // 4)
    for number in range(6):
        groups.add(sighting(f"d-{number}", body=body))
    taken = groups.take()
    groups.add(sighting("d-9", body=body))

    assert [len(group.examples) for group in taken.values()] == [1, 1, 1, 1, 0, 0]
    assert all(group.count == 1 for group in taken.values())
    assert groups.examples_dropped == 2
    assert len(groups.take()["d-9"].examples) == 1


def test_what_was_put_back_joins_what_came_meanwhile() -> None:
    """A batch that could not be written loses no pair, no moment and no example."""
    groups = Groups()
    groups.add(sighting(at=100.0, consumer="app", build="v1"))
    taken = groups.take()
    groups.add(sighting(at=130.0, consumer="web", build="v2", same_meaning=True))

    groups.put_back(taken)
    group = groups.take()["d-1"]

    assert {name: build.count for name, build in group.builds.items()} == {"v1": 1, "v2": 1}
    assert group.consumers == {"app", "web"}
    assert group.first is not None
    assert group.newest is not None
    assert group.described is not None
    assert (group.first.at, group.newest.at, group.described.at) == (100.0, 130.0, 130.0)
    assert (group.same, group.different) == (1, 1)


def test_consumers_are_a_bounded_set() -> None:
    """Ten thousand consumers cost eleven names."""
    groups = Groups()

    for number in range(10_000):
        groups.add(sighting(consumer=f"app {number}"))

    assert len(groups.take()["d-1"].consumers) == MAX_CONSUMERS + 1
