"""A backend is asked as a worker would ask it, and its answer is taken as it came."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from console.question import MAX_BODY, Answered, Question, ask, is_same
from shadow.link import AnswerHead
from tests.support.oneworker import backend
from tests.support.recorder import Hang, Recorder, Reset, answer

pytestmark = pytest.mark.anyio

ASKED = Question(
    method="GET",
    target=b"/api/a%2fb?q=%41&r",
    fields=((b"Host", b"shop.test"), (b"Accept", b"a"), (b"Connection", b"close"), (b"If-None-Match", b"x")),
    body=b"",
    request_id="r1",
)


async def test_the_request_is_the_clients_marked_as_a_copy() -> None:
    """The raw target, the client's Host and fields travel; conditions and hop-by-hop fields do not."""
    with Recorder(answer(b"ok")) as recorder:
        spec = backend(
            "new", recorder.url, path_strip="/api", headers_set=(("X-Env", "prod"),), headers_remove=("accept",)
        )
        found = await ask(spec, ASKED, stripped=(), deadline_s=60)

    (request,) = recorder.requests
    assert (found.status, found.body, found.error) == (200, b"ok", "")
    assert request.target == b"/a%2fb?q=%41&r"
    assert dict(request.headers) == {
        b"Host": b"shop.test",
        b"X-Env": b"prod",
        b"X-Request-Id": b"r1",
        b"X-Matapalo-Shadow": b"1",
    }


async def test_a_declared_read_travels_with_its_body() -> None:
    """A body is sent whole, with its length."""
    with Recorder(answer(b"ok")) as recorder:
        asked = replace(ASKED, method="POST", body=b"query")
        await ask(backend("new", recorder.url), asked, stripped=(), deadline_s=60)

    assert (recorder.requests[0].method, recorder.requests[0].body) == (b"POST", b"query")


async def test_an_answer_is_taken_as_it_came() -> None:
    """No coding is undone and no redirect followed: the bytes are those that a client would get."""
    body = gzip.compress(b"x" * 500)
    with Recorder(answer(body, status=302, headers=(("Content-Encoding", "gzip"), ("Location", "/b")))) as recorder:
        found = await ask(backend("new", recorder.url), ASKED, stripped=(), deadline_s=60)

    assert (found.status, found.body, found.head.body_bytes) == (302, body, len(body))
    assert len(recorder.requests) == 1


async def test_a_large_answer_is_known_by_its_digest() -> None:
    """Of a body beyond the bound length and digest are kept, and compared."""
    body = b"x" * (MAX_BODY + 1)
    with Recorder(answer(body)) as one, Recorder(answer(body[:-1] + b"y")) as other:
        legacy = await ask(backend("legacy", one.url), ASKED, stripped=(), deadline_s=60)
        new = await ask(backend("new", other.url), ASKED, stripped=(), deadline_s=60)

    assert (legacy.body, legacy.head.body_bytes) == (None, len(body))
    assert is_same(legacy, legacy, ())
    assert not is_same(legacy, new, ())


@pytest.mark.parametrize(
    ("script", "error"),
    [([Hang()], "no complete answer within"), ([Reset()], ""), ([b"HTTP/9 what\r\n\r\n"], "")],
    ids=["hangs", "resets", "no HTTP"],
)
async def test_what_goes_wrong_is_an_answer(script: list[object], error: str) -> None:
    """A backend that hangs, dies or lies leaves a sentence, in time."""
    with Recorder(script) as recorder:  # type: ignore[arg-type]  # steps of several kinds
        found = await ask(backend("new", recorder.url), ASKED, stripped=(), deadline_s=0.5)

    assert found.status == 0
    assert found.error
    assert error in found.error


def answered(body: bytes = b"a", **fields: str) -> Answered:
    """Make an answer."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Answered(head=AnswerHead(200, headers, len(body), body, "b"), body=body, took_s=0.0)


def test_the_same_answer_is_what_a_worker_calls_identical() -> None:
    """Status, type, coding, watched headers and bytes count; other headers do not."""
    assert is_same(answered(date="1", ETag="x"), answered(date="2", etag="y"), ())
    assert not is_same(answered(ETag="x"), answered(etag="y"), ("etag",))
    assert not is_same(answered(Content_Type="a"), answered(), ())
    assert not is_same(answered(b"a"), answered(b"b"), ())
