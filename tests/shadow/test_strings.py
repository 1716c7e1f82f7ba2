"""Rules of two strings of two texts: the order of the rules, and what each of them does not claim."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import strings

ESCAPES = frozenset(f"escape.{kind}" for kind in ("html", "solidus", "non_ascii", "control", "hex_case"))


def causes(one: str, other: str, name: str = "") -> set[str]:
    """Name the causes of two texts."""
    return {reason.cause for reason in strings.string_reasons(f'"{one}"'.encode(), f'"{other}"'.encode(), name)}


@pytest.mark.parametrize(
    ("one", "other", "cause"),
    [
        ("12", "3132", "value.changed"),
        ("aGk=", "aGk", "type.bytes"),
        ("hi", "6869", "type.bytes"),
        ("AAH//j4/", "AAH__j4_", "type.bytes"),
        ("STATUS_PAID", "paid", "type.enum"),
        ("dGhpcyBpcyBh", "DGHPCYBPCYBH", "type.enum"),
        ("dGhpcyBpcyBh", "dGHPCYBPcYBh", "value.changed"),
        ("two words", "Two Words", "value.changed"),
        ("2024-01-02", "2024-01-03", "value.changed"),
        ("1704164645", "2024-01-02T03:04:05Z", "time.format"),
        ("", "abc", "value.changed"),
        ("", "0001-01-01T00:00:00Z", "null.zero_value"),
        ("R&D", "R&amp;D", "value.changed"),
        ("ok\\r\\n", "ok", "value.changed"),
    ],
)
def test_the_first_rule_that_proves_one_meaning_wins(one: str, other: str, cause: str) -> None:
    """Two texts have the cause of the rule that proves most, and are a change where none proves anything."""
    assert causes(one, other) == {cause}
    assert causes(other, one) == {cause}


@given(st.binary(min_size=3, max_size=30))
def test_bytes_in_two_shapes_are_one_value(data: bytes) -> None:
    """Base64 and hexadecimal of the same octets are the same bytes."""
    one, other = base64.b64encode(data).decode(), data.hex()

    if not (one.isdigit() and other.isdigit()):
        assert causes(one, other) == {"type.bytes"}


@given(st.uuids(version=4), st.uuids(version=4))
def test_two_drawn_identifiers_are_noise(one: object, other: object) -> None:
    """Two random UUIDs are two identifiers, whatever the member is called."""
    if one != other:
        assert causes(str(one), str(other)) == {"volatile.id"}


@given(
    st.text(st.characters(codec="utf-8", exclude_characters='"\\\\', min_codepoint=32), min_size=1, max_size=20),
    st.data(),
)
def test_a_changed_text_is_never_proven_by_escapes(text: str, data: st.DataObject) -> None:
    """Whatever character of a text is another one, no escape turns the one text into the other."""
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from("aZ0 <é😀").filter(lambda one: one != text[at])) + text[at + 1 :]
    one, other = f'"{text}"'.encode(), f'"{changed}"'.encode()

    assert strings.respell(one, other, ESCAPES) != other
    assert not causes(text, changed) <= ESCAPES
