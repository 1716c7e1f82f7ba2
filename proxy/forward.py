"""Say how a head looks to the next hop: what a backend gets and what a client gets.

Pure functions over heads that :mod:`proxy.wire` has read; nothing here does I/O.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Final

from proxy import wire
from rules.target import Target

SHADOW_LINE: Final = b"X-Matapalo-Shadow: 1"

MAX_NODES: Final = 8
"""Matapalo nodes that one request may pass; a chain of proxies is short, a circle is not."""
_SPAN: Final = re.compile(rb"(?i)(traceparent: *[0-9a-f]{2}-[0-9a-f]{32}-)([0-9a-f]{16})(-[0-9a-f]{2}.*)")

_HEAD_ONLY: Final = frozenset(
    b"age cache-control content-encoding content-range content-type date expires location max-forwards retry-after "
    b"set-cookie trailer vary www-authenticate".split()
)
"""Plain fields that mean something only in front of a body."""

_CHANGED: Final = wire.CONDITIONAL | wire.TRACE | wire.EXPECT
"""Marks of a head whose copy is not the primary's bytes."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def request_bytes(head: wire.RequestHead, target: Target, own_lines: bytes) -> bytes:
    """Write the head that one backend gets.

    Shape: *own_lines* are our complete lines (request id, forwarding fields), each with its line end.
    Cost: one formatting, 0.3 microseconds; a backend that must not see some field takes 0.2 more per field.
    """
    text = head.text
    path = head.target
    host = head.host
    if not target.plain:
        path = target.path(path)
        if target.host is not None:
            host = target.host
        if target.remove:
            text = wire.without(target.remove, text)
        if target.set_lines:
            text += wire.text_of(target.set_lines)
    framing = b"Transfer-Encoding: chunked\r\n" if head.chunked else b""
    if head.upgrade:
        framing += b"Connection: Upgrade\r\nUpgrade: " + head.upgrade + b"\r\n"
    elif head.trailers_welcome:
        framing += b"TE: trailers\r\nConnection: TE\r\n"
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b%b\r\n" % (head.method, path, host, text, framing, own_lines)


def copy_bytes(
    head: wire.RequestHead,
    target: Target,
    own_lines: bytes,
    *,
    primary_bytes: bytes,
    primary_plain: bool,
    credentials: str,
    authorization: bytes,
    body_length: int,
) -> bytes:
    """Write the head of a copy: marked, without conditions, with its own span and credentials policy.

    Shape: *body_length* -1 means no body; a chunked body travels with its length instead.
    Cost: one slice in the common case; a second pass over the fields otherwise.
    """
    if (
        primary_plain
        and target.plain
        and body_length < 0
        and not head.trailers_welcome
        and not head.marks & (_CHANGED if credentials == "pass" else _CHANGED | wire.CREDENTIAL)
    ):
        return primary_bytes[:-2] + SHADOW_LINE + b"\r\n\r\n"
    lines: list[bytes] = []
    for line in wire.lines_of(head.text):
        kind = wire.kind_of(line[: line.index(b":")])
        if kind in (wire.CONDITIONAL, wire.EXPECT):
            continue
        if kind == wire.CREDENTIAL and credentials != "pass":
            continue
        if kind == wire.TRACE:
            line = _SPAN.sub(lambda m: m.group(1) + os.urandom(8).hex().encode() + m.group(3), line)
        lines.append(line)
    if credentials == "replace" and authorization:
        lines.append(b"Authorization: " + authorization)
    if head.chunked:
        lines.append(b"Content-Length: %d" % body_length)
    changed = wire.RequestHead(head.method, head.target, head.host, head.fields, wire.text_of(lines))
    return request_bytes(changed, target, b"%b%b\r\n" % (own_lines, SHADOW_LINE))


def response_bytes(head: wire.ResponseHead, own_lines: bytes) -> bytes:
    """Write the head that the client gets.

    Shape: *own_lines* are complete lines with their line ends: framing first, then what we add.
    """
    return b"%b%b\r\n" % (wire.passed_on(head), own_lines)


def trailer_bytes(trailers: wire.Trailers) -> bytes:
    """Write the end of a chunked body; fields that belong into a head are left out (RFC 9110 section 6.5.1)."""
    if not trailers:
        return b"0\r\n\r\n"
    kept = [
        b": ".join(pair) + b"\r\n"
        for pair in trailers
        if wire.kind_of(pair[0]) in (wire.PLAIN, wire.UNDERSCORED) and pair[0].lower() not in _HEAD_ONLY
    ]
    return b"0\r\n" + b"".join(kept) + b"\r\n"


class Peer:
    """Know who is at the other end of a client connection, and what its forwarding fields are worth.

    Shape: replaced by :meth:`under` on every open connection when ``trusted_proxies`` changes.
    Cost: an untrusted peer's lines are made once per connection, and once more when it asks for another host.
    """

    __slots__ = ("_host", "_host_lines", "address", "lines", "scheme", "trusted", "via")

    def __init__(
        self, address: str, *, trusted_networks: tuple[Network, ...], scheme: bytes = b"http", via: bytes = b""
    ) -> None:
        """Make the lines; *via* is this node's own line (:func:`via_line`)."""
        self.address = address
        self.scheme = scheme
        self.via = via
        self.trusted = bool(trusted_networks) and is_trusted(address, trusted_networks)
        self.lines = b"%bX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (via, address.encode(), scheme)
        self._host = b""
        self._host_lines = self.lines
        """The same with the host that was asked for last."""

    def under(self, trusted_networks: tuple[Network, ...]) -> Peer:
        """Judge the same peer by another configuration; requests under way keep this one."""
        return Peer(self.address, trusted_networks=trusted_networks, scheme=self.scheme, via=self.via)

    def client_ip(self, head: wire.RequestHead, networks: tuple[Network, ...]) -> str:
        """Resolve the client's address: from the right, the first address that is no trusted proxy."""
        if not (self.trusted and head.forwarded):
            return self.address
        hops = b",".join(head.fields.getall(b"x-forwarded-for")).decode("latin-1").split(",")
        for hop in reversed(hops):
            hop = hop.strip()
            try:
                ipaddress.ip_address(hop)
            except ValueError:
                break
            if not is_trusted(hop, networks):
                return hop
        return self.address

    def forwarding_lines(self, head: wire.RequestHead) -> bytes:
        """Write X-Forwarded-For, -Proto and -Host (and Forwarded from a trusted proxy, extended)."""
        if not (self.trusted and head.forwarded):
            if head.host != self._host:
                self._host = head.host
                self._host_lines = b"%bX-Forwarded-Host: %b\r\n" % (self.lines, head.host) if head.host else self.lines
            return self._host_lines
        fields = head.fields
        hops = [*fields.getall(b"x-forwarded-for"), self.address.encode()]
        out = [b"X-Forwarded-For: " + b", ".join(hops)]
        out.append(b"X-Forwarded-Proto: " + (fields.get(b"x-forwarded-proto") or self.scheme))
        out.append(b"X-Forwarded-Host: " + (fields.get(b"x-forwarded-host") or head.host))
        for name in (b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-Server", b"X-Real-IP"):
            value = fields.get(name)
            if value is not None:
                out.append(name + b": " + value)
        forwarded = fields.getall(b"forwarded")
        if forwarded:
            node = b'"[%b]"' % self.address.encode() if ":" in self.address else self.address.encode()
            out.append(b"Forwarded: " + b", ".join([*forwarded, b"for=%b;proto=%b" % (node, self.scheme)]))
        return self.via + b"\r\n".join(out) + b"\r\n"


def via_line(nodes: bytes) -> bytes:
    """Write the field that says which nodes a request has passed; a list, so it may stand in several lines."""
    return b"X-Matapalo-Via: %b\r\n" % nodes


def is_loop(nodes: bytes, own: bytes) -> bool:
    """Tell whether a request that passed *nodes* (comma separated) goes in a circle through us, or too far."""
    passed = [node.strip(b" \t") for node in nodes.split(b",")]
    return own in passed or len(passed) > MAX_NODES


def is_trusted(address: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of the trusted networks; what is no address is not trusted."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed.version == network.version and parsed in network for network in networks)
