"""Two moments or two durations: one moment in two shapes, two moments of one clock, one length in two units.

Theory: a moment's text has a *shape* (ISO 8601, RFC 1123 and so on), an instant in whole seconds, digits of a
second and an offset. Two moments are one when their instants are equal to the precision that both have.

Rules of this file:

1. Only shapes whose fields are certain are read: ``03/04/2024`` is no moment to us, it may be two.
2. A moment without an offset is one with any other that shows the same fields, or the same instant read as UTC.
3. A fraction may be cut, never rounded: a clock that ran on looks like rounding.
4. Durations are integers of nanoseconds; a bare number is one only beside another that makes it one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from shadow.numbers import Number
from shadow.reason import Reason, Reasons, because

MAX_TIME_CHARS: Final = 64
"""JavaScript's Date string has 62 with the longest of the usual zone names."""

VOLATILE_SECONDS: Final = 120
"""Two moments closer than this are taken for two readings of one clock."""

_DAY: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = {name: at for at, name in enumerate(_MONTHS, 1)}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Moment:
    """Hold one moment as somebody wrote it."""

    shape: str
    """A key of :data:`_WRITERS`, or the name of a shape that is only read."""
    local: int
    """Seconds since 1970-01-01T00:00:00 of the fields as written."""
    digits: str = ""
    """Of a second's fraction."""
    offset: int | None = 0
    """Seconds east of UTC; ``None``: not said."""
    zone: str = ""
    """The offset as written."""
    is_precise: bool = True
    """Whether the shape can show a fraction; if not, its second is cut."""

    @property
    def instant(self) -> int:
        """Give whole seconds since the epoch; a moment without an offset is taken for UTC."""
        return self.local - (self.offset or 0)


# ---- reading ---------------------------------------------------------------------------------------------------------

_ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:([T ])([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"( ?(?:Z|z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_CLOCK: Final = r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})"
_TWO_DIGITS: Final = r"([0-9]{2}):([0-9]{2}):([0-9]{2})"
_NAMES: Final = "(" + "|".join(_MONTHS) + ")"
_WEEKDAY: Final = "(" + "|".join(_WEEKDAYS) + ")"
_HTTP: Final = re.compile(rf"{_WEEKDAY}, ([0-9]{{2}}) {_NAMES} ([0-9]{{4}}) {_TWO_DIGITS} (GMT|UTC|[+-][0-9]{{4}})")
_MAIL: Final = re.compile(rf"(?:{_WEEKDAY}, )?([0-9]{{1,2}}) {_NAMES} ([0-9]{{4}}) {_CLOCK} (GMT|UTC|[+-][0-9]{{4}})")
_LOCALE: Final = re.compile(
    rf"{_NAMES} ([1-3]?[0-9]), ([0-9]{{4}})(,?) ([1-9]|1[0-2]):([0-9]{{2}}):([0-9]{{2}})([ \u202f])([AP]M)"
)
_JAVA: Final = re.compile(rf"[A-Z][a-z]{{2}} {_NAMES} ([0-9]{{2}}) {_CLOCK} (UTC|GMT|Z) ([0-9]{{4}})")
_JS: Final = re.compile(
    rf"[A-Z][a-z]{{2}} {_NAMES} ([0-9]{{2}}) ([0-9]{{4}}) {_CLOCK} GMT([+-][0-9]{{4}})(?: \([^()]*\))?"
)
_DOTNET: Final = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")
_COMPACT: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(Z|[+-][0-9]{4})?")


def read_moment(text: str) -> Moment | None:
    """Read a moment in one of the shapes we know; ``None``: it is none."""
    return _read_moment(text) if 8 <= len(text) <= MAX_TIME_CHARS else None


@lru_cache(maxsize=4096)
def _read_moment(text: str) -> Moment | None:
    for pattern, read in _READERS:
        match = pattern.fullmatch(text)
        if match is not None:
            try:
                return read(match)
            except ValueError:  # no such day or second
                return None
    return None


def _seconds(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """Count seconds since 1970 as the fields are written. Raises: ValueError."""
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no such second")
    days = date(year, month, day).toordinal() - _EPOCH_DAY
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def _offset(zone: str) -> int | None:
    text = zone.strip()
    if not text:
        return None
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if text[0] == "-" else seconds


def _read_iso(match: re.Match[str]) -> Moment:
    year, month, day, between, hour, minute, second, digits, zone = match.groups()
    if between is None:
        return Moment("date", _seconds(int(year), int(month), int(day)), offset=None, is_precise=False)
    local = _seconds(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))
    shape = ("iso" if between == "T" else "space") + ("" if second else " minutes")
    return Moment(shape, local, digits or "", _offset(zone or ""), zone or "")


def _read_http(match: re.Match[str]) -> Moment:
    weekday, day, month, year, hour, minute, second, zone = match.groups()
    local = _seconds(int(year), _MONTH[month], int(day), int(hour), int(minute), int(second))
    if weekday and weekday != _WEEKDAYS[(local // _DAY + 3) % 7]:  # 1970 began on a Thursday
        raise ValueError("another day of the week")
    shape = "http" if match.re is _HTTP else "RFC 2822"
    return Moment(shape, local, "", _offset(zone), zone, is_precise=False)


def _read_locale(match: re.Match[str]) -> Moment:
    month, day, year, comma, hour, minute, second, blank, half = match.groups()
    hours = int(hour) % 12 + (12 if half == "PM" else 0)
    local = _seconds(int(year), _MONTH[month], int(day), hours, int(minute), int(second))
    return Moment(_LOCALES[comma, blank], local, "", None, is_precise=False)


# Java's medium style with the data of JDK 8, 9 to 19, and 20 and later.
_LOCALES: Final = {
    ("", " "): "locale of JDK 8",
    (",", " "): "locale",
    (",", "\u202f"): "locale of JDK 20",
    ("", "\u202f"): "locale with a narrow blank",
}


def _read_java(match: re.Match[str]) -> Moment:
    month, day, hour, minute, second, zone, year = match.groups()
    local = _seconds(int(year), _MONTH[month], int(day), int(hour), int(minute), int(second))
    return Moment("Date.toString", local, "", 0, zone, is_precise=False)


def _read_js(match: re.Match[str]) -> Moment:
    month, day, year, hour, minute, second, zone = match.groups()
    local = _seconds(int(year), _MONTH[month], int(day), int(hour), int(minute), int(second))
    return Moment("JavaScript Date", local, "", _offset(zone), zone, is_precise=False)


def _read_dotnet(match: re.Match[str]) -> Moment:
    milliseconds = int(match[1])
    return Moment(".NET Date", milliseconds // 1000, f"{milliseconds % 1000:03d}")


def _read_compact(match: re.Match[str]) -> Moment:
    *fields, zone = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    local = _seconds(year, month, day, hour, minute, second)
    return Moment("compact", local, "", _offset(zone or ""), zone or "", is_precise=False)


_READERS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Moment]], ...]] = (
    (_ISO, _read_iso),
    (_HTTP, _read_http),
    (_MAIL, _read_http),
    (_LOCALE, _read_locale),
    (_JAVA, _read_java),
    (_JS, _read_js),
    (_DOTNET, _read_dotnet),
    (_COMPACT, _read_compact),
)

EPOCH_UNITS: Final = {"epoch seconds": 0, "epoch milliseconds": 3, "epoch microseconds": 6, "epoch nanoseconds": 9}
"""Digits behind the second that each unit counts."""


def read_epoch(number: Number, unit: str) -> Moment | None:
    """Read a number as a count of *unit* since 1970; digits below the unit are kept; ``None``: out of the calendar."""
    nanoseconds = number.scaled(9 - EPOCH_UNITS[unit])
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if abs(seconds) > 253_402_300_799:  # the end of 9999
        return None
    digits = f"{rest:09d}"
    shown = EPOCH_UNITS[unit]
    return Moment(unit, seconds, digits[:shown] + digits[shown:].rstrip("0"))


def plausible_epoch(number: Number) -> Moment | None:
    """Read a number as an epoch between 1973 and 2100, in the unit that its size tells; ``None``: it is none."""
    if number.negative or number.letter or not 9 <= number.point <= 19:
        return None
    unit = next(unit for unit, more in reversed(EPOCH_UNITS.items()) if number.point >= 9 + more)
    moment = read_epoch(number, unit)
    return moment if moment is not None and 100_000_000 <= moment.local < 4_102_444_800 else None


@lru_cache(maxsize=256)
def offset_in(zone: str, local: int) -> int | None:
    """Give the offset of a named zone at a local time by this machine's zone tables; ``None``: unknown."""
    try:
        then = datetime(1970, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(seconds=local)
        offset = then.utcoffset()
    except (ValueError, OSError, OverflowError, KeyError):
        return None
    return None if offset is None else int(offset.total_seconds())


# ---- comparing -------------------------------------------------------------------------------------------------------

_ISO_SHAPES: Final = frozenset({"iso", "space", "iso minutes", "space minutes"})
_OF_ISO: Final = {"iso": "T", "space": "space"}


def moment_reasons(one: Moment, other: Moment) -> Reasons:
    """Say why one moment is written in two ways, or why two are near; empty: they are two moments."""
    if not _is_one(one, other):
        if one.shape != "date" and other.shape != "date" and _distance(one, other) <= VOLATILE_SECONDS * 10**9:
            return because("volatile.timestamp")
        return ()
    if one.shape not in _ISO_SHAPES or other.shape not in _ISO_SHAPES:
        return because("time.format", f"{one.shape} -> {other.shape}")
    reasons = []
    if one.shape != other.shape:
        reasons.append(
            Reason("time.format", f"{_OF_ISO.get(one.shape, one.shape)} -> {_OF_ISO.get(other.shape, other.shape)}")
        )
    if one.digits != other.digits:
        reasons.append(Reason("time.fraction", f"{len(one.digits)} -> {len(other.digits)} digits"))
    if one.zone != other.zone:
        reasons.append(Reason("time.zone", f"{one.zone.strip() or 'none'} -> {other.zone.strip() or 'none'}"))
    return tuple(reasons) or because("time.format", "comma -> point")


def epoch_unit(number: Number, moment: Moment) -> str:
    """Give the unit in which the number is the moment; empty: in none."""
    for unit in EPOCH_UNITS:
        epoch = read_epoch(number, unit)
        if epoch is not None:
            reasons = moment_reasons(epoch, moment)
            if reasons and reasons[0].cause == "time.format":
                return unit
    return ""


def is_zero_time(text: str) -> bool:
    """Say whether the text is the first moment of the calendar: Go's zero time, .NET's and SQL's."""
    return text.startswith(("0001-01-01", "0000-00-00")) and len(text) <= MAX_TIME_CHARS


def _is_one(one: Moment, other: Moment) -> bool:
    if one.shape == "date" or other.shape == "date":
        dated, timed = (one, other) if one.shape == "date" else (other, one)
        return timed.shape != "date" and dated.local in (timed.local, timed.instant) and not timed.digits.strip("0")
    if not _same_digits(one, other):
        return False
    if one.instant == other.instant:
        return True
    return (one.offset is None) != (other.offset is None) and one.local == other.local


_CUT_AT: Final = frozenset({0, 3, 6, 7})
"""Digits that writers cut a fraction to; with another count the missing digits were zeros."""


def _same_digits(one: Moment, other: Moment) -> bool:
    """Say whether one fraction is the other, cut or with zeros dropped."""
    long, short = (one.digits, other.digits) if len(one.digits) >= len(other.digits) else (other.digits, one.digits)
    rest = long[len(short) :]
    return long.startswith(short) and (len(short) in _CUT_AT or not rest.strip("0"))


def _distance(one: Moment, other: Moment) -> int:
    nanoseconds = int(one.digits.ljust(9, "0")) - int(other.digits.ljust(9, "0"))
    return abs((one.instant - other.instant) * 10**9 + nanoseconds)


# ---- the proof of moments --------------------------------------------------------------------------------------------


def respell_moment(one: Moment, other: Moment, causes: frozenset[str]) -> str | None:
    """Write legacy's moment in new's shape, digits and zone, but only where one of *causes* allows it.

    Shape: ``None`` where new's shape is one that we only read. Digits that legacy has cut stand in new alone:
    then new's are taken if legacy's are their beginning.
    """
    writer = _WRITERS.get(other.shape if "time.format" in causes else one.shape)
    if writer is None or not _is_one(one, other):
        return None
    whole = one.shape not in _ISO_SHAPES or other.shape not in _ISO_SHAPES
    digits = other.digits if "time.fraction" in causes or whole else one.digits
    free = "time.zone" in causes or whole
    offset, zone = (other.offset, other.zone) if free else (one.offset, one.zone)
    # Without an offset the fields speak for themselves (rule 2).
    local = one.instant + (offset or 0)
    if free and (one.offset is None) != (other.offset is None) and one.local == other.local:
        local = one.local
    return writer(local, digits, zone)


def _write_iso(local: int, digits: str, zone: str, between: str = "T") -> str:
    day, clock = divmod(local, _DAY)
    text = f"{_date_of(day)}{between}{_clock(clock)}"
    return f"{text}.{digits}{zone}" if digits else text + zone


def _write_space(local: int, digits: str, zone: str) -> str:
    return _write_iso(local, digits, zone, " ")


def _write_date(local: int, digits: str, zone: str) -> str:
    return str(_date_of(local // _DAY))


def _write_http(local: int, digits: str, zone: str) -> str:
    day, clock = divmod(local, _DAY)
    then = _date_of(day)
    return (
        f"{_WEEKDAYS[then.weekday()]}, {then.day:02d} {_MONTHS[then.month - 1]} {then.year:04d} {_clock(clock)} {zone}"
    )


def _locale_writer(comma: str, blank: str) -> Callable[[int, str, str], str]:
    def write(local: int, digits: str, zone: str) -> str:
        day, clock = divmod(local, _DAY)
        then, hour = _date_of(day), clock // 3600
        shown = f"{hour % 12 or 12}:{_clock(clock)[3:]}{blank}{'PM' if hour > 11 else 'AM'}"
        return f"{_MONTHS[then.month - 1]} {then.day}, {then.year:04d}{comma} {shown}"

    return write


def _epoch_writer(unit: str) -> Callable[[int, str, str], str]:
    def write(local: int, digits: str, zone: str) -> str:
        shown = EPOCH_UNITS[unit]
        count = (
            int(f"{abs(local)}{digits[:shown].ljust(shown, '0')}")
            if local >= 0
            else (local * 10**shown + int(digits[:shown].ljust(shown, "0") or "0"))
        )
        rest = digits[shown:]
        return f"{count}.{rest}" if rest else str(count)

    return write


def _date_of(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


_WRITERS: Final[dict[str, Callable[[int, str, str], str]]] = {
    "iso": _write_iso,
    "space": _write_space,
    "date": _write_date,
    "http": _write_http,
    **{shape: _locale_writer(comma, blank) for (comma, blank), shape in _LOCALES.items()},
    **{unit: _epoch_writer(unit) for unit in EPOCH_UNITS},
}


# ---- durations -------------------------------------------------------------------------------------------------------

NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Units in which a bare number counts a duration."""

_PER: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "µs": 1000, "μs": 1000, "ns": 1}
_AMOUNT: Final = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
_ISO_DURATION: Final = re.compile(
    rf"(-?)P(?:{_AMOUNT}W)?(?:{_AMOUNT}D)?(?:T(?:{_AMOUNT}H)?(?:{_AMOUNT}M)?(?:{_AMOUNT}S)?)?"
)
_CLOCK_DURATION: Final = re.compile(
    r"(-?)(?:([0-9]{1,7}) (?:days?, )?)?([0-9]{1,3}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,9})?)"
)
_GO_DURATION: Final = re.compile(r"-?(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:h|ms|m|s|us|µs|μs|ns))+")
_GO_PART: Final = re.compile(_AMOUNT + r"(h|ms|m|s|us|µs|μs|ns)")


def read_duration(text: str) -> int | None:
    """Read a duration with its unit, ISO 8601, h:m:s or Go's, as nanoseconds; ``None``: it is none."""
    return _read_duration(text) if 2 <= len(text) <= MAX_TIME_CHARS else None


@lru_cache(maxsize=1024)
def _read_duration(text: str) -> int | None:
    match = _CLOCK_DURATION.fullmatch(text)
    if match is not None:
        sign, days, hours, minutes, seconds = match.groups()
        total = _amount(days, _DAY * 10**9) + _amount(hours, _PER["h"]) + _amount(minutes, _PER["m"])
        return _signed(sign, total + _amount(seconds, 10**9))
    match = _ISO_DURATION.fullmatch(text)
    if match is not None and text[-1] not in "PT":
        sign, *amounts = match.groups()
        units = (7 * _DAY * 10**9, _DAY * 10**9, _PER["h"], _PER["m"], _PER["s"])
        return _signed(sign, sum(map(_amount, amounts, units)))
    if _GO_DURATION.fullmatch(text) is not None:
        return _signed(text[0], sum(_amount(amount, _PER[unit]) for amount, unit in _GO_PART.findall(text)))
    return None


def _signed(sign: str, total: int) -> int:
    return -total if sign == "-" else total


def _amount(text: str | None, unit: int) -> int:
    """Multiply exactly: nine digits behind the point are all that nanoseconds need."""
    if not text:
        return 0
    whole, _, fraction = text.partition(".")
    return int(whole) * unit + int(fraction.ljust(9, "0") if fraction else "0") * unit // 10**9


def unit_of(number: Number, nanoseconds: int) -> str:
    """Give the unit in which *number* counts the duration; empty: in none."""
    for unit, factor in NANOSECONDS.items():
        if number.scaled(len(str(factor)) - 1) == nanoseconds:
            return unit
    return ""


# ---- scales of bare numbers ------------------------------------------------------------------------------------------


def scale_between(one: Number, other: Number) -> int:
    """Give the power of ten, a multiple of three up to nine, between two numbers of equal digits; 0: there is none."""
    if one.digits != other.digits or one.negative != other.negative or not one.digits:
        return 0
    power = other.point - one.point
    return power if abs(power) in (3, 6, 9) else 0


def scale_text(power: int) -> str:
    """Say a scale in words."""
    return f"new is 10^{power} of legacy"
