"""Show two answers without what a route redacts: nothing leaves the comparer but through here.

Of a redacted value only its length, and how long a beginning both sides share, remain: a difference stays visible
and no character does.

Rules of this file:

1. A body is masked whole, then cut: a fragment cannot show what the whole would hide.
2. When in doubt it is masked. Where a route redacts places, everything that was not read as JSON is.
3. A member's name below a redacted place is part of what is redacted, so a pointer ends at that place.
4. Credential headers, and query values, are masked on every route.
5. A redacted name is one however it is cased and joined (``passWord``, ``pass_word``): a service that renames a
   secret must not publish it.
6. What comes out is one line of printable text, bounded, and always encodes as UTF-8; a whole body stays bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from config.json_path import Place, read_place
from shadow import redact
from shadow.difference import Difference, Span
from shadow.explain import first_difference
from shadow.json_value import plain_text
from shadow.place import PlaceMatcher
from shadow.pointer import Path
from shadow.tree import End, Kind, Node, parse

MAX_FRAGMENT: Final = 200
"""Bytes of a body shown on each side of one difference."""

MAX_HEADERS: Final = 100
"""Fields shown of one head: as many as the parser takes."""

SECRET_WORDS: Final = (
    "auth",
    "cookie",
    "credential",
    "csrf",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
)
"""A header with one of these in its name is a credential, whatever it is called in full."""


class Masking:
    """Hold what one route redacts and keeps, compiled.

    Shape: entries are places (``$.email``, ``$..password``, ``/card/number``), ``header:NAME`` and ``pattern:REGEX``.
    """

    __slots__ = ("_headers", "_patterns", "_places", "keep")

    def __init__(self, entries: tuple[str, ...], keep: str) -> None:
        self.keep = keep
        headers: set[str] = set()
        places: list[PlaceMatcher] = []
        for entry in entries:
            kind, _, rest = entry.partition(":")
            if kind == "header":
                headers.add(rest.strip().lower())
            elif kind != "pattern":
                places.append(PlaceMatcher(_folded(read_place(entry))))
        self._headers, self._places = frozenset(headers), tuple(places)
        self._patterns = redact.patterns_of(entries)

    @property
    def keeps_bodies(self) -> bool:
        """Say whether whole bodies may be kept, masked."""
        return self.keep == "bodies"

    # ---- heads ----

    def target(self, raw: bytes) -> str:
        """Show a request target: its path, and the names of its query."""
        return redact.mask_query(redact.without(self._patterns, raw))

    def header(self, name: str, raw: bytes) -> str:
        """Show one field's value; *name* is in lower case."""
        if name in self._headers or any(word in name for word in SECRET_WORDS):
            return f"[redacted {len(raw)}]"
        if self.keep == "shapes":
            return f"text({len(raw)})"
        raw = redact.without(self._patterns, raw)
        # A Referer or a Location carries another request's query.
        return redact.mask_query(raw) if b"?" in raw else redact.shortened(redact.printable_bytes(raw))

    def headers(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Show a whole head."""
        shown = []
        for name, value in fields:
            text = redact.printable_bytes(name[: redact.MAX_FRAGMENT]).lower()
            shown.append((text, self.header(text, value)))
            if len(shown) == MAX_HEADERS:
                break
        return shown

    # ---- bodies ----

    def path(self, path: Path | None) -> Path | None:
        """Cut a path at the first redacted place on its way; a pattern fits a name as it fits a value."""
        if path is None:
            return None
        if self._places:
            folded = _fold_path(path)
            path = next((path[:size] for size in range(len(path) + 1) if self._is_at(folded[:size])), path)
        return tuple(self.text(step) if isinstance(step, str) else step for step in path) if self._patterns else path

    def text(self, text: str) -> str:
        """Mask what a text of our own quotes of a request or an answer."""
        if not self._patterns:
            return text
        return redact.without(self._patterns, text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")

    def detail(self, difference: Difference) -> str:
        """Show the detail of one difference, which may quote or identify what stands there."""
        if self.covers(difference.path):
            return ""
        is_type = difference.cause in ("http.content_type", "http.charset")
        if is_type and (self.keep == "shapes" or "content-type" in self._headers):
            return ""
        detail = difference.detail
        if self._places or self._patterns or self.keep == "shapes":
            # A short text is found by trying all that could have its digest.
            detail = detail.partition("; xxh3 ")[0]
        return redact.shortened(self.text(detail))

    def consumer(self, name: str) -> str:
        """Show the client's program, which it says in a header."""
        return "" if "user-agent" in self._headers else self.text(name)

    def covers(self, path: Path) -> bool:
        """Say whether the value at *path* is redacted."""
        folded = _fold_path(path)
        return any(place.covers(folded) for place in self._places)

    def body(self, raw: bytes) -> MaskedBody:
        """Find what is redacted in one decoded body.

        Cost: nothing on a route that redacts nothing in bodies; else that of a tree, 1.2 microseconds per value, and
        of each pattern.
        """
        spans = [*self._redacted_values(raw), *self._pattern_spans(raw)]
        return MaskedBody(raw=raw, spans=_merged(spans), keep=self.keep)

    def fragments(self, difference: Difference, legacy: MaskedBody, new: MaskedBody) -> tuple[str, str]:
        """Show what stands at one difference on both sides; empty where nothing does."""
        if not any(path is not None and self.covers(path) for path in (difference.legacy_path, difference.new_path)):
            return legacy.fragment(difference.legacy_span), new.fragment(difference.new_span)
        one, other = _inside(legacy.raw, difference.legacy_span), _inside(new.raw, difference.new_span)
        if one is None or other is None:
            return _redacted(one), _redacted(other)
        equal = len(one) if one == other else first_difference(one, other)
        return f"{_redacted(one)}, the first {equal} equal", f"{_redacted(other)}, the first {equal} equal"

    def form(self, raw: bytes) -> bytes:
        """Mask the values of a form's fields, as those of a query are."""
        return redact.mask_query(b"?" + redact.without(self._patterns, raw)).removeprefix("?").encode()

    def _is_at(self, path: Path) -> bool:
        """Say whether a folded path is a redacted place."""
        return any(place.is_at(path) for place in self._places)

    def _redacted_values(self, raw: bytes) -> Iterator[Span]:
        if not self._places:
            return
        tree = parse(raw)
        if tree.end is not End.WHOLE:
            yield tree.stop, len(raw)
        if tree.root is None:
            return
        stack: list[tuple[Path, Node]] = [((), tree.root)]
        while stack:
            path, node = stack.pop()
            if self._is_at(path):
                yield node.start, node.end
            elif node.kind is Kind.OBJECT:
                # A name may wait for a value that the end of the body has cut off.
                pairs = zip(node.names, node.children, strict=False)
                stack.extend(((*path, _fold_name(_name(name))), child) for name, child in pairs)
            elif node.kind is Kind.ARRAY:
                stack.extend(((*path, index), child) for index, child in enumerate(node.children))

    def _pattern_spans(self, raw: bytes) -> Iterator[Span]:
        for pattern in self._patterns:
            yield from (found.span() for found in pattern.finditer(raw) if found.end() > found.start())


@lru_cache(maxsize=1_024)
def masking_of(entries: tuple[str, ...], keep: str) -> Masking:
    """Compile a route's list once; every policy carries the list itself."""
    return Masking(entries, keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedBody:
    """Hold one decoded body and the spans of it that nobody may see."""

    raw: bytes
    spans: tuple[Span, ...]
    """In order, apart from each other."""
    keep: str

    def whole(self) -> bytes:
        """Give the body with every redacted value as a JSON string that says its length."""
        return self._cut(0, len(self.raw))

    def fragment(self, span: Span | None) -> str:
        """Show the bytes of one span; empty where there is none.

        Bound: MAX_FRAGMENT bytes; ``…`` stands for the rest.
        """
        if span is None:
            return ""
        start, end = span
        if self.keep == "shapes":
            return _shape(self.raw[start:end])
        stop = min(end, start + MAX_FRAGMENT)
        # A character cut in two would print as broken bytes that the body does not have.
        while start < stop < end and self.raw[stop] & 0xC0 == 0x80:
            stop -= 1
        return redact.printable_bytes(self._cut(start, stop)) + ("…" if stop < end else "")

    def _cut(self, start: int, stop: int) -> bytes:
        parts: list[bytes] = []
        position = start
        for first, last in self.spans:
            if last <= start or first >= stop:
                continue
            parts += (self.raw[position : max(first, position)], b'"[redacted %d]"' % (last - first))
            position = last
        parts.append(self.raw[position:stop])
        return b"".join(parts)


_JOINTS: Final = str.maketrans("", "", "_- .")


def _fold_name(name: str) -> str:
    return name.translate(_JOINTS).casefold()


def _fold_path(path: Path) -> Path:
    return tuple(_fold_name(step) if isinstance(step, str) else step for step in path)


def _folded(place: Place) -> Place:
    """Fold the names of a place as those of paths are."""
    return tuple(
        tuple(type(step)(_fold_name(step)) if isinstance(step, str) else step for step in run) for run in place
    )


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return tuple(merged)


def _inside(raw: bytes, span: Span | None) -> bytes | None:
    """Give what a value holds, without the quotes of a string."""
    if span is None:
        return None
    found = raw[span[0] : span[1]]
    return found[1:-1] if found[:1] == b'"' == found[-1:] and len(found) > 1 else found


def _redacted(held: bytes | None) -> str:
    return "" if held is None else f"[redacted {len(held)}]"


def _shape(raw: bytes) -> str:
    """Say the type of a value and its length: ``string(12)``, ``number(4)``; ``bytes(97)`` of what is no one value."""
    root = parse(raw).root
    if root is None or (root.start, root.end) != (0, len(raw)):
        return f"bytes({len(raw)})"
    if root.kind is Kind.STRING:
        return f"string({len(_name(raw))})"
    if root.kind is Kind.NUMBER:
        return f"number({len(raw)})"
    return f"{root.kind.value}({len(root.children)})" if root.children else root.kind.value


def _name(raw: bytes) -> str:
    text = plain_text(raw)
    return text if isinstance(text, str) else text[0].decode("utf-8", "backslashreplace")
