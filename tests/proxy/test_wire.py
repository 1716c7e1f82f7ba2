"""Heads: what is read from bytes, what is refused, what is kept."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import wire


class NotWholeError(Exception):
    """The bytes do not hold a whole head."""


def read(raw: bytes) -> wire.RequestHead:
    """Read one request head."""
    event = wire.request_parser().receive_event(raw)
    if not isinstance(event, wire.Request):
        raise NotWholeError
    return wire.read_request(event)


def test_a_head_keeps_order_case_and_duplicates() -> None:
    """Lines stand in received order, with their names' case and every repetition."""
    head = read(b"GET /a HTTP/1.1\r\nX-B: 1\r\nHost: a\r\nx-b: 2\r\nX-A:  3 \r\n\r\n")

    assert head.text == b"X-B: 1\r\nx-b: 2\r\nX-A: 3\r\n"
    assert head.host == b"a"


def test_hop_fields_are_known_in_any_case() -> None:
    """Fields of this hop are recognised whatever their spelling."""
    head = read(
        b"GET /a HTTP/1.1\r\nHost: a\r\ncOnNeCtIoN: x-Y\r\nX-y: 1\r\nKEEP-ALIVE: 1\r\nX-MATAPALO-SHADOW: 1\r\n\r\n"
    )

    assert head.text == b""


def test_what_connection_may_not_take_away_stays() -> None:
    """A Connection field that lists Authorization or Cookie does not strip them."""
    head = read(
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: authorization, cookie\r\nCookie: a\r\nAuthorization: b\r\n\r\n"
    )

    assert head.text == b"Cookie: a\r\nAuthorization: b\r\n"


def test_refusals_survive_pickling() -> None:
    """A refusal carries its status and reason through pickling."""
    import pickle

    error = pickle.loads(pickle.dumps(wire.RefusedError(431, "head_too_large")))

    assert (error.status, error.reason) == (431, "head_too_large")


@given(st.binary(max_size=200))
def test_junk_is_never_a_surprise(junk: bytes) -> None:
    """Whatever bytes come, reading a head either works, waits, or fails with one of two named errors."""
    with suppress(wire.GrammarError, wire.RefusedError, NotWholeError):
        read(b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + junk + b"\r\n\r\n")
    with suppress(wire.GrammarError):
        wire.read_response(b"HTTP/1.1 200 OK\r\nX: " + junk + b"\r\n\r\n")


@given(
    st.lists(st.sampled_from([b"5", b"05", b" 5", b"+5", b"5,5", b"", b"0x5", b"5_0", b"\xb2"]), min_size=1, max_size=3)
)
def test_a_length_is_one_run_of_digits(values: list[bytes]) -> None:
    """An answer's length is accepted only if it is stated once, in digits."""
    raw = b"HTTP/1.1 200 OK\r\n" + b"".join(b"Content-Length: %b\r\n" % value for value in values) + b"\r\n"
    try:
        length = wire.read_response(raw).length
    except wire.GrammarError:
        assert len(values) > 1 or not values[0].strip(b" ").isdigit()
    else:
        assert len(values) == 1
        assert length == 5


@pytest.mark.parametrize("tail", [b"", b"X", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"])
def test_surplus_behind_a_chunked_body_is_seen(tail: bytes) -> None:
    """A parser that is done tells whether anything came behind the end."""
    head = wire.read_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    event: wire.Event = head.parser.receive_event(b"1\r\nx\r\n0\r\n\r\n" + tail)
    while not isinstance(event, wire.EndOfMessage):
        event = head.parser.next_event()

    assert wire.has_surplus(head.parser) is bool(tail)


def test_the_memo_of_spellings_is_bounded() -> None:
    """A client that invents field names does not make a worker grow, and no name means less beyond the bound."""
    names = wire.Names([b"x-staff"])
    for number in range(5_000):
        assert names.kind(b"x-invented-%d" % number) == wire.PLAIN

    assert len(names.known) <= wire._MEMO_BOUND
    assert names.kind(b"X-sTaFF") == wire.ASKED
    assert names.kind(b"coNNection") == wire.CONNECTION


_SPELLED = st.sampled_from(
    b"x-staff X-STAFF x-Staff x_staff x-staf x-staff-too Cookie cookie X-Request-Id X-Matapalo-Side x-matapalo-side "
    b"X-Forwarded-For Connection Accept Range".split()
)
_PAIRS = st.lists(st.tuples(_SPELLED, st.sampled_from([b"", b"1", b"close", b"x-staff, close"])), max_size=5)
_ASKED = st.frozensets(_SPELLED.map(bytes.lower), max_size=3)


def told(head: wire.RequestHead) -> dict[str, object]:
    """Give what a head says but for the mark."""
    names = [one.name for one in fields(head) if one.name != "fields"]
    return {name: getattr(head, name) for name in names} | {"marks": head.marks & ~wire.ASKED}


@given(_PAIRS, _ASKED)
def test_a_head_without_the_mark_has_none_of_the_fields_that_are_asked_for(
    pairs: list[tuple[bytes, bytes]], asked: frozenset[bytes]
) -> None:
    """A field that decisions ask for marks its head in any case, repeated, empty or listed by Connection.

    Otherwise a head is read as if nobody asked. Where a name means something else already every head is marked.
    """
    raw = b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in pairs) + b"\r\n"
    event = wire.request_parser().receive_event(raw)
    assert isinstance(event, wire.Request)
    names = wire.Names(asked)
    try:
        plain = wire.read_request(event)
    except wire.RefusedError as refusal:
        with pytest.raises(wire.RefusedError, match=str(refusal)):
            wire.read_request(event, names)
        return

    heads = [wire.read_request(event, names) for _ in range(2)]  # the second time every spelling is known

    for head in heads:
        is_there = any(head.fields.get(name) is not None for name in asked)
        assert bool(head.marks & wire.ASKED) is (is_there or bool(names.doubt))
        assert told(head) == told(plain)
    assert bool(names.doubt) is not asked.isdisjoint(
        {b"x-request-id", b"x-matapalo-side", b"x-forwarded-for", b"connection"}
    )


def test_an_answer_passes_as_its_own_bytes() -> None:
    """An answer's head keeps every byte but the lines of this hop, in any case, and those that Connection lists."""
    raw = (
        b"HTTP/1.1 200 Fine, thanks\r\nX-A:   1 \r\ncOnnection: X-Back, keep-alive\r\nKeep-Alive: 5\r\nx-back: 1\r\n"
        b"Upgrade-Hint: 1\r\nTE: x\r\nTe-Deum: 1\r\nX-Matapalo-Side: new\r\nETag: a\r\n\r\n"
    )

    passed = wire.passed_on(wire.read_response(raw))

    assert passed == b"HTTP/1.1 200 Fine, thanks\r\nX-A:   1 \r\nUpgrade-Hint: 1\r\nTe-Deum: 1\r\nETag: a\r\n"


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\r\n b", b"a\x00b"])
def test_a_value_cannot_hide_a_line(value: bytes) -> None:
    """Bare CR and LF, folds and NUL in an answer's field are refused, so that one line is one field."""
    with pytest.raises(wire.GrammarError):
        wire.read_response(b"HTTP/1.1 200 OK\r\nX: " + value + b"\r\n\r\n")


def test_an_old_answer_is_raised_to_our_version() -> None:
    """An HTTP/1.0 answer reaches the client as HTTP/1.1."""
    assert wire.passed_on(wire.read_response(b"HTTP/1.0 200 OK\r\nX: 1\r\n\r\n")) == b"HTTP/1.1 200 OK\r\nX: 1\r\n"


def test_long_spellings_are_not_remembered() -> None:
    """Thousands of invented names and hosts, each of 6 KB, leave no memory behind."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(2_000):
        name, host = b"X-%d-" % number + b"n" * 6_000, b"%d." % number + b"h" * 6_000
        read(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n" + name + b": 1\r\n\r\n")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert grown < 4 << 20


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_beyond_599_is_framed_as_any_other(status: int) -> None:
    """An answer with a status that the standard does not know is passed on as it is, chunks and all."""
    raw = b"HTTP/1.1 %d Odd\r\nTransfer-Encoding: chunked\r\n\r\n" % status

    head = wire.read_response(raw)

    assert (head.status, head.reason, head.chunked, head.keep_alive) == (status, b"Odd", True, True)
    assert wire.passed_on(head) == b"HTTP/1.1 %d Odd\r\n" % status


def test_a_204_has_no_body_whatever_it_says() -> None:
    """A 204 with a coding is passed on without it, and its connection is not trusted any more; two framings are not."""
    raw = b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\nETag: a\r\n\r\n"

    head = wire.read_response(raw)

    assert (head.status, head.chunked, head.keep_alive) == (204, False, False)
    assert wire.passed_on(head) == b"HTTP/1.1 204 No Content\r\nETag: a\r\n"
    with pytest.raises(wire.GrammarError):
        wire.read_response(raw.replace(b"ETag: a", b"Content-Length: 1"))


def test_an_upgrade_that_is_required_is_named() -> None:
    """A 426 keeps its Upgrade field and lists it, even where the backend forgot to."""
    head = wire.read_response(b"HTTP/1.1 426 U\r\nupgrade: websocket\r\nConnection: close\r\nX: 1\r\n\r\n")

    assert wire.passed_on(head) == b"HTTP/1.1 426 U\r\nX: 1\r\nConnection: Upgrade\r\nupgrade: websocket\r\n"


def test_an_old_client_expects_nothing() -> None:
    """HTTP/1.0 has no interim answers: an Expect field there is ignored, whatever it says."""
    head = read(b"POST / HTTP/1.0\r\nHost: a\r\nExpect: x\r\nContent-Length: 0\r\n\r\n")

    assert head.text == b"Content-Length: 0\r\n"


def test_options_of_a_whole_server_in_absolute_form() -> None:
    """``OPTIONS http://host`` asks about the server, as ``*`` does; with a path it asks about that."""
    assert read(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").target == b"*"
    assert read(b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").target == b"/"
