"""Heads that nobody thought of: what the contract says of them is what the product does."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy import forward, wire
from rules.target import Target
from tests.support.oneworker import backend
from tests.transparency import contract

BACKEND = Target(backend("b", "http://h:80"))
VIA = forward.via_line(b"node")

TOKENS = st.text("ABCabcxyz019-_.!~", min_size=1, max_size=8).map(str.encode)
KNOWN = st.sampled_from(
    sorted(contract.HOP | contract.IDENTITY | contract.NO_TRAILERS | {b"x-request-id", b"x-matapalo-shadow", b"x-own"})
)
NAMES = st.one_of(TOKENS, KNOWN).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()]))
VALUES = st.one_of(
    st.binary(max_size=20).map(lambda raw: bytes(c for c in raw if c == 9 or 32 <= c != 127)),
    st.sampled_from([b"close", b"keep-alive", b"X-Own, upgrade", b"trailers", b"websocket", b"100-continue", b"x-own"]),
)
BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t "])
LINES = st.lists(st.tuples(NAMES, BLANKS, VALUES, BLANKS), max_size=12)

FRAMING = {b"host", b"content-length", b"transfer-encoding"}
"""Written by the tests themselves, so that most heads are legal."""


def written(lines: list[tuple[bytes, bytes, bytes, bytes]]) -> list[bytes]:
    """Join names, blanks and values; framing is left to the test."""
    return [
        name + b":" + before + value + behind for name, before, value, behind in lines if name.lower() not in FRAMING
    ]


def pairs(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Read lines as names and values."""
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


@given(LINES, st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]), st.sampled_from([b"GET", b"POST"]), st.booleans())
def test_every_head_reaches_the_backend_as_documented(
    lines: list[tuple[bytes, bytes, bytes, bytes]], version: bytes, method: bytes, chunked: bool
) -> None:
    """Whatever fields a request has, the backend gets those that docs/wire.md leaves, and those that it adds."""
    fields = [b"Host: shop.test", *written(lines)]
    if chunked and version == b"HTTP/1.1":
        fields.append(b"Transfer-Encoding: chunked")
    try:
        event = wire.request_parser().receive_event(b"\r\n".join([method + b" /a " + version, *fields, b"", b""]))
        assert isinstance(event, wire.Request)
        head = wire.read_request(event)
    except (wire.GrammarError, wire.RefusedError):
        assume(False)
    peer = forward.Peer("127.0.0.1", trusted_networks=(), via=VIA)
    identity = head.request_id or b"0" * 24

    got = forward.request_bytes(head, BACKEND, b"X-Request-Id: %b\r\n%b" % (identity, peer.forwarding_lines(head)))

    assert got == contract.forwarded_head(method, b"/a", version, pairs(fields), new_id=b"0" * 24, node=b"node")


@given(
    LINES,
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.0 404 No", b"HTTP/1.1 426 U", b"HTTP/1.1 999 ", b"HTTP/1.1 103 \xe9"]
    ),
    st.booleans(),
)
def test_every_head_reaches_the_client_as_documented(
    lines: list[tuple[bytes, bytes, bytes, bytes]], first: bytes, length: bool
) -> None:
    """Whatever fields an answer has, the client gets the bytes of those that docs/wire.md leaves."""
    fields = written(lines)
    if length and b" 103 " not in first:
        fields.append(b"Content-Length: 0")
    try:
        head = wire.read_response(b"\r\n".join([first, *fields, b"", b""]))
    except wire.GrammarError:
        assume(False)

    got = forward.response_bytes(head, b"X-Request-Id: a\r\n")

    lines_of = (first, *fields)
    expected = contract.answer_lines(lines_of, chunked=False, connection=b"", own=[b"X-Request-Id: a"])
    assert got == b"\r\n".join(expected) + b"\r\n\r\n"
