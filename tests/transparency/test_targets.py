"""Whoever reads what the backend got decides as we did: no second reader finds another request in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from config.spec import MatchSpec
from proxy import forward, wire
from rules.target import Target
from tests.rules.made import flag, route, snapshot
from tests.support.oneworker import backend

ROUTES = (
    route("public", "/public/**"),
    route("admin", "/admin/{x}"),
    route("query", match=(MatchSpec(path="/**", query=(("side", "new"),)),)),
    route("host", match=(MatchSpec(path="/**", host="other.test"),)),
)
ONE = snapshot(*ROUTES, flags={spec.name: flag("legacy") for spec in ROUTES}, strict="report")
BACKEND = Target(backend("b", "http://h:80"))

PIECES = (
    b"/ // public admin a . .. %2e %2E %2f %5c \\ ; ;x= %00 %zz % ? & = side=new side=%6eew + %41 "
    b"%c3%a9 \xc3\xa9 \xff * @ : %3f"
).split(b" ")
TARGETS = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: b"/" + b"".join(parts))
HOSTS = st.sampled_from([b"shop.test", b"other.test", b"OTHER.test:80", b"[::1]", b""])
METHODS = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"get", b"M-SEARCH"])
FIELDS = st.lists(
    st.sampled_from(
        [b"X-A: 1", b"x-a:2 ", b"Connection: X-A", b"TE: trailers", b"Cookie: a=b", b"X-Forwarded-For: 6.6.6.6"]
    ),
    max_size=5,
)


def read(raw: bytes) -> wire.RequestHead:
    """Read one whole head."""
    event = wire.request_parser().receive_event(raw)
    assert isinstance(event, wire.Request)
    return wire.read_request(event)


@given(METHODS, TARGETS, HOSTS, FIELDS, st.booleans())
def test_the_route_of_a_request_is_the_route_of_what_the_backend_gets(
    method: bytes, target: bytes, host: bytes, fields: list[bytes], absolute: bool
) -> None:
    """A reader of the forwarded request finds the same target, the same host and the same route."""
    written = b"http://" + host + target if absolute and host else target
    head = read(b"\r\n".join([method + b" " + written + b" HTTP/1.1", b"Host: " + host, *fields, b"", b""]))

    again = read(forward.request_bytes(head, BACKEND, b""))

    assert (again.method, again.target, again.host, again.text) == (method, target, host, head.text)
    assert ONE.match(again.method, again.target, again.fields) is ONE.match(method, target, head.fields)
