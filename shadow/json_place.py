"""Where in a JSON body a byte stands: the innermost value around it, and its pointer.

Theory. Only what lies before the byte is read, from the left, with an explicit
stack. What ends before the byte and nests at most :data:`_NESTED` deep is skipped
in runs of whole items or members, one pattern match per run, so that a body of
100 KB costs a few milliseconds; deeper values are walked token by token.

Rules of this file:

1. A name belongs to its member: a byte inside a name, or between it and its
   value, is placed at that member, so a missing member is named by its pointer.
2. A byte between items, and a container's own brackets, belong to the container.
3. The body is JSON, or beyond the limits of the value check; one that is neither costs no more, but its place
   means nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from shadow import json_grammar as grammar
from shadow.json_value import plain_text
from shadow.pointer import Path, fold, pointer_of

Kind = Literal["string", "number", "boolean", "null", "object", "array", "member", "document"]

_SCALARS: Final[dict[int, Kind]] = {ord("t"): "boolean", ord("f"): "boolean", ord("n"): "null", ord('"'): "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Name one place in a JSON body."""

    path: Path
    """Member names, decoded, and array indexes from the root down."""
    kind: Kind
    """The value's type; ``member``: in a name or before its value; ``document``: outside the root value."""
    start: int
    """First byte of the value, or of the name for ``member``."""
    end: int
    """Byte behind a scalar; -1 for everything else: its end is not looked for."""

    @property
    def pointer(self) -> str:
        """Give the RFC 6901 pointer."""
        return pointer_of(self.path)

    @property
    def folded(self) -> str:
        """Give the pointer with every array index as ``*``."""
        return fold(self.path)


def place_of_difference(body: bytes, other: bytes, offset: int) -> Place | None:
    """Find the place in *body* of the first byte, at *offset*, that differs from *other*.

    Shape: ``12`` against ``123`` differs behind the 2, yet it is the number that differs: a number that ends
    at *offset* and goes on in *other* is the place.
    """
    if 0 < offset < len(other) and other[offset] in _NUMBER_BYTES and body[offset - 1] in _NUMBER_BYTES:
        place = locate(body, offset - 1)
        if place is not None and place.kind == "number" and place.end == offset:
            return place
    return locate(body, offset)


_NUMBER_BYTES: Final = frozenset(b"0123456789+-.eE")

# ---- the walk ------------------------------------------------------------------------------------------------------

_NESTED: Final = 4
"""Levels that one pattern skips; rows are rarely deeper, and a row that is deeper is scanned once per level."""

# The body is known to be JSON, so these are looser than the grammar: smaller to compile and faster to match.
_TEXT: Final = rb'"[^"\\]*+(?:\\[^\n][^"\\]*+)*+"'
_ATOM: Final = rb"(?:" + _TEXT + rb'|[^ \t\n\r,:\[\]{}"]++)'


def _content(levels: int) -> bytes:
    """Build the pattern of what stands between two brackets and nests at most *levels* containers."""
    if levels < 0:
        return rb"(?!)"
    return rb"(?:" + _TEXT + rb'|[^\[\]{}"]++|[\[{]' + _content(levels - 1) + rb"[\]}])*+"


_ITEM: Final = grammar.GAP + rb"(?:" + _ATOM + rb"|[\[{]" + _content(_NESTED - 1) + rb"[\]}])" + grammar.GAP + rb","
_MEMBER: Final = grammar.GAP + _TEXT + grammar.GAP + rb":" + _ITEM
_ITEMS: Final = re.compile(rb"(?:" + _ITEM + rb")*+")
_ITEM_EACH: Final = re.compile(_ITEM + rb"()")
"""The empty group lets ``findall`` count items without copying them."""
_MEMBERS: Final = re.compile(rb"(?:" + _MEMBER + rb")*+")
_NAME: Final = re.compile(rb"(" + grammar.STRING + rb")" + grammar.GAP + rb":" + grammar.GAP)
_SCALAR: Final = re.compile(grammar.SCALAR)
_GAP: Final = re.compile(grammar.GAP)


class _Container:
    """Hold one open container of the walk, and the step from it to its current child."""

    __slots__ = ("closing", "index", "is_array", "raw_name", "start")

    def __init__(self, start: int, *, is_array: bool) -> None:
        self.start = start
        self.is_array = is_array
        self.closing = 0x5D if is_array else 0x7D
        self.index = 0
        self.raw_name = b'""'

    def skip_whole(self, body: bytes, position: int, offset: int) -> int:
        """Skip the children, each with its comma, that end before *offset*; the end of the range hides the rest."""
        run = _ITEMS if self.is_array else _MEMBERS
        end = _end(run.match(body, position, offset))
        if self.is_array and end > position:
            self.index += len(_ITEM_EACH.findall(body, position, end))
        return end


def locate(body: bytes, offset: int) -> Place | None:
    """Find the innermost value of *body* that holds the byte at *offset*.

    Shape: ``None`` where the body is no JSON before *offset*, or is beyond the limits.
    Bound: MAX_DEPTH open containers, MAX_TOKENS steps of the walk.
    Cost: about 10 microseconds for 1 KB, 2 ms for 100 KB of rows.
    """
    stack: list[_Container] = []
    position = 0
    for _ in range(grammar.MAX_TOKENS):
        if stack:
            position = stack[-1].skip_whole(body, position, offset)
        position = _end(_GAP.match(body, position))
        if offset < position or position >= len(body):
            return _between(stack)
        if stack and body[position] == stack[-1].closing:
            position += 1
            if offset < position:
                return _between(stack)
            stack.pop()
        else:
            if stack and not stack[-1].is_array:
                name = _NAME.match(body, position)
                if name is None:
                    return None
                stack[-1].raw_name = name[1]
                if offset < name.end():
                    return Place(path=_path(stack), kind="member", start=position, end=-1)
                position = name.end()
            scalar = _SCALAR.match(body, position)
            if scalar is None:
                if body[position : position + 1] not in (b"[", b"{") or len(stack) >= grammar.MAX_DEPTH:
                    return None
                stack.append(_Container(position, is_array=body[position] == 0x5B))
                position += 1
                if offset < position:
                    return _between(stack)
                continue
            if offset < scalar.end():
                kind = _SCALARS.get(body[position], "number")
                return Place(path=_path(stack), kind=kind, start=position, end=scalar.end())
            position = scalar.end()
        # A value is whole; a comma, its container's end or the end of the body follows.
        position = _end(_GAP.match(body, position))
        if offset < position or not stack:
            return _between(stack)
        if body[position : position + 1] == b",":
            stack[-1].index += 1
            if offset == position:
                return _between(stack)
            position += 1
        elif body[position : position + 1] != bytes((stack[-1].closing,)):
            return None
    return None


def _end(match: re.Match[bytes] | None) -> int:
    assert match is not None, "a pattern that may be empty matches everywhere"
    return match.end()


def _between(stack: list[_Container]) -> Place:
    """Place a byte that stands in no child of the innermost open container."""
    if not stack:
        return Place(path=(), kind="document", start=0, end=-1)
    top = stack[-1]
    return Place(path=_path(stack[:-1]), kind="array" if top.is_array else "object", start=top.start, end=-1)


def _path(stack: list[_Container]) -> tuple[str | int, ...]:
    return tuple(step.index if step.is_array else _name(step.raw_name) for step in stack)


def _name(raw: bytes) -> str:
    text = plain_text(raw)
    return text if isinstance(text, str) else text[0].decode("utf-8", "backslashreplace")
