"""The corpus of backend answers against one worker: refused, cut, or whole without what came behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.answers import LIES
from tests.conformance.liar import hear, liar
from tests.support.oneworker import OneWorker
from tests.support.recorder import Recorder


@pytest.fixture(scope="module")
def backend() -> Iterator[Recorder]:
    """Hold one lying backend for all tests of this file."""
    with liar() as backend:
        yield backend


@pytest.fixture(scope="module")
def worker(backend: Recorder) -> Iterator[OneWorker]:
    """Hold one worker for all tests of this file."""
    with OneWorker(backends={"legacy": backend.url}, access_log=False) as worker:
        worker.settled()  # all links are up: none of their threads is some test's leftover
        yield worker


def test_the_corpus_is_large_and_each_lie_has_a_name() -> None:
    """No part of the corpus can shrink unnoticed."""
    assert len(LIES) >= 120
    assert len({lie.id for lie in LIES}) == len(LIES)


@pytest.mark.parametrize("number", range(len(LIES)), ids=[lie.id for lie in LIES])
def test_a_lying_backend_is_never_made_to_look_honest(backend: Recorder, worker: OneWorker, number: int) -> None:
    """A broken answer is a 502 or breaks off, its connection is never used again, the next client gets its own."""
    heard = hear(worker.address, backend, number, patience_s=10.0)
    backend.drop_connections()

    assert heard.faults == ()
    assert heard.status in {"refuse": (502,), "cut": (0, 502), "surplus": (200, 204, 304, 502)}[LIES[number].fate]
    assert not heard.kept
