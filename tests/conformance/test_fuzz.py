"""Whatever goes in: the backend sees at most one well-formed request per accepted request, answers are well-formed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.fuzz import CRASHES, broken_head, broken_rules, expected, volley_of
from tests.conformance.legal import LEGAL
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.mutate import cut, strange
from tests.conformance.volley import Volley, byte_by_byte, whole
from tests.support.naiveproxy import NaiveProxy
from tests.support.oneworker import OneWorker


@pytest.fixture(scope="module")
def volley() -> Iterator[Volley]:
    """Hold one backend end for all tests of this file."""
    with Volley() as volley:
        yield volley


@pytest.fixture(scope="module")
def worker(volley: Volley) -> Iterator[OneWorker]:
    """Hold one worker for all tests of this file."""
    with OneWorker(backends={"legacy": "http://{}:{}".format(*volley.backend)}, access_log=False) as worker:
        worker.settled()  # all links are up: none of their threads is some test's leftover
        yield worker


@settings(max_examples=1_500)
@given(st.integers(min_value=0, max_value=1 << 64))
def test_a_strange_head_is_refused_or_passed_on_clean(seed: int) -> None:
    """Of any head the wire makes a refusal, or one that a strict reader reads as the same clean request."""
    raw = strange(Random(seed))

    assert broken_head(raw) == "", raw


def test_strange_connections_break_no_rule(volley: Volley, worker: OneWorker) -> None:
    """Thousands of mutated, joined and cut requests: the backend sees only clean ones that a strict reader finds."""
    assert volley_of(volley, worker.address, seed=20_261_121, count=800) == {}
    assert "failed" not in worker.errors()


def test_what_was_found_once_stays_mended(volley: Volley, worker: OneWorker) -> None:
    """Every input of the crash corpus keeps the rules, whole and byte by byte."""
    raws = [path.read_bytes() for path in sorted(CRASHES.glob("*.http"))]

    for shape in (whole, byte_by_byte):
        outcomes = volley.fire(worker.address, [shape(raw) for raw in raws], patience_s=0.5)
        assert [broken_rules(raw, one) for raw, one in zip(raws, outcomes, strict=True) if broken_rules(raw, one)] == []
    assert [broken_head(raw) for raw in raws if broken_head(raw)] == []


def test_the_target_finds_a_naive_proxy_out() -> None:
    """The same rules, the same dice, a proxy as one writes it in an evening: it breaks rules by the dozen."""
    with Volley() as volley, NaiveProxy(volley.backend) as proxy:
        broken = volley_of(volley, proxy.address, seed=1, count=300)

    assert len(broken) > 12


def test_the_dice_make_the_same_bytes_and_cut_none_away() -> None:
    """A seed names its input for ever, so what fails in one run can be had again in the next."""
    first, again = (strange(Random(7)) for _ in range(2))

    assert first == again
    assert all(b"".join(cut(first, Random(n))) == first for n in range(50))


def test_a_strict_reader_finds_the_legal_requests_and_no_other() -> None:
    """The reference reads a row of legal requests whole, and stops at the first that is none."""
    good = [legal.raw for legal in LEGAL if b"HTTP/1.1" in legal.raw and len(legal.raw) < 1_000]
    bad = next(vector.raw for vector in MUST_REJECT if vector.id == "A4/cl-then-te")

    assert len(expected(b"".join(good))) == len(good)
    assert len(expected(good[0] + bad + good[1])) == 1
