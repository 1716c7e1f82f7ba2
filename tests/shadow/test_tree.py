"""Rules of the tree: it forgets nothing, reads exactly what is JSON, and is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import json_grammar as grammar
from shadow.json_grammar import NotJsonError
from shadow.json_value import read_slowly
from shadow.tree import End, Kind, Node, Tree, parse
from tests.shadow.made import VALUES, body_of, corpus_rows, spelled


def written(tree: Tree) -> bytes:
    """Put a body together again from spans and gaps alone."""
    assert tree.root is not None
    pieces: list[bytes] = []
    position = 0
    stack: list[Node | int] = [tree.root]
    while stack:
        node = stack.pop()
        if isinstance(node, int):
            pieces.append(tree.body[position:node])
            position = node
        elif node.children or node.kind in (Kind.ARRAY, Kind.OBJECT):
            pieces.append(tree.body[position : node.start])
            position = node.start
            stack.append(node.end)
            stack.extend(reversed(node.children))
        else:
            pieces += (tree.body[position : node.start], tree.raw(node))
            position = node.end
    return b"".join((*pieces, tree.body[position:]))


@given(VALUES, st.integers(0, 2**32))
def test_spans_and_gaps_are_the_body(value: object, seed: int) -> None:
    """Every byte of a body is in exactly one span or gap."""
    body = spelled(value, seed)

    tree = parse(body)

    assert tree.end is End.WHOLE
    assert written(tree) == body


@given(st.text(alphabet='[]{},:"\\ 1-0.eE+tfnaulrs\n', max_size=16).map(str.encode))
def test_what_is_whole_is_json_and_nothing_else(body: bytes) -> None:
    """The tree calls a body whole exactly if it is one text of RFC 8259."""
    try:
        read_slowly(body)
        is_json = True
    except NotJsonError:
        is_json = False

    assert (parse(body).end is End.WHOLE) == is_json


def test_every_body_of_the_corpus_is_read() -> None:
    """What real encoders write is whole, but for guards in front and answers that are empty or no JSON at all."""
    bodies = {body_of(row, side) for row in corpus_rows("pairs.jsonl.gz") for side in ("legacy", "new")}

    odd = [body for body in bodies if parse(body).end is not End.WHOLE]

    assert all(body.startswith(b"while(1);") or not body.startswith((b"{", b"[", b'"')) for body in odd)
    assert len(odd) < 10


@pytest.mark.parametrize(
    ("body", "end", "stop"),
    [
        (b"", End.EMPTY, 0),
        (b" \n", End.EMPTY, 2),
        (b"{}", End.WHOLE, 2),
        (b'[NaN,-Infinity,{"a":Infinity}]', End.WHOLE, 30),
        (b'{"a":1}{"a":2}', End.TRAILING, 7),
        (b'{"a":1}\n x', End.TRAILING, 9),
        (b"404 page not found", End.BROKEN, 4),
        (b"<html>", End.BROKEN, 0),
        (b"{'a': 1}", End.BROKEN, 1),
        (b'{"a":1,}', End.BROKEN, 7),
        (b'["\x01"]', End.BROKEN, 1),
        (b'{"s":"\xe6\x97\xa5\xe6', End.TRUNCATED, 1),
        (b'{"s":"a\\', End.TRUNCATED, 1),
        (b'{"s":"a\\u00', End.TRUNCATED, 1),
        (b'{"a":1,"b":tr', End.TRUNCATED, 7),
        (b'{"a":1,"b":-', End.TRUNCATED, 7),
        (b"[1,", End.TRUNCATED, 3),
        (b'"a', End.TRUNCATED, 0),
    ],
)
def test_the_end_is_named(body: bytes, end: End, stop: int) -> None:
    """A body that is not one JSON text says how its reading ended, and where."""
    tree = parse(body)

    assert (tree.end, tree.stop) == (end, stop)


def test_a_truncated_body_keeps_what_was_read() -> None:
    """The values before a cut stay; a number at the cut may have gone on and is dropped."""
    tree = parse(b'{"a":"x","b":[1,{"c":null,"d":2')

    assert tree.root is not None
    assert [tree.raw(child) for child in tree.root.children] == [b'"x"', b'[1,{"c":null,"d":2']
    assert [container.kind for container in tree.open] == [Kind.OBJECT, Kind.ARRAY, Kind.OBJECT]
    assert all(container.is_open for container in tree.open)
    assert tree.open[-1].names == [b'"c"']


def test_duplicate_members_are_kept() -> None:
    """A member that stands twice is there twice, names as they are written."""
    tree = parse(rb'{"a":1,"\u0061":2}')

    assert tree.root is not None
    assert tree.root.names == [b'"a"', rb'"\u0061"']
    assert len(tree.root.children) == 2


def test_depth_is_bounded() -> None:
    """Nesting beyond the limit is an outcome, not a crash."""
    assert parse(b"[" * 100_000).end is End.DEPTH
    assert parse(b"[" * grammar.MAX_DEPTH + b"]" * grammar.MAX_DEPTH).end is End.WHOLE


def test_values_and_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More values and names than the limit are an outcome, however they are nested; exactly as many are read."""
    monkeypatch.setattr(grammar, "MAX_TOKENS", 1_000)

    assert parse(b"[" + b"1," * 998 + b"1]").end is End.WHOLE
    assert parse(b"[" + b"1," * 999 + b"1]").end is End.TOKENS
    assert parse(b"[[1]" + b",[1]" * 500 + b"]").end is End.TOKENS
    assert parse(b"{" + b'"a":1,' * 500 + b'"a":1}').end is End.TOKENS
    assert parse(b"[" * 3 + b"1," * 1_000_000 + b"1").tokens < 1_100
