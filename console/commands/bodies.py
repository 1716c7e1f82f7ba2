"""Lay two bodies out so that only what matters differs: one line per value, legacy written the way new writes.

Rules of this file:

1. What no conforming JSON parser can see (order of members, blanks, escapes, spelling of an exponent) is written as new
   writes it, on both sides. Everything else stays as its side wrote it.
2. A body that is no JSON is laid out by its own lines.
3. Whatever a body holds, a line is printable text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from shadow.json_value import plain_text
from shadow.redact import printable
from shadow.tree import End, Kind, Node, Tree, parse

MAX_LINES: Final = 20_000
"""Per side; a body with more is shown by its differences alone."""

MAX_COMPARED: Final = 2_000
"""Lines between the first and the last difference: aligning them is quadratic at worst."""

CONTEXT: Final = 2
"""Equal lines around a difference."""

_CONTAINERS: Final = {Kind.ARRAY: "[]", Kind.OBJECT: "{}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Hold one line of the layout."""

    mark: str
    """``-`` legacy's, ``+`` new's, `` `` both, ``…`` lines were left out."""
    text: str


_GAP: Final = Line(mark="…", text="")


def compared(legacy: bytes, new: bytes) -> list[Line] | None:
    """Give the lines in which two bodies differ, with what stands around them; ``None``: too large to lay out.

    Shape: empty if nothing differs but what rule 1 names.
    """
    sides = _laid_out(legacy, new)
    if sides is None:
        return None
    one, two = sides
    first, last = _ends(one, two)
    if max(len(one), len(two)) - first - last > MAX_COMPARED:
        return None
    start = max(0, first - CONTEXT)
    stops = (len(one) - max(0, last - CONTEXT), len(two) - max(0, last - CONTEXT))
    lines = list(_marked(one[start : stops[0]], two[start : stops[1]]))
    if lines and start:
        lines.insert(0, _GAP)
    return [*lines, _GAP] if lines and last > CONTEXT else lines


def _laid_out(legacy: bytes, new: bytes) -> tuple[list[str], list[str]] | None:
    trees = parse(legacy), parse(new)
    if any(tree.end is not End.WHOLE or tree.root is None for tree in trees):
        sides = [[printable(line) for line in _text(body).splitlines()] for body in (legacy, new)]
    else:
        model = trees[1]
        sides = [_lines(tree, model) for tree in trees]
    return None if max(map(len, sides)) > MAX_LINES else (sides[0], sides[1])


def _text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


# ---- one side ------------------------------------------------------------------------------------------------------


def _lines(tree: Tree, model: Tree) -> list[str]:
    """Write a tree over several lines, as *model* writes wherever rule 1 lets it."""
    lines: list[str] = []
    assert tree.root is not None
    stack: list[str | tuple[Node, Node | None, str, str, str]] = [(tree.root, model.root, "", "", "")]
    while stack and len(lines) <= MAX_LINES:
        top = stack.pop()
        if isinstance(top, str):
            lines.append(top)
            continue
        node, like, indent, name, comma = top
        brackets = _CONTAINERS.get(node.kind)
        if brackets is None or not node.children:
            text = _leaf(tree, node, model, like) if brackets is None else brackets
            lines.append(f"{indent}{name}{text}{comma}")
            continue
        lines.append(f"{indent}{name}{brackets[0]}")
        stack.append(f"{indent}{brackets[1]}{comma}")
        inside = list(_children(tree, node, model, like))
        for place in range(len(inside) - 1, -1, -1):
            child, counterpart, child_name = inside[place]
            stack.append((child, counterpart, indent + "  ", child_name, "," if place < len(inside) - 1 else ""))
    return lines


def _children(tree: Tree, node: Node, model: Tree, like: Node | None) -> Iterator[tuple[Node, Node | None, str]]:
    """Give what is inside a container, in the model's order, each with its counterpart and its name as written."""
    is_like = like is not None and like.kind is node.kind
    theirs = like.children if is_like and like is not None else []
    if node.kind is Kind.ARRAY:
        for place, child in enumerate(node.children):
            yield child, theirs[place] if place < len(theirs) else None, ""
        return
    known = {_name(raw): place for place, raw in enumerate(like.names)} if is_like and like is not None else {}
    ranked: list[tuple[int, int]] = []
    behind = -1
    for place, raw in enumerate(node.names):
        behind = known.get(_name(raw), behind)
        ranked.append((behind, place))
    for _, place in sorted(ranked):
        at = known.get(_name(node.names[place]))
        raw = node.names[place] if at is None or like is None else like.names[at]
        yield node.children[place], None if at is None else theirs[at], f"{printable(_text(raw))}: "


def _name(raw: bytes) -> object:
    return plain_text(raw)


def _leaf(tree: Tree, node: Node, model: Tree, like: Node | None) -> str:
    """Write a scalar as the model does where that changes nothing for a parser."""
    own = tree.raw(node)
    if like is None or like.kind is not node.kind:
        return printable(_text(own))
    theirs = model.raw(like)
    if node.kind is Kind.STRING:
        own = theirs if plain_text(own) == plain_text(theirs) else own
    elif node.kind is Kind.NUMBER and (b"e" in own.lower() or b"e" in theirs.lower()):
        own = theirs if _is_same_number(own, theirs) else own
    return printable(_text(own))


def _is_same_number(one: bytes, two: bytes) -> bool:
    try:
        return Decimal(one.decode()) == Decimal(two.decode())
    except InvalidOperation:
        return False


# ---- both sides ----------------------------------------------------------------------------------------------------


def _ends(one: Sequence[str], two: Sequence[str]) -> tuple[int, int]:
    """Count the equal lines at the beginning and at the end."""
    shorter = min(len(one), len(two))
    first = 0
    while first < shorter and one[first] == two[first]:
        first += 1
    last = 0
    while last < shorter - first and one[-1 - last] == two[-1 - last]:
        last += 1
    return first, last


def _marked(one: Sequence[str], two: Sequence[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, one, two, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(CONTEXT)):
        if number:
            yield _GAP
        for tag, begin, end, new_begin, new_end in group:
            if tag == "equal":
                yield from (Line(mark=" ", text=line) for line in one[begin:end])
            else:
                yield from (Line(mark="-", text=line) for line in one[begin:end])
                yield from (Line(mark="+", text=line) for line in two[new_begin:new_end])
