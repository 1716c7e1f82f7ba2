"""Thousands of clients that leave at random moments, and nothing that stays behind."""

from __future__ import annotations

import os
from dataclasses import replace

from bench.cancels import PHASES, WAYS, Moody, answered, leave
from config.spec import LimitsSpec
from rules.flag import Stage
from tests.support.oneworker import OneWorker, backend, flag, route

COUNT = int(os.environ.get("MATAPALO_TEST_CANCELS", "2000"))
PLACES = 8
"""Connections to the backend, for forty clients at once: most of them wait for a place."""


def test_clients_that_leave_at_random_moments_leave_nothing_behind() -> None:
    """After thousands of cancelled requests in every phase every connection, place and copy is free again."""
    with Moody() as legacy, Moody() as new:
        backends = {
            name: backend(name, one.url, max_connections=PLACES, idle_timeout_ns=1_000_000_000)
            for name, one in (("legacy", legacy), ("new", new))
        }
        shadowed = route()
        shadowed = replace(shadowed, shadow=replace(shadowed.shadow, timeout_ns=300_000_000))
        with OneWorker(
            backends=backends,
            routes=[shadowed],
            flags={"orders": flag(Stage.SHADOW)},
            limits=LimitsSpec(header_read_timeout_ns=1_000_000_000),
        ) as worker:
            assert answered(worker.address, 1) == 1
            worker.settled()
            before = worker.open_fds()

            done = leave(worker.address, count=COUNT, seed=7)

            assert len(done) == len(PHASES) * len(WAYS)
            worker.wait(lambda: worker.tallies[-1].gauges.get("connections", 0) == 0, "every client to be gone")
            counts = worker.settled()
            assert answered(worker.address, 100) == 100
            worker.wait(lambda: worker.open_fds() <= before + 2 * PLACES, "descriptors to come back")
            assert "refused|internal" not in counts, worker.errors()
            assert "callback failed" not in worker.errors()


def test_short_connections_retain_nothing() -> None:
    """Short connections that end with requests sent ahead leave neither memory nor descriptors behind."""
    with (
        Moody() as legacy,
        OneWorker(backends={"legacy": backend("legacy", legacy.url, idle_timeout_ns=1_000_000_000)}) as worker,
    ):
        worker.settled()
        held = worker.open_fds()
        grown = []
        for seed in range(4):
            before = worker.rss_bytes()
            leave(worker.address, count=400, seed=seed, phases=("ahead",))
            worker.wait(lambda: worker.tallies[-1].gauges.get("connections", 0) == 0, "every client to be gone")
            grown.append(worker.rss_bytes() - before)

        # The first rounds fill the allocator; a client that is retained is 5 KiB, so 400 are twice the bound.
        assert min(grown[-2:]) < 1 << 20
        worker.wait(lambda: worker.open_fds() <= held + PLACES, "descriptors to come back")
