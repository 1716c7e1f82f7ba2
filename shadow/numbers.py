"""Two JSON numbers: one value spelled differently, one value that lost digits on its way, or two values.

Theory: a number's text is a *value* (sign, digits, place of the point) and a *style* (exponent or not, its letter,
sign and padding, a zero fraction). Values are compared exactly, as digit strings; only then may a double, a
float32, a rounding or a scale make them equal. What differs in style is a cause of its own.

Rules of this file:

1. No number is ever turned into a Decimal or written out: digits and a power of ten are enough. So a hostile
   exponent costs nothing; over the limits of :mod:`shadow.json_grammar` nothing is claimed at all.
2. A style can only differ where both sides show it: ``1.5e-9`` does not say how its writer spells ``1.0e-9``.
3. The first rule that *proves* equality wins; nothing is called rounded that is only near.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Final

from shadow.json_grammar import MAX_EXPONENT, MAX_NUMBER_CHARS
from shadow.reason import Reason, Reasons

_NUMBER: Final = re.compile(rb"(-?+)([0-9]++)(?:\.([0-9]++))?+(?:([eE])([+-]?+)([0-9]++))?+")

_MAX_EXACT: Final = 16
"""Digits of 2^53; an integer with fewer is the same in a double."""

_ROUNDED_DECIMALS: Final = 6
"""What json-iterator's fastest mode keeps."""

_ROUNDED_DIGITS: Final = (17, 16, 15)
"""Significant digits that printf-like writers keep (PHP's precision, Ruby's Oj); fewer is another value."""


NONFINITE: Final = frozenset({"NaN", "Infinity", "-Infinity", "inf", "-inf", "nan", "+Inf", "-Inf", "Inf"})
"""How encoders write in quotes what is no number."""


@dataclass(slots=True, eq=False)
class Number:
    """Hold one number's value and style."""

    negative: bool
    digits: bytes
    """Without zeros at either end; empty for zero."""
    point: int
    """The value is 0.digits times ten to this power; 0 for zero."""
    whole: bytes
    fraction: bytes | None
    """``None``: no point is written."""
    letter: bytes
    """``e``, ``E``, or empty: no exponent is written."""
    sign: bytes
    exponent: bytes
    power: int
    """The exponent as a number."""

    def same(self, other: Number) -> bool:
        """Say whether both are one decimal value; zero has no sign here."""
        return (
            self.digits == other.digits
            and self.point == other.point
            and (self.negative == other.negative or not self.digits)
        )

    @property
    def is_integer(self) -> bool:
        """Say whether nothing stands behind the value's point."""
        return len(self.digits) <= self.point or not self.digits

    def scaled(self, decimals: int) -> int | None:
        """Give the value times ten to the power of *decimals* if that is an integer of a sane size."""
        zeros = self.point - len(self.digits) + decimals
        if not self.digits:
            return 0
        if zeros < 0 or zeros > MAX_EXPONENT:
            return None
        value: int = int(self.digits) * 10**zeros
        return -value if self.negative else value

    def double(self) -> float:
        """Give the nearest double."""
        value = float(b"0.%se%d" % (self.digits, self.point)) if self.digits else 0.0
        return -value if self.negative else value


def parse(text: bytes) -> Number | None:
    """Read a number's text; ``None``: it is none, or beyond the limits. Leading zeros are read, as text has them."""
    if len(text) > MAX_NUMBER_CHARS:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    minus, whole, fraction, letter, sign, exponent = match.groups(b"")
    if len(exponent) > 9:
        return None
    power = int(sign + exponent) if letter else 0
    if not -MAX_EXPONENT <= power <= MAX_EXPONENT:
        return None
    digits = (whole + fraction).lstrip(b"0")
    # Digits before the point, less zeros dropped in front.
    point = len(digits) - len(fraction) + power if digits else 0
    written = fraction or None  # a point is never written without digits behind it
    return Number(minus != b"", digits.rstrip(b"0"), point, whole, written, letter, sign, exponent, power)


def is_nonfinite(text: bytes) -> bool:
    """Say whether a number is -Infinity, or as large as Ruby's Oj writes NaN and Infinity: beyond every double."""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARS else None
    if match is None:
        return text == b"-Infinity"
    return bool(match[4]) and match[5] != b"-" and len(match[6].lstrip(b"0")) > 9


# ---- causes ----------------------------------------------------------------------------------------------------------


def number_reasons(one: Number, other: Number) -> Reasons:
    """Say why two numbers are written differently, as far as the numbers alone tell; empty: the values differ."""
    if one.same(other):
        return tuple(map(Reason, _style_causes(one, other)))
    cause, detail = _lost_on_the_way(one, other)
    if not cause:
        return ()
    style = _style_causes(one, other) if _is_style_comparable(one, other) else []
    return (Reason(cause, detail), *map(Reason, style))


def _style_causes(one: Number, other: Number) -> list[str]:
    """Name what differs in style; both have one value, or nearly one."""
    causes = []
    if one.negative != other.negative and not one.digits and not other.digits:
        causes.append("number.negative_zero")
    if _is_odd(one) != _is_odd(other):
        causes.append("number.decimal_spelling")
    elif bool(one.letter) != bool(other.letter):
        causes.append("number.exponent_threshold")
    elif one.letter:
        if _exponent_style_differs(one, other):
            causes.append("number.exponent_spelling")
        elif one.same(other) and one.digits and one.fraction != other.fraction:
            causes.append("number.decimal_spelling")
    elif one.fraction != other.fraction and one.same(other):
        integral = {one.fraction, other.fraction} == {None, b"0"}
        causes.append("number.integral_float" if integral else "number.decimal_spelling")
    elif one.same(other) and one.whole != other.whole:
        causes.append("number.decimal_spelling")  # leading zeros of a number in quotes
    elif {one.fraction, other.fraction} == {None, b"0"}:
        causes.append("number.integral_float")  # 1234567890123456800.0 and 1234567890123456789
    if not causes and one.same(other):  # 1e020 and 1e20, 10e-7 and 1e-6
        causes.append("number.exponent_spelling" if one.letter else "number.decimal_spelling")
    return causes


def _is_odd(number: Number) -> bool:
    """Say whether the exponent follows 0.digits, as BigDecimal writes it."""
    return bool(number.letter) and number.whole.strip(b"0") == b"" and bool(number.digits)


def _exponent_style_differs(one: Number, other: Number) -> bool:
    if one.letter != other.letter:
        return True
    if one.power >= 0 and other.power >= 0 and one.sign != other.sign:
        return True
    # Padding shows only in a small exponent; a zero fraction only where one digit is all there is.
    if len(one.exponent.lstrip(b"0")) < 2 > len(other.exponent.lstrip(b"0")) and len(one.exponent) != len(
        other.exponent
    ):
        return True
    return {one.fraction, other.fraction} == {None, b"0"}


def _is_style_comparable(one: Number, other: Number) -> bool:
    """Say whether both numbers would be written alike by one writer: thresholds are about the place of the point.

    9.99e-7 and 0.000001 would not: the first has an exponent with every writer that switches at 1e-6.
    """
    return one.point == other.point or (bool(one.letter) == bool(other.letter) and bool(one.digits and other.digits))


def _lost_on_the_way(one: Number, other: Number) -> tuple[str, str]:
    """Name the cause that makes two unlike values one, and say which side lost something; empty: none does."""
    # A small negative number may become 0, but nothing becomes -0.
    if one.negative != other.negative and (one if one.negative else other).digits == b"":
        return "", ""
    if one.negative != other.negative and one.digits and other.digits:
        return "", ""
    shorter = "legacy" if len(one.digits) < len(other.digits) else "new"
    if are_one_double(one, other):
        if _is_large_integer(one) or _is_large_integer(other):
            return "number.precision_loss", f"{shorter} went through a double"
        return "number.float_digits", f"{shorter} has fewer digits"
    if _is_float32(one, other):
        shorter = "legacy" if len(one.digits) < len(other.digits) else "new"
        return "number.float32", f"{shorter} writes the float32"
    long, short = (one, other) if len(one.digits) >= len(other.digits) else (other, one)
    if any(len(long.digits) > count and _value(short) in roundings(long, count) for count in _ROUNDED_DIGITS):
        return "number.float_digits", f"{shorter} is rounded"
    kept = long.point + _ROUNDED_DECIMALS
    if len(long.digits) > kept and _value(short) in roundings(long, kept):
        return "number.float_digits", f"{shorter} is rounded to {_ROUNDED_DECIMALS} decimals"
    return "", ""


def are_one_double(one: Number, other: Number) -> bool:
    """Say whether both round to one double; beyond a double's range nothing does."""
    double = one.double()
    return double == other.double() and math.isfinite(double)


def _is_large_integer(number: Number) -> bool:
    """Say whether the number is written as an integer beyond 2^53."""
    return not number.letter and number.is_integer and number.point >= _MAX_EXACT


# ---- values ----------------------------------------------------------------------------------------------------------

Value = tuple[bytes, int]
"""Digits without zeros at either end, and the place of the point."""


def _value(number: Number) -> Value:
    return number.digits, number.point


def roundings(number: Number, kept: int) -> tuple[Value, ...]:
    """Round to so many leading digits: one value, or two where only the double behind the text knows which."""
    if kept < 0:
        return ((b"", 0),)
    head, rest = number.digits[:kept], number.digits[kept:]
    low = int(head or b"0")
    values = (low, low + 1) if rest == b"5" else (low + (rest >= b"5"),)
    return tuple(_shifted(value, number.point - kept) for value in values)


def _shifted(integer: int, power: int) -> Value:
    """Give an integer times ten to a power as digits and point."""
    text = b"%d" % integer
    return (text.rstrip(b"0"), len(text) + power) if integer else (b"", 0)


def _float32(value: float) -> float | None:
    try:
        unpacked: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return None
    return unpacked


def _is_float32(one: Number, other: Number) -> bool:
    """Say whether one number is the other's float32 printed as a double.

    Bound: integers are left alone: 16777217 and 16777216 are one float32, but rarely one value.
    """
    if one.is_integer and other.is_integer:
        return False
    single, other_single = _float32(one.double()), _float32(other.double())
    if single is None or single != other_single or single == 0:
        return False
    # The long one is the float32 itself, to a double's digits (or the 15 that some keep).
    long = one if len(one.digits) >= len(other.digits) else other
    return len(long.digits) > 9 and format(abs(long.double()), ".15g") == format(abs(single), ".15g")


# ---- the proof -------------------------------------------------------------------------------------------------------


def respell(legacy: bytes, new: bytes, causes: frozenset[str]) -> bytes | None:
    """Spell legacy's value in new's style, but only where one of *causes* allows it; ``None``: no number.

    Shape: a value that lost digits is computed from the side that still has them: what legacy lost, nobody
    can compute from legacy, so there the rule is run from new to legacy and new's text given if it holds.
    """
    one, other = parse(legacy), parse(new)
    if one is None or other is None:
        return None
    value = _value(one)
    if not one.same(other):
        cause, _ = _lost_on_the_way(one, other)
        if cause not in causes:
            return legacy
        value = _value(other)
    negative = other.negative if "number.negative_zero" in causes and not one.digits else one.negative
    if bool(one.digits) != bool(other.digits):
        negative = other.negative
    return _write(value, negative, _style(one, other, causes))


@dataclass(slots=True, eq=False)
class _Style:
    """How a number is written, apart from its digits."""

    letter: bytes
    sign: bytes
    """Of an exponent that is not negative."""
    width: int
    """Digits of the exponent at least."""
    shift: int
    """Digits before the point when there is an exponent; negative: zeros behind it."""
    power: int
    """The exponent of zero, which could be any."""
    decimals: int
    """Digits behind the point at least; -1: no point."""
    leading: int


def _style(one: Number, other: Number, causes: frozenset[str]) -> _Style:
    """Take from new what a cause allows, and the rest from legacy."""
    lost = not one.same(other)
    free = lost and not _is_style_comparable(one, other)
    placed = other if free or causes & _PLACES else one
    shown = other if placed.letter and other.letter and causes & _SPELLS_EXPONENT else placed
    exponent = other if not one.letter or causes & _SPELLS_EXPONENT else one
    fraction = other if lost or causes & _SHOWS_FRACTION else one
    return _Style(
        letter=exponent.letter if placed.letter else b"",
        sign=exponent.sign if exponent.power >= 0 else b"",
        width=len(exponent.exponent),
        shift=shown.point - shown.power,
        power=shown.power,
        decimals=-1 if fraction.fraction is None else len(fraction.fraction),
        leading=len(shown.whole),
    )


_PLACES: Final = frozenset({"number.exponent_threshold", "number.decimal_spelling"})
_SPELLS_EXPONENT: Final = frozenset({"number.exponent_spelling", "number.decimal_spelling"})
_SHOWS_FRACTION: Final = _PLACES | {"number.integral_float", "number.exponent_spelling"}


def _write(value: Value, negative: bool, style: _Style) -> bytes:
    """Write a value: its digits come from the value alone, the style only places them."""
    digits, point = value
    exponent = b""
    if style.letter:
        power = point - style.shift if digits else style.power
        point = style.shift if digits else point
        sign = b"-" if power < 0 else b"" if power and style.sign == b"-" else style.sign
        exponent = style.letter + sign + (b"%d" % abs(power)).rjust(style.width, b"0")
    if point > 0:
        whole, fraction = digits[:point].ljust(point, b"0"), digits[point:]
    else:
        whole, fraction = b"", b"0" * -point + digits if digits else b""
    whole = whole.rjust(max(style.leading, 1), b"0") if not whole or style.leading > len(whole) else whole
    fraction = fraction.ljust(max(style.decimals, 0), b"0")
    return (b"-" if negative else b"") + whole + (b"." + fraction if fraction else b"") + exponent
