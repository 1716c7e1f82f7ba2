"""Answers of a backend as raw bytes: what is passed on, what is a 502, what ends the client's connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import ConnectionEndedError, request_bytes
from tests.support.recorder import Close, Gate, Hang, Recorder, Sliced, answer

OK = answer(b"ok", headers=(("Connection", "close"),))
"""Closes its connection, so that no case leaves one behind for the next."""
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(OK) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def worker(legacy: Recorder) -> Iterator[OneWorker]:
    """Run one worker for every case."""
    spec = backend("legacy", legacy.url, response_timeout_ns=5_000_000_000)
    with OneWorker(backends={"legacy": spec, "new": legacy.url}, routes=[route()], access_log=False) as one:
        one.settled("every link of the worker to be up")
        yield one


LIES = {
    "length-and-chunked": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked-and-length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two-lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "one-length-twice": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length-list": HEAD + b"Content-Length: 2, 2\r\n\r\nok",
    "length-negative": HEAD + b"Content-Length: -2\r\n\r\nok",
    "length-signed": HEAD + b"Content-Length: +2\r\n\r\nok",
    "length-empty": HEAD + b"Content-Length:\r\n\r\nok",
    "length-underscore": HEAD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "length-hexadecimal": HEAD + b"Content-Length: 0x2\r\n\r\nok",
    "length-overflowing": HEAD + b"Content-Length: 18446744073709551618\r\n\r\nok",
    "coding-unknown": HEAD + b"Transfer-Encoding: foo\r\n\r\nok",
    "coding-identity": HEAD + b"Transfer-Encoding: identity\r\n\r\nok",
    "coding-list": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding-empty": HEAD + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "coding-on-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "field-nul": HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "field-cr": HEAD + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "field-lf": HEAD + b"X: a\nY: b\r\nContent-Length: 2\r\n\r\nok",
    "field-control": HEAD + b"X: a\x01b\r\nContent-Length: 2\r\n\r\nok",
    "field-folded": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "field-without-colon": HEAD + b"Xa\r\nContent-Length: 2\r\n\r\nok",
    "field-blank-before-colon": HEAD + b"Content-Length : 2\r\n\r\nok",
    "field-without-name": HEAD + b": a\r\nContent-Length: 2\r\n\r\nok",
    "field-name-no-token": HEAD + b"X(a): b\r\nContent-Length: 2\r\n\r\nok",
    "fields-too-many": HEAD + b"X: a\r\n" * 101 + b"Content-Length: 2\r\n\r\nok",
    "head-too-large": HEAD + b"X: " + b"y" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "head-endless": HEAD + b"X: " + b"y" * 200_000,
    "status-99": b"HTTP/1.1 099 No\r\nContent-Length: 2\r\n\r\nok",
    "status-2000": b"HTTP/1.1 2000 No\r\nContent-Length: 2\r\n\r\nok",
    "status-word": b"HTTP/1.1 OK 200\r\nContent-Length: 2\r\n\r\nok",
    "reason-nul": b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
    "version-2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "version-0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "version-1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "version-lower-case": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "http-0.9": b"<html>ok</html>\r\n\r\n",
    "garbage": b"\x00\xff\x13garbage\r\n\r\n",
    "request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty-lines": b"\r\n\r\n" + OK,
    "line-feeds-only": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "line-feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n",
    "unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "interim-with-length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok" + OK,
    "interim-with-coding": b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + OK,
}


@pytest.mark.parametrize("raw", LIES.values(), ids=LIES.keys())
def test_a_lying_head_is_502(legacy: Recorder, worker: OneWorker, raw: bytes) -> None:
    """An answer whose head two readers may read differently is a 502, and its connection is never used again."""
    legacy.answer = [raw, Hang()]
    with worker.client() as client:
        response = client.exchange(request_bytes(target="/api/a"))
        told = legacy.requests[-1].connection
        legacy.answer = OK
        again = client.exchange(request_bytes(target="/api/a"))
    legacy.wait_ended(legacy.requests[-1].connection)

    assert (response.status, response.value("content-type")) == (502, b"application/problem+json")
    assert b"broken_answer" in response.body
    assert again.body == b"ok"
    assert legacy.requests[-1].connection != told
    assert legacy.wait_ended(told).ending != "open"


BROKEN_BODIES = {
    "size-no-number": b"zz\r\nok\r\n0\r\n\r\n",
    "size-signed": b"-1\r\nok\r\n0\r\n\r\n",
    "size-prefixed": b"0x2\r\nok\r\n0\r\n\r\n",
    "size-too-long": b"00000000000000002\r\nok\r\n0\r\n\r\n",
    "size-empty": b"\r\nok\r\n0\r\n\r\n",
    "size-line-feed": b"2\nok\n0\n\n",
    "extension-cr": b"2;a\rb\r\nok\r\n0\r\n\r\n",
    "extension-lf": b"2;a\nb\r\nok\r\n0\r\n\r\n",
    "extension-endless": b"2;" + b"a" * 100_000,
    "data-too-long": b"2\r\nok!\r\n0\r\n\r\n",
    "trailer-length": b"2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n",
    "trailer-coding": b"2\r\nok\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer-host": b"2\r\nok\r\n0\r\nHost: a\r\n\r\n",
    "trailer-without-colon": b"2\r\nok\r\n0\r\nno field\r\n\r\n",
    "trailer-folded": b"2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n",
    "trailers-endless": b"2\r\nok\r\n0\r\n" + b"X: a\r\n" * 20_000,
}


@pytest.mark.parametrize("raw", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_a_broken_chunk_never_ends_well(legacy: Recorder, worker: OneWorker, raw: bytes) -> None:
    """Where the framing of a body breaks, the client's connection breaks, too: it never sees a last chunk."""
    legacy.answer = [CHUNKED, raw, Hang()]
    with worker.client() as client, pytest.raises((ConnectionEndedError, ConnectionResetError)):
        client.exchange(request_bytes(target="/api/a"))
    legacy.wait_ended(legacy.requests[-1].connection)


@pytest.mark.parametrize("count", [32, 33])
def test_interim_answers_are_bounded(legacy: Recorder, worker: OneWorker, count: int) -> None:
    """Up to 32 interim answers are passed on; a backend that sends more of them is a 502."""
    legacy.answer = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * count, OK]

    response = worker.ask(request_bytes(target="/api/a"))
    legacy.wait_ended(legacy.requests[-1].connection)

    assert response.status == (200 if count == 32 else 502)
    assert len(response.interim) == 32


def test_a_flood_of_chunk_extensions_is_cut(legacy: Recorder, worker: OneWorker) -> None:
    """A body that is nearly all framing is cut after 64 KiB of it, however small its pieces are."""
    legacy.answer = [CHUNKED, Sliced(data=(b"1;" + b"a" * 1_000 + b"\r\nx\r\n") * 400, size=16_384), Hang()]

    with worker.client() as client, pytest.raises((ConnectionEndedError, ConnectionResetError)):
        client.exchange(request_bytes(target="/api/a"))
    legacy.wait_ended(legacy.requests[-1].connection)


def test_single_byte_chunks_are_a_body(legacy: Recorder, worker: OneWorker) -> None:
    """A backend may send each byte of a large body as a chunk of its own."""
    legacy.answer = [CHUNKED, b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n", Close()]

    response = worker.ask(request_bytes(target="/api/a"))
    legacy.wait_ended(legacy.requests[-1].connection)

    assert response.body == b"x" * 50_000


@pytest.mark.parametrize("poison", [b"X", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
@pytest.mark.parametrize(
    ("method", "good"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", CHUNKED + b"2\r\nok\r\n0\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    ],
    ids=["length", "chunked", "204", "304", "head"],
)
def test_bytes_behind_an_answer_reach_nobody(
    legacy: Recorder, worker: OneWorker, method: str, good: bytes, poison: bytes
) -> None:
    """What a backend sends behind a complete answer, at once or later, ends its connection and reaches no client."""
    gate = Gate()
    for script in ([good + poison], [good, gate, poison]):
        legacy.answer = [*script, Hang()]
        with worker.client() as client:
            first = client.exchange(request_bytes(method, "/api/a"), method)
            told = legacy.requests[-1].connection
            gate.open()
            legacy.wait_ended(told)
            legacy.answer = OK
            second = client.exchange(request_bytes(target="/api/a"))
        legacy.wait_ended(legacy.requests[-1].connection)

        assert first.body == (b"ok" if first.status == 200 and method == "GET" else b"")
        assert second.body == b"ok"
        assert legacy.requests[-1].connection != told
