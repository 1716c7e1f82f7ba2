"""Rules of two numbers: equal values are proven equal, and only the style that differs is named."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadow import numbers

NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\Z").map(str.encode)


COSMETIC = frozenset(
    f"number.{name}"
    for name in ("integral_float", "exponent_threshold", "exponent_spelling", "decimal_spelling", "negative_zero")
)


@dataclass(frozen=True)
class Writer:
    """How one encoder writes doubles."""

    from_power: int
    to_power: int
    letter: str
    plus: str
    padding: int
    integral: str

    def write(self, value: float) -> bytes:
        """Write the shortest digits of a double."""
        sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
        assert isinstance(exponent, int)
        text = "".join(map(str, digits))
        power = exponent + len(text) - 1 if value else 0
        if self.from_power <= power < self.to_power:
            if power < 0:
                body = "0." + "0" * (-power - 1) + text
            else:
                body = text[: power + 1].ljust(power + 1, "0") + (
                    "." + text[power + 1 :] if text[power + 1 :] else self.integral
                )
        else:
            mantissa = text[0] + ("." + text[1:] if text[1:] else self.integral)
            body = f"{mantissa}{self.letter}{'-' if power < 0 else self.plus}{str(abs(power)).rjust(self.padding, '0')}"
        return f"{'-' if sign else ''}{body}".encode()


WRITERS = st.builds(
    Writer,
    from_power=st.integers(-7, -1),
    to_power=st.integers(1, 22),
    letter=st.sampled_from("eE"),
    plus=st.sampled_from(["", "+"]),
    padding=st.integers(1, 2),
    integral=st.sampled_from(["", ".0"]),
)
DOUBLES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
)


@given(DOUBLES, WRITERS, WRITERS)
@example(1e-7, Writer(-5, 15, "e", "+", 1, ".0"), Writer(-4, 16, "e", "+", 2, ""))
def test_one_double_of_two_writers_is_explained_and_proven(value: float, legacy: Writer, new: Writer) -> None:
    """Whatever two encoders do with exponents and zero fractions is explained by style, and the style is the proof."""
    one, other = legacy.write(value), new.write(value)
    left, right = numbers.parse(one), numbers.parse(other)
    assert left is not None
    assert right is not None

    if one == other:
        return
    causes = frozenset(reason.cause for reason in numbers.number_reasons(left, right))

    assert causes
    assert causes <= COSMETIC
    assert numbers.respell(one, other, causes) == other


@given(DOUBLES, DOUBLES, WRITERS, WRITERS)
def test_style_never_turns_one_value_into_another(
    value: float, other_value: float, legacy: Writer, new: Writer
) -> None:
    """No cause of style proves a number that has another value."""
    one, other = legacy.write(value), new.write(other_value)

    if value != other_value:
        assert numbers.respell(one, other, COSMETIC) != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"1e310", b"2e310"),
        (b"-0", b"1e-9"),
        (b"1", b"2"),
        (b"0.5", b"-0.5"),
        (b"344.98", b"345"),
        (b"9007199254740991", b"9007199254740992"),
    ],
)
def test_numbers_that_only_a_limit_makes_equal_are_two(one: bytes, other: bytes) -> None:
    """Beyond a double's range, around zero and above 2^53 nothing is equal that is not proven to be."""
    left, right = numbers.parse(one), numbers.parse(other)
    assert left is not None
    assert right is not None

    assert numbers.number_reasons(left, right) == ()


@pytest.mark.parametrize("causes", [frozenset(), *(frozenset({cause}) for cause in sorted(COSMETIC))])
def test_a_missing_cause_leaves_the_proof_open(causes: frozenset[str]) -> None:
    """A number that differs in threshold and digits is not proven by one of the two, or by any other cause."""
    assert numbers.respell(b"1.0000000000000001e-5", b"0.00001", causes) != b"0.00001"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_float32_is_recognised_whichever_side_has_it(value: float) -> None:
    """A number that passed through 32 bits is named so, unless it is the same number or an integer."""
    shortest = next(
        text for text in (f"{value:.{digits}g}" for digits in range(1, 18)) if to_float32(float(text)) == value
    )
    one, other = numbers.parse(repr(value).encode()), numbers.parse(shortest.encode())
    assert one is not None
    assert other is not None

    if one.same(other) or (one.is_integer and other.is_integer) or len(one.digits) < 10:
        return
    for left, right in ((one, other), (other, one)):
        assert numbers.number_reasons(left, right)[0].cause in ("number.float32", "number.float_digits")


def to_float32(value: float) -> float | None:
    """Round to 32 bits."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return None
    return rounded


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
