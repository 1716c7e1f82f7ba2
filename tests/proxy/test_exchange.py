"""One request through a real worker: who answers, what is forwarded, what happens when something breaks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.spec import FallbackSpec, LimitsSpec, MatchSpec
from rules.flag import Stage
from shadow import link
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import ConnectionEndedError, RawResponse, request_bytes
from tests.support.recorder import (
    Close,
    Gate,
    Hang,
    Pause,
    Recorder,
    Reset,
    Sliced,
    StartReading,
    Step,
    StopReading,
    answer,
    chunked_answer,
)

JSON = (("Content-Type", "application/json"),)


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(answer(b'"legacy"', headers=JSON)) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service."""
    with Recorder(answer(b'"new"', headers=JSON)) as recorder:
        yield recorder


def both(legacy: Recorder, new: Recorder) -> dict[str, str]:
    """Name the two backends."""
    return {"legacy": legacy.url, "new": new.url}


def problem(response: RawResponse) -> dict[str, object]:
    """Read a problem body."""
    assert response.value("content-type") == b"application/problem+json"
    body = json.loads(response.body)
    assert isinstance(body, dict)
    return body


# --- who answers ---


@pytest.mark.parametrize(
    ("stage", "side"),
    [(Stage.LEGACY, "legacy"), (Stage.SHADOW, "legacy"), (Stage.LIVE, "new"), (Stage.COMPLETE, "new")],
)
def test_the_stage_names_the_side_that_answers(legacy: Recorder, new: Recorder, stage: Stage, side: str) -> None:
    """A route's stage decides which service's answer the client gets."""
    with OneWorker(backends=both(legacy, new), routes=[route()], flags={"orders": flag(stage)}) as worker:
        response = worker.ask(request_bytes(target="/api/orders/1", headers=(("X-Matapalo-Side", "?"),)))

        assert response.body == f'"{side}"'.encode()
        assert response.value("x-matapalo-side") == side.encode()


def test_a_route_that_is_gone_answers_410(legacy: Recorder, new: Recorder) -> None:
    """A retired route answers 410 with a problem body and contacts nobody."""
    with OneWorker(backends=both(legacy, new), routes=[route()], flags={"orders": flag(Stage.GONE)}) as worker:
        response = worker.ask(request_bytes(target="/api/orders/1"))

    assert response.status == 410
    assert problem(response)["request_id"] == (response.value("x-request-id") or b"").decode()
    assert legacy.requests == new.requests == []


def test_an_undeclared_path_goes_to_the_undeclared_backend(legacy: Recorder, new: Recorder) -> None:
    """What no route matches is forwarded to the configured backend and counted as undeclared."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/other"))
        counts = worker.settled()

    assert response.body == b'"legacy"'
    assert counts == {"requests|-|undeclared|legacy|2xx": 1}


def test_without_an_undeclared_backend_an_unknown_path_is_404(legacy: Recorder, new: Recorder) -> None:
    """With ``undeclared: none`` a path that no route matches is answered 404."""
    with OneWorker(backends=both(legacy, new), routes=[route()], undeclared=None) as worker:
        assert worker.ask(request_bytes(target="/other")).status == 404


def test_canary_is_sticky_for_a_client(legacy: Recorder, new: Recorder) -> None:
    """In canary a client stays on one side, and both sides get clients."""
    flags = {"orders": flag(Stage.CANARY, percent_bp=5_000, sample_bp=0)}
    with OneWorker(backends=both(legacy, new), routes=[route()], flags=flags) as worker, worker.client() as client:
        sides = {}
        for user in range(40):
            request = request_bytes(target="/api/a", headers=(("X-User-Id", str(user)),))
            answers = {client.exchange(request).body for _ in range(3)}
            assert len(answers) == 1
            sides[user] = answers.pop()

    assert set(sides.values()) == {b'"legacy"', b'"new"'}


def test_a_client_without_key_gets_a_cookie_that_keeps_it_there(legacy: Recorder, new: Recorder) -> None:
    """With ``issued_cookie`` a client without a key receives one and stays on its side with it."""
    flags = {"orders": flag(Stage.CANARY, percent_bp=5_000, sample_bp=0)}
    routes = [route(sticky=("issued_cookie",))]
    with OneWorker(backends=both(legacy, new), routes=routes, flags=flags) as worker, worker.client() as client:
        for _ in range(8):
            first = client.exchange(request_bytes(target="/api/a"))
            cookie = (first.value("set-cookie") or b"").split(b";")[0].decode()
            assert cookie.startswith("matapalo_client=")
            again = client.exchange(request_bytes(target="/api/a", headers=(("Cookie", cookie),)))
            assert again.body == first.body
            assert again.value("set-cookie") is None


def test_a_hold_beats_the_flag(legacy: Recorder, new: Recorder) -> None:
    """A held route is answered by legacy whatever its stage, from the first request on."""
    holds = [link.HoldItem(route="orders")]
    with OneWorker(
        backends=both(legacy, new), routes=[route()], flags={"orders": flag(Stage.LIVE)}, holds=holds
    ) as worker:
        assert worker.ask(request_bytes(target="/api/a")).body == b'"legacy"'
        worker.hold()
        assert worker.ask(request_bytes(target="/api/a")).body == b'"new"'


def test_one_request_uses_one_snapshot(legacy: Recorder) -> None:
    """A flip in the middle of a request changes nothing about that request."""
    gate = Gate()
    slow: list[Step] = [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnew", gate, b"new"]
    with (
        Recorder(slow) as new,
        OneWorker(backends=both(legacy, new), routes=[route()], flags={"orders": flag(Stage.LIVE)}) as worker,
        worker.client() as client,
    ):
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        worker.push({"orders": flag(Stage.LEGACY)})
        gate.open()
        assert client.read_exactly(6) == b"newnew"
        counts = worker.settled()

    assert counts["requests|orders|new|new|2xx"] == 1


# --- what is forwarded ---


def test_the_request_arrives_as_it_was_sent(legacy: Recorder, new: Recorder) -> None:
    """Target, header order, case, duplicates and odd bytes reach the backend unchanged."""
    sent = (
        b"GET /api/a%2Fb//c;d?x=1&x=2&y=%zz+ HTTP/1.1\r\nhOsT: shop.test\r\nX-One: 1\r\ncookie: a=1\r\n"
        b"X-Two: \xe9\xff\r\nx-one: 2\r\nCookie: b=2\r\nX-Empty:\r\nAccept-Encoding: br\r\n\r\n"
    )
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        worker.ask(sent)

    request = legacy.requests[0]
    assert request.target == b"/api/a%2Fb//c;d?x=1&x=2&y=%zz+"
    names = [name for name, _ in request.headers]
    assert names[:8] == [b"Host", b"X-One", b"cookie", b"X-Two", b"x-one", b"Cookie", b"X-Empty", b"Accept-Encoding"]
    assert request.values("x-one") == [b"1", b"2"]
    assert request.values("x-two") == [b"\xe9\xff"]
    assert b"User-Agent" not in names


def test_hop_by_hop_fields_stay_here(legacy: Recorder, new: Recorder) -> None:
    """Connection, what it lists, and the other hop-by-hop fields are not forwarded, in either direction."""
    own = (("Connection", "X-Back"), ("X-Back", "1"), ("Keep-Alive", "timeout=5"), ("X-Ok", "1"))
    legacy.answer = answer(b"x", headers=own)
    headers = (
        ("Connection", "keep-alive, X-Secret, Host, Authorization"),
        ("X-Secret", "1"),
        ("Authorization", "Bearer t"),
        ("Proxy-Authorization", "p"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "gzip"),
    )
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/api/a", headers=headers))

    request = legacy.requests[0]
    for name in ("connection", "x-secret", "proxy-authorization", "keep-alive", "te"):
        assert request.values(name) == []
    assert request.values("authorization") == [b"Bearer t"]
    assert request.values("host") == [b"shop.test"]
    assert response.values("x-ok") == [b"1"]
    assert response.values("x-back") == response.values("keep-alive") == []


def test_forwarding_fields_of_a_stranger_are_replaced(legacy: Recorder, new: Recorder) -> None:
    """X-Forwarded-* and Forwarded from an untrusted peer never reach a backend."""
    headers = (("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6"))
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a", headers=headers))

    request = legacy.requests[0]
    assert request.values("x-forwarded-for") == [b"127.0.0.1"]
    assert request.values("x-forwarded-host") == [b"shop.test"]
    assert request.values("x-forwarded-proto") == [b"http"]
    assert request.values("forwarded") == request.values("x-real-ip") == []


def test_forwarding_fields_of_a_trusted_proxy_are_extended(legacy: Recorder, new: Recorder) -> None:
    """A trusted proxy's forwarding fields are kept and extended, and the client's address is taken from them."""
    headers = (
        ("X-Forwarded-For", "203.0.113.9, 127.0.0.9"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=203.0.113.9"),
    )
    with OneWorker(backends=both(legacy, new), routes=[route()], trusted_proxies=("127.0.0.0/8",)) as worker:
        worker.ask(request_bytes(target="/api/a", headers=headers))

    request = legacy.requests[0]
    assert request.values("x-forwarded-for") == [b"203.0.113.9, 127.0.0.9, 127.0.0.1"]
    assert request.values("x-forwarded-proto") == [b"https"]
    assert request.values("forwarded") == [b"for=203.0.113.9, for=127.0.0.1;proto=http"]


def test_trust_in_a_proxy_begins_and_ends_on_open_connections(legacy: Recorder, new: Recorder) -> None:
    """After a reload of ``trusted_proxies`` a connection that was open before is judged as a new one is."""
    sent = request_bytes(target="/api/a", headers=(("X-Forwarded-For", "203.0.113.9"),))
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for trusted in ((), ("127.0.0.0/8",), ()):
            worker.push(config=replace(worker.config, trusted_proxies=trusted))
            client.exchange(sent)

    said = [request.values("x-forwarded-for") for request in legacy.requests]
    assert said == [[b"127.0.0.1"], [b"203.0.113.9, 127.0.0.1"], [b"127.0.0.1"]]


def test_our_control_fields_cannot_be_forged(legacy: Recorder, new: Recorder) -> None:
    """A client cannot mark its request as a copy: X-Matapalo-* is stripped."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a", headers=(("X-Matapalo-Shadow", "1"), ("X-Matapalo-Else", "1"))))

    ours = [name for name, _ in legacy.requests[0].headers if name.lower().startswith(b"x-matapalo")]
    assert ours == [b"X-Matapalo-Via"]


def test_a_request_id_is_kept_or_made_and_answered(legacy: Recorder, new: Recorder) -> None:
    """A well-formed X-Request-Id is kept, a missing or malformed one is replaced, and the answer names it."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        kept = worker.ask(request_bytes(target="/api/a", headers=(("X-Request-Id", "abc-1"),)))
        made = worker.ask(request_bytes(target="/api/a"))
        replaced = worker.ask(request_bytes(target="/api/a", headers=(("X-Request-Id", "a b"),)))

    assert kept.value("x-request-id") == b"abc-1"
    assert made.value("x-request-id") == legacy.requests[1].values("x-request-id")[0]
    assert replaced.value("x-request-id") != b"a b"
    assert len({kept.value("x-request-id"), made.value("x-request-id"), replaced.value("x-request-id")}) == 3


def test_a_backend_policy_changes_host_path_and_headers(legacy: Recorder, new: Recorder) -> None:
    """Host, path prefix and headers are rewritten as the backend's policy says, at segment boundaries."""
    spec = backend(
        "legacy",
        legacy.url,
        host_header="backend",
        path_strip="/api",
        path_add="/v2",
        headers_set=(("X-Env", "prod"),),
        headers_remove=("X-Debug",),
    )
    with OneWorker(backends={"legacy": spec, "new": new.url}, routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a?q=1", headers=(("X-Debug", "1"), ("x-env", "dev"))))
        worker.ask(request_bytes(target="/apiary/b"))

    first, second = legacy.requests
    assert first.target == b"/v2/a?q=1"
    assert first.values("host") == [f"{legacy.address[0]}:{legacy.address[1]}".encode()]
    assert first.values("x-env") == [b"prod"]
    assert first.values("x-debug") == []
    assert second.target == b"/v2/apiary/b"


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "chunked"])
def test_a_request_body_arrives_whole(legacy: Recorder, new: Recorder, length: bool) -> None:
    """A request body reaches the backend byte for byte, with the framing that the client chose."""
    body = bytes(range(256)) * 1_000
    if length:
        sent = request_bytes("POST", "/api/a", body=body)
    else:
        pieces = [body[start : start + 9_999] for start in range(0, len(body), 9_999)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        sent = (
            b"POST /api/a HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunks
            + b"0\r\nX-T: 1\r\n\r\n"
        )
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        assert worker.ask(sent).status == 200

    request = legacy.requests[0]
    assert request.body == body
    assert request.values("content-length") == ([str(len(body)).encode()] if length else [])
    assert request.trailers == (() if length else ((b"X-T", b"1"),))


# --- answers ---


def test_the_answer_arrives_as_it_was_sent(legacy: Recorder, new: Recorder) -> None:
    """Status, reason phrase, header order, case, duplicates and body reach the client unchanged."""
    legacy.answer = (
        b"HTTP/1.1 299 Odd Reason \xff\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-A:   spaced\r\nDate: x\r\n"
        b"Server: y\r\nSET-COOKIE: c=3\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\x01"
    )
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/api/a"))

    assert response.head.lines[0] == b"HTTP/1.1 299 Odd Reason \xff"
    assert [name for name, _ in response.head.headers[:7]] == [
        b"Set-Cookie", b"set-cookie", b"X-A", b"Date", b"Server", b"SET-COOKIE", b"Content-Encoding",
    ]  # fmt: skip
    assert response.values("set-cookie") == [b"a=1", b"b=2", b"c=3"]
    assert response.body == b"\x1f\x8b\x00\x01"


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_statuses_keep_the_connection(legacy: Recorder, new: Recorder, status: int) -> None:
    """204 and 304 carry no body, keep their fields, and leave the connection open on both sides."""
    headers = (("ETag", '"1"'), ("Content-Length", "10")) if status == 304 else (("ETag", '"1"'),)
    legacy.answer = answer(b"", status=status, reason="R", headers=headers, length=False)
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for _ in range(3):
            response = client.exchange(request_bytes(target="/api/a"))
            assert response.status == status
            assert response.value("etag") == b'"1"'
            assert response.body == b""

    assert len(legacy.connections) == 1


def test_head_has_the_length_and_no_body(legacy: Recorder, new: Recorder) -> None:
    """An answer to HEAD keeps Content-Length, has no body, and the connection goes on."""
    legacy.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for _ in range(2):
            response = client.exchange(request_bytes("HEAD", "/api/a"), "HEAD")
            assert response.value("content-length") == b"1000"

    assert len(legacy.connections) == 1


def test_interim_answers_are_passed_on(legacy: Recorder, new: Recorder) -> None:
    """103 Early Hints reach an HTTP/1.1 client before the final answer."""
    legacy.answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/api/a"))

    assert [head.status for head in response.interim] == [103]
    assert response.interim[0].value("link") == b"</a>"
    assert response.body == b"x"


def test_expect_100_continue_is_answered_by_the_backend(legacy: Recorder, new: Recorder) -> None:
    """The backend's 100 reaches the client before the body is sent, once."""

    with (
        Recorder(
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], early=True
        ) as slow,
        OneWorker(backends=both(slow, new), routes=[route()]) as worker,
        worker.client() as client,
    ):
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert client.read_head().status == 100
        assert slow.requests[0].values("expect") == [b"100-continue"]
        client.send(b"body")
        assert client.read_head().status == 200


def test_a_client_that_waits_for_no_100_is_served(legacy: Recorder, new: Recorder) -> None:
    """A backend that never says 100 gets the body as soon as the client sends it, and no 100 is made up."""
    legacy.answer = lambda request: answer(request.body)
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        legacy.wait_until(lambda: any(b"Expect" in one.raw for one in legacy.connections), "the head")
        client.send(b"body")
        response = client.read_response("POST")

    assert (response.status, response.body, response.interim) == (200, b"body", ())


def test_chunked_answers_are_reframed_with_trailers(legacy: Recorder, new: Recorder) -> None:
    """A chunked answer arrives chunked, with its trailers, whether the client said that it welcomes them or not."""
    legacy.answer = chunked_answer([b"hello ", b"world"], trailers=(("X-Sum", "1"),))
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        plain = client.exchange(request_bytes(target="/api/a"))
        welcome = client.exchange(request_bytes(target="/api/a", headers=(("TE", "trailers"), ("Connection", "TE"))))

    assert plain.body == welcome.body == b"hello world"
    assert plain.framing == "chunked"
    assert plain.trailers == welcome.trailers == ((b"X-Sum", b"1"),)


def test_a_close_delimited_answer_becomes_chunked(legacy: Recorder, new: Recorder) -> None:
    """An answer that ends with its connection keeps the client's connection usable."""
    legacy.answer = [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", Close()]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for _ in range(2):
            response = client.exchange(request_bytes(target="/api/a"))
            assert response.body == b"hello"
            assert response.framing == "chunked"


def test_an_http_1_0_client_gets_no_chunks(legacy: Recorder, new: Recorder) -> None:
    """An HTTP/1.0 client gets a body that ends with its connection."""
    legacy.answer = chunked_answer([b"hello ", b"world"])
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        client.send(b"GET /api/a HTTP/1.0\r\nHost: a\r\n\r\n")
        received = client.read_to_end()

    head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"hello world"


def test_an_http_1_0_client_may_keep_its_connection(legacy: Recorder, new: Recorder) -> None:
    """An HTTP/1.0 client that asks for keep-alive gets it where the length is known."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for _ in range(2):
            response = client.exchange(b"GET /api/a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            assert response.value("connection") == b"keep-alive"


def test_an_answer_cut_into_single_bytes_is_whole(legacy: Recorder, new: Recorder) -> None:
    """However the backend's bytes are sliced, the client gets the same answer."""
    for script in (answer(b"x" * 50), chunked_answer([b"a" * 20, b"b" * 3], trailers=(("X-T", "1"),))):
        legacy.answer = [Sliced(data=script)]
        with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
            response = worker.ask(request_bytes(target="/api/a"))
        assert response.body in (b"x" * 50, b"a" * 20 + b"bbb")


# --- what can go wrong ---


def test_a_backend_that_is_down_is_502(legacy: Recorder, new: Recorder) -> None:
    """A backend that refuses connections is a 502 with a problem body that names the request, not the inside."""
    url = legacy.url
    legacy.close()
    with OneWorker(backends={"legacy": url, "new": new.url}, routes=[route()]) as worker, worker.client() as client:
        response = client.exchange(request_bytes(target="/api/a"))
        again = client.exchange(request_bytes(target="/api/a"))
        counts = worker.settled()

    assert response.status == again.status == 502
    body = problem(response)
    assert body["reason"] == "unreachable"
    assert "127.0.0.1" not in json.dumps(body)
    assert counts["upstream_errors|legacy|connect"] == 2
    assert counts["requests|orders|legacy|legacy|5xx"] == 2


def test_a_silent_backend_is_504_at_its_response_timeout(legacy: Recorder, new: Recorder) -> None:
    """A backend that sends no head within its response timeout is a 504, and its connection is closed."""
    legacy.answer = [Hang()]
    spec = backend("legacy", legacy.url, response_timeout_ns=300_000_000)
    with OneWorker(backends={"legacy": spec, "new": new.url}, routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/api/a"))
        legacy.wait_ended(0)
        counts = worker.settled()

    assert response.status == 504
    assert counts["upstream_errors|legacy|timeout"] == 1


def test_the_total_timeout_of_a_route_holds(legacy: Recorder, new: Recorder) -> None:
    """A route's timeout bounds the whole exchange; an answer that is under way is cut, visibly."""
    legacy.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Hang()]
    with (
        OneWorker(backends=both(legacy, new), routes=[route(timeout_ns=1_000_000_000)]) as worker,
        worker.client() as client,
    ):
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        assert client.read_exactly(4) == b"half"
        assert client.ending() in ("eof", "reset")


@pytest.mark.parametrize(
    "script",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Close()],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Reset()],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", Close()],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", Hang()],
    ],
    ids=["length-close", "length-reset", "chunked-close", "chunked-garbage"],
)
def test_a_truncated_answer_never_looks_whole(legacy: Recorder, new: Recorder, script: list[Step]) -> None:
    """When the backend breaks in the middle of a body the client's connection ends without a good end."""
    legacy.answer = script
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/a"))
        head = client.read_head()
        with pytest.raises((ConnectionEndedError, ConnectionResetError)):
            client.read_exactly(10 if head.value("content-length") else 9 + len(b"0\r\n\r\n"))


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["garbage", "two-lengths", "length-and-chunked", "coding-list", "signed-length", "unasked-101", "huge-head"],
)
def test_a_lying_answer_is_502(legacy: Recorder, new: Recorder, raw: bytes) -> None:
    """An answer whose framing can be read in two ways is a 502 and its connection is never used again."""
    legacy.answer = [raw, Hang()]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        response = worker.ask(request_bytes(target="/api/a"))
        legacy.wait_ended(0)

    assert response.status == 502
    assert problem(response)["reason"] == "broken_answer"


@pytest.mark.parametrize("tail", [b"X", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_surplus_byte_never_reaches_the_next_client(
    legacy: Recorder, new: Recorder, tail: bytes, chunked: bool
) -> None:
    """Bytes behind a complete answer are thrown away with their connection."""
    good = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        if chunked
        else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    legacy.answer = [good + tail]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for _ in range(3):
            assert client.exchange(request_bytes(target="/api/a")).body == b"ok"

    assert len(legacy.connections) == 3


def test_a_client_that_hangs_up_cancels_the_backend(legacy: Recorder, new: Recorder) -> None:
    """When the client goes away the backend's connection is closed at once and the log says 499."""
    legacy.answer = [Hang()]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        with worker.client() as client:
            client.send(request_bytes(target="/api/a"))
            legacy.wait_requests(1)
        legacy.wait_ended(0)
        line = worker.access_lines(1)[0]
        counts = worker.settled()

    assert line["status"] == 499
    assert not [key for key in counts if key.startswith("requests|")]


def test_an_idle_connection_that_died_is_replaced_for_a_safe_request(legacy: Recorder, new: Recorder) -> None:
    """A GET that meets a keep-alive connection closed by the backend is sent again on a fresh one, unnoticed."""
    legacy.answer = lambda request: (
        [Reset()] if request.connection == 0 and len(legacy.connections[0].requests) == 2 else answer(b"ok")
    )
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        assert client.exchange(request_bytes(target="/api/a")).body == b"ok"
        assert client.exchange(request_bytes(target="/api/a")).body == b"ok"

    assert len(legacy.requests) == 3


def test_a_post_is_never_sent_twice(legacy: Recorder, new: Recorder) -> None:
    """A POST that meets a dying connection, new or used, is a 502: a second order would be worse."""
    legacy.answer = lambda request: [Reset()] if request.body == b"die" else answer(b"ok")
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        for number in range(10):
            if number % 2:
                assert [client.exchange(request_bytes(target="/api/a")).status for _ in range(2)] == [200, 200]
            assert client.exchange(request_bytes("POST", "/api/a", body=b"die")).status == 502

    assert [request.body for request in legacy.requests].count(b"die") == 10


def test_a_body_over_the_routes_limit_is_413(legacy: Recorder, new: Recorder) -> None:
    """A request body larger than the route accepts is refused, announced or not."""
    with OneWorker(backends=both(legacy, new), routes=[route(max_body_bytes=1_000)]) as worker:
        announced = worker.ask(request_bytes("POST", "/api/a", body=b"x" * 1_001))
        chunk = b"%x\r\n%b\r\n" % (1_001, b"x" * 1_001)
        streamed = worker.ask(
            b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        )
        fits = worker.ask(request_bytes("POST", "/api/a", body=b"x" * 1_000))

    assert announced.status == streamed.status == 413
    assert fits.status == 200


def test_an_early_answer_ends_an_upload(legacy: Recorder, new: Recorder) -> None:
    """A backend that answers before the upload is complete is heard, and the connection ends afterwards."""
    with (
        Recorder(answer(b"no", status=413, reason="Too Large"), early=True) as strict,
        OneWorker(backends=both(strict, new), routes=[route()]) as worker,
        worker.client() as client,
    ):
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1_000)
        response = client.read_response("POST")

        assert response.status == 413
        assert response.value("connection") == b"close"


def test_a_stalled_upload_is_408(legacy: Recorder, new: Recorder) -> None:
    """A client that stops sending its body is answered 408 after the body timeout."""
    limits = LimitsSpec(body_read_timeout_ns=300_000_000)
    with OneWorker(backends=both(legacy, new), routes=[route()], limits=limits) as worker, worker.client() as client:
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        response = client.read_response("POST")

    assert response.status == 408


# --- fallback ---

FALLBACK = FallbackSpec(connect=True, timeout=True, statuses=(502, 503))


def canary() -> dict[str, object]:
    """Make the arguments of a worker whose every client is on new, with a fallback."""
    return {
        "routes": [route(fallback=FALLBACK)],
        "flags": {"orders": flag(Stage.CANARY, percent_bp=10_000, sample_bp=0)},
    }


USER = (("X-User-Id", "7"),)


def test_fallback_when_new_is_down(legacy: Recorder, new: Recorder) -> None:
    """In canary a request that new cannot take is answered by legacy, writes too while nothing was written to new."""
    url = new.url
    new.close()
    with OneWorker(backends={"legacy": legacy.url, "new": url}, **canary()) as worker:  # type: ignore[arg-type]
        get = worker.ask(request_bytes(target="/api/a", headers=USER))
        post = worker.ask(request_bytes("POST", "/api/a", headers=USER, body=b"order"))
        counts = worker.settled()

    assert get.body == post.body == b'"legacy"'
    assert legacy.requests[1].body == b"order"
    assert counts["fallbacks|orders|connect"] == 2
    assert counts["upstream_errors|new|connect"] == 2
    assert counts["requests|orders|legacy|legacy|2xx"] == 2


def test_fallback_on_a_listed_status(legacy: Recorder, new: Recorder) -> None:
    """A listed status of new is replaced by legacy's answer for a safe request, and only for that."""
    new.answer = answer(b"down", status=503, reason="Unavailable")
    with OneWorker(backends=both(legacy, new), **canary()) as worker:  # type: ignore[arg-type]
        get = worker.ask(request_bytes(target="/api/a", headers=USER))
        post = worker.ask(request_bytes("POST", "/api/a", headers=USER, body=b"order"))
        counts = worker.settled()

    assert get.body == b'"legacy"'
    assert post.status == 503
    assert len(legacy.requests) == 1
    assert counts["fallbacks|orders|status_503"] == 1


def test_fallback_on_a_timeout_only_for_safe_methods(legacy: Recorder, new: Recorder) -> None:
    """A timeout of new falls back for GET; a POST that new may have acted on is a 504."""
    new.answer = [Hang()]
    spec = backend("new", new.url, response_timeout_ns=300_000_000)
    with OneWorker(backends={"legacy": legacy.url, "new": spec}, **canary()) as worker:  # type: ignore[arg-type]
        get = worker.ask(request_bytes(target="/api/a", headers=USER))
        post = worker.ask(request_bytes("POST", "/api/a", headers=USER, body=b"order"))

    assert get.body == b'"legacy"'
    assert post.status == 504
    assert [request.method for request in legacy.requests] == [b"GET"]


def test_a_fallback_goes_where_the_request_began(legacy: Recorder, new: Recorder) -> None:
    """A reload between a request and its fallback changes neither: both are of the revision that decided it."""
    gate = Gate()
    new.answer = [gate, answer(b"down", status=503, reason="Down")]
    with (
        Recorder(answer(b'"elsewhere"')) as elsewhere,
        OneWorker(backends=both(legacy, new), **canary()) as worker,  # type: ignore[arg-type]
        worker.client() as client,
    ):
        client.send(request_bytes(target="/api/a", headers=USER))
        new.wait_requests(1)
        moved = tuple(
            backend(one.name, elsewhere.url if one.name == "legacy" else new.url) for one in worker.config.backends
        )
        worker.push(config=replace(worker.config, backends=moved))
        gate.open()
        told = client.read_response()

    assert (told.body, elsewhere.requests) == (b'"legacy"', [])


def test_no_fallback_outside_canary(legacy: Recorder, new: Recorder) -> None:
    """In stage live a failure of new is the client's answer: the fallback belongs to canary."""
    url = new.url
    new.close()
    with OneWorker(
        backends={"legacy": legacy.url, "new": url},
        routes=[route(fallback=FALLBACK)],
        flags={"orders": flag(Stage.LIVE, sample_bp=0)},
    ) as worker:
        assert worker.ask(request_bytes(target="/api/a", headers=USER)).status == 502


def test_fallback_takes_the_copy_back(legacy: Recorder, new: Recorder) -> None:
    """The copy that legacy already got is cancelled by a fallback, counted as skipped, and the law holds."""
    new.answer = answer(b"down", status=503, reason="Unavailable")
    legacy.answer = lambda request: [Hang()] if request.values("x-matapalo-shadow") else answer(b"ok")
    arguments = canary()
    arguments["flags"] = {"orders": flag(Stage.CANARY, percent_bp=10_000)}
    with OneWorker(backends=both(legacy, new), **arguments) as worker:  # type: ignore[arg-type]
        assert worker.ask(request_bytes(target="/api/a", headers=USER)).body == b"ok"
        counts = worker.settled()

    assert counts["skipped|orders|fallback"] == 1
    assert counts["eligible|orders"] == 1
    assert "sent|orders" not in counts


# --- the rest ---


def test_options_star_is_answered_here(legacy: Recorder, new: Recorder) -> None:
    """OPTIONS * asks about this server and reaches no backend."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker:
        assert worker.ask(request_bytes("OPTIONS", "*")).status == 204

    assert legacy.requests == []


def test_an_ambiguous_target_is_refused_where_its_readings_differ(legacy: Recorder, new: Recorder) -> None:
    """A target that two services would read differently is 400 before any backend; elsewhere it is forwarded raw."""
    routes = [
        route("admin", "/api/admin/**", match=(MatchSpec(path="/api/admin/**"),)),
        route("public", "/api/public/**", match=(MatchSpec(path="/api/public/**"),)),
    ]
    flags = {"admin": flag(Stage.LIVE, sample_bp=0), "public": flag(Stage.LEGACY)}
    with OneWorker(backends=both(legacy, new), routes=routes, flags=flags, strict="refuse") as worker:
        refused = worker.ask(request_bytes(target="/api/public/..%2fadmin/x"))
        harmless = worker.ask(request_bytes(target="/api/public/a%2Fb"))

    assert refused.status == 400
    assert problem(refused)["reason"] == "ambiguous_target"
    assert harmless.status == 200
    assert legacy.requests[0].target == b"/api/public/a%2Fb"
    assert new.requests == []


def test_the_access_log_says_what_happened(legacy: Recorder, new: Recorder) -> None:
    """Each request is one JSON line with its route, side, revision, status and durations."""
    with OneWorker(backends=both(legacy, new), routes=[route()], flags={"orders": flag(Stage.SHADOW)}) as worker:
        worker.ask(request_bytes(target="/api/a?q='%22{}", headers=(("X-Request-Id", "r-1"),)))
        line = worker.access_lines(1)[0]

    assert line["request_id"] == "r-1"
    assert (line["route"], line["side"], line["backend"], line["status"]) == ("orders", "legacy", "legacy", 200)
    assert line["target"] == "/api/a?q=…"
    assert line["copied"] is True
    assert line["revision"] == 1
    assert isinstance(line["total_us"], int)


def test_a_slow_first_byte_is_not_held_back(legacy: Recorder, new: Recorder) -> None:
    """What the backend has sent reaches the client although the rest is still to come."""
    gate = Gate()
    legacy.answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", gate, b"b"]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        assert client.read_exactly(1) == b"a"
        gate.open()
        assert client.read_exactly(1) == b"b"


def test_a_route_may_lose_its_backend_by_reload(legacy: Recorder, new: Recorder) -> None:
    """A snapshot that names other backends is used by the next request on the same client connection."""
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        assert client.exchange(request_bytes(target="/api/a")).body == b'"legacy"'
        swapped = tuple(
            backend(spec.name, new.url if spec.name == "legacy" else legacy.url) for spec in worker.config.backends
        )
        worker.push(config=replace(worker.config, backends=swapped))
        assert client.exchange(request_bytes(target="/api/a")).body == b'"new"'


# --- uploads, early answers and deadlines ---


def test_an_upload_in_small_chunks_waits_for_a_connection(legacy: Recorder, new: Recorder) -> None:
    """A chunked body that comes while no connection is free goes on, whole, when one is."""
    gate = Gate()
    legacy.answer = lambda request: [gate, answer(b"1")] if request.target == b"/api/1" else answer(b"2")
    piece = b"".join(b"%x\r\n%b\r\n" % (1_000, b"x" * 1_000) for _ in range(700))
    spec = backend("legacy", legacy.url, max_connections=1)
    with (
        OneWorker(backends={"legacy": spec, "new": new.url}, routes=[route()]) as worker,
        worker.client() as first,
        worker.client() as second,
    ):
        first.send(request_bytes(target="/api/1"))
        legacy.wait_requests(1)
        second.send(b"POST /api/2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        second.send(piece)
        worker.ask(request_bytes("OPTIONS", "*"))
        gate.open()
        second.send(b"0\r\n\r\n")
        assert second.read_response("POST").body == b"2"

    assert legacy.requests[1].body == b"x" * 700_000


def test_a_body_beyond_its_limit_is_never_made_to_look_whole(legacy: Recorder, new: Recorder) -> None:
    """When a body outgrows its limit behind an early answer, the backend sees a broken request, not a shorter one."""
    with (
        Recorder([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly"], early=True) as early,
        OneWorker(backends={"legacy": early.url, "new": new.url}, routes=[route(max_body_bytes=1_000)]) as worker,
        worker.client() as client,
    ):
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert client.read_head().status == 200
        client.send(b"800\r\n" + b"x" * 2_048 + b"\r\n0\r\n\r\n")
        early.wait_ended(0)

    assert not early.requests[0].complete


def test_a_stalled_upload_behind_an_early_answer_is_no_second_answer(legacy: Recorder, new: Recorder) -> None:
    """Once an answer has begun, nothing but that answer reaches the client, whatever becomes of the upload."""
    gate = Gate()

    def script(request: object) -> Iterator[Step]:
        yield StopReading()
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        yield gate
        yield StartReading()
        for _ in range(40):
            yield b"y" * 10
            yield Pause(seconds=0.05)
        yield Hang()

    limits = LimitsSpec(body_read_timeout_ns=300_000_000)
    with (
        Recorder(script, early=True, keep_bytes=0) as early,
        OneWorker(
            backends={"legacy": backend("legacy", early.url, read_timeout_ns=300_000_000), "new": new.url},
            routes=[route()],
            limits=limits,
        ) as worker,
        worker.client() as client,
    ):
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        client.read_head()
        for _ in range(400):
            if not client.send_some(b"x" * 65_536, 0.3):
                break
        gate.open()
        got = b""
        with contextlib.suppress(ConnectionEndedError, ConnectionResetError):
            while len(got) < 1_000 and (data := client.read_some()):
                got += data

    assert set(got) <= {ord("y")}


def test_an_answer_to_an_old_client_that_breaks_is_reset(legacy: Recorder, new: Recorder) -> None:
    """A broken answer to an HTTP/1.0 client, which ends with its connection, ends with a reset, never cleanly."""
    legacy.answer = [answer(headers=(("Transfer-Encoding", "chunked"),), length=False) + b"5\r\nhello\r\n", Reset()]
    with OneWorker(backends=both(legacy, new), routes=[route()]) as worker, worker.client() as client:
        client.send(b"GET /api/a HTTP/1.0\r\nHost: a\r\n\r\n")
        with pytest.raises(ConnectionEndedError) as ended:
            client.read_response()

    assert ended.value.ending == "reset"


def test_trailers_obey_the_rules_for_heads(legacy: Recorder, new: Recorder) -> None:
    """A trailer that Connection lists, or that the backend's policy removes, is not forwarded, in either direction."""
    legacy.answer = chunked_answer(
        [b"x"], headers=(("Connection", "X-Back"),), trailers=(("X-Back", "1"), ("X-Ok", "1"), ("Set-Cookie", "a=1"))
    )
    spec = backend("legacy", legacy.url, headers_remove=("X-Debug",), headers_set=(("X-Env", "prod"),))
    with OneWorker(backends={"legacy": spec, "new": new.url}, routes=[route()]) as worker:
        response = worker.ask(
            b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: TE, X-Own\r\n"
            b"TE: trailers\r\n\r\n0\r\nX-Own: 1\r\nX-Debug: 1\r\nX-Env: dev\r\nX-Ok: 1\r\n\r\n"
        )

    assert legacy.requests[0].trailers == ((b"X-Ok", b"1"),)
    assert response.trailers == ((b"X-Ok", b"1"),)


def test_a_request_id_cannot_add_attributes_to_our_cookie(legacy: Recorder, new: Recorder) -> None:
    """The issued cookie holds one value: a request id that would end it is replaced."""
    flags = {"orders": flag(Stage.CANARY, percent_bp=5_000, sample_bp=0)}
    with OneWorker(backends=both(legacy, new), routes=[route(sticky=("issued_cookie",))], flags=flags) as worker:
        response = worker.ask(request_bytes(target="/api/a", headers=(("X-Request-Id", "a;Domain=shop.test"),)))

    assert b"Domain" not in (response.value("set-cookie") or b"Domain")
