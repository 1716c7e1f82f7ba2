"""The link to a comparer: each pair counted once, whatever happens to the comparer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proxy.pairs import MAX_WAITING_PAIRS
from rules.flag import Stage
from shadow import link
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer


@pytest.fixture
def worker() -> Iterator[OneWorker]:
    """Start a worker whose two services always differ."""
    with (
        Recorder(answer(b"legacy")) as legacy,
        Recorder(answer(b"new")) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": flag(Stage.SHADOW)},
        ) as started,
    ):
        yield started


def unequal(worker: OneWorker, count: int) -> None:
    """Make *count* unequal pairs."""
    with worker.client() as client:
        for _ in range(count):
            client.exchange(request_bytes(target="/api/a"))


@pytest.mark.parametrize("verdict", ["tolerated", "divergent"])
def test_a_verdict_is_counted_where_the_pair_came_from(worker: OneWorker, verdict: str) -> None:
    """The worker counts each pair once by the comparer's verdict, and once by each of its causes."""
    worker.verdict = lambda pair: link.Verdict(
        sequence=pair.sequence, verdict=verdict, causes=("http.status", "escape.html")
    )
    unequal(worker, 5)

    counts = worker.settled()

    assert counts[f"{verdict}|orders|legacy"] == 5
    assert counts["divergences|orders|http.status"] == counts["divergences|orders|escape.html"] == 5


def test_a_killed_comparer_costs_one_pair(worker: OneWorker) -> None:
    """When a comparer's link breaks, its oldest pair is lost as killed and the others are sent again."""
    worker.verdict = lambda pair: None
    unequal(worker, 4)
    worker.wait(lambda: len(worker.pairs) == 4, "four pairs at the comparer")
    worker.verdict = lambda pair: link.Verdict(sequence=pair.sequence, verdict="divergent", causes=("unexplained",))
    worker.break_pair_links()

    counts = worker.settled()

    assert counts["undecided|orders|legacy|killed"] == 1
    assert counts["divergent|orders|legacy"] == 3
    assert [pair.sequence for pair, _ in worker.pairs] == [1, 2, 3, 4, 2, 3, 4]


def test_a_pair_is_sent_at_most_twice(worker: OneWorker) -> None:
    """A pair that meets a second broken link is lost, not tried for ever."""
    worker.verdict = lambda pair: None
    unequal(worker, 3)
    worker.wait(lambda: len(worker.pairs) == 3, "three pairs at the comparer")
    worker.break_pair_links()
    worker.wait(lambda: len(worker.pairs) == 5, "two pairs to be sent again")
    worker.break_pair_links()

    counts = worker.settled()

    assert counts["undecided|orders|legacy|killed"] == 2
    assert counts["undecided|orders|legacy|lost"] == 1


@pytest.mark.alone
def test_waiting_pairs_are_bounded(worker: OneWorker) -> None:
    """With a comparer that does not answer, pairs beyond the bound are dropped and counted; clients do not notice."""
    worker.verdict = lambda pair: None
    start = time.monotonic()
    unequal(worker, MAX_WAITING_PAIRS + 50)
    elapsed = time.monotonic() - start
    worker.totals(lambda counts: counts.get("unequal|orders|legacy") == MAX_WAITING_PAIRS + 50)

    assert worker.tallies[-1].counts["undecided|orders|legacy|dropped"] == 50
    assert worker.tallies[-1].gauges["queued|orders|legacy"] == MAX_WAITING_PAIRS
    assert elapsed < 10


def test_pairs_left_at_the_end_are_lost(worker: OneWorker) -> None:
    """A worker that drains counts what has no verdict as lost, in its final tally."""
    worker.verdict = lambda pair: None
    unequal(worker, 2)
    worker.stop()

    final = worker.tallies[-1]

    assert final.final
    assert final.counts["undecided|orders|legacy|lost"] == 2
    assert "queued|orders|legacy" not in final.gauges
