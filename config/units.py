"""Durations, sizes, shares and rates: how people write them and what we count in.

Everything is exact. A text that cannot be held without rounding is refused,
so that ``format_…`` of a parsed value always parses back to the same value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from config.errors import UnfitError

DURATION: Final = "a duration such as 250ms, 30s or 7d"
SIZE: Final = "a size such as 64KiB or 10MiB"
SHARE: Final = "a share from 0% to 100% in steps of 0.01%, such as 12.5%"
RATE: Final = "a number per second from 0.001 to 1000000, or off"

DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB|TiB)$"
SHARE_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]+)?%$"

MAX_DURATION_NS: Final = 3_650 * 86_400 * 10**9
"""Ten years: longer is a typing error, and every sum of two still fits 63 bits."""
MAX_SIZE_BYTES: Final = 1 << 50

_DURATION_UNITS: Final = {
    "d": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
_SIZE_UNITS: Final = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
# 18 digits bound the work on a hostile text; every value that passes the maxima needs fewer.
_QUANTITY: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?([A-Za-z%µ]*)", re.ASCII)


def duration_ns(text: str) -> int:
    """Read ``250ms``, ``1.5s`` or ``7d``.

    Unit: the result is in nanoseconds.
    Raises: UnfitError without a unit, beyond ten years, or finer than a nanosecond.
    """
    value = _scaled(text, _DURATION_UNITS, DURATION, example="30s")
    if value > MAX_DURATION_NS:
        raise UnfitError(text, DURATION, "at most 3650d")
    return value


def format_duration(value_ns: int) -> str:
    """Write a duration in the largest unit that holds it exactly."""
    return _formatted(value_ns, _DURATION_UNITS) if value_ns else "0s"


def size_bytes(text: str) -> int:
    """Read ``64KiB`` or ``1.5MiB``.

    Unit: the result is in bytes.
    Raises: UnfitError without a unit, with a decimal unit (``KB``), beyond 1 PiB, or finer than a byte.
    """
    value = _scaled(text, _SIZE_UNITS, SIZE, example="64KiB")
    if value > MAX_SIZE_BYTES:
        raise UnfitError(text, SIZE, "at most 1024TiB")
    return value


def format_size(value_bytes: int) -> str:
    """Write a size in the largest unit that holds it exactly."""
    return _formatted(value_bytes, _SIZE_UNITS) if value_bytes else "0B"


def share_bp(text: str) -> int:
    """Read ``12.5%``.

    Unit: the result is in basis points, 0 to 10,000.
    Raises: UnfitError without ``%``, above 100 % or finer than 0.01 %.
    """
    if _QUANTITY.fullmatch(text) and not text.endswith("%"):
        raise UnfitError(text, SHARE, f"write {text}%")
    value = _scaled(text, {"%": 100}, SHARE, example="12.5%")
    if value > 10_000:
        raise UnfitError(text, SHARE, "a share cannot exceed 100%")
    return value


def percent_bp(text: str) -> int:
    """Read a share whose place already says percent: ``12.5`` and ``12.5%`` are the same.

    Unit: the result is in basis points, 0 to 10,000.
    Raises: UnfitError above 100 or finer than 0.01.
    """
    return share_bp(text if text.endswith("%") else f"{text}%")


def format_share(value_bp: int) -> str:
    """Write basis points as percent, without trailing zeros."""
    whole, rest = divmod(value_bp, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%"


def share_or_off_bp(text: str) -> int | None:
    """Read a share, or ``off``, which is no limit and gives ``None``.

    Raises: UnfitError as :func:`share_bp`.
    """
    return None if text == "off" else share_bp(text)


def format_share_or_off(value_bp: int | None) -> str:
    """Write a share as percent; ``None`` is ``off``."""
    return "off" if value_bp is None else format_share(value_bp)


def rate_per_second(text: str) -> float | None:
    """Read ``50``, ``0.5`` or ``off``, which is no limit and gives ``None``.

    Raises: UnfitError for zero, more than a million, or finer than a thousandth.
    """
    if text == "off":
        return None
    thousandths = _scaled(text, {"": 1_000}, RATE, example="50")
    if not 1 <= thousandths <= 10**9:
        raise UnfitError(text, RATE)
    return thousandths / 1_000


def format_rate(value: float | None) -> str:
    """Write a rate without trailing zeros; ``None`` is ``off``."""
    return "off" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _scaled(text: str, units: Mapping[str, int], expected: str, example: str) -> int:
    """Multiply the number in *text* by its unit, exactly or not at all."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise UnfitError(text, expected)
    whole, fraction, unit = found[1], found[2] or "", found[3]
    if unit not in units:
        near = {name.lower(): name for name in units}
        near |= {name.lower().replace("ib", "b"): name for name in units}
        if not unit:
            hint = f"say the unit, for example {example}"
        elif unit.lower() in near:
            hint = f"write {near[unit.lower()]}"
        else:
            hint = f"the units are {', '.join(reversed(tuple(units)))}" if any(units) else "without a unit"
        raise UnfitError(text, expected, hint)
    scale, divisor = units[unit], int("1" + "0" * len(fraction))
    value, rest = divmod(int(whole + fraction) * scale, divisor)
    if rest:
        raise UnfitError(text, expected, "that is finer than can be counted")
    return value


def _formatted(value: int, units: Mapping[str, int]) -> str:
    """Write *value* in the first, largest unit that divides it."""
    return next(f"{value // scale}{unit}" for unit, scale in units.items() if value % scale == 0)
