"""Refused heads and bodies: the status, the reason, the count, the log line, and what it may cost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import pytest

from config.spec import LimitsSpec
from proxy import wire
from proxy.problem import DETAILS
from proxy.refusal import PartialHead, escaped, explain, head_room, shown
from tests.support.oneworker import OneWorker, route
from tests.support.rawclient import RawClient, RawResponse, request_bytes
from tests.support.recorder import Gate, Recorder, answer, chunked_answer

TIGHT = LimitsSpec(
    header_read_timeout_ns=2_000_000_000,
    max_head_bytes=2_048,
    max_fields=20,
    max_target_bytes=128,
    max_body_bytes=1_000,
    max_chunk_overhead_bytes=512,
)


@pytest.fixture(scope="module")
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(answer(b"ok")) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def worker(legacy: Recorder) -> Iterator[OneWorker]:
    """Hold one worker with the limits of the default configuration."""
    with OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()]) as worker:
        worker.settled()
        yield worker


@pytest.fixture(scope="module")
def tight(legacy: Recorder) -> Iterator[OneWorker]:
    """Hold one worker with small limits."""
    with OneWorker(
        backends={"legacy": legacy.url, "new": legacy.url},
        routes=[route(), route("big", "/big/**", max_body_bytes=5_000)],
        limits=TIGHT,
    ) as worker:
        worker.settled()
        yield worker


@pytest.fixture(autouse=True)
def _no_leftovers(request: pytest.FixtureRequest, legacy: Recorder) -> Iterator[None]:
    """Close what the workers' pools keep open or are opening: it would be some test's leftover."""
    yield
    for name in {"worker", "tight"} & set(request.fixturenames):
        one: OneWorker = request.getfixturevalue(name)
        one.ask(request_bytes(target="/api/settled"))
    legacy.drop_connections()


def reason_of(response: RawResponse) -> str:
    """Read the reason out of a problem."""
    return str(json.loads(response.body)["reason"])


def logged(worker: OneWorker, target: str) -> list[tuple[object, object]]:
    """Wait for a target in the access log; give status and reason of its lines."""

    def found() -> list[tuple[object, object]]:
        return [(line["status"], line["reason"]) for line in worker.access_lines(1) if line["target"] == target]

    worker.wait(lambda: bool(found()), f"{target} in the access log")
    return found()


def lines(*fields: bytes, start: bytes = b"POST /api/a HTTP/1.1", body: bytes = b"") -> bytes:
    """Write a request line by line."""
    return b"\r\n".join((start, b"Host: a", *fields, b"", body))


def asked(start: bytes) -> bytes:
    """Write a request without a body."""
    return lines(start=start)


CHUNKED = b"Transfer-Encoding: chunked"
REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host"),
    "user in host": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "host"),
    "escape in host": (b"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400, "host"),
    "high port": (b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "host"),
    "only a port": (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "host"),
    "no address": (b"GET / HTTP/1.1\r\nHost: [::1:::]\r\n\r\n", 400, "host"),
    "address with a zone": (b"GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n\r\n", 400, "host"),
    "length and chunked": (lines(b"Content-Length: 1", CHUNKED, body=b"0\r\n\r\n"), 400, "framing"),
    "two equal lengths": (lines(b"Content-Length: 1", b"Content-Length: 1", body=b"x"), 400, "framing"),
    "two lengths": (lines(b"Content-Length: 1", b"Content-Length: 2", body=b"xx"), 400, "framing"),
    "chunked twice": (lines(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400, "framing"),
    "chunked on 1.0": (lines(CHUNKED, start=b"POST / HTTP/1.0", body=b"0\r\n\r\n"), 400, "framing"),
    "signed length": (lines(b"Content-Length: +1", body=b"x"), 400, "content_length"),
    "coding list": (lines(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501, "transfer_coding"),
    "unknown coding": (lines(b"Transfer-Encoding: cow", body=b"0\r\n\r\n"), 501, "transfer_coding"),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "method"),
    "trace": (asked(b"TRACE / HTTP/1.1"), 405, "method"),
    "trace in small letters": (asked(b"trace / HTTP/1.1"), 405, "method"),
    "star": (asked(b"GET * HTTP/1.1"), 400, "target"),
    "fragment": (asked(b"GET /a#b HTTP/1.1"), 400, "target"),
    "other authority": (asked(b"GET http://b/a HTTP/1.1"), 400, "target"),
    "no slash": (asked(b"GET a HTTP/1.1"), 400, "target"),
    "expectation": (lines(b"Expect: magic", b"Content-Length: 1", body=b"x"), 417, "expectation"),
    "minor version": (asked(b"GET / HTTP/1.2"), 505, "http_version"),
    "major version": (asked(b"GET / HTTP/2.0"), 505, "http_version"),
    "no version": (b"GET /a\r\n\r\n", 505, "http_version"),
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version"),
    "two blanks": (asked(b"GET  / HTTP/1.1"), 400, "grammar"),
    "bare lf": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "grammar"),
    "bare cr": (lines(b"X: a\rb"), 400, "grammar"),
    "fold": (lines(b"X: 1\r\n 2"), 400, "grammar"),
    "nul": (lines(b"X: \x00"), 400, "grammar"),
    "blank before colon": (lines(b"X : 1"), 400, "grammar"),
    "long target": (asked(b"GET /" + b"a" * 8_192 + b" HTTP/1.1"), 414, "target_too_long"),
    "longer target": (asked(b"GET /" + b"a" * 70_000 + b" HTTP/1.1"), 414, "target_too_long"),
    "long field": (lines(b"X: " + b"x" * 70_000), 431, "head_too_large"),
    "many fields": (lines(*[b"X: 1"] * 120), 431, "too_many_fields"),
    "underscored framing": (lines(b"Transfer_Encoding: chunked"), 400, "lookalike"),
    "underscored twin": (lines(b"X-User-Id: 1", b"x_user_ID: 2"), 400, "lookalike"),
    "trailer": (lines(CHUNKED, body=b"0\r\nContent_Length: 5\r\n\r\n"), 400, "trailer"),
    "size": (lines(CHUNKED, body=b"+1\r\nx\r\n0\r\n\r\n"), 400, "grammar"),
}


def refuse(client: RawClient, raw: bytes, slice_bytes: int) -> RawResponse:
    """Send a request that is refused; see the answer and the end of the connection."""
    with contextlib.suppress(OSError):  # the answer may come before the request is out
        client.send(raw, slice_bytes=slice_bytes)
    response = client.read_response("POST")
    assert client.ending() in ("eof", "reset")
    return response


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_has_one_status_and_one_reason(worker: OneWorker, legacy: Recorder, name: str) -> None:
    """A bad request has the same answer whole, in pieces and behind a good one, and none reaches a backend whole."""
    raw, status, reason = REFUSED[name]
    assert reason in DETAILS
    before = sum(one.complete for one in legacy.requests)

    with worker.client() as client:
        first = refuse(client, raw, len(raw))
    with worker.client() as client:
        second = refuse(client, raw, max(1, len(raw) // 100))
    with worker.client() as client:
        assert client.exchange(request_bytes(target="/api/good")).status == 200
        third = refuse(client, raw + request_bytes(target="/api/behind"), 1 << 20)

    assert [(one.status, reason_of(one)) for one in (first, second, third)] == [(status, reason)] * 3
    assert [one.value("connection") for one in (first, second, third)] == [b"close"] * 3
    assert sum(one.complete for one in legacy.requests) == before + 1


def test_a_refusal_is_counted_and_logged_once(worker: OneWorker) -> None:
    """One refused request is one count under its reason and one line in the access log, safe to print."""
    before = worker.settled()
    with worker.client() as client:
        refuse(
            client, lines(b"Expect: magic", CHUNKED, start=b"POST /api/\x9b\xff HTTP/1.1", body=b"ZZ\r\n\r\n"), 1 << 20
        )
    with worker.client() as client:
        refuse(client, b"GET \x1b[2J\x00/ HTTP/1.1\r\n\r\n", 1 << 20)
    after = worker.settled()

    grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    assert grown == {"refused|expectation": 1, "refused|grammar": 1, "requests|-|none|-|4xx": 2}
    assert logged(worker, "/api/\\x9b\\xff") == [(417, "expectation")]
    assert logged(worker, "GET \\x1b[2J\\x00/ HTTP/1.1") == [(400, "grammar")]


def test_a_refusal_inside_a_body_is_logged_with_its_reason(worker: OneWorker) -> None:
    """A request that is refused after its head stands in the log with the reason of the refusal."""
    with worker.client() as client:
        refuse(client, lines(CHUNKED, start=b"POST /api/late HTTP/1.1", body=b"zz\r\n"), 1 << 20)

    assert logged(worker, "/api/late") == [(400, "grammar")]


# --- limits ---

WITHIN = {
    "head": lines(*[b"X: " + b"x" * 90] * 18),
    "fields": lines(*[b"X: 1"] * 19),
    "target": asked(b"GET /" + b"a" * 127 + b" HTTP/1.1"),
    "body": lines(b"Content-Length: 1000", body=b"x" * 1_000),
    "chunked body": lines(CHUNKED, body=b"3e8\r\n" + b"x" * 1_000 + b"\r\n0\r\n\r\n"),
    "overhead": lines(CHUNKED, body=b"1;a=bcdef\r\nx\r\n" * 30 + b"0\r\n\r\n"),
    "route's own body": lines(b"Content-Length: 5000", start=b"POST /big/a HTTP/1.1", body=b"x" * 5_000),
}
BEYOND = {
    "head": (lines(*[b"X: " + b"x" * 110] * 18), 431, "head_too_large"),
    "fields": (lines(*[b"X: 1"] * 20), 431, "too_many_fields"),
    "target": (asked(b"GET /" + b"a" * 128 + b" HTTP/1.1"), 414, "target_too_long"),
    "body": (lines(b"Content-Length: 1001", body=b"x" * 1_001), 413, "too_large"),
    "chunked body": (lines(CHUNKED, body=b"3e9\r\n" + b"x" * 1_001 + b"\r\n0\r\n\r\n"), 413, "too_large"),
    "overhead": (lines(CHUNKED, body=(b"1;" + b"a" * 500 + b"\r\nx\r\n") * 400), 400, "chunk_overhead"),
    "route's own body": (
        lines(b"Content-Length: 5001", start=b"POST /big/a HTTP/1.1", body=b"x" * 5_001),
        413,
        "too_large",
    ),
}


@pytest.mark.parametrize("name", WITHIN)
def test_what_a_limit_allows_passes(tight: OneWorker, name: str) -> None:
    """A request exactly at a limit is forwarded."""
    assert tight.ask(WITHIN[name]).status == 200


@pytest.mark.parametrize("name", BEYOND)
def test_what_a_limit_forbids_is_refused(tight: OneWorker, name: str) -> None:
    """A request beyond a limit gets that limit's status, alone or behind another request."""
    raw, status, reason = BEYOND[name]
    for ahead in (b"", request_bytes(target="/api/a")):
        with tight.client() as client:
            with contextlib.suppress(OSError):
                client.send(ahead + raw)
            if ahead:
                assert client.read_response().status == 200
            response = client.read_response("POST")

        assert (response.status, reason_of(response)) == (status, reason)


def test_a_head_too_large_is_refused_before_it_ends(tight: OneWorker) -> None:
    """A head that has outgrown its limit is answered at once, whether it ends or not."""
    with tight.client() as client:
        client.send(lines(b"X: " + b"x" * 2_048).removesuffix(b"\r\n\r\n"))
        response = client.read_response("POST")

    assert (response.status, reason_of(response)) == (431, "head_too_large")


def test_costly_chunks_are_cut_within_one_read(tight: OneWorker, legacy: Recorder) -> None:
    """A body of costly chunks is refused also where all of it, with its end, comes in one read."""
    seen = len(legacy.requests)
    body = (b"1;" + b"a" * 500 + b"\r\nx\r\n") * 60 + b"0\r\n\r\n"
    with tight.client() as client:
        os.kill(tight.process.pid, signal.SIGSTOP)
        client.send(lines(CHUNKED, body=body))
        os.kill(tight.process.pid, signal.SIGCONT)
        response = client.read_response("POST")

    assert (response.status, reason_of(response)) == (400, "chunk_overhead")
    assert not any(one.complete for one in legacy.requests[seen:])


def test_a_slow_head_is_408(tight: OneWorker) -> None:
    """The deadline of a head is over the whole head: a client that sends a byte now and then is answered 408."""
    with tight.client(timeout_s=0.05) as client:
        client.send(b"GET /api/slow HTTP/1.1\r\nX: ")
        for _ in range(200):
            client.send(b"x")
            with contextlib.suppress(TimeoutError):
                client.leftover = client.read_some()
                break

        assert client.read_response().status == 408
    assert logged(tight, "/api/slow") == [(408, "head_timeout")]


def test_an_endless_head_costs_no_memory(worker: OneWorker, legacy: Recorder) -> None:
    """A head of 128 MiB is refused at its limit and leaves less than 1 MiB behind; no backend hears of it."""
    seen = len(legacy.requests)
    for _ in range(3):  # buffers that are allocated once are nobody's leak
        with worker.client() as client:
            refuse(client, lines(b"X: " + b"x" * 200_000), 1 << 20)
    before = worker.rss_bytes()
    statuses = []
    for start in (b"GET / HTTP/1.1\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\n", b""):
        with worker.client() as client:
            with contextlib.suppress(OSError):
                client.send(start)
                for _ in range(128):
                    client.send((b"X: 1\r\n" if start.endswith(b"\n") else b"xxxxxx") * 174_763)
            with contextlib.suppress(ConnectionError):
                statuses.append(client.read_response().status)

    assert worker.rss_bytes() - before < 1 << 20
    assert set(statuses) <= {414, 431, 400}
    assert len(legacy.requests) == seen


# --- bodies that turn out bad ---


@pytest.mark.parametrize("end", [b"zz\r\n", b"0\r\nHost: b\r\n\r\n", b"0\r\nCookie: b\r\n\r\n"])
def test_a_body_that_turns_out_bad_never_ends_well(end: bytes) -> None:
    """Once a body is malformed the backend sees its connection break, not a last chunk, and the client a 400."""
    with (
        Recorder(answer(b"ok")) as legacy,
        OneWorker(backends={"legacy": legacy.url}) as worker,
        contextlib.ExitStack() as stack,
    ):
        client = stack.enter_context(worker.client())
        client.send(lines(CHUNKED, body=b"5\r\nhello\r\n"))
        legacy.wait_until(lambda: b"hello" in b"".join(one.raw for one in legacy.connections), "the body")
        client.send(end)
        assert client.read_response("POST").status == 400
        legacy.wait_ended(0)

    assert not legacy.requests[0].complete
    assert b"0\r\n\r\n" not in legacy.connections[0].raw


def test_a_body_that_breaks_under_its_answer_ends_both() -> None:
    """If the answer is on its way already, the client sees it break off."""
    gate = Gate()
    head = chunked_answer([b"early"]).removesuffix(b"0\r\n\r\n")
    with Recorder([head, gate], early=True) as legacy, OneWorker(backends={"legacy": legacy.url}) as worker:
        with worker.client() as client:
            client.send(lines(CHUNKED, body=b"5\r\nhello\r\n"))
            client.read_head()
            client.send(b"zz\r\n")
            assert client.ending() == "reset"
        legacy.wait_ended(0)
        gate.open()
        counts = worker.totals(lambda counts: "refused|grammar" in counts)

    assert counts["refused|grammar"] == 1


# --- in small ---


def test_a_head_in_room_needs_no_measuring() -> None:
    """A head as large as the room cannot break any limit, however it is made."""
    room = head_room(TIGHT)
    smallest = lines(start=b"G / HTTP/1.1")
    count = (room - len(smallest)) // 4
    event = wire.request_parser().receive_event(lines(*[b"X:"] * count, start=b"G / HTTP/1.1"))

    assert isinstance(event, wire.Request)
    assert len(event.headers) <= TIGHT.max_fields
    assert head_room(LimitsSpec()) == 8 << 10


def test_a_partial_head_that_follows_another_request_is_not_misread() -> None:
    """Where the beginning of a head is not known, only what is wrong anywhere is refused."""
    partial = PartialHead(begins=False)

    assert partial.add(b"\nTP/1.1\r\nHost: a\r\nX: 1", LimitsSpec()) is None
    refusal = partial.add(b"\n", LimitsSpec())
    assert refusal is not None
    assert refusal.status == 400


def test_a_first_line_is_refused_before_the_head_is_whole(worker: OneWorker) -> None:
    """A client that speaks HTTP/0.9 and waits for its answer gets one at once."""
    with worker.client() as client:
        assert refuse(client, b"GET /a\r\n", 100).status == 505


def test_what_is_logged_is_short_and_printable() -> None:
    """Whatever bytes came, the log gets bounded, printable ASCII."""
    every = bytes(range(256)) * 40

    assert len(escaped(every)) <= 4 * 2_048
    assert escaped(every).isprintable()
    assert escaped(every).isascii()
    assert shown(b"GET /a HTTP/1.1\r\nHost") == ("GET", "/a")
    assert shown(b"") == ("-", "-")


def test_a_fault_that_cannot_be_seen_again_is_a_plain_refusal() -> None:
    """Where the bytes are gone, a refusal is 431 for a size and 400 for the rest."""
    assert explain(wire.GrammarError("size limit"), b"", LimitsSpec()).status == 431
    assert explain(wire.GrammarError("malformed"), b"", LimitsSpec()).status == 400
