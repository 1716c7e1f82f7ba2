"""Apply a route's tolerances to an explained pair: what is hidden, by which of them, and what remains.

Rules of this file:

1. A tolerance hides what it names and nothing else. In doubt it hides nothing: a difference that is shown too much
   costs a look, one that is hidden wrongly costs a client.
2. ``cause`` names one cause, at ``path`` or anywhere. :data:`config.causes.NEVER_TOLERATED` is never hidden.
3. ``path`` alone names the values at that place and below it: they may differ (:data:`VALUES`). That something is
   missing, added, null, or of another type there is another cause, which the tolerance then has to name.
4. ``rule`` permits :data:`VALUES` where both values obey it; for an array, whatever follows from its order.
5. The path of a difference is the one that reports show: legacy's, or new's where legacy has none.
6. An expired tolerance hides nothing.
7. The first one that hides a difference is the one that is counted; a route's own stand before those for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from config.causes import NEVER_TOLERATED
from config.spec import RuleSpec, ToleranceSpec
from config.tolerance import ends_at
from shadow import json_value
from shadow.causes import CAUSES, Severity
from shadow.difference import Difference, Explanation, Proof, Span
from shadow.items import Change, same_by_member, same_in_any_order
from shadow.json_grammar import NotJsonError, OverLimitError
from shadow.likeness import SCALAR_RULES, Later, are_alike
from shadow.place import PlaceMatcher, matcher_of
from shadow.pointer import Path
from shadow.tree import KINDS

VALUES: Final = frozenset(
    {
        "value.changed",
        "volatile.timestamp",
        "volatile.id",
        "volatile.duration",
        "time.fraction",
        "time.zone",
        "number.exponent_threshold",
        "number.exponent_spelling",
        "number.integral_float",
        "number.negative_zero",
        "number.float_digits",
        "number.decimal_spelling",
        "number.float32",
        "number.precision_loss",
        "escape.html",
        "escape.line_separator",
        "escape.non_ascii",
        "escape.solidus",
        "escape.control",
        "escape.hex_case",
        "escape.surrogate_pair",
        "unicode.invalid",
        "unicode.normalization",
        "unicode.mojibake",
    }
)
"""Causes that leave a value where and of the type that it is; ``path`` alone permits these."""

ORDERS: Final = frozenset({"key_order", "array.reordered"})
"""Causes that leave a container with the same parts; ``path`` alone permits these too."""

APART_US: Final = 1_000_000
"""Requests that begin closer together may overtake each other on their way."""

_ROOT_ONLY: Final = ("http.", "framing.", "body.", "whitespace.", "limit.")
"""Families that concern an answer as a whole: they follow from no array's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerated:
    """Hold what a route's tolerances hide of one pair."""

    by: tuple[str, ...]
    """For each difference the tolerance that hides it; empty: none does."""
    hits: tuple[str, ...]
    """Every tolerance that hid something, sorted."""
    is_whole: bool
    """Nothing remains, and nothing is unknown: the pair may be called tolerated."""


class Tolerances:
    """Hold a route's tolerances, compiled.

    Cost: about 1 microsecond per difference and tolerance; a rule for an array reads both bodies once.
    """

    __slots__ = ("_all", "_without_values")

    def __init__(self, specs: Iterable[ToleranceSpec]) -> None:
        self._all: Final = tuple(map(_compiled, specs))
        self._without_values: Final = tuple(item for item in self._all if item.spec.rule is None)

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._all)

    def apply(self, explanation: Explanation, legacy: bytes, new: bytes, *, now: float, later: Later = "") -> Tolerated:
        """Say which differences of two decoded bodies are hidden at the Unix time *now*.

        Shape: *later* is the side that was asked so much later that its counters cannot be behind.
        """
        pair = _PairState(legacy=legacy, new=new, later=later, active=self._active(now))
        by = tuple(_hidden_by(pair, difference) for difference in explanation.differences)
        is_whole = bool(by) and all(by) and not explanation.omitted and explanation.proof is not Proof.PARTLY
        return Tolerated(by=by, hits=tuple(sorted({*by, *pair.inner} - {""})), is_whole=is_whole)

    def _active(self, now: float) -> tuple[_Compiled, ...]:
        return tuple(item for item in self._all if now < item.ends)


def asked_later(primary: str, copy_after_us: int) -> Later:
    """Say which side was asked so much later that the other's answer must be the older one; empty: neither."""
    if abs(copy_after_us) < APART_US:
        return ""
    copy = "new" if primary == "legacy" else "legacy"
    return copy if copy_after_us > 0 else primary


@lru_cache(maxsize=1_024)
def tolerances_of(specs: tuple[ToleranceSpec, ...]) -> Tolerances:
    """Compile a list once; every policy carries the list itself."""
    return Tolerances(specs)


@dataclass(slots=True, eq=False, frozen=True)
class _Compiled:
    spec: ToleranceSpec
    matcher: PlaceMatcher | None
    ends: float


def _compiled(spec: ToleranceSpec) -> _Compiled:
    return _Compiled(spec, None if spec.path is None else matcher_of(spec.path), ends_at(spec))


@dataclass(slots=True, eq=False, kw_only=True)
class _PairState:
    """Hold one pair while its differences are looked at."""

    legacy: bytes
    new: bytes
    later: Later
    active: tuple[_Compiled, ...]
    inner: set[str] = field(default_factory=set)
    """Tolerances that made two arrays the same."""
    values: tuple[object, object] | None = None
    """Both bodies, read for rules about arrays; ``None``: not yet."""
    arrays: dict[tuple[str, Path, Path], bool] = field(default_factory=dict)
    """Answers of rules about arrays."""


def _hidden_by(pair: _PairState, difference: Difference) -> str:
    """Name the first tolerance that hides a difference; empty: none does."""
    cause = difference.cause
    if cause in NEVER_TOLERATED:
        return ""
    return next((item.spec.id for item in pair.active if _hides(pair, item, difference)), "")


def _hides(pair: _PairState, item: _Compiled, difference: Difference) -> bool:
    spec, matcher, cause = item.spec, item.matcher, difference.cause
    if matcher is not None and not matcher.covers(difference.path):
        return False
    if spec.cause is not None:
        return spec.cause == cause
    if matcher is None:
        return False
    if spec.rule is None:
        return cause in ORDERS or (cause in VALUES and _keeps_kind(pair, difference))
    if spec.rule.name in SCALAR_RULES:
        return (cause in VALUES or cause == "time.format") and _obeys(pair, spec.rule, difference)
    return _follows_from_order(pair, item, spec.rule, difference)


# ---- single values ---------------------------------------------------------------------------------------------------


def _keeps_kind(pair: _PairState, difference: Difference) -> bool:
    """Say whether both values are there and of one JSON type, by their first bytes."""
    one, other = difference.legacy_span, difference.new_span
    if one is None or other is None:
        return False
    kind = KINDS.get(pair.legacy[one[0]]) if one[0] < len(pair.legacy) else None
    return kind is not None and other[0] < len(pair.new) and KINDS.get(pair.new[other[0]]) is kind


def _obeys(pair: _PairState, rule: RuleSpec, difference: Difference) -> bool:
    if not _keeps_kind(pair, difference):
        return False
    one, other = _value_at(pair.legacy, difference.legacy_span), _value_at(pair.new, difference.new_span)
    return one is not None and other is not None and are_alike(rule, one, other, pair.later)


def _value_at(body: bytes, span: Span | None) -> object:
    """Read the value of a span; ``None``: it is null or cannot be read, and obeys no rule."""
    try:
        return None if span is None else json_value.read(body[span[0] : span[1]])
    except (NotJsonError, OverLimitError):
        return None


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _follows_from_order(pair: _PairState, item: _Compiled, rule: RuleSpec, difference: Difference) -> bool:
    """Say whether a difference lies in an array whose items are the same, order aside.

    Shape: how something is spelled follows from no order, so cosmetic causes inside stay.
    """
    cause = difference.cause
    is_meant = CAUSES[cause].severity in (Severity.VISIBLE, Severity.NOISE)
    if not is_meant or cause.startswith(_ROOT_ONLY) or item.matcher is None:
        return False
    path = difference.path
    for length in range(len(path) + 1):
        if item.matcher.is_at(path[:length]):
            both = _same_place(difference, length)
            if both is not None and _arrays_are_same(pair, item, rule, *both):
                return True
    return False


def _same_place(difference: Difference, length: int) -> tuple[Path, Path] | None:
    """Give the array's path on both sides; ``None`` where it is not certain which array stands for which."""
    legacy, new = difference.legacy_path, difference.new_path
    if legacy is not None and new is not None:
        return (legacy[:length], new[:length]) if len(new) >= length else None
    place = difference.path[:length]
    # Of one side only, an index around the array says nothing about the other side.
    return None if any(type(step) is int for step in place) else (place, place)


def _arrays_are_same(pair: _PairState, item: _Compiled, rule: RuleSpec, legacy: Path, new: Path) -> bool:
    key = (item.spec.id, legacy, new)
    if key not in pair.arrays:
        pair.arrays[key] = False  # a rule does not lean on itself
        pair.arrays[key] = _compare_arrays(pair, rule, legacy, new)
    return pair.arrays[key]


def _compare_arrays(pair: _PairState, rule: RuleSpec, legacy: Path, new: Path) -> bool:
    if pair.values is None:
        pair.values = (_value_at(pair.legacy, (0, len(pair.legacy))), _value_at(pair.new, (0, len(pair.new))))
    ours, theirs = _step_down(pair.values[0], legacy), _step_down(pair.values[1], new)
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return False
    used: set[str] = set()

    def is_tolerated(change: Change) -> bool:
        cause, path, one, other = change
        name = _permitted_by(pair, cause, (*legacy, *path), one, other)
        used.add(name)
        return bool(name)

    if rule.name == "keyed_by":
        is_same = same_by_member(ours, theirs, rule.member, is_tolerated)
    else:
        is_same = same_in_any_order(ours, theirs, is_tolerated)
    if is_same:
        pair.inner |= used
    return is_same


def _permitted_by(pair: _PairState, cause: str, path: Path, legacy: object, new: object) -> str:
    """Name the first tolerance that permits a change inside an array; rules for arrays do not count here."""
    for item in pair.active:
        spec = item.spec
        if item.matcher is not None and not item.matcher.covers(path):
            continue
        if spec.cause is not None:
            permits = spec.cause == cause
        elif cause != "value.changed":
            permits = False
        elif spec.rule is None:
            permits = True
        else:
            permits = spec.rule.name in SCALAR_RULES and are_alike(spec.rule, legacy, new, pair.later)
        if permits:
            return spec.id
    return ""


def _step_down(value: object, path: Path) -> object:
    """Give the value at a path; ``None``: there is none."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value
