"""One JSON body as a tree that forgets nothing: every value, name and gap stays where its bytes are.

The value check (:mod:`shadow.json_value`) answers what a body means. This tree answers how it is written, so it
is kept apart and is as lenient as explaining needs.

Rules of this file:

1. A node is a span of the body. Nothing is decoded or copied but member names.
2. Whatever stands between two spans is a gap: commas, colons and blanks are found again by slicing.
3. Duplicate members are all kept, in order.
4. ``NaN`` and ``Infinity`` are numbers here, because services send them. Else the grammar is that of RFC 8259.
5. A body that ends too early, or goes on behind its value, or breaks the grammar, keeps the part that was read.
6. No recursion: hostile nesting costs one list entry per level.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from shadow import json_grammar as grammar


class Kind(Enum):
    """Say what a value is, by its first byte."""

    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    NULL = "null"
    ARRAY = "array"
    OBJECT = "object"

    # Kinds are looked up once per value: an Enum's own hash is Python code.
    __hash__ = object.__hash__


class End(Enum):
    """Say how the reading ended."""

    WHOLE = "whole"
    """One JSON value and blanks."""
    EMPTY = "empty"
    """Nothing but blanks."""
    TRUNCATED = "truncated"
    """The body ends inside the value."""
    TRAILING = "trailing"
    """Something follows the value."""
    BROKEN = "broken"
    """No JSON: :attr:`Tree.stop` is the first byte that fits no rule."""
    DEPTH = "depth"
    """Deeper than MAX_DEPTH."""
    TOKENS = "tokens"
    """More than MAX_TOKENS values and names."""


@dataclass(slots=True, eq=False)
class Node:
    """Hold the span of one value, and what is inside it.

    Shape: not a frozen value: a body has up to 250,000 of them, and containers are filled while they are read.
    """

    kind: Kind
    start: int
    end: int
    """Behind the last byte; of a container that never closes, the end of what was read."""
    children: list[Node]
    names: list[bytes]
    """Of an object: each member's name as written, with its quotes."""
    name_starts: list[int]
    is_open: bool = False
    """A container that never closes."""


@dataclass(slots=True, eq=False, kw_only=True)
class Tree:
    """Hold one body and its tree."""

    body: bytes
    root: Node | None
    end: End
    stop: int
    """Where the reading ended: the body's length, or the first byte that does not belong to the value."""
    begin: int = 0
    """Where the reading began: behind a guard or a byte order mark."""
    tokens: int = 0
    open: list[Node] = field(default_factory=list)
    """Containers that never close, from the root down."""

    def raw(self, node: Node) -> bytes:
        """Give a value as written."""
        return self.body[node.start : node.end]


# One match per value: blanks, its name if it is a member, the value, and what follows it if that is simple.
_LITERAL: Final = rb"true|false|null|NaN|-?+Infinity"
_VALUE: Final = rb"(?:(" + grammar.STRING + rb"|(?:" + _LITERAL + rb")|" + grammar.NUMBER + rb")|([\[{]))"
_ROOT: Final = re.compile(grammar.GAP + _VALUE)
_ITEM: Final = re.compile(grammar.GAP + _VALUE + grammar.GAP + rb"([,\]]?)")
_MEMBER: Final = re.compile(
    grammar.GAP
    + rb"("
    + grammar.STRING
    + rb")"
    + grammar.GAP
    + rb":"
    + grammar.GAP
    + _VALUE
    + grammar.GAP
    + rb"([,}]?)"
)
_AFTER_ITEM: Final = re.compile(grammar.GAP + rb"([,\]])")
_AFTER_MEMBER: Final = re.compile(grammar.GAP + rb"([,}])")
_EMPTY: Final = {Kind.ARRAY: re.compile(grammar.GAP + rb"\]"), Kind.OBJECT: re.compile(grammar.GAP + rb"\}")}
_GAP: Final = re.compile(grammar.GAP)

KINDS: Final = {
    **dict.fromkeys(b"-0123456789NI", Kind.NUMBER),
    **dict.fromkeys(b"tf", Kind.BOOL),
    ord('"'): Kind.STRING,
    ord("n"): Kind.NULL,
    ord("["): Kind.ARRAY,
    ord("{"): Kind.OBJECT,
}
"""A value's kind by its first byte."""

# Leaves share one list that nobody fills: three lists per leaf would be most of the cost.
_NONE: Final[list[Node]] = []
_NO_NAMES: Final[list[bytes]] = []
_NO_STARTS: Final[list[int]] = []


def parse(body: bytes, begin: int = 0, stop: int | None = None) -> Tree:
    """Read one body, or the part of it that lies between *begin* and *stop*.

    Shape: never raises; :attr:`Tree.end` says how far it came.
    Bound: MAX_DEPTH levels, MAX_TOKENS values and names.
    Cost: about 1.2 microseconds per value on one core, one node per value.
    """
    size = len(body) if stop is None else stop
    blank = _GAP.match(body, begin, size)
    assert blank is not None
    if blank.end() == size:
        return Tree(body=body, root=None, end=End.EMPTY, stop=size, begin=begin)
    match = _ROOT.match(body, begin, size)
    if match is None:
        end = End.TRUNCATED if _is_cut_off(body, blank.end(), size) else End.BROKEN
        return Tree(body=body, root=None, end=end, stop=blank.end(), begin=begin)
    start = match.start(match.lastindex or 0)
    root = Node(KINDS[body[start]], start, match.end(), _NONE, _NO_NAMES, _NO_STARTS)
    tree = Tree(body=body, root=root, end=End.WHOLE, stop=match.end(), begin=begin, tokens=1)
    if match.lastindex == 2:
        _fill(tree, root, size)
    if tree.end is not End.WHOLE:
        for container in tree.open:
            container.is_open = True
            container.end = tree.stop
        return tree
    blank = _GAP.match(body, tree.stop, size)
    assert blank is not None
    if blank.end() < size:
        # "404 page not found" begins like a number: only a container makes the rest data behind a value.
        tree.end = End.TRAILING if root.children is not _NONE else End.BROKEN
        tree.stop = blank.end()
    return tree


def _fill(tree: Tree, root: Node, size: int) -> None:
    """Read what is inside *root* with an explicit stack: open a container, read its values, close what is whole."""
    body = tree.body
    opened: list[Node] = []
    node: Node | None = root
    while node is not None:
        opened.append(node)
        if len(opened) > grammar.MAX_DEPTH:
            tree.end, tree.stop, tree.open = End.DEPTH, node.start, opened
            return
        node.children = []
        if node.kind is Kind.OBJECT:
            node.names, node.name_starts = [], []
        position = node.end
        empty = _EMPTY[node.kind].match(body, position, size)
        if empty is not None:
            is_whole, position, node = True, empty.end(), None
        else:
            node, is_whole, position = _read_values(tree, opened[-1], position, size)
        # A container that is whole is a value of the one around it, which goes on or ends in turn.
        while node is None:
            if tree.tokens > grammar.MAX_TOKENS:
                tree.end, tree.stop, tree.open = End.TOKENS, position, opened
                return
            if not is_whole:
                _give_up(tree, opened, position, size)
                return
            opened.pop().end = position
            if not opened:
                tree.stop = position
                return
            parent = opened[-1]
            after = (_AFTER_ITEM if parent.kind is Kind.ARRAY else _AFTER_MEMBER).match(body, position, size)
            if after is None:
                is_whole = False
            elif after[1] == b",":
                node, is_whole, position = _read_values(tree, parent, after.end(), size)
            else:
                position = after.end()


def _read_values(tree: Tree, container: Node, position: int, size: int) -> tuple[Node | None, bool, int]:
    """Read the values of *container* from *position* on, until one of them opens, the container closes, or none fits.

    Shape: the container that opens, or ``None``; whether *container* is whole; where it stopped.
    """
    body, kinds, add = tree.body, KINDS, container.children.append
    count, limit = 0, grammar.MAX_TOKENS - tree.tokens
    if container.kind is Kind.ARRAY:
        scan, value = _ITEM.match, 1
    else:
        scan, value = _MEMBER.match, 2
    while count <= limit and (match := scan(body, position, size)) is not None:
        count += value
        if value == 2:
            container.names.append(match[1])
            container.name_starts.append(match.start(1))
        start, end = match.span(value)
        if start < 0:
            start = match.start(value + 1)
            child = Node(kinds[body[start]], start, start + 1, _NONE, _NO_NAMES, _NO_STARTS)
            add(child)
            tree.tokens += count
            return child, False, start + 1
        add(Node(kinds[body[start]], start, end, _NONE, _NO_NAMES, _NO_STARTS))
        tail = match[value + 2]
        if tail != b",":
            tree.tokens += count
            return None, bool(tail), match.end() if tail else end
        position = match.end()
    tree.tokens += count
    return None, False, position


def _give_up(tree: Tree, opened: list[Node], position: int, size: int) -> None:
    """Say why nothing fits at *position*, and drop the scalar that the body's end may have cut."""
    blank = _GAP.match(tree.body, position, size)
    assert blank is not None
    tree.open, tree.stop = opened, blank.end()
    tree.end = End.TRUNCATED if _is_cut_off(tree.body, blank.end(), size) else End.BROKEN
    container = opened[-1]
    # A number that touches the end may have gone on: 12 of 123.
    if tree.end is End.TRUNCATED and container.children and container.children[-1].kind is Kind.NUMBER:
        last = container.children[-1]
        if last.end == size:
            container.children.pop()
            if container.kind is Kind.OBJECT:
                container.names.pop()
                container.name_starts.pop()


# What may stand at a body's end if the rest was cut off: a name or a string without its end, half a literal or number.
_CUT_STRING: Final = grammar.STRING[:-1] + rb"(?:\\(?:u[0-9a-fA-F]{0,3}+)?+)?+"
_CUT_LITERAL: Final = rb"t(?:r(?:u)?)?|f(?:a(?:l(?:s)?)?)?|n(?:u(?:l)?)?|Na?|-?I(?:n(?:f(?:i(?:n(?:i(?:t)?)?)?)?)?)?"
_CUT_NUMBER: Final = rb"-?+(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?+(?:[eE][+-]?+)?+)?+"
_CUT: Final = re.compile(
    rb"[,:]?+" + grammar.GAP + rb"(?:" + grammar.STRING + grammar.GAP + rb"(?::" + grammar.GAP + rb")?+)?+"
    rb"(?:" + _CUT_STRING + rb"|" + _CUT_LITERAL + rb"|" + _CUT_NUMBER + rb")?+"
)


def _is_cut_off(body: bytes, position: int, size: int) -> bool:
    """Say whether the body could have gone on as JSON behind its last byte."""
    match = _CUT.match(body, position, size)
    assert match is not None
    return match.end() == size
