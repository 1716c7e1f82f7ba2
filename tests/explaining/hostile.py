"""Pairs of bodies that are meant to cost time, memory or the truth, small enough to travel to a comparer."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final[Headers] = ((b"content-type", b"application/json"),)
GZIP: Final[Headers] = (*JSON, (b"content-encoding", b"gzip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """Hold one pair, and what may be said of it."""

    legacy: bytes
    new: bytes
    causes: frozenset[str] | None = None
    """What an explanation names; ``None``: anything but sameness."""
    headers: tuple[Headers, Headers] = (JSON, JSON)

    @property
    def is_coded(self) -> bool:
        """Say whether the bodies travel with a content coding."""
        return self.headers != (JSON, JSON)


def _pair(legacy: bytes, new: bytes, *causes: str) -> Hostile:
    return Hostile(legacy=legacy, new=new, causes=frozenset(causes) or None)


def _listed(items: Iterable[object]) -> bytes:
    return json.dumps(list(items), separators=(",", ":")).encode()


def _deep(levels: int, difference: int) -> bytes:
    return b'{"b":%d,"c":%d,"a":' % (difference, difference) * levels + b"0" + b"}" * levels


def _invalid(tail: bytes) -> bytes:
    return b'["' + random.Random(1).randbytes(100_000).translate(None, b'"\\' + bytes(range(0x20))) + tail + b'"]'


_MANY: Final = 60_000
"""Values of one list, for which a body stays below 1 MiB."""


@cache
def _rows() -> list[dict[str, object]]:
    return [{"id": n, "name": f"Item {n}", "at": "2024-01-02T03:04:05Z"} for n in range(10_000)]


MAKERS: Final[dict[str, Callable[[], Hostile]]] = {
    # Section 6 of the reference: what once took minutes.
    "100,000 levels": lambda: _pair(b"[" * 100_000, b"[" * 100_000 + b"1"),
    "500 levels, two differences each": lambda: _pair(_deep(500, 1), _deep(500, 2), "value.changed"),
    "1 MB cut short": lambda: _pair(_listed(_rows()), _listed(_rows())[:-9], "body.truncated"),
    "1 MB of text, the last letter": lambda: _pair(
        b'"' + b"a" * 10**6 + b'"', b'"' + b"a" * 10**6 + b'b"', "value.changed"
    ),
    "1 MB of text, the first letter": lambda: _pair(
        b'"' + b"a" * 10**6 + b'"', b'"b' + b"a" * 10**6 + b'"', "value.changed"
    ),
    "one of many equal items dropped": lambda: _pair(
        _listed([7] * _MANY), _listed([7] * (_MANY - 1)), "array.missing_item"
    ),
    "a long list reversed": lambda: _pair(_listed(range(_MANY)), _listed(range(_MANY)[::-1]), "array.reordered"),
    "10,000 rows reversed": lambda: _pair(_listed(_rows()), _listed(_rows()[::-1]), "array.reordered"),
    "10,000 rows shifted by one": lambda: _pair(_listed(_rows()), _listed([{"id": -1}, *_rows()]), "array.extra_item"),
    "one member many times": lambda: _pair(b"{" + b'"a":1,' * _MANY + b'"b":1}', b"{" + b'"a":1,' * _MANY + b'"b":2}'),
    "every member renamed": lambda: _pair(
        json.dumps({f"user_{n}": n for n in range(40_000)}).encode(),
        json.dumps({f"User{n}": n for n in range(40_000)}).encode(),
    ),
    "every member another": lambda: _pair(
        json.dumps({f"a{n}": n for n in range(40_000)}).encode(),
        json.dumps({f"b{n}": n for n in range(40_000)}).encode(),
    ),
    "an exponent of nine digits": lambda: _pair(b"[1e999999999]", b"[1e999999998]"),
    "a number of a million digits": lambda: _pair(b"1" * 10**6, b"1" * (10**6 - 1) + b"2"),
    "100 KB of broken UTF-8": lambda: _pair(_invalid(b"1"), _invalid(b"2")),
    "a text without end": lambda: _pair(b'["' + b"a" * 10**6, b'["' + b"a" * 10**6 + b"b"),
    "escapes and broken bytes in turn": lambda: _pair(
        b'"' + b"\xff\\u00e9" * 100_000 + b'"', b'"' + b"\xff\\u00e8" * 100_000 + b'"'
    ),
    "250,001 values": lambda: _pair(_listed([1] * 250_001), _listed([1] * 250_001) + b"\n"),
    "backslashes": lambda: _pair(b'"' + b"\\\\" * 400_000 + b'"', b'"' + b"\\\\" * 399_999 + b'"'),
    "blanks": lambda: _pair(b"[" + b" " * 10**6 + b"1]", b"[" + b"\n" * 10**6 + b"1]", "whitespace.indent"),
    "all texts alike in another spelling": lambda: _pair(
        _listed(["é"] * _MANY),
        json.dumps(["é"] * _MANY, ensure_ascii=False, separators=(",", ":")).encode(),
        "escape.non_ascii",
    ),
    # Group K: what is easily called the same.
    "1 and true": lambda: _pair(b'{"a":1}', b'{"a":true}', "type.bool"),
    "1 and its text": lambda: _pair(b'{"a":1}', b'{"a":"1"}', "number.as_string"),
    "an integer beyond 2^53": lambda: _pair(b"[9007199254740993]", b"[9007199254740992]", "number.precision_loss"),
    "duplicates in another order": lambda: _pair(b'{"a":1,"a":2}', b'{"a":2,"a":1}'),
    "a duplicate less": lambda: _pair(b'{"a":1,"a":2}', b'{"a":2}', "key.duplicate"),
    "NaN and null": lambda: _pair(b'{"a":NaN}', b'{"a":null}'),
    "NaN and Infinity": lambda: _pair(b'{"a":NaN}', b'{"a":Infinity}'),
    "1e400 and 1e401": lambda: _pair(b'{"a":1e400}', b'{"a":1e401}'),
    "5,000 digits": lambda: _pair(b"[" + b"1" * 5_000 + b"]", b"[" + b"1" * 4_999 + b"2]"),
    "1,025 levels": lambda: _pair(b"[" * 1_025 + b"]" * 1_025, b"[" * 1_025 + b"1" + b"]" * 1_025, "limit.depth"),
    "two lone surrogates": lambda: _pair(b'["\\ud800"]', b'["\\udc00"]'),
    "two broken bytes": lambda: _pair(b'["\xff"]', b'["\xfe"]'),
    "a mark in front of another value": lambda: _pair(b"\xef\xbb\xbf[1]", b"[2]"),
    "UTF-16": lambda: _pair('{"a":1}'.encode("utf-16"), b'{"a":2}'),
    "NUL in a name": lambda: _pair(b'{"a\\u0000":1}', b'{"a":1}'),
    "strange names": lambda: _pair(
        json.dumps({"__typename": "A", "__class__": 1, "a']['b": 1, "$ref": 1, "constructor": 1}).encode(),
        json.dumps({"__typename": "B", "__class__": 2, "a']['b": 2, "$ref": 2, "constructor": 2}).encode(),
        "value.changed",
    ),
    "markup": lambda: _pair(b"<html>1</html>", b"<html>2</html>"),
    # Group K: content codings.
    "a bomb of 1,000:1": lambda: Hostile(
        legacy=gzip.compress(b"0" * (64 << 20)), new=gzip.compress(b"0" * (64 << 20) + b"1"), headers=(GZIP, GZIP)
    ),
    "a bomb beside a body": lambda: Hostile(legacy=b"[1]", new=gzip.compress(b" " * (64 << 20)), headers=(JSON, GZIP)),
    "gzip cut short": lambda: Hostile(
        legacy=gzip.compress(_listed(_rows())), new=gzip.compress(_listed(_rows()))[:-20], headers=(GZIP, GZIP)
    ),
    "10,000 members of gzip": lambda: Hostile(
        legacy=b"".join([gzip.compress(b"1")] * 10_000),
        new=b"".join([gzip.compress(b"1")] * 9_999),
        headers=(GZIP, GZIP),
    ),
    "a bomb in a bomb": lambda: Hostile(
        legacy=gzip.compress(gzip.compress(b"0" * (64 << 20))),
        new=gzip.compress(zlib.compress(b"0" * 9)),
        headers=(GZIP, GZIP),
    ),
}
"""Every pair by what it is; made when asked for, because some are large."""
