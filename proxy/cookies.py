"""Write the cookies that we set on answers, and take those back out that no backend has any use for."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from proxy import wire
from rules.flag import Side
from rules.pin import Pin, without_pins

if TYPE_CHECKING:
    from proxy.exchange import Exchange


def client_line(request_id: bytes) -> bytes:
    """Write the cookie that names a client to the bucket, for a year."""
    return b"Set-Cookie: matapalo_client=%b; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax\r\n" % request_id


def pin_line(pin: Pin, exchange: Exchange, status: int) -> bytes:
    """Write the pin to the side that answered a write with success; empty where it had none.

    Shape: the side is that of the answer, so after a fallback it is legacy's.
    """
    if not 200 <= status < 400:
        return b""
    return b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b\r\n" % (
        pin.cookie,
        pin.value(Side(exchange.side), time()),
        pin.lasts_s,
        b"; Secure" if _came_by_tls(exchange) else b"",
    )


def _came_by_tls(exchange: Exchange) -> bool:
    """Tell whether the client speaks TLS, to us or to a trusted proxy in front."""
    peer, head = exchange.peer, exchange.head
    said = head.fields.get(b"x-forwarded-proto") if peer.trusted and head.forwarded else None
    return (said or peer.scheme).lower() == b"https"


def without_pins_in(text: bytes) -> bytes:
    """Take our pins out of the Cookie lines of a head's text; a line that held nothing else goes as a whole."""
    kept = []
    for line in wire.lines_of(text):
        name, _, value = line.partition(b": ")
        if name.lower() == b"cookie":
            rest = without_pins(value)
            if not rest:
                continue
            line = b"%b: %b" % (name, rest)
        kept.append(line)
    return wire.text_of(kept)
