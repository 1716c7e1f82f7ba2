"""Heads on their way to the next hop, as pure functions."""

from __future__ import annotations

import ipaddress

import pytest

from proxy import forward, wire
from rules.target import Target
from tests.support.oneworker import backend

NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def head_of(raw: bytes) -> wire.RequestHead:
    """Read one request head."""
    event = wire.request_parser().receive_event(raw)
    assert isinstance(event, wire.Request)
    return wire.read_request(event)


def test_a_plain_backend_gets_a_copy_by_slicing() -> None:
    """The fast way to a copy gives the same bytes as the slow one."""
    head = head_of(b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\nCookie: c\r\n\r\n")
    target = Target(backend("b", "http://h:80"))
    primary = forward.request_bytes(head, target, b"")
    common = {"primary_bytes": primary, "credentials": "pass", "authorization": b"", "body_length": -1}

    fast = forward.copy_bytes(head, target, b"", primary_plain=True, **common)  # type: ignore[arg-type]
    slow = forward.copy_bytes(head, target, b"", primary_plain=False, **common)  # type: ignore[arg-type]

    assert fast == slow == primary[:-2] + b"X-Matapalo-Shadow: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("peer", "value", "expected"),
    [
        ("10.0.0.1", b"1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", b"6.6.6.6, 1.2.3.4, 10.0.0.9", "1.2.3.4"),
        ("10.0.0.1", b"junk, 10.0.0.9", "10.0.0.1"),
        ("10.0.0.1", b"10.0.0.8, 10.0.0.9", "10.0.0.1"),
        ("fd00::1", b"2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", b"1.2.3.4", "1.2.3.4"),
        ("9.9.9.9", b"1.2.3.4", "9.9.9.9"),
    ],
)
def test_the_client_address_is_the_first_untrusted_from_the_right(peer: str, value: bytes, expected: str) -> None:
    """Only what trusted proxies have written is believed, read from the nearest hop outwards."""
    head = head_of(b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + value + b"\r\n\r\n")

    assert forward.Peer(peer, trusted_networks=NETWORKS).client_ip(head, NETWORKS) == expected


@pytest.mark.parametrize(
    ("sent", "copied"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 0\r\n", b"Content-Length: 0\r\n"),
        (b"If-None-Match: a\r\nContent-Length: 1\r\n", b"Content-Length: 1\r\n"),
        (b"X: 1\r\nTransfer-Encoding: chunked\r\nY: 2\r\n", b"X: 1\r\nY: 2\r\nContent-Length: 1\r\n"),
    ],
)
def test_a_copy_differs_by_its_marks_only(sent: bytes, copied: bytes) -> None:
    """A copy keeps every line in its place but for conditions, expectations and chunks; its mark comes last."""
    head = head_of(b"POST /a HTTP/1.1\r\nHost: a\r\n" + sent + b"\r\n")
    target = Target(backend("b", "http://h:80"))
    body_length = 1 if head.chunked or head.length > 0 else -1

    copy = forward.copy_bytes(
        head,
        target,
        b"Own: 1\r\n",
        primary_bytes=forward.request_bytes(head, target, b"Own: 1\r\n"),
        primary_plain=True,
        credentials="pass",
        authorization=b"",
        body_length=body_length,
    )

    assert copy == b"POST /a HTTP/1.1\r\nHost: a\r\n" + copied + b"Own: 1\r\nX-Matapalo-Shadow: 1\r\n\r\n"


def test_trailers_never_bring_framing_fields() -> None:
    """Trailer fields that belong into a head are left out."""
    trailers = [(b"X-Sum", b"1"), (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"Host", b"a")]

    assert forward.trailer_bytes(trailers) == b"0\r\nX-Sum: 1\r\n\r\n"
    assert forward.trailer_bytes([]) == b"0\r\n\r\n"


@pytest.mark.parametrize("trusted", [False, True])
def test_our_name_is_in_every_request(trusted: bool) -> None:
    """X-Matapalo-Via stands in front of the forwarding fields, whoever the peer is."""
    networks = NETWORKS if trusted else ()
    peer = forward.Peer("10.0.0.1", trusted_networks=networks, via=forward.via_line(b"me"))
    head = head_of(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")

    assert peer.forwarding_lines(head).startswith(b"X-Matapalo-Via: me\r\nX-Forwarded-For: ")


def test_every_request_of_a_connection_names_its_own_host() -> None:
    """X-Forwarded-Host is what this request asked for, not what the one before it did; an empty Host names none."""
    peer = forward.Peer("10.0.0.1", trusted_networks=())
    own = b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"

    for host, line in ((b"a", b"X-Forwarded-Host: a\r\n"), (b"", b""), (b"b", b"X-Forwarded-Host: b\r\n")):
        head = head_of(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
        assert peer.forwarding_lines(head) == peer.forwarding_lines(head) == own + line


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [(b"me", True), (b"a,me", True), (b"a, \tme ,b", True), (b"meme", False), (b"a,b,c,d,e,f,g,h", False)],
)
def test_a_loop_is_our_own_name_as_a_whole(nodes: bytes, expected: bool) -> None:
    """Our name anywhere in the list is a loop; a longer name that holds it is not."""
    assert forward.is_loop(nodes, b"me") is expected
