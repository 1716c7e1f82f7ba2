"""The corpus of requests against one worker: refused before the backend, or passed on byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from config.spec import LimitsSpec
from tests.conformance.generated import GENERATED
from tests.conformance.legal import LEGAL, MAY
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.vectors import TAG, Legal, Vector
from tests.conformance.verdict import alterations, faults
from tests.conformance.volley import Outcome, Shot, Volley, byte_by_byte, second, whole
from tests.support.oneworker import OneWorker, backend


@pytest.fixture(scope="module")
def volley() -> Iterator[Volley]:
    """Hold one backend end for all tests of this file."""
    with Volley() as volley:
        yield volley


@pytest.fixture(scope="module")
def worker(volley: Volley) -> Iterator[OneWorker]:
    """Hold one worker for all tests of this file."""
    # What stays idle is gone before anybody takes it for some test's leftover.
    legacy = backend("legacy", "http://{}:{}".format(*volley.backend), idle_timeout_ns=1_000_000_000)
    # 400 writes 2 ms apart take longer than 10 s where three tests share a core; the deadline has tests of its own.
    patient = LimitsSpec(header_read_timeout_ns=60_000_000_000)
    with OneWorker(backends={"legacy": legacy}, access_log=False, limits=patient) as worker:
        worker.settled()  # all links are up: none of their threads is some test's leftover
        yield worker


def misses(outcomes: list[Outcome], vectors: Sequence[Vector] = MUST_REJECT) -> dict[str, list[str]]:
    """Say what was wrong with each must-reject vector that was not refused as it must be."""
    found = {vector.id: faults(vector, outcome) for vector, outcome in zip(vectors, outcomes, strict=True)}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_the_corpus_is_large_and_each_vector_has_a_name_and_a_tag() -> None:
    """No group can shrink unnoticed, and whatever reaches a backend can be told from the rest."""
    corpus: tuple[Vector | Legal, ...] = (*MUST_REJECT, *LEGAL, *MAY)
    names = [one.id for one in corpus]

    assert len(MUST_REJECT) >= 450
    assert len(LEGAL) >= 85
    assert len({vector.id for vector in GENERATED}) >= 2_800
    assert len(names) == len(set(names))
    assert [one.id for one in corpus if TAG not in one.raw] == [
        "A12/no-parts",
        "A12/http2-preface",
    ]


def test_what_must_be_refused_never_reaches_a_backend(volley: Volley, worker: OneWorker) -> None:
    """Every must-reject vector is refused with the right status, its connection ends, the backend sees no request."""
    outcomes = volley.fire(worker.address, [whole(vector.raw) for vector in MUST_REJECT])

    assert misses(outcomes) == {}
    assert volley.sink.strays == []


def test_every_odd_byte_around_the_framing_is_refused(volley: Volley, worker: OneWorker) -> None:
    """Whatever byte stands beside a framing field, at a line end or inside a chunk: refused, and nothing goes on."""
    outcomes = volley.fire(worker.address, [whole(vector.raw) for vector in GENERATED], at_once=128)

    assert misses(outcomes, GENERATED) == {}
    assert volley.sink.strays == []


def test_slow_senders_are_judged_alike(volley: Volley, worker: OneWorker) -> None:
    """Every must-reject vector is refused just the same if each of its bytes comes alone."""
    outcomes = volley.fire(worker.address, [byte_by_byte(vector.raw) for vector in MUST_REJECT], at_once=128)

    assert misses(outcomes) == {}
    assert volley.sink.strays == []


def test_a_refused_request_ends_a_kept_connection(volley: Volley, worker: OneWorker) -> None:
    """As second request of a connection a vector is refused too, and what comes behind it is never answered."""
    outcomes = volley.fire(worker.address, [second(vector.raw) for vector in MUST_REJECT])

    assert misses(outcomes) == {}
    assert volley.sink.strays == []


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_what_is_legal_arrives_unchanged(volley: Volley, worker: OneWorker, cut: Callable[[bytes], Shot]) -> None:
    """Every legal vector is accepted; method, target, end-to-end fields and body arrive byte for byte."""
    outcomes = volley.fire(worker.address, [cut(legal.raw) for legal in LEGAL])

    altered = {legal.id: alterations(legal, one) for legal, one in zip(LEGAL, outcomes, strict=True)}
    assert {name: wrong for name, wrong in altered.items() if wrong} == {}


def test_what_may_be_refused_is_never_passed_on_ambiguous(volley: Volley, worker: OneWorker) -> None:
    """Where an RFC leaves the choice, a request is refused or arrives as one that every reader reads alike."""
    outcomes = volley.fire(worker.address, [whole(vector.raw) for vector in MAY], patience_s=1.0)

    ambiguous = {vector.id: one.findings for vector, one in zip(MAY, outcomes, strict=True) if one.findings}
    assert ambiguous == {}
