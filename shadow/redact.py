"""Make what leaves the comparer safe to keep and to print.

Rules of this file:

1. When in doubt a fragment is masked. On a route that redacts any body path only
   a single value, at a place that no path covers, or a member's name is shown:
   bytes around a place could belong to a neighbour.
2. What comes out is one line of printable text, bounded, and always encodes as
   UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from shadow import json_grammar as grammar
from shadow.json_place import Place
from shadow.json_value import plain_text

REDACTED: Final = "[redacted]"


MAX_FRAGMENT: Final = 64
"""Bytes of a body shown on each side: enough for a value and its neighbours, too little for a document."""

_BEFORE: Final = 24
"""Bytes of those shown before the first differing one."""

MAX_TEXT: Final = 1_024
"""Characters of a pointer or target; a member name may be a megabyte long."""

_STRING: Final = re.compile(grammar.STRING)
_PUNCTUATION: Final = re.compile(rb"[ \t\n\r\[\]{},:]{1,16}")

SECRET_HEADERS: Final = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))
"""Masked on every route."""


class Redaction:
    """Hold what one route redacts, compiled.

    Shape: ``$.a.*.b`` covers the member ``b`` of every child of ``a`` and all below it, ``header:NAME`` a header.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._headers = set(SECRET_HEADERS)
        self._paths: list[tuple[str, ...]] = []
        for entry in entries:
            kind, _, name = entry.partition(":")
            if kind.lower() == "header" and not entry.startswith("$"):
                self._headers.add(name.strip().lower())
            else:
                self._paths.append(_steps(entry))

    def covers_header(self, name: str) -> bool:
        """Say whether the value of this header, given in lower case, is masked."""
        return name in self._headers

    def covers(self, place: Place | None) -> bool:
        """Say whether the value at this place is masked; ``None``, a place nobody could name, is if any path is."""
        if place is None:
            return bool(self._paths)
        steps = tuple("*" if type(step) is int else step for step in place.path)
        return any(
            len(path) <= len(steps) and all(want in ("*", have) for want, have in zip(path, steps, strict=False))
            for path in self._paths
        )

    @property
    def has_paths(self) -> bool:
        """Say whether any body path is redacted."""
        return bool(self._paths)


@lru_cache(maxsize=1_024)
def redaction_of(entries: tuple[str, ...]) -> Redaction:
    """Compile a route's list once; every pair carries the list itself."""
    return Redaction(entries)


def _steps(entry: str) -> tuple[str, ...]:
    """Split ``$.a.*.b``; anything else covers the whole body rather than nothing (the loader refuses it)."""
    return tuple(entry[2:].split(".")) if entry.startswith("$.") and len(entry) > 2 else ()


# ---- text ----------------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Escape every character that does not print, lone surrogates among them, as Python would."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_bytes(raw: bytes) -> str:
    r"""Decode for printing: bytes that are no UTF-8 become ``\xNN``."""
    return printable(raw.decode("utf-8", "backslashreplace"))


def shortened(text: str) -> str:
    """Make any text one printable line of at most MAX_TEXT characters."""
    text = printable(text[: MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def patterns_of(entries: Iterable[str]) -> tuple[re.Pattern[bytes], ...]:
    """Compile the ``pattern:`` entries of a route's ``redact``."""
    return tuple(re.compile(entry[8:].encode()) for entry in entries if entry.startswith("pattern:"))


def without(patterns: Iterable[re.Pattern[bytes]], raw: bytes) -> bytes:
    """Put ``[redacted]`` where a pattern fits."""
    for pattern in patterns:
        raw = pattern.sub(b"[redacted]", raw)
    return raw


def mask_query(target: bytes) -> str:
    """Show a request target with its query's names, but not their values.

    Shape: ``/a?token=1&b`` becomes ``/a?token=…&b``; a part without ``=`` that is too long for a name is masked too.
    """
    path, mark, query = target.partition(b"?")
    if not mark:
        return shortened(printable_bytes(path[: MAX_TEXT + 1]))
    shown = []
    for part in query[:MAX_TEXT].split(b"&"):
        name, equals, _ = part.partition(b"=")
        shown.append(printable_bytes(name if len(name) <= MAX_FRAGMENT else b"") + ("=…" if equals else ""))
    return shortened(f"{printable_bytes(path[:MAX_TEXT])}?{'&'.join(shown)}")


def fragment(body: bytes, place: Place | None, offset: int) -> str:
    """Show the value at *place*, or the bytes around *offset* where that is no single value.

    Bound: MAX_FRAGMENT bytes of the body; ``…`` stands where more of it, or of the value, follows or goes before.
    """
    if place is not None and place.end >= 0:
        first, last = place.start, place.end
    else:
        first, last = 0, len(body)
        if place is not None and place.kind == "member" and offset - place.start <= _BEFORE:
            offset = place.start + _BEFORE
    start = first
    if last - first > MAX_FRAGMENT and offset - first > _BEFORE:
        start = min(offset - _BEFORE, last)
    stop = min(start + MAX_FRAGMENT, last)
    before, after = start > first, stop < last
    # A character cut in two would print as broken bytes that the body does not have.
    for _ in range(3):
        start += before and start < stop and body[start] & 0xC0 == 0x80
        stop -= after and stop > start and body[stop] & 0xC0 == 0x80
    return f"{'…' if before else ''}{printable_bytes(body[start:stop])}{'…' if after else ''}"


def outside_values(body: bytes, place: Place, offset: int) -> str:
    """Show what stands at *offset* without any value: a member's name, or brackets, commas and blanks."""
    if place.kind == "member":
        name = _STRING.match(body, place.start)
        return shortened(printable_bytes(name[0][:MAX_FRAGMENT])) if name else REDACTED
    run = _PUNCTUATION.match(body, offset)
    return printable_bytes(run[0]) if run else REDACTED if offset < len(body) else ""


def shape(body: bytes, place: Place | None) -> str:
    """Say the type at *place* and its length: ``string(12)``, ``number(4)``, ``bytes(97)`` of a body that is no JSON.

    Unit: characters of a string's decoded text, of a number's spelling.
    """
    if place is None:
        return f"bytes({len(body)})"
    if place.kind == "string":
        text = plain_text(body[place.start : place.end])
        return f"string({len(text) if isinstance(text, str) else len(text[0])})"
    if place.kind == "number":
        return f"number({place.end - place.start})"
    return place.kind
