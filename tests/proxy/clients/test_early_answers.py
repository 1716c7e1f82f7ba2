"""Answers that come before their request is whole, and what becomes of the rest of that request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.oneworker import OneWorker
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
"""A body that is a request to whoever forgets that it is a body."""

LENGTH = b"Content-Length: %d" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked"
HEADS = {
    "get": (b"GET", LENGTH),
    "post": (b"POST", LENGTH),
    "head": (b"HEAD", LENGTH),
    "expect": (b"POST", b"Expect: 100-continue\r\n" + LENGTH),
    "expect on get": (b"GET", b"Expect: 100-continue\r\n" + LENGTH),
    "chunked": (b"POST", CHUNKED),
    "expect chunked": (b"POST", b"Expect: 100-continue\r\n" + CHUNKED),
    "options": (b"OPTIONS", LENGTH),
}


@pytest.fixture
def hasty() -> Iterator[Recorder]:
    """Answer every head at once, and take what comes behind it for the next request."""
    with Recorder(answer(b"early"), early=True) as recorder:
        yield recorder


@pytest.fixture
def worker(hasty: Recorder) -> Iterator[OneWorker]:
    """Hold one worker in front of the hasty service."""
    with OneWorker(backends={"legacy": hasty.url}) as worker:
        yield worker


def test_a_body_that_nobody_read_is_never_a_request(worker: OneWorker, hasty: Recorder) -> None:
    """After an early answer both connections end: no byte of the body is read as a request, here or there."""
    for name, (method, field) in HEADS.items():
        before = len(hasty.requests)
        with worker.client() as client:
            client.send(b"%b /early HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (method, field))
            response = client.read_response(method.decode())
            assert (name, response.status, response.value("connection")) == (name, 200, b"close")
            with contextlib.suppress(OSError):
                client.send(HIDDEN + request_bytes(target="/behind"))
            assert client.ending() in ("eof", "reset")
        assert worker.ask(request_bytes(target="/next")).status == 200

        first, second = hasty.requests[before:]
        assert (first.target, second.target) == (b"/early", b"/next")
        assert first.connection != second.connection


def test_what_comes_behind_an_early_answer_is_read_up_to_a_bound(worker: OneWorker) -> None:
    """An upload that goes on behind its answer is thrown away for a moment, then its connection ends."""
    with worker.client() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        assert client.read_response("POST").status == 200
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 << 20 and (part := client.send_some(b"x" * 65_536, 5.0)):
                sent += part

    assert sent < 32 << 20


def test_a_bad_request_ends_a_pipeline(worker: OneWorker, hasty: Recorder) -> None:
    """Of ten requests sent ahead those before a bad one are answered in order; none behind it is ever seen."""
    good = [request_bytes(target=f"/{number}") for number in range(10)]
    good[5] = b"GET /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    with worker.client() as client:
        client.send(b"".join(good))
        statuses = [client.read_response().status for _ in range(6)]
        assert client.ending() in ("eof", "reset")

    assert statuses == [200] * 5 + [400]
    assert [one.target for one in hasty.requests] == [b"/%d" % number for number in range(5)]
