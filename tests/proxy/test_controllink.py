"""The worker's link to control."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer


@pytest.fixture
def worker() -> Iterator[OneWorker]:
    """Start a worker between two services."""
    with (
        Recorder(answer(b"legacy")) as legacy,
        Recorder(answer(b"new")) as new,
        OneWorker(backends={"legacy": legacy.url, "new": new.url}, routes=[route()]) as started,
    ):
        yield started


def test_a_pushed_snapshot_serves_the_next_request(worker: OneWorker) -> None:
    """An acknowledged snapshot decides every request that comes afterwards."""
    assert worker.ask(request_bytes(target="/api/a")).body == b"legacy"
    worker.push({"orders": flag(Stage.COMPLETE)})

    assert worker.acks[-1] == worker.revision
    assert worker.ask(request_bytes(target="/api/a")).body == b"new"


def test_a_snapshot_that_cannot_be_used_is_refused(worker: OneWorker) -> None:
    """Junk and unknown schemas are answered with Nack and a reason; the previous snapshot serves on."""
    worker.push_raw(b"junk")

    assert worker.nacks[-1].revision == worker.revision
    assert worker.nacks[-1].reason
    assert worker.ask(request_bytes(target="/api/a")).body == b"legacy"


def test_control_may_die_and_come_back(worker: OneWorker) -> None:
    """Without control requests are served; the next control hears totals that lost nothing."""
    worker.ask(request_bytes(target="/api/a"))
    worker.break_control_link()
    worker.ask(request_bytes(target="/api/a"))

    counts = worker.totals(lambda counts: counts.get("requests|orders|legacy|legacy|2xx") == 2)

    assert counts["requests|orders|legacy|legacy|2xx"] == 2
    worker.push({"orders": flag(Stage.COMPLETE)})
    assert worker.ask(request_bytes(target="/api/a")).body == b"new"
