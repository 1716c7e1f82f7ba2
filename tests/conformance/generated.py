"""Must-reject vectors that are made by rule: every odd byte at every place where framing is decided.

Four positions (before a name, behind it, before a value, behind it) of Transfer-Encoding, Content-Length and Host
take each byte that is no visible ASCII; every line end and every part of a chunk takes the odd ones among them; and
every pair of framings is written in both orders. The same on every machine and in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.conformance.vectors import Vector, ask, chunked

ODD = (*range(0x20), *range(0x7F, 0x100))
"""Controls, DEL and all 8-bit bytes."""
ODDEST = (*range(0x20), 0x7F, 0x80, 0x85, 0xA0, 0xFF)
"""Controls, and what some reader takes for a blank or an end."""

_REFUSED = frozenset({400, 501})
_THREE_AND_LAST = b"3\r\nabc\r\n0\r\n\r\n"
_FIELDS = ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5"), (b"Host", b"shop.test"))
_POSITIONS = ("before-name", "behind-name", "before-value", "behind-value")

_CODINGS = (b"chunked", b"cHuNkEd", b"identity", b"gzip", b"gzip, chunked", b"", b"cow", b"chunked, chunked")
_LENGTHS = (b"5", b"0", b"+5", b"05", b"", b"5, 5", b"0x5", b"-1")


def _vector(name: str, raw: bytes, why: str, *, late: bool = False, lenient: bool = False) -> Vector:
    return Vector(
        id=f"A23/{name}", group="A23", raw=raw, statuses=_REFUSED, why=why, late=late, size=False, lenient=lenient
    )


def _odd_fields() -> Iterator[Vector]:
    for (name, value), position, number in product(_FIELDS, _POSITIONS, ODD):
        if number == 0x09 and position.endswith("-value"):
            continue  # a tab beside a value is a blank like any other
        odd = bytes([number])
        line = {
            "before-name": odd + name + b": " + value,
            "behind-name": name + odd + b": " + value,
            "before-value": name + b": " + odd + value,
            "behind-value": name + b": " + value + odd,
        }[position]
        head = b"POST /tag00000 HTTP/1.1\r\nX-A: a\r\n"
        # The odd Host stands alone: a second good one would be a fault of its own.
        head += b"" if name == b"Host" else b"Host: shop.test\r\n"
        body = {b"chunked": _THREE_AND_LAST, b"5": b"hello"}.get(value, b"")
        yield _vector(
            f"{name.decode().lower()}-{position}-{number:02x}",
            head + line + b"\r\n\r\n" + body,
            f"byte 0x{number:02x} {position.replace('-', ' ')}",
            lenient=number in (0x09, 0x0A),
        )


def _odd_line_ends() -> Iterator[Vector]:
    parts = (b"GET /tag00000 HTTP/1.1", b"Host: shop.test", b"X-A: a\r\n")
    for place, position, number in product(range(3), ("for-cr", "for-lf", "between", "behind"), ODDEST):
        odd = bytes([number])
        end = {"for-cr": odd + b"\n", "for-lf": b"\r" + odd, "between": b"\r" + odd + b"\n", "behind": b"\r\n" + odd}
        if end[position] == b"\r\n" or (place == 2 and end[position].startswith(b"\r\n")):
            continue  # as it should be; a byte behind the head is the next request's
        ends = [b"\r\n"] * 3
        ends[place] = end[position]
        raw = b"".join(part + one for part, one in zip(parts, ends, strict=True))
        yield _vector(
            f"line-end-{place}-{position}-{number:02x}",
            raw + (b"\r\n\r\n" if place == 2 else b""),
            f"byte 0x{number:02x} {position.replace('-', ' ')} of line end {place}",
            lenient=position == "for-cr" or 0x0A in odd or (position == "behind" and number in (0x09, 0x0D)),
        )


def _odd_chunks() -> Iterator[Vector]:
    for position, number in product(
        ("before-size", "behind-size", "size-for-cr", "size-for-lf", "data-for-cr", "data-for-lf", "last"), ODDEST
    ):
        odd = bytes([number])
        size, data, last = b"3\r\n", b"abc\r\n", b"0\r\n\r\n"
        if position == "before-size":
            size = odd + size
        elif position == "behind-size":
            size = b"3" + odd + b"\r\n"
        elif position == "size-for-cr":
            size = b"3" + odd + b"\n"
        elif position == "size-for-lf":
            size = b"3\r" + odd
        elif position == "data-for-cr":
            data = b"abc" + odd + b"\n"
        elif position == "data-for-lf":
            data = b"abc\r" + odd
        else:
            last = b"0" + odd + b"\r\n\r\n"
        if size + data + last == _THREE_AND_LAST:
            continue
        yield _vector(
            f"chunk-{position}-{number:02x}",
            chunked(size + data + last + b"\r\n\r\n"),
            f"byte 0x{number:02x} in a chunk, {position}",
            late=True,
        )


def _pairs() -> Iterator[Vector]:
    for number, (length, coding, order) in enumerate(product(_LENGTHS, _CODINGS, (1, -1))):
        lines = (b"Content-Length: " + length, b"Transfer-Encoding: " + coding)[::order]
        yield _vector(f"cl-te-{number}", ask(*lines, body=_THREE_AND_LAST), "two framings")
    for number, pair in enumerate(product(_LENGTHS, repeat=2)):
        lines = tuple(b"Content-Length: " + one for one in pair)
        yield _vector(f"cl-cl-{number}", ask(*lines, body=b"hello"), "two lengths", lenient=pair[0] == pair[1])
    for number, pair in enumerate(product(_CODINGS, repeat=2)):
        lines = tuple(b"Transfer-Encoding: " + one for one in pair)
        yield _vector(f"te-te-{number}", ask(*lines, body=_THREE_AND_LAST), "two codings")


GENERATED: tuple[Vector, ...] = (*_odd_fields(), *_odd_line_ends(), *_odd_chunks(), *_pairs())
"""All of them."""
