"""The recording backend keeps what arrives and answers as scripted."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from tests.support.rawclient import RawClient, ask, request_bytes
from tests.support.recorder import (
    Close,
    Echo,
    Gate,
    HalfClose,
    Hang,
    Receive,
    RecordedRequest,
    Recorder,
    Reset,
    Sliced,
    Step,
    StopReading,
    answer,
    chunked_answer,
    forever,
)


def test_raw_bytes_headers_and_bodies_are_kept_as_sent() -> None:
    """Every byte of a request is on record, with duplicate fields in order and chunks undone."""
    chunked = (
        b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nDigest: z\r\n\r\n"
    )
    sized = request_bytes("PUT", "/c", body=b"12345")
    with Recorder(answer(b"hi")) as backend, RawClient(backend.address) as client:
        first = client.exchange(chunked)
        second = client.exchange(sized)

        assert (first.body, second.body) == (b"hi", b"hi")
        one, two = backend.wait_requests(2)
        assert (one.method, one.target, one.body, one.chunks) == (b"POST", b"/a?b", b"abcde", [3, 2])
        assert one.values("X-a") == [b"1", b"2"]
        assert one.trailers == ((b"Digest", b"z"),)
        assert (two.body, two.body_bytes) == (b"12345", 5)
        assert bytes(backend.connections[0].raw) == chunked + sized


def test_pipelined_requests_are_answered_in_order() -> None:
    """Two requests in one segment get two answers, the script seeing each request."""

    def script(request: RecordedRequest) -> bytes:
        return answer(request.target)

    with Recorder(script) as backend, RawClient(backend.address) as client:
        client.send(request_bytes(target="/1") + request_bytes(target="/2"))

        assert client.read_response().body == b"/1"
        assert client.read_response().body == b"/2"


def test_the_end_of_a_connection_is_noticed_while_an_answer_is_withheld() -> None:
    """A client that leaves before the answer is on record as eof or reset, with a time."""
    for leave, ending in ((RawClient.close, "eof"), (RawClient.reset, "reset")):
        with Recorder((Hang(),)) as backend:
            client = RawClient(backend.address)
            client.send(request_bytes())
            backend.wait_requests(1)

            leave(client)

            record = backend.wait_ended()
            assert record.ending == ending
            assert record.ended_ns is not None


def test_a_gate_holds_an_answer_until_the_test_opens_it() -> None:
    """Nothing behind a closed gate is sent; opening it lets the answer go on."""
    gate = Gate()
    with Recorder((answer(b"xy")[:-1], gate, b"y")) as backend, RawClient(backend.address) as client:
        client.send(request_bytes())
        assert client.read_exactly(len(answer(b"xy")) - 1).endswith(b"x")

        gate.open()

        assert client.read_exactly(1) == b"y"


def test_resets_closes_and_half_answers_reach_the_client() -> None:
    """A script can cut an answer with RST, with FIN, or with FIN in one direction."""
    half = answer(b"0123456789")[:-5]
    for last, ending in ((Reset(), "reset"), (Close(), "eof"), (HalfClose(), "eof")):
        with Recorder((half, last)) as backend, RawClient(backend.address) as client:
            client.send(request_bytes())

            assert client.ending() == ending


def test_an_early_answer_goes_out_before_the_body() -> None:
    """With early answers a backend can say 100, wait for the body, or refuse without reading it."""

    def script(request: RecordedRequest) -> Iterator[Step]:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        yield Receive()
        yield answer(request.body)

    with Recorder(script, early=True) as backend, RawClient(backend.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head().status == 100
        client.send(b"abc")

        assert client.read_response("POST").body == b"abc"

    with Recorder((answer(b"no", status=413), Close()), early=True) as backend, RawClient(backend.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")

        assert client.read_response("POST").status == 413
        assert not backend.requests[0].complete


def test_a_backend_that_stops_reading_pushes_back() -> None:
    """Bytes pile up at the sender once the backend reads no more."""
    with Recorder((StopReading(), Hang()), early=True) as backend, RawClient(backend.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n")
        backend.wait_until(lambda: len(backend.requests) == 1, "request")

        assert client.send_some(b"x" * 99_999_999, 0.2) < 99_999_999


def test_an_endless_answer_stops_when_the_client_leaves() -> None:
    """A stream that never ends is cut by the client's reset, and that is on record."""
    with Recorder(lambda _: forever(b"x" * 1000)) as backend:
        client = RawClient(backend.address)
        client.send(request_bytes())
        assert client.read_head().status == 200
        client.read_exactly(100_000)

        client.reset()

        assert backend.wait_ended().ending == "reset"


def test_an_upgrade_echoes_until_the_client_has_finished() -> None:
    """After a 101 the tunnel echoes, including bytes that were sent together with the request."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    with Recorder((switch, Echo())) as backend, RawClient(backend.address) as client:
        client.send(request_bytes(headers=(("Connection", "Upgrade"), ("Upgrade", "echo"))) + b"early")
        assert client.read_response().status == 101
        client.send(b" late")
        client.half_close()

        assert client.read_to_end() == b"early late"


def test_sliced_and_chunked_answers_arrive_whole() -> None:
    """An answer sent byte by byte, with chunks and trailers, is the same answer."""
    whole = chunked_answer([b"a", b"bc"], trailers=[("Digest", "d")])
    with Recorder((Sliced(data=whole),)) as backend:
        response = ask(backend.address, request_bytes())

    assert (response.body, response.chunks, response.trailers) == (b"abc", (1, 2), ((b"Digest", b"d"),))


def test_recorded_bytes_are_bounded() -> None:
    """A body beyond the bound is counted but not kept."""
    with Recorder(keep_bytes=1000) as backend:
        ask(backend.address, request_bytes("POST", body=b"x" * 100_000))

        request = backend.wait_requests(1)[0]
        assert (len(request.body), request.body_bytes) == (1000, 100_000)
        assert len(backend.connections[0].raw) == 1000


def test_foreign_bytes_are_reported_as_a_failure() -> None:
    """Bytes that are no request end the connection and say why in its record."""
    with Recorder() as backend, RawClient(backend.address) as client:
        client.send(b"garbage\r\n\r\n")

        record = backend.wait_ended()
        assert record.failure is not None
        assert client.ending() in ("eof", "reset")


def test_closing_leaves_no_thread_behind() -> None:
    """A closed recorder has joined its thread, also with connections open."""
    backend = Recorder((Hang(),))
    with RawClient(backend.address) as client:
        client.send(request_bytes())
        backend.wait_requests(1)

        backend.close()

        assert not any(thread.name == "recorder" for thread in threading.enumerate())
