"""Rules of placing a byte in a JSON body, held against a plain recursive reader."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.json_place import Place, locate, place_of_difference
from tests.shadow.made import VALUES, spelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Say which bytes a value, or a name with what stands before its value, takes."""

    start: int
    end: int
    pointer: str
    kind: str


def spans_of(body: bytes) -> list[Span]:
    """Read a valid body recursively, outer spans before inner ones."""
    text = body.decode("latin-1")
    spans: list[Span] = []

    def gap(at: int) -> int:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        return at

    def string_end(at: int) -> int:
        at += 1
        while text[at] != '"':
            at += 2 if text[at] == "\\" else 1
        return at + 1

    def value(at: int, pointer: str) -> int:
        mine = len(spans)
        first = text[at]
        if first == '"':
            kind, end = "string", string_end(at)
        elif first in "[{":
            kind = "array" if first == "[" else "object"
            spans.append(Span(start=at, end=-1, pointer=pointer, kind=kind))
            end = gap(at + 1)
            index = 0
            while text[end] not in "]}":
                if text[end] == ",":
                    end = gap(end + 1)
                if kind == "object":
                    name_at = end
                    end = string_end(end)
                    name = json.loads(body[name_at:end])
                    inner = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
                    end = gap(gap(end) + 1)
                    spans.append(Span(start=name_at, end=end, pointer=inner, kind="member"))
                else:
                    inner = f"{pointer}/{index}"
                end = gap(value(end, inner))
                index += 1
            end += 1
            spans.pop(mine)
            spans.insert(mine, Span(start=at, end=end, pointer=pointer, kind=kind))
            return end
        else:
            kind = {"t": "boolean", "f": "boolean", "n": "null"}.get(first, "number")
            end = at
            while end < len(text) and text[end] not in " \t\r\n,]}":
                end += 1
        spans.append(Span(start=at, end=end, pointer=pointer, kind=kind))
        return end

    value(gap(0), "")
    return spans


def expected(body: bytes, offset: int) -> tuple[str, str]:
    """Give pointer and kind of the innermost span around a byte."""
    around = [span for span in spans_of(body) if span.start <= offset < span.end]
    return (around[-1].pointer, around[-1].kind) if around else ("", "document")


@given(VALUES, st.integers(0, 2**32))
def test_every_byte_is_placed_in_the_innermost_value_around_it(value: object, seed: int) -> None:
    """For each byte of any body, pointer and type are those of the innermost value or member that holds it."""
    body = spelled(value, seed)

    for offset in range(len(body) + 1):
        place = locate(body, offset)
        assert place is not None
        assert (place.pointer, place.kind) == expected(body, offset)


@given(st.integers(0, 6), st.integers(0, 2**32))
def test_rows_deeper_than_one_pattern_skips_are_walked(depth: int, seed: int) -> None:
    """Values nested deeper than a pattern skips are placed like all others."""
    nested: object = {"x": 1}
    for level in range(depth):
        nested = [nested, level] if level % 2 else {"in": nested, "n": level}
    body = spelled([nested, {"deep": nested, "tail": "ä"}, nested, 5], seed)

    for offset in range(len(body)):
        place = locate(body, offset)
        assert place is not None
        assert (place.pointer, place.kind) == expected(body, offset)


def test_a_scalar_comes_with_its_span() -> None:
    """The span of a scalar is its raw text, quotes included."""
    body = b'{"a": [1, "xy\\n"]}'

    place = locate(body, 12)

    assert place == Place(path=("a", 1), kind="string", start=10, end=16)
    assert body[place.start : place.end] == b'"xy\\n"'


def test_a_pointer_escapes_what_the_standard_says() -> None:
    """Names with ~ and / are escaped as RFC 6901 says, and names are decoded first."""
    body = b'{"~/\\u00e9": {"": 1}}'

    place = locate(body, len(body) - 3)

    assert place is not None
    assert place.pointer == "/~0~1é/"


def test_array_indexes_fold_and_names_that_are_digits_do_not() -> None:
    """Folding replaces array indexes by * and leaves every member name."""
    body = b'{"rows": [0, {"7": [8, 9]}]}'

    place = locate(body, body.index(b"9"))

    assert place is not None
    assert (place.pointer, place.folded) == ("/rows/1/7/1", "/rows/*/7/*")


@pytest.mark.parametrize(
    ("legacy", "new", "pointer"),
    [
        (b'{"n":12}', b'{"n":123}', "/n"),
        (b'{"n":123}', b'{"n":12}', "/n"),
        (b'{"n":1}', b'{"n":1.0}', "/n"),
        (b"[1,1]", b"[1,1e5]", "/1"),
        (b"12", b"123", ""),
        (b"[1]", b"[1,2]", ""),
        (b'{"s":"1"}', b'{"s":"12"}', "/s"),
        (b'{"a":1,"b":2}', b'{"b":2}', "/a"),
        (b'{"a":null}', b'{"a":[]}', "/a"),
        (b'{"a":1}', b'{"a":1}\n', ""),
    ],
)
def test_the_place_of_a_difference_is_the_value_that_differs(legacy: bytes, new: bytes, pointer: str) -> None:
    """A number that goes on, a missing member and a changed value are each named by their own pointer."""
    offset = next((at for at, (one, two) in enumerate(zip(legacy, new, strict=False)) if one != two), len(legacy))

    place = place_of_difference(legacy, new, offset)

    assert place is not None
    assert place.pointer == pointer


@pytest.mark.parametrize(
    "body", [b"", b"[", b"nul", b'"abc', b'{"a" 1}', b"[1 2]", b"]", b"\xff", b'{"a":', b"[1,", b"{,"]
)
def test_what_is_no_json_is_placed_nowhere_or_anywhere_but_never_breaks(body: bytes) -> None:
    """Placing a byte in a broken body ends, with some place or none."""
    for offset in range(len(body) + 2):
        locate(body, offset)


@given(st.text('[]{}",:1a\\ ', max_size=40))
def test_no_body_breaks_the_walk(text: str) -> None:
    """Any sequence of JSON's own characters is walked to an end."""
    for offset in range(len(text) + 1):
        locate(text.encode(), offset)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" + (b"[" * 500 + b"]" * 500 + b",") * 1_000 + b"1]",
        b"[" + b"[[[[[[1]]]]]]," * 70_000 + b"1]",
        b"[" + b'{"a":1},' * 120_000 + b"1]",
        b'["' + b"\\n" * 500_000 + b'",1]',
    ],
)
def test_a_hostile_body_is_walked_soon(body: bytes) -> None:
    """A megabyte of the worst nesting takes less than two seconds to place its last byte."""
    started = time.process_time()

    locate(body, len(body) - 2)

    assert time.process_time() - started < 2.0
