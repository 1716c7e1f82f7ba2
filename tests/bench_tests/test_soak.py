"""Rules of the soak's arithmetic: what is judged is a slope after the warm-up."""

from __future__ import annotations

import pytest

from bench.drills import MIB
from bench.process import BenchError
from bench.soak import Reading, Soak


def run_of(sizes_mib: list[float]) -> Soak:
    """Make a run of 100,000 requests per reading with the given sizes of the worker."""
    run = Soak(requests=100_000 * len(sizes_mib))
    for number, size in enumerate(sizes_mib, 1):
        run.readings.append(
            Reading(
                requests=100_000 * number,
                rss_bytes={"worker": round(size * MIB)},
                descriptors=20,
                tasks=4,
                connections=0,
            )
        )
    return run


def test_what_grows_only_during_the_warm_up_has_no_slope() -> None:
    """Memory that is reached early and kept is no leak."""
    assert run_of([20, 40, 40, 40, 40, 40, 40, 40]).slope("worker") == pytest.approx(0)


def test_a_leak_shows_as_its_mib_per_million() -> None:
    """A worker that keeps 20 bytes per request grows 19 MiB per million."""
    sizes = [40 + 100_000 * number * 20 / MIB for number in range(12)]

    assert run_of(sizes).slope("worker") == pytest.approx(1e6 * 20 / MIB)


def test_too_few_readings_are_no_slope() -> None:
    """A run that is too short for a slope says so instead of passing."""
    with pytest.raises(BenchError, match="too few"):
        run_of([40, 40]).slope("worker")
