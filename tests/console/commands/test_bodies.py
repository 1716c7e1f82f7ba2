"""Rules of how two bodies are laid out beside each other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.commands.bodies import MAX_COMPARED, MAX_LINES, compared


def marked(legacy: bytes, new: bytes) -> list[str]:
    """Give the lines that differ."""
    lines = compared(legacy, new)
    assert lines is not None
    return [f"{line.mark}{line.text.strip()}" for line in lines if line.mark in "+-"]


@pytest.mark.parametrize(
    ("legacy", "new", "lines"),
    [
        (b'{"a":1,"b":2}', b'{\n  "b": 2,\n  "a": 1\n}\n', []),
        (b'["\\u00e9\\u003c"]', '["é<"]'.encode(), []),
        (b"[1e2]", b"[100]", []),
        (b"[1.0]", b"[1]", ["-1.0", "+1"]),
        (b'{"a":1}', b'{"a":"1"}', ['-"a": 1', '+"a": "1"']),
        (b'{"a":1,"gone":2}', b'{"a":1}', ['-"a": 1,', '-"gone": 2', '+"a": 1']),
        (b'{"b":1,"a":[1,2]}', b'{"a":[1,3],"b":1}', ["-2", "+3"]),
        (b"<p>a</p>\nb\n", b"<p>a</p>\nc\n", ["-b", "+c"]),
        (b"\x1b[0m", b"x", ["-\\x1b[0m", "+x"]),
        (b'{"a":1}{', b'{"a":1}', ['-{"a":1}{', '+{"a":1}']),
        (b"", b"{}", ["+{}"]),
    ],
)
def test_only_what_a_parser_can_see_is_left(legacy: bytes, new: bytes, lines: list[str]) -> None:
    """Order of members, blanks, escapes and exponents are written alike; every other difference is a line."""
    assert marked(legacy, new) == lines


def test_a_difference_stands_between_its_neighbours() -> None:
    """Two equal lines stand on each side, and a mark where more were left out."""
    body = list(range(100))
    other = [*body[:50], "x", *body[51:]]

    lines = compared(json.dumps(body).encode(), json.dumps(other).encode())

    assert lines is not None
    assert [line.mark for line in lines] == ["…", " ", " ", "-", "+", " ", " ", "…"]


def test_large_bodies_are_not_laid_out() -> None:
    """Too many lines, or too many between the first and the last difference, are refused at once."""
    many = json.dumps(list(range(MAX_LINES + 1))).encode()
    spread = [json.dumps([first, *range(MAX_COMPARED + 10), first]).encode() for first in (-1, -2)]

    assert compared(many, b"[]") is None
    assert compared(spread[0], spread[1]) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_a_body_holds_it_becomes_printable_lines(legacy: bytes, new: bytes) -> None:
    """No body breaks the layout or reaches the terminal unescaped."""
    lines = compared(legacy, new)

    assert lines is not None
    assert all(line.text.isprintable() for line in lines)


def test_hostile_nesting_is_laid_out_without_recursion() -> None:
    """A body as deep as the tree reads it is laid out like any other."""
    deep = b"[" * 400 + b"1" + b"]" * 400

    assert marked(deep, deep.replace(b"1", b"2")) == ["-1", "+2"]
