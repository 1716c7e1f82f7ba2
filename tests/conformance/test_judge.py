"""The judge and the runner themselves: a corpus that finds nothing wrong with a bad proxy proves nothing."""

from __future__ import annotations

from tests.conformance.answers import LIES
from tests.conformance.judge import read_arrival
from tests.conformance.legal import LEGAL
from tests.conformance.liar import hear, liar
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.verdict import alterations, faults
from tests.conformance.volley import Volley, read_answers, whole
from tests.support.naiveproxy import NaiveProxy

REFUSED_EVEN_SO = frozenset({"E7"})
"""Groups that a proxy without any limits of its own meets at those of its reader."""


def test_a_naive_proxy_fails_every_group_of_the_corpus() -> None:
    """A proxy written in an evening is found out in every group: no group passes vacuously."""
    with Volley() as volley, NaiveProxy(volley.backend) as proxy:
        outcomes = volley.fire(proxy.address, [whole(vector.raw) for vector in MUST_REJECT], patience_s=0.5)

    failed = {vector.group for vector, one in zip(MUST_REJECT, outcomes, strict=True) if faults(vector, one)}
    dirty = {vector.group for vector, one in zip(MUST_REJECT, outcomes, strict=True) if one.findings}
    assert failed == {vector.group for vector in MUST_REJECT}
    assert {"A4", "A5", "A6", "A7", "A8", "A10", "A11", "A12", "A13", "B5"} <= dirty


def test_a_naive_proxy_passes_lies_on() -> None:
    """A proxy that believes every answer hands on what none is, and one client's bytes to the next: both are seen."""
    told = ("A18/cl-twice", "A18/te-gzip", "A18/value-nul", "A19/behind-length")
    with liar() as backend, NaiveProxy(backend.address) as proxy:
        heard = {
            lie.id: hear(proxy.address, backend, n, patience_s=2.0, leave_s=0.05)
            for n, lie in enumerate(LIES)
            if lie.id in told
        }

    assert [name for name, one in heard.items() if not one.faults] == []
    assert "malformed" in heard["A18/cl-twice"].faults[0]
    assert "the next request got 200 with b'poison'" in heard["A19/behind-length"].faults


def test_a_naive_proxy_changes_nothing_that_is_legal() -> None:
    """What the corpus calls legal is so plain that even a naive proxy passes most of it on unchanged."""
    with Volley() as volley, NaiveProxy(volley.backend) as proxy:
        outcomes = volley.fire(proxy.address, [whole(legal.raw) for legal in LEGAL], patience_s=3.0)

    good = sum(not alterations(legal, one) for legal, one in zip(LEGAL, outcomes, strict=True))
    assert good > len(LEGAL) * 0.8


def test_the_judge_finds_fault_with_what_must_not_be_passed_on() -> None:
    """A vector that a proxy hands on as it came is a finding, or breaks off: the judge calls none of them clean."""
    clean = []
    for vector in MUST_REJECT:
        if vector.group in ("A4", "A5", "A6", "A7", "A8", "A10", "A11", "B5"):
            arrival, _ = read_arrival(vector.raw, ended=True)
            assert arrival is not None
            if arrival.complete and not arrival.findings:
                clean.append(vector.id)

    assert clean == []


def test_the_judge_has_no_fault_to_find_with_what_is_legal() -> None:
    """A legal vector is clean, and is read to its last byte and not before."""
    for legal in LEGAL:
        arrival, taken = read_arrival(legal.raw)

        assert arrival is not None
        assert (legal.id, arrival.findings, taken) == (legal.id, (), len(legal.raw))
        assert read_arrival(legal.raw[:-1])[0] is None


def test_answers_are_counted_to_the_byte() -> None:
    """Interim answers are left out, a second answer is seen, and a cut one does not count."""
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    chunks = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    assert read_answers(hint + one + chunks) == ([200, 404], len(hint + one + chunks))
    assert read_answers(one + one[:-1]) == ([200], len(one))
    assert read_answers(chunks[:-2]) == ([], 0)
    assert read_answers(b"HTTP/1.1 200 OK\r\n\r\nto the end") == ([], 0)
    assert read_answers(b"HTTP/1.1 200 OK\r\n\r\nto the end", ended=True) == ([200], 29)
