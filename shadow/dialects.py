"""How encoders spell numbers, moments and durations: a few parameters each, enough to spell any value as they do.

Used both ways: the dialect of a legacy service is the one that spells every recorded lexeme, and the code that is
written for the new one (:mod:`shadow.gocode`) takes its parameters from it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatDialect:
    """Say how a double with the shortest digits is laid out."""

    low: int
    """The smallest power of ten without an exponent."""
    high: int
    """The smallest power of ten with one."""
    has_point: bool
    """1 is written ``1.0``."""
    has_mantissa_point: bool = False
    """1e16 is written ``1.0e+16``."""
    letter: str = "e"
    plus: str = "+"
    """What stands before a positive exponent."""
    digits: int = 1
    """Fewest digits of an exponent."""
    keeps_minus_zero: bool = True
    nonfinite: str = ""
    """What NaN and Infinity become; empty: an error."""

    def spell(self, value: float) -> str:
        """Write a finite number."""
        assert math.isfinite(value)
        if value == 0:
            return ("-" if math.copysign(1, value) < 0 and self.keeps_minus_zero else "") + self._fraction("0")
        sign = "-" if value < 0 else ""
        mantissa, _, power = f"{abs(value)!r}e0".partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits = (whole + fraction).lstrip("0")
        exponent = int(power.partition("e")[0]) + len(whole) - 1
        if whole == "0":
            exponent = int(power.partition("e")[0]) - (len(fraction) - len(fraction.lstrip("0"))) - 1
        digits = digits.rstrip("0") or "0"
        if self.low <= exponent < self.high:
            return sign + self._positional(digits, exponent)
        return sign + self._scientific(digits, exponent)

    def _fraction(self, text: str) -> str:
        return f"{text}.0" if self.has_point and "." not in text else text

    def _positional(self, digits: str, exponent: int) -> str:
        if exponent < 0:
            return "0." + "0" * (-exponent - 1) + digits
        whole = digits[: exponent + 1].ljust(exponent + 1, "0")
        fraction = digits[exponent + 1 :]
        return self._fraction(f"{whole}.{fraction}" if fraction else whole)

    def _scientific(self, digits: str, exponent: int) -> str:
        mantissa = digits[0] + (f".{digits[1:]}" if digits[1:] else ".0" if self.has_mantissa_point else "")
        sign = "-" if exponent < 0 else self.plus
        return f"{mantissa}{self.letter}{sign}{str(abs(exponent)).rjust(self.digits, '0')}"


GO: Final = FloatDialect(low=-6, high=21, has_point=False)

FLOATS: Final = MappingProxyType(
    {
        "Go": GO,
        "JavaScript": FloatDialect(low=-6, high=21, has_point=False, keeps_minus_zero=False, nonfinite="null"),
        "Go with a point": FloatDialect(low=-6, high=21, has_point=True),
        "orjson": FloatDialect(low=-5, high=16, has_point=True, nonfinite="null"),
        "ujson": FloatDialect(low=-4, high=16, has_point=True),
        "Python": FloatDialect(low=-4, high=16, has_point=True, digits=2),
        "PHP": FloatDialect(low=-4, high=17, has_point=False, has_mantissa_point=True),
        "Ruby": FloatDialect(low=-4, high=16, has_point=True, has_mantissa_point=True, digits=2),
        "Java": FloatDialect(low=-3, high=7, has_point=True, has_mantissa_point=True, letter="E", plus=""),
    }
)
"""By the name that people read, nearest to Go first: what was never seen to differ most likely does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeDialect:
    """Say how a moment is written."""

    digits: int = 0
    """Of the fraction of a second; what is beyond them is cut off."""
    is_always_fractional: bool = False
    """The fraction is written although it is zero."""
    zero: str = "Z"
    """How UTC is written: ``Z`` or ``+00:00``."""
    is_utc: bool = False
    """Every moment is moved to UTC."""
    gap: str = "T"
    shape: str = "iso"
    """``iso``, ``http`` (RFC 1123) or ``milliseconds`` since 1970."""

    def spell(self, moment: datetime) -> str:
        """Write a moment as a JSON lexeme."""
        if self.shape == "milliseconds":
            return str((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
        if self.is_utc:
            moment = moment.astimezone(UTC)
        if self.shape == "http":
            day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
            return f'"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"'
        text = moment.replace(tzinfo=None, microsecond=0).isoformat(self.gap)
        if self.digits and (self.is_always_fractional or moment.microsecond):
            text += "." + f"{moment.microsecond:06}"[: self.digits]
        offset = moment.strftime("%z")
        offset = f"{offset[:3]}:{offset[3:5]}"
        return f'"{text}{self.zero if offset == "+00:00" else offset}"'


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

TIMES: Final = MappingProxyType(
    {
        "whole seconds": TimeDialect(),
        "Django": TimeDialect(digits=3),
        "Django REST framework": TimeDialect(digits=6),
        "JavaScript": TimeDialect(digits=3, is_always_fractional=True, is_utc=True),
        "Laravel": TimeDialect(digits=6, is_always_fractional=True, is_utc=True),
        "isoformat": TimeDialect(digits=6, zero="+00:00"),
        "str()": TimeDialect(digits=6, zero="+00:00", gap=" "),
        "RFC 1123": TimeDialect(is_utc=True, shape="http"),
        "milliseconds since 1970": TimeDialect(shape="milliseconds"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationDialect:
    """Say how a duration is written."""

    shape: str
    """``milliseconds``, ``seconds`` (a float) or ``iso`` (Django's P0DT01H30M00S)."""

    def spell(self, duration: timedelta) -> str:
        """Write a duration that is not negative as a JSON lexeme."""
        if self.shape == "milliseconds":
            return str(duration // timedelta(milliseconds=1))
        if self.shape == "seconds":
            return FLOATS["Python"].spell(duration.total_seconds())
        seconds, micros = divmod(duration // timedelta(microseconds=1), 10**6)
        fraction = f".{micros:06}" if micros else ""
        hours, minutes = divmod(seconds // 60, 60)
        return f'"P{hours // 24}DT{hours % 24:02}H{minutes:02}M{seconds % 60:02}{fraction}S"'


DURATIONS: Final = MappingProxyType(
    {
        "milliseconds": DurationDialect(shape="milliseconds"),
        "seconds": DurationDialect(shape="seconds"),
        "Django's ISO 8601": DurationDialect(shape="iso"),
    }
)


def float_dialects(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Name the dialects that spell every one of these numbers as legacy does, in the table's order.

    Shape: *pairs* hold legacy's lexeme and new's; those of two values, cut or redacted ones decide nothing.
    """
    numbers = [number for legacy, new in pairs if (number := _number(legacy, new)) is not None]
    return _fitting({name: one.spell for name, one in FLOATS.items()}, numbers)


def _number(legacy: str, new: str) -> tuple[float, str] | None:
    """Give the value of two equal lexemes with legacy's; a zero has a sign if one of them writes it."""
    try:
        one, other = float(legacy), float(new)
    except ValueError:
        return None
    if one != other or not math.isfinite(one):
        return None
    return (one if math.copysign(1, one) < 0 else other), legacy


def time_dialects(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Name the dialects that turn every one of new's RFC 3339 lexemes into legacy's, in the table's order.

    Shape: *pairs* hold legacy's lexeme and new's, with their quotes. Where new's is no moment, or legacy's has no
    zone (its clock's, which only its own code knows), they decide nothing.
    """
    moments = [
        (moment, legacy)
        for legacy, new in pairs
        if (moment := _moment(new)) is not None and not _NAIVE.fullmatch(legacy)
    ]
    return _fitting({name: one.spell for name, one in TIMES.items()}, moments)


_NAIVE: Final = re.compile(r'"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?"')


def duration_dialects(pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Name the dialects that turn every one of new's nanoseconds into legacy's lexeme, in the table's order."""
    durations = [(duration, legacy) for legacy, new in pairs if (duration := _duration(new)) is not None]
    return _fitting({name: one.spell for name, one in DURATIONS.items()}, durations)


T = TypeVar("T")


def _fitting(spellers: Mapping[str, Callable[[T], str]], values: list[tuple[T, str]]) -> tuple[str, ...]:
    """Name what spells every value as its lexeme; without values nothing is decided."""
    if not values:
        return ()
    return tuple(name for name, spell in spellers.items() if all(spell(value) == lexeme for value, lexeme in values))


def _duration(lexeme: str) -> timedelta | None:
    try:
        duration = timedelta(microseconds=int(lexeme) // 1000)
    except (ValueError, OverflowError):
        return None
    return duration if duration >= timedelta() else None


def _moment(lexeme: str) -> datetime | None:
    """Read a JSON string with an RFC 3339 moment; what is finer than microseconds is cut off."""
    try:
        text = json.loads(lexeme)
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
