"""Rules of layout: shapes are learned from any regular body, compared by cause, and written again byte for byte."""

from __future__ import annotations

import json

import pytest

from shadow.layout import Spot, Writer, changes, layout_of
from shadow.tree import Kind, Node, parse

VALUE = {"a": [1, 2, {"b": []}], "c": {}, "d": {"e": None, "f": [[3], {"g": 1}]}}
COMPACT = json.dumps(VALUE, separators=(",", ":")).encode()
SPACED = json.dumps(VALUE).encode()
PRETTY = json.dumps(VALUE, indent=2).encode()
TABS = json.dumps(VALUE, indent="\t").encode()
LINES = json.dumps(VALUE, indent=0).encode()
JACKSON = b'{\n  "a" : [ 1, 2, {\n    "b" : [ ]\n  } ],\n  "c" : { },\n  "d" : {\n    "e" : null\n  }\n}'


def laid_out(body: bytes, like: bytes) -> bytes:
    """Write *body*'s values with the layout of *like*."""
    tree = parse(body)
    writer = Writer(tree, layout_of(tree), layout_of(parse(like)), keep=False)

    def write(node: Node, level: int) -> bytes:
        if node.kind not in (Kind.OBJECT, Kind.ARRAY):
            return tree.raw(node)
        gaps, inner = writer.gaps(node, len(node.children), level), writer.level_in(node.kind, level)
        values = [write(child, inner) for child in node.children]
        if node.kind is Kind.OBJECT:
            values = [
                name + colon + value
                for name, colon, value in zip(node.names, writer.colons(node, inner), values, strict=True)
            ]
        return b"".join(piece for pair in zip(gaps, values, strict=False) for piece in pair) + gaps[-1]

    assert tree.root is not None
    return write(tree.root, 0)


@pytest.mark.parametrize("legacy", [COMPACT, SPACED, PRETTY, TABS, LINES])
@pytest.mark.parametrize("new", [COMPACT, SPACED, PRETTY, TABS, LINES])
def test_one_value_is_written_in_any_layout(legacy: bytes, new: bytes) -> None:
    """The layout learned from one body turns another body of the same value into it."""
    assert laid_out(legacy, new) == new


def test_arrays_on_one_line_in_a_printed_object_are_no_level() -> None:
    """A printer that keeps arrays on one line indents by objects alone."""
    value = json.loads(JACKSON)

    assert laid_out(json.dumps(value).encode(), JACKSON) == JACKSON


@pytest.mark.parametrize(
    ("legacy", "new", "cause", "detail"),
    [
        (b'{"a": 1, "b": 2}', b'{"a":1,"b":2}', "whitespace.separator", "', ' -> ',', ': ' -> ':'"),
        (b"[1,2]", b"[1, 2]", "whitespace.separator", "',' -> ', '"),
        (b'{"a":1}', b'{\n  "a": 1\n}', "whitespace.indent", "one line -> '  '"),
        (b'{\n  "a": 1\n}', b'{\n    "a": 1\n}', "whitespace.indent", "'  ' -> '    '"),
        (b"[1]", b"[ 1 ]", "whitespace.indent", "one line -> one line"),
        (b"{}", b"{ }", "whitespace.indent", "one line -> one line"),
    ],
)
def test_layouts_differ_by_one_cause(legacy: bytes, new: bytes, cause: str, detail: str) -> None:
    """Blanks around commas and colons are a separator; line feeds and padding an indent, which takes those along."""
    found = changes(layout_of(parse(legacy)), layout_of(parse(new)))

    assert [(one.cause, one.detail) for one in found] == [(cause, detail)]


def test_what_only_one_side_shows_is_no_difference() -> None:
    """A body without commas says nothing about blanks behind them."""
    assert changes(layout_of(parse(b"{}")), layout_of(parse(b'{"a": 1, "b": 2}'))) == []


def test_a_list_that_was_an_object_is_compared_by_the_gaps_it_has() -> None:
    """Where one side has only objects and the other only arrays, their commas and brackets are compared."""
    legacy, new = layout_of(parse(b'{"0": 1, "1": 2}')), layout_of(parse(b"[1,2]"))

    assert [one.detail for one in changes(legacy, new)] == ["', ' -> ','"]


def test_a_layout_with_two_shapes_at_one_spot_keeps_both() -> None:
    """Blanks that follow no rule are seen, so that nobody calls them explained."""
    layout = layout_of(parse(b"[1, 2,3]"))

    assert layout.shapes[Spot.ARRAY_NEXT] == {(b", ", False): 1, (b",", False): 1}


def test_legacys_own_gaps_are_kept_where_whitespace_is_no_cause() -> None:
    """Irregular blanks that both sides share stay as they are."""
    tree = parse(b'{ "a":1 ,"b" : 2}')
    assert tree.root is not None
    writer = Writer(tree, layout_of(tree), layout_of(parse(b"[]")), keep=True)

    assert writer.gaps(tree.root, 2, 0) == [b"{ ", b" ,", b"}"]
    assert writer.colons(tree.root, 0) == [b":", b" : "]
