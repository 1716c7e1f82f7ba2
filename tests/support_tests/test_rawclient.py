"""The raw client reads exactly one response and refuses what RFC 9112 refuses."""

from __future__ import annotations

import pytest

from tests.support.rawclient import ConnectionEndedError, MalformedResponseError, RawClient, ask, request_bytes
from tests.support.recorder import Close, Recorder, Reset, Sliced, answer, chunked_answer

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        OK + b"Bad Name: x\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: b\nB: c\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        OK + b"Content-Length: +1\r\n\r\nx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_the_rfc_forbids_is_refused(raw: bytes) -> None:
    """A response that only a lenient client understands is an error."""
    with Recorder((raw, Close())) as backend, pytest.raises(MalformedResponseError):
        ask(backend.address, request_bytes())


@pytest.mark.parametrize("last", [Close(), Reset()])
@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 2", answer(b"abc")[:-1], chunked_answer([b"abc"])[:-1], chunked_answer([b"abc"])[:-9]],
)
def test_a_response_that_is_cut_short_is_an_error(raw: bytes, last: Close | Reset) -> None:
    """The end of the connection inside a response never passes for its end."""
    with Recorder((raw, last)) as backend, pytest.raises(ConnectionEndedError) as caught:
        ask(backend.address, request_bytes())

    assert caught.value.ending == ("eof" if isinstance(last, Close) else "reset")


def test_head_lines_interim_responses_and_leftover_are_verbatim() -> None:
    """Case, order and duplicates of a head survive; what follows the response is left over."""
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
        b"HTTP/1.1 299 Odd  reason\r\nset-Cookie: a\r\nSET-cookie:b \r\nContent-Length: 2\r\n\r\nhiextra"
    )
    with Recorder((raw,)) as backend, RawClient(backend.address) as client:
        response = client.exchange(request_bytes())
        while len(client.leftover) < 5:
            client.leftover += client.read_some()

        assert [head.status for head in response.interim] == [103]
        assert response.head.lines[:3] == (b"HTTP/1.1 299 Odd  reason", b"set-Cookie: a", b"SET-cookie:b ")
        assert response.values("Set-Cookie") == [b"a", b"b"]
        assert (response.body, response.framing, client.leftover) == (b"hi", "length", b"extra")


def test_bodies_without_framing_end_with_the_connection_or_do_not_exist() -> None:
    """A close-delimited body ends at FIN; HEAD, 204 and 304 have none whatever their fields say."""
    with Recorder((answer(b"to the end", length=False), Close())) as backend:
        response = ask(backend.address, request_bytes())
        assert (response.body, response.framing) == (b"to the end", "close")

    for method, status in (("HEAD", 200), ("GET", 304)):
        with Recorder(answer(b"abc", status=status)[:-3]) as backend:
            response = ask(backend.address, request_bytes(method))
            assert (response.body, response.framing) == (b"", "none")


def test_slices_reach_the_server_as_one_request() -> None:
    """A request sent byte by byte is the same request."""
    with Recorder(answer(b"ok")) as backend, RawClient(backend.address) as client:
        client.send(request_bytes("POST", body=b"abc"), slice_bytes=1)

        assert client.read_response("POST").body == b"ok"
        assert backend.requests[0].body == b"abc"


def test_a_slow_reader_gets_every_byte() -> None:
    """Small reads from a small window lose nothing."""
    body = bytes(range(256)) * 400
    with (
        Recorder((Sliced(data=answer(body), size=10_000), Close())) as backend,
        RawClient(backend.address, receive_buffer=4096) as client,
    ):
        client.send(request_bytes())

        assert client.read_to_end(slice_bytes=5000, gap_s=0.001).endswith(body)
