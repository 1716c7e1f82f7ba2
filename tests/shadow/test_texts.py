"""Rules of two texts: what spelling they differ in, and that no other text is ever taken for the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import texts


def spelled(text: str, draw: st.DataObject) -> bytes:
    """Spell a text as JSON, each character in one of the ways that JSON has."""
    spelling = []
    for character in text:
        ways = [json.dumps(character)[1:-1], "".join(rf"\u{code:04x}" for code in utf16(character))]
        ways.append(ways[-1].upper().replace("U", "u", 1) if len(utf16(character)) == 1 else ways[-1])
        if character == "/":
            ways.append("\\/")
        if character >= " " and character not in '"\\' and not "\ud800" <= character <= "\udfff":
            ways.append(character)
        spelling.append(draw.draw(st.sampled_from(ways)))
    return f'"{"".join(spelling)}"'.encode()


def utf16(character: str) -> list[int]:
    """Give the code units of one character."""
    data = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


@given(st.data(), st.text(max_size=30))
def test_two_spellings_of_one_text_are_explained_and_proven(data: st.DataObject, text: str) -> None:
    """Any two spellings of one text differ by escapes alone, and those escapes turn legacy's into new's."""
    legacy, new = spelled(text, data), spelled(text, data)

    causes = texts.spelling_causes(legacy, new)

    assert causes is not None
    assert all(cause.startswith("escape.") for cause in causes)
    assert bool(causes) == (legacy != new)
    assert texts.respell(legacy, new, causes) == new


@given(st.data(), st.text(max_size=12), st.text(max_size=12))
def test_two_texts_are_never_two_spellings(data: st.DataObject, one: str, other: str) -> None:
    """Two strings that decode to two texts are never explained, nor proven, by escapes."""
    legacy, new = spelled(one, data), spelled(other, data)

    if one == other:
        return
    assert texts.spelling_causes(legacy, new) is None
    every = frozenset(f"escape.{kind}" for kind in ("html", "solidus", "non_ascii", "control", "hex_case"))
    assert texts.respell(legacy, new, every) != new


FILLERS = [
    b"x" * 600,
    b"\\u00e9" * 120,
    b"\\\\" * 300,
    "é".encode() * 300,
    b"\\ud83d\\ude00" * 60,
    "😀".encode() * 150,
    b"",
]


@given(st.data(), st.text(max_size=8), st.sampled_from(FILLERS), st.sampled_from(FILLERS))
def test_a_long_text_is_judged_like_its_changed_part(data: st.DataObject, text: str, head: bytes, tail: bytes) -> None:
    """However much both texts share, wherever the shared bytes end, the causes are those of the part that differs."""
    legacy, new = spelled(text, data), spelled(text, data)
    long_legacy, long_new = (b'"%s%s%s"' % (head, side[1:-1], tail) for side in (legacy, new))

    causes = texts.spelling_causes(long_legacy, long_new)

    assert causes is not None
    assert bool(causes) == (legacy != new)
    assert causes == texts.spelling_causes(legacy, new) or b"\\" in head + tail or not (head + tail).isascii()
    assert texts.respell(long_legacy, long_new, causes) == long_new


@pytest.mark.parametrize("filler", FILLERS)
def test_a_window_never_ends_inside_an_escape(filler: bytes) -> None:
    """Escapes that begin and end alike are whole in the part that is looked at."""
    legacy, new = (b'"%s\\u0%s00%s"' % (filler, digit, filler) for digit in (b"C", b"c"))

    assert texts.spelling_causes(legacy, new) == frozenset({"escape.hex_case"})
    assert texts.respell(legacy, new, frozenset({"escape.hex_case"})) == new
