"""Rules of two numbers: equal values are proven equal, and only the style that differs is named."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shadow import numbers

NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\Z").map(str.encode)


@given(NUMBERS, NUMBERS)
def test_two_numbers_are_one_value_exactly_when_their_decimals_are_equal(one: bytes, other: bytes) -> None:
    """Values are compared as decimals, never rounded."""
    left, right = numbers.parse(one), numbers.parse(other)
    assert left is not None
    assert right is not None

    assert left.same(right) == (Decimal(one.decode()) == Decimal(other.decode()))


@given(NUMBERS)
def test_a_number_written_in_its_own_style_is_itself(text: bytes) -> None:
    """Without a cause nothing about a number changes."""
    assert numbers.respell(text, text, frozenset()) == text
