"""Say whether two values are alike in the way that a tolerance's rule asks for.

Values are plain (:mod:`shadow.json_value`): numbers are ``bytes`` in their one spelling, strings ``str``, strings
with broken UTF-8 tuples. What is not clearly alike is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Final, TypeGuard

from config.spec import RuleSpec
from shadow.numbers import parse
from shadow.times import Moment, plausible_epoch, read_moment

MAX_ID_CHARS: Final = 256
"""Longer texts are not identifiers but content."""

COUNTER_APART: Final = 1_000
"""How far apart two counters may be where the rule does not say it."""

_UUIDS: Final = tuple(
    re.compile(rf"{h}{{8}}{dash}{h}{{4}}{dash}{h}{{4}}{dash}{h}{{4}}{dash}{h}{{12}}")
    for h in ("[0-9a-f]", "[0-9A-F]")
    for dash in ("-", "")
)
_IDENTIFIER: Final = re.compile(rf"[!-~]{{1,{MAX_ID_CHARS}}}")
_WHOLE: Final = re.compile(rb"[0-9]{1,40}")

# A plain number reaches from 1e-1400 to 1e1400 (json_grammar): every difference and product of two is exact.
_EXACT: Final = Context(prec=5_000, Emin=-10_000, Emax=10_000)

Later = str
"""The side that was asked later, ``legacy`` or ``new``; empty: both at the same time, or nobody knows."""


def are_alike(rule: RuleSpec, legacy: object, new: object, later: Later = "") -> bool:
    """Say whether two plain scalars obey one of the rules in :data:`SCALAR_RULES`.

    Cost: 1 to 10 microseconds.
    """
    return SCALAR_RULES[rule.name](rule, legacy, new, later)


def _are_uuids(_rule: RuleSpec, legacy: object, new: object, _later: Later) -> bool:
    """Say whether both are UUIDs in one spelling: the same letters, with or without dashes."""
    if not isinstance(legacy, str) or not isinstance(new, str):
        return False
    return any(pattern.fullmatch(legacy) and pattern.fullmatch(new) for pattern in _UUIDS)


def _are_identifiers(_rule: RuleSpec, legacy: object, new: object, _later: Later) -> bool:
    if isinstance(legacy, str) and isinstance(new, str):
        return bool(_IDENTIFIER.fullmatch(legacy) and _IDENTIFIER.fullmatch(new))
    return _is_whole(legacy) and _is_whole(new)


def _are_moments(rule: RuleSpec, legacy: object, new: object, _later: Later) -> bool:
    """Say whether both are moments of one shape, near each other; without an offset both or neither."""
    one, other = _moment(legacy), _moment(new)
    if one is None or other is None or one.shape != other.shape or (one.offset is None) != (other.offset is None):
        return False
    return abs(_nanoseconds(one) - _nanoseconds(other)) <= rule.within_ns


def _moment(value: object) -> Moment | None:
    if isinstance(value, str):
        return read_moment(value)
    number = parse(value) if isinstance(value, bytes) else None
    return None if number is None else plausible_epoch(number)


def _nanoseconds(moment: Moment) -> int:
    return moment.instant * 10**9 + int(moment.digits.ljust(9, "0")[:9])


def _are_counters(rule: RuleSpec, legacy: object, new: object, later: Later) -> bool:
    """Say whether both count the same thing: not far apart, and who was asked later is not behind."""
    if not _is_whole(legacy) or not _is_whole(new):
        return False
    ahead = int(new) - int(legacy)
    if (later == "new" and ahead < 0) or (later == "legacy" and ahead > 0):
        return False
    return abs(ahead) <= int(rule.within or COUNTER_APART)


def _are_near(rule: RuleSpec, legacy: object, new: object, _later: Later) -> bool:
    if not isinstance(legacy, bytes) or not isinstance(new, bytes):
        return False
    one, other = (_EXACT.create_decimal(number.decode()) for number in (legacy, new))
    # Not abs(): that one rounds to 28 digits.
    apart = _EXACT.abs(_EXACT.subtract(one, other))
    if rule.within.endswith("%"):
        return _EXACT.multiply(apart, Decimal(100)) <= _EXACT.multiply(_EXACT.abs(one), Decimal(rule.within[:-1]))
    return apart <= Decimal(rule.within)


def _is_whole(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and _WHOLE.fullmatch(value) is not None


Rule = Callable[[RuleSpec, object, object, Later], bool]

SCALAR_RULES: Final[MappingProxyType[str, Rule]] = MappingProxyType(
    {
        "uuid": _are_uuids,
        "timestamp": _are_moments,
        "opaque_id": _are_identifiers,
        "counter": _are_counters,
        "within": _are_near,
    }
)
"""The rules that two single values obey or not; those for arrays are in :mod:`shadow.items`."""
