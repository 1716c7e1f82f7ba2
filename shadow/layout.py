"""How a body is laid out: the blanks between its values, learned once and written again.

Encoders lay out by rule: one gap behind every comma, one indent per level. So a layout is one *shape* per *spot*,
a spot being a place in the grammar (behind ``{``, around a comma in an array, around a colon). Where a body shows
two shapes at one spot, somebody wrote it by hand; then the first one counts, and the proof says how far that goes.

Rules of this file:

1. A gap is everything between two spans, its comma or colon included.
2. A gap with a line feed is its text up to the last line feed, then ``unit`` once per level. Any other gap is literal.
3. A level is a container whose own values stand on lines of their own: Jackson's ``[ 1, 2 ]`` is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from shadow.tree import Kind, Node, Tree


class Spot(Enum):
    """Name a place in the grammar where blanks may stand."""

    OBJECT_OPEN = "{"
    OBJECT_NEXT = "{,"
    OBJECT_CLOSE = "}"
    OBJECT_EMPTY = "{}"
    ARRAY_OPEN = "["
    ARRAY_NEXT = "[,"
    ARRAY_CLOSE = "]"
    ARRAY_EMPTY = "[]"
    COLON = ":"

    # Looked up once per container: an Enum's own hash is Python code.
    __hash__ = object.__hash__


Shape = tuple[bytes, bool]
"""A gap's text, and whether an indent follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """Hold the four spots of one kind of container."""

    open: Spot
    next: Spot
    close: Spot
    empty: Spot


SPOTS: Final = {
    Kind.OBJECT: Spots(open=Spot.OBJECT_OPEN, next=Spot.OBJECT_NEXT, close=Spot.OBJECT_CLOSE, empty=Spot.OBJECT_EMPTY),
    Kind.ARRAY: Spots(open=Spot.ARRAY_OPEN, next=Spot.ARRAY_NEXT, close=Spot.ARRAY_CLOSE, empty=Spot.ARRAY_EMPTY),
}

_COMPACT: Final[dict[Spot, Shape]] = {
    Spot.OBJECT_NEXT: (b",", False),
    Spot.ARRAY_NEXT: (b",", False),
    Spot.COLON: (b":", False),
}


@dataclass(slots=True, eq=False, kw_only=True)
class Layout:
    """Hold the shapes that one body shows."""

    shapes: dict[Spot, dict[Shape, int]] = field(default_factory=dict)
    """How often each was seen, the first one first."""
    unit: bytes | None = None
    """The indent of one level, which may be none at all; ``None``: no line shows it."""

    def add(self, spot: Spot, gap: bytes, level: int, times: int = 1) -> None:
        """Count one gap whose line, if it starts one, stands at *level*."""
        shape = (gap, False)
        if b"\n" in gap:
            text, indent = gap[: gap.rindex(b"\n") + 1], gap[gap.rindex(b"\n") + 1 :]
            if self.unit is None and level and len(indent) % level == 0:
                self.unit = indent[: len(indent) // level]
            if indent == (self.unit or b"") * level:
                shape = (text, True)
        seen = self.shapes.setdefault(spot, {})
        seen[shape] = seen.get(shape, 0) + times

    def shape(self, spot: Spot) -> Shape | None:
        """Give the shape of a spot, ``None`` if the body never shows it."""
        seen = self.shapes.get(spot)
        return next(iter(seen)) if seen else None

    @property
    def is_regular(self) -> bool:
        """Say whether every spot has one shape."""
        return all(len(seen) == 1 for seen in self.shapes.values())


def colons_of(tree: Tree, node: Node) -> list[bytes]:
    """Give the gaps between names and values of an object."""
    body = tree.body
    return [
        body[start + len(name) : child.start]
        for name, start, child in zip(node.names, node.name_starts, node.children, strict=True)
    ]


def gaps_of(tree: Tree, node: Node) -> list[bytes]:
    """Give the gaps of a container with values: behind its opening bracket, around each comma, before its closing one.

    Shape: one more than there are values; the last one is empty if the container never closes.
    """
    body, children = tree.body, node.children
    starts = node.name_starts if node.kind is Kind.OBJECT else [child.start for child in children]
    gaps = [body[node.start + 1 : starts[0]]]
    gaps += [body[child.end : start] for child, start in zip(children, starts[1:], strict=False)]
    gaps.append(b"" if node.is_open else body[children[-1].end : node.end - 1])
    return gaps


def layout_of(tree: Tree) -> Layout:
    """Learn the layout of a body.

    Cost: about 0.3 microseconds per value.
    """
    layout = Layout()
    for node, level in _containers(tree):
        spots = SPOTS[node.kind]
        if not node.children:
            if not node.is_open:
                layout.add(spots.empty, tree.body[node.start + 1 : node.end - 1], level)
            continue
        gaps = gaps_of(tree, node)
        inner = level + (b"\n" in gaps[0])
        layout.add(spots.open, gaps[0], inner)
        if not node.is_open:
            layout.add(spots.close, gaps[-1], level)
        _add_all(layout, spots.next, gaps[1:-1], inner)
        if node.kind is Kind.OBJECT:
            _add_all(layout, Spot.COLON, colons_of(tree, node), inner)
    return layout


def _add_all(layout: Layout, spot: Spot, gaps: list[bytes], level: int) -> None:
    if gaps and gaps.count(gaps[0]) == len(gaps):
        layout.add(spot, gaps[0], level, len(gaps))
    else:
        for gap in gaps:
            layout.add(spot, gap, level)


def _containers(tree: Tree) -> Iterator[tuple[Node, int]]:
    """Go through the containers in document order, each with its level."""
    stack = [(tree.root, 0)] if tree.root is not None and tree.root.kind in SPOTS else []
    while stack:
        node, level = stack.pop()
        yield node, level
        if node.children:
            first = node.name_starts[0] if node.kind is Kind.OBJECT else node.children[0].start
            inner = level + (tree.body.find(b"\n", node.start + 1, first) >= 0)
            stack += [(child, inner) for child in reversed(node.children) if child.kind in SPOTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Hold in what two layouts differ."""

    cause: str
    detail: str
    count: int
    """Gaps of legacy's that it concerns."""


def changes(legacy: Layout, new: Layout) -> list[Change]:
    """Name the whitespace causes that two layouts differ by; at most one, as an indent takes the separators along."""
    differing = {
        spot: other
        for spot in Spot
        if spot in legacy.shapes
        and (other := _counterpart(spot, legacy, new)) is not None
        and _texts(legacy, spot) != _texts(new, other)
    }
    if not differing:
        return []
    count = sum(sum(legacy.shapes[spot].values()) for spot in differing)
    if differing.keys() <= _COMPACT.keys() and not any(
        _has_lines(legacy, spot) or _has_lines(new, other) for spot, other in differing.items()
    ):
        detail = ", ".join(f"{_quote(legacy, spot)} -> {_quote(new, other)}" for spot, other in differing.items())
        return [Change(cause="whitespace.separator", detail=detail, count=count)]
    return [Change(cause="whitespace.indent", detail=f"{_indent(legacy)} -> {_indent(new)}", count=count)]


def _counterpart(spot: Spot, legacy: Layout, new: Layout) -> Spot | None:
    """Give the spot of new's that a spot of legacy's is compared with, ``None`` if new shows neither.

    Shape: the same one; or, where either side has only arrays or only objects, the other kind's.
    """
    if spot in new.shapes:
        return spot
    other = _OTHER_KIND.get(spot)
    return other if other in new.shapes and other not in legacy.shapes else None


_OTHER_KIND: Final = {
    Spot.OBJECT_OPEN: Spot.ARRAY_OPEN,
    Spot.OBJECT_NEXT: Spot.ARRAY_NEXT,
    Spot.OBJECT_CLOSE: Spot.ARRAY_CLOSE,
    Spot.ARRAY_OPEN: Spot.OBJECT_OPEN,
    Spot.ARRAY_NEXT: Spot.OBJECT_NEXT,
    Spot.ARRAY_CLOSE: Spot.OBJECT_CLOSE,
}


def _texts(layout: Layout, spot: Spot) -> set[tuple[bytes, bytes]]:
    return {(text, layout.unit or b"" if is_indented else b"") for text, is_indented in layout.shapes[spot]}


def _has_lines(layout: Layout, spot: Spot) -> bool:
    return any(b"\n" in text for text, _ in layout.shapes[spot])


def _quote(layout: Layout, spot: Spot) -> str:
    shape = layout.shape(spot)
    return repr(shape[0].decode()) if shape else "none"


def _indent(layout: Layout) -> str:
    if not any(is_indented for seen in layout.shapes.values() for _, is_indented in seen):
        return "one line"
    return repr((layout.unit or b"").decode("utf-8", "replace"))


class Writer:
    """Write gaps: as a layout says, or as legacy's own bytes have them."""

    def __init__(self, tree: Tree, legacy: Layout, new: Layout, *, keep: bool) -> None:
        """Keep legacy's layout, or take *new*'s, where whitespace is among the causes.

        A spot that the layout never shows is written as the other side has it: what is added needs some gap. Where
        legacy's blanks follow no rule, keeping means its own bytes.
        """
        self._tree, self._keep = tree, keep and not legacy.is_regular
        first, second = (legacy, new) if keep else (new, legacy)
        self._unit = (second.unit if first.unit is None else first.unit) or b""
        self._shapes: dict[Spot, Shape] = {
            spot: first.shape(spot) or second.shape(spot) or _COMPACT.get(spot, (b"", False)) for spot in Spot
        }

    def level_in(self, kind: Kind, level: int) -> int:
        """Give the level of what is inside a container of *kind*."""
        return level + self._shapes[SPOTS[kind].open][1]

    def gaps(self, node: Node, count: int, level: int) -> list[bytes]:
        """Give the gaps of a container that is to hold *count* values, brackets included.

        Shape: one more than *count*; a single one if there are none.
        """
        opening, closing = (b"{", b"}") if node.kind is Kind.OBJECT else (b"[", b"]")
        spots = SPOTS[node.kind]
        if self._keep and len(node.children) == count:
            if not count:
                return [self._tree.raw(node)]
            gaps = gaps_of(self._tree, node)
        elif not count:
            return [opening + self._text(spots.empty, level) + closing]
        else:
            inner = self.level_in(node.kind, level)
            between = self._text(spots.next, inner)
            gaps = [self._text(spots.open, inner), *[between] * (count - 1), self._text(spots.close, level)]
        gaps[0] = opening + gaps[0]
        gaps[-1] += closing
        return gaps

    def colons(self, node: Node, level: int) -> list[bytes]:
        """Give the gap behind each of legacy's names."""
        if self._keep:
            return colons_of(self._tree, node)
        return [self.colon(level)] * len(node.children)

    def colon(self, level: int) -> bytes:
        """Give the gap behind a name that legacy does not have."""
        return self._text(Spot.COLON, level)

    def _text(self, spot: Spot, level: int) -> bytes:
        text, is_indented = self._shapes[spot]
        return text + self._unit * level if is_indented else text
