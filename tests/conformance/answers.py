"""The authored corpus of backend answers that lie, break off or are none, and what a client must see of them.

``refuse``: no byte of it may be passed on, the client gets a 502. ``cut``: the head may have been passed on; the
client must then see the answer break off, never end well. ``surplus``: the answer itself is whole and is passed on, or
refused; the bytes behind it reach nobody. In all three cases the backend connection is never used again.
"""
# One line per answer, however long: a column of names and reasons reads better than any wrapping.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.conformance.vectors import Rows
from tests.support.recorder import Close, Pause, Reset, Step

Scripts: TypeAlias = list[tuple[str, str, tuple[Step, ...]]]
Fate: TypeAlias = Literal["refuse", "cut", "surplus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """Hold one thing that a backend does instead of answering well."""

    id: str
    fate: Fate
    steps: tuple[Step, ...]
    why: str
    method: str = "GET"
    size: bool = False
    """Only large: where a peer draws the line is a matter of its configuration."""
    lenient: bool = False
    """An RFC allows a proxy to repair this; we do not, a peer that does is no sinner."""


HELLO = b"hello"
LAST = b"0\r\n\r\n"
THREE = b"3\r\nabc\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
"""A second answer that nobody asked for; whoever gets it got somebody else's."""


def _answer(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = HELLO) -> bytes:
    return b"\r\n".join((start, *lines, b"", b"")) + body


def _chunks(body: bytes, *lines: bytes) -> bytes:
    return _answer(b"Transfer-Encoding: chunked", *lines, body=body)


_LENGTH = b"Content-Length: 5"
_CODING = b"Transfer-Encoding: chunked"

_HEADS = [
    ("cl-and-te", "RFC 9112 6.3: two framings", _answer(_LENGTH, _CODING, body=THREE + LAST)),
    ("te-and-cl", "two framings", _answer(_CODING, _LENGTH, body=THREE + LAST)),
    ("cl-twice", "RFC 9110 8.6: two lengths", _answer(_LENGTH, b"Content-Length: 3")),
    ("cl-list", "two lengths in one line", _answer(b"Content-Length: 5, 3")),
    ("cl-plus", "digits only", _answer(b"Content-Length: +5")),
    ("cl-minus", "digits only", _answer(b"Content-Length: -5")),
    ("cl-hex", "digits only", _answer(b"Content-Length: 0x5")),
    ("cl-underscore", "digits only", _answer(b"Content-Length: 0_5")),
    ("cl-blank-inside", "digits only", _answer(b"Content-Length: 5 5")),
    ("cl-letter", "digits only", _answer(b"Content-Length: 5a")),
    ("cl-empty", "digits only", _answer(b"Content-Length:")),
    ("cl-word", "digits only", _answer(b"Content-Length: five")),
    ("cl-nbsp", "0xa0 is a blank for str.strip", _answer(b"Content-Length: 5\xa0")),
    ("cl-overflow", "is 5 after an overflow of 64 bits", _answer(b"Content-Length: 18446744073709551621")),
    ("cl-30-digits", "overflows every integer type", _answer(b"Content-Length: " + b"1" * 30)),
    ("te-gzip", "chunked must be the last coding", _answer(b"Transfer-Encoding: gzip")),
    ("te-gzip-chunked", "a coding that we do not undo", _answer(b"Transfer-Encoding: gzip, chunked", body=THREE + LAST)),
    ("te-chunked-gzip", "chunked is not last", _answer(b"Transfer-Encoding: chunked, gzip", body=THREE + LAST)),
    ("te-chunked-twice", "RFC 9112 6.1: once", _answer(b"Transfer-Encoding: chunked, chunked", body=THREE + LAST)),
    ("te-two-lines", "RFC 9112 6.1: once", _answer(_CODING, _CODING, body=THREE + LAST)),
    ("te-identity", "not a coding any more", _answer(b"Transfer-Encoding: identity")),
    ("te-unknown", "an unknown coding", _answer(b"Transfer-Encoding: cow")),
    ("te-empty", "no coding at all", _answer(b"Transfer-Encoding:")),
    ("te-suffix", "begins with chunked", _answer(b"Transfer-Encoding: chunkedx", body=THREE + LAST)),
    ("te-vt", "a vertical tab is no blank", _answer(b"Transfer-Encoding: \x0bchunked", body=THREE + LAST)),
    ("te-http10", "HTTP/1.0 has no codings", _answer(_CODING, start=b"HTTP/1.0 200 OK", body=THREE + LAST)),
    ("value-nul", "no NUL in a value", _answer(_LENGTH, b"X-A: a\0b")),
    ("value-cr", "a bare CR splits an answer for some", _answer(_LENGTH, b"X-A: a\rSet-Cookie: b=1")),
    ("value-soh", "no control byte in a value", _answer(_LENGTH, b"X-A: a\x01b")),
    ("value-del", "no control byte in a value", _answer(_LENGTH, b"X-A: a\x7fb")),
    ("name-blank-behind", "RFC 9112 5.1: no blank before the colon", _answer(_LENGTH, b"X-A : a")),
    ("name-blank-inside", "a name is a token", _answer(_LENGTH, b"X A: a")),
    ("name-nul", "a name is a token", _answer(_LENGTH, b"X\0A: a")),
    ("name-8-bit", "a name is a token", _answer(_LENGTH, b"X-\xe9: a")),
    ("name-empty", "a field without a name", _answer(_LENGTH, b": a")),
    ("cl-blank-behind", "a length that one reader sees", _answer(b"Content-Length : 5")),
    ("te-blank-behind", "a framing that one reader sees", _answer(b"Transfer-Encoding : chunked", _LENGTH)),
    ("no-colon", "no field line", _answer(_LENGTH, b"X-A")),
    ("status-two-digits", "RFC 9112 4: three digits", _answer(_LENGTH, start=b"HTTP/1.1 20 OK")),
    ("status-four-digits", "three digits", _answer(_LENGTH, start=b"HTTP/1.1 2000 OK")),
    ("status-word", "three digits", _answer(_LENGTH, start=b"HTTP/1.1 two OK")),
    ("status-minus", "three digits", _answer(_LENGTH, start=b"HTTP/1.1 -20 OK")),
    ("status-plus", "three digits", _answer(_LENGTH, start=b"HTTP/1.1 +200 OK")),
    ("status-zero", "RFC 9110 15: from 100 on", _answer(_LENGTH, start=b"HTTP/1.1 000 OK")),
    ("status-099", "from 100 on", _answer(_LENGTH, start=b"HTTP/1.1 099 OK")),
    ("status-none", "no status at all", _answer(_LENGTH, start=b"HTTP/1.1")),
    ("status-glued", "a blank before the status", _answer(_LENGTH, start=b"HTTP/1.1200 OK")),
    ("status-reason-glued", "a blank behind the status", _answer(_LENGTH, start=b"HTTP/1.1 200OK")),
    ("reason-nul", "no control byte in a reason", _answer(_LENGTH, start=b"HTTP/1.1 200 O\0K")),
    ("reason-cr", "no bare CR in a reason", _answer(_LENGTH, start=b"HTTP/1.1 200 O\rX-A: b")),
    ("version-2", "no such text", _answer(_LENGTH, start=b"HTTP/2.0 200 OK")),
    ("version-0.9", "no such text", _answer(_LENGTH, start=b"HTTP/0.9 200 OK")),
    ("version-cut", "two digits with a point", _answer(_LENGTH, start=b"HTTP/1 200 OK")),
    ("version-lower", "the name has a case", _answer(_LENGTH, start=b"http/1.1 200 OK")),
    ("icy", "no such name", _answer(_LENGTH, start=b"ICY 200 OK")),
    ("request", "a request, not an answer", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("garbage", "no HTTP at all", bytes(range(128, 256)) + b"\r\n\r\n"),
    ("nul-first", "a control byte first", b"\0" + _answer(_LENGTH)),
    ("blank-first", "a blank first", b" " + _answer(_LENGTH)),
    ("101-unasked", "RFC 9110 15.2.2: nobody asked to switch", _answer(b"Connection: Upgrade", b"Upgrade: websocket", start=b"HTTP/1.1 101 Switching Protocols", body=b"raw")),
    ("101-bare", "nobody asked to switch", _answer(start=b"HTTP/1.1 101 Switching Protocols", body=POISON)),
]
_LENIENT_HEADS = [
    ("cl-twice-equal", "RFC 9112 6.3 lets a recipient merge equal lengths", _answer(_LENGTH, _LENGTH)),
    ("cl-list-equal", "two lengths in one line", _answer(b"Content-Length: 5, 5")),
    ("fold", "RFC 9112 5.2 lets a proxy replace it", _answer(_LENGTH, b"X-A: a\r\n b")),
    ("fold-cl", "a folded length", _answer(b"Content-Length:\r\n 5")),
    ("fold-te", "a folded framing", _answer(b"Transfer-Encoding:\r\n chunked", body=THREE + LAST)),
    ("lf-all", "RFC 9112 2.2 lets a recipient take a lone LF for a line end", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
    ("lf-one", "a lone LF", _answer(_LENGTH, b"X-A: a\nX-B: b")),
    ("lf-splits", "a lone LF that begins a second answer", _answer(_LENGTH, b"X-A: a\n\nHTTP/1.1 200 OK")),
]
_ENDED: Scripts = [
    ("nothing", "not a byte", (Close(),)),
    ("nothing-reset", "not a byte", (Reset(),)),
    ("http09", "HTTP/0.9: a body without a head", (b"hello", Close())),
    ("head-cut", "the end inside the head", (b"HTTP/1.1 200 OK\r\nContent-Le", Close())),
    ("head-cut-line", "the end before the empty line", (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Close())),
    ("head-reset", "a reset inside the head", (b"HTTP/1.1 200 OK\r\nContent-Le", Reset())),
    ("100-cut", "an interim answer and no final one", (b"HTTP/1.1 100 Continue\r\n\r\n", Close())),
    ("103-cut", "an interim answer and no final one", (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Close())),
    ("100-broken", "a broken answer behind an interim one", (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 abc OK\r\n\r\n",)),
]
_LARGE = [
    ("fields-500", "500 fields", _answer(_LENGTH, *(b"X-%d: a" % n for n in range(500)))),
    ("head-300k", "300 KiB of fields", _answer(_LENGTH, *(b"X-%d: %b" % (n, b"a" * 3_000) for n in range(100)))),
    ("head-1m", "1 MiB in one field", _answer(_LENGTH, b"X-A: " + b"a" * 1_048_576)),
]

_BODIES: Scripts = [
    ("length-cut", "shorter than it says", (_answer(b"Content-Length: 10"), Close())),
    ("length-none", "a length and no body", (_answer(b"Content-Length: 10", body=b""), Close())),
    ("length-reset", "a reset inside the body", (_answer(b"Content-Length: 10"), Pause(seconds=0.05), Reset())),
    ("close-reset", "a body up to the close, and a reset", (_answer(b"Connection: close"), Pause(seconds=0.05), Reset())),
    ("chunks-cut-size", "the end inside a size", (_chunks(THREE + b"3"), Close())),
    ("chunks-cut-data", "the end inside the data", (_chunks(THREE + b"3\r\na"), Close())),
    ("chunks-cut-line", "the end behind the data", (_chunks(b"3\r\nabc"), Close())),
    ("chunks-cut-last", "the end before the last chunk", (_chunks(THREE), Close())),
    ("chunks-cut-empty-line", "the end before the last empty line", (_chunks(THREE + b"0\r\n"), Close())),
    ("chunks-cut-trailer", "the end inside a trailer", (_chunks(THREE + b"0\r\nX-T: 1"), Close())),
    ("chunks-reset", "a reset before the last chunk", (_chunks(THREE), Pause(seconds=0.05), Reset())),
    ("chunks-none", "a coding and no body", (_chunks(b""), Close())),
    ("size-letter", "no hex digit", (_chunks(THREE + b"g\r\n" + LAST),)),
    ("size-letter-behind", "strtol stops here", (_chunks(THREE + b"3g\r\nabc\r\n" + LAST),)),
    ("size-plus", "int() takes a sign", (_chunks(THREE + b"+3\r\nabc\r\n" + LAST),)),
    ("size-minus", "a negative size", (_chunks(THREE + b"-3\r\nabc\r\n" + LAST),)),
    ("size-0x", "hex digits only", (_chunks(THREE + b"0x3\r\nabc\r\n" + LAST),)),
    ("size-empty", "no size at all", (_chunks(THREE + b"\r\nabc\r\n" + LAST),)),
    ("size-blank-before", "a blank first", (_chunks(THREE + b" 3\r\nabc\r\n" + LAST),)),
    ("size-17-digits", "is 3 after an overflow of 64 bits", (_chunks(THREE + b"10000000000000003\r\nabc\r\n" + LAST),)),
    ("size-cr", "a bare CR ends no line", (_chunks(THREE + b"3\rabc\r\n" + LAST),)),
    ("size-nul", "a control byte", (_chunks(THREE + b"3\0\r\nabc\r\n" + LAST),)),
    ("data-long", "longer than its size", (_chunks(b"3\r\nabcd\r\n" + LAST),)),
    ("data-junk", "two bytes for a line end", (_chunks(b"3\r\nabcXX" + LAST),)),
    ("data-nothing", "no line end behind the data", (_chunks(b"3\r\nabc0\r\n\r\n"),)),
    ("extension-nul", "a control byte in an extension", (_chunks(THREE + b"3;a=\0\r\nabc\r\n" + LAST),)),
    ("last-junk", "no line end behind the last chunk", (_chunks(THREE + b"0\r\nXX\r\n\r\n"), Close())),
    ("trailer-no-colon", "no field line", (_chunks(THREE + b"0\r\nX-T\r\n\r\n"),)),
    ("trailer-nul", "a control byte in a trailer", (_chunks(THREE + b"0\r\nX-T: a\0b\r\n\r\n"),)),
    ("trailer-blank", "a blank before the colon", (_chunks(THREE + b"0\r\nX-T : a\r\n\r\n"),)),
]
_LENIENT_BODIES: Scripts = [
    ("size-lf", "a lone LF", (_chunks(THREE + b"3\nabc\r\n" + LAST),)),
    ("data-lf", "a lone LF", (_chunks(b"3\r\nabc\n" + LAST),)),
    ("last-lf", "a lone LF", (_chunks(THREE + b"0\n\n"),)),
    ("extension-lf", "a lone LF hides a chunk", (_chunks(b"3;a\nb\r\nabc\r\n" + LAST),)),
]

_SURPLUS: Scripts = [
    ("behind-length", "a second answer in the same write", (_answer(_LENGTH) + POISON,)),
    ("behind-length-later", "a second answer a moment later", (_answer(_LENGTH), Pause(seconds=0.02), POISON)),
    ("behind-length-byte", "one byte too many", (_answer(_LENGTH) + b"!",)),
    ("behind-length-line", "an empty line too many", (_answer(_LENGTH) + b"\r\n",)),
    ("behind-zero", "a body behind a length of zero", (_answer(b"Content-Length: 0", body=b"poison"),)),
    ("behind-chunks", "a second answer in the same write", (_chunks(THREE + LAST) + POISON,)),
    ("behind-chunks-later", "a second answer a moment later", (_chunks(THREE + LAST), Pause(seconds=0.02), POISON)),
    ("behind-chunks-byte", "one byte too many", (_chunks(THREE + LAST) + b"!",)),
    ("behind-chunks-line", "an empty line too many", (_chunks(THREE + LAST) + b"\r\n",)),
    ("behind-204", "a body where none may be", (_answer(start=b"HTTP/1.1 204 No Content", body=b"poison"),)),
    ("behind-204-answer", "a second answer behind a 204", (_answer(start=b"HTTP/1.1 204 No Content", body=POISON),)),
    ("behind-304", "a body where none may be", (_answer(_LENGTH, start=b"HTTP/1.1 304 Not Modified", body=b"poison"),)),
    ("behind-304-answer", "a second answer behind a 304", (_answer(start=b"HTTP/1.1 304 Not Modified", body=POISON),)),
    ("100-behind", "an interim answer behind the final one", (_answer(_LENGTH) + b"HTTP/1.1 100 Continue\r\n\r\n",)),
]
_SURPLUS_HEAD: Scripts = [
    ("head-with-body", "a HEAD answered with a body", (_answer(b"Content-Length: 6", body=b"poison"),)),
    ("head-with-chunks", "a HEAD answered in chunks", (_chunks(b"6\r\npoison\r\n" + LAST),)),
    ("head-with-answer", "a HEAD answered twice", (_answer(_LENGTH, body=POISON),)),
]
_CODED_NO_BODY: Scripts = [
    ("204-chunked", "RFC 9112 6.1: no coding in a 204", (_answer(_CODING, start=b"HTTP/1.1 204 No Content", body=b"6\r\npoison\r\n" + LAST),)),
]


def _lies(
    prefix: str,
    fate: Fate,
    rows: Rows | Scripts,
    *,
    method: str = "GET",
    size: bool = False,
    lenient: bool = False,
) -> Iterable[Lie]:
    for name, why, does in rows:
        steps: tuple[Step, ...] = (does,) if isinstance(does, bytes) else does
        yield Lie(id=f"{prefix}/{name}", fate=fate, steps=steps, why=why, method=method, size=size, lenient=lenient)


LIES: tuple[Lie, ...] = (
    *_lies("A18", "refuse", _HEADS),
    *_lies("A18", "refuse", _LENIENT_HEADS, lenient=True),
    *_lies("A18", "refuse", _ENDED),
    *_lies("E8", "refuse", _LARGE, size=True),
    *_lies("F5", "cut", _BODIES),
    *_lies("F5", "cut", _LENIENT_BODIES, lenient=True),
    *_lies("A19", "surplus", _SURPLUS),
    *_lies("A19", "surplus", _SURPLUS_HEAD, method="HEAD"),
    *_lies("A19", "surplus", _CODED_NO_BODY),
)
"""All of them."""
