"""Nobody is asked twice, and no byte reaches the wrong place: counting services, 50 clients, retries, cancels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.spec import LimitsSpec, ShadowSpec
from rules.flag import Stage
from tests.support.doublesend import Services
from tests.support.oneworker import OneWorker, backend, flag, route

REQUESTS = 5_000
"""100,000 in a soak."""


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Count on both sides."""
    with Services() as running:
        yield running


@pytest.fixture(scope="module")
def worker(services: Services) -> Iterator[OneWorker]:
    """Run a worker that copies everything, whatever becomes of the copies."""
    policy = ShadowSpec(max_per_second=None, max_in_flight=1_000, reads=("POST",))
    with OneWorker(
        backends={name: backend(name, url, circuit_bp=None) for name, url in services.urls.items()},
        routes=[route(shadow=policy)],
        flags={"orders": flag(Stage.SHADOW)},
        limits=LimitsSpec(shed_copies_bp=None),
    ) as running:
        running.settled("the links")
        yield running


def test_each_request_is_acted_on_once_and_copied_at_most_once(services: Services, worker: OneWorker) -> None:
    """Connections close under requests and clients leave: primaries are exact, and no copy is sent twice."""
    proof = services.prove(worker.address, requests=REQUESTS)
    counts = worker.settled()

    assert proof.faults() == []
    assert len(proof.answered) + len(proof.cancelled) + len(proof.failed) == REQUESTS
    assert len(proof.failed) < REQUESTS / 100
    assert len(proof.copies) > 0.9 * REQUESTS
    assert "unequal|orders|legacy" not in counts  # no byte of a neighbour
    assert counts["identical|orders|legacy"] > 0.8 * REQUESTS
    assert counts["copies|orders|new|compare"] >= len(proof.copies)
    skipped = sum(number for key, number in counts.items() if key.startswith("skipped|"))
    errored = sum(number for key, number in counts.items() if key.startswith("errored|"))
    assert counts["eligible|orders"] == skipped + counts["sent|orders"]
    assert counts["sent|orders"] == counts["identical|orders|legacy"] + errored


def test_the_primary_is_asked_as_without_a_shadow(services: Services, worker: OneWorker) -> None:
    """The service that answers gets the same requests, each once, whether everything is copied or nothing."""
    copied = services.prove(worker.address, requests=500, cancels=False)
    worker.push({"orders": flag(Stage.SHADOW, sample_bp=0)})
    alone = services.prove(worker.address, requests=500, cancels=False)

    assert copied.faults() == alone.faults() == []
    assert not alone.copies
    both = copied.answered & alone.answered
    assert len(both) > 450
    assert {one: copied.primary[one] for one in both} == {one: alone.primary[one] for one in both}
