"""Apply a route's tolerances to a pair: what is hidden, by which of them, and what remains.

A pair is seen twice. Cheaply, as the changes between two read values (:mod:`shadow.changes`): what is hidden there
leaves the fingerprint, and is decided exactly, value by value. And explained, as differences with their causes.

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
from shadow.changes import ABSENT, Change
from shadow.difference import Difference, Explanation, Proof, Span
from shadow.items import same_by_member, same_in_any_order
from shadow.json_grammar import NotJsonError, OverLimitError
from shadow.likeness import SCALAR_RULES, Later, are_alike
from shadow.place import PlaceMatcher, matcher_of
from shadow.pointer import Path
from shadow.tree import KINDS, Kind

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """Hold what a route's tolerances leave of the changes between two values."""

    changes: tuple[Change, ...]
    """Those that no tolerance hides."""
    hits: tuple[str, ...]
    """Every tolerance that hid something, sorted."""


class Tolerances:
    """Hold a route's tolerances, compiled.

    Cost: about 1 microsecond per difference and tolerance; a rule for an array needs both bodies read.
    """

    __slots__ = ("_all",)

    def __init__(self, specs: Iterable[ToleranceSpec]) -> None:
        self._all: Final = tuple(map(_compiled, specs))

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._all)

    def apply(self, explanation: Explanation, legacy: bytes, new: bytes, *, now: float, later: Later = "") -> Tolerated:
        """Say which differences of two decoded bodies are hidden at the Unix time *now*.

        Shape: *later* is the side that was asked so much later that its counters cannot be behind.
        """
        pair = _PairState(bodies=(legacy, new), later=later, active=self._active(now))
        by = tuple(_hidden_by(pair, difference) for difference in explanation.differences)
        is_whole = bool(by) and all(by) and not explanation.omitted and explanation.proof is not Proof.PARTLY
        return Tolerated(by=by, hits=tuple(sorted({*by, *pair.inner} - {""})), is_whole=is_whole)

    def sift(
        self, changes: Iterable[Change], legacy: object, new: object, *, now: float, later: Later = ""
    ) -> Remaining:
        """Say which changes between two plain values remain at the Unix time *now*.

        Shape: a tolerance by a cause that only an explanation can tell hides nothing here.
        """
        pair = _PairState(values=(legacy, new), later=later, active=self._active(now))
        rest = []
        for change in changes:
            name = _sifted_by(pair, change)
            if name:
                pair.inner.add(name)
            else:
                rest.append(change)
        return Remaining(changes=tuple(rest), hits=tuple(sorted(pair.inner)))

    def everywhere(self, now: float) -> dict[str, str]:
        """Give the causes that are tolerated at any place at the Unix time *now*, each with the tolerance."""
        found: dict[str, str] = {}
        for item in self._active(now):
            if item.matcher is None and item.spec.cause is not None and item.spec.cause not in NEVER_TOLERATED:
                found.setdefault(item.spec.cause, item.spec.id)
        return found

    def may_hide(self, cause: str) -> bool:
        """Say whether any of them could hide this cause somewhere."""
        return any(
            item.spec.cause == cause or (item.spec.cause is None and cause in VALUES | ORDERS) for item in self._all
        )

    def reach(self, difference: Difference) -> bool:
        """Say whether any of them speaks of a difference's place, so that another one there might be hidden."""
        return any(
            item.spec.cause == difference.cause if item.matcher is None else item.matcher.covers(difference.path)
            for item in self._all
        )

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

    later: Later
    active: tuple[_Compiled, ...]
    bodies: tuple[bytes, bytes] = (b"", b"")
    values: tuple[object, object] | None = None
    """Both bodies, read for rules about arrays; ``None``: not yet."""
    inner: set[str] = field(default_factory=set)
    """Tolerances that hid something without a difference of their own."""
    arrays: dict[tuple[str, Path, Path], bool] = field(default_factory=dict)
    """Answers of rules about arrays."""

    def read(self) -> tuple[object, object]:
        """Give both bodies' values; ``None`` for one that cannot be read."""
        if self.values is None:
            legacy, new = self.bodies
            self.values = (_value_at(legacy, (0, len(legacy))), _value_at(new, (0, len(new))))
        return self.values


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
        return cause in VALUES and _obeys(pair, spec.rule, difference)
    # How something is spelled follows from no order.
    is_meant = CAUSES[cause].severity in (Severity.VISIBLE, Severity.NOISE) and not cause.startswith(_ROOT_ONLY)
    return is_meant and _follows_from_order(pair, item, spec.rule, difference.legacy_path, difference.new_path)


# ---- single values ---------------------------------------------------------------------------------------------------


def _keeps_kind(pair: _PairState, difference: Difference) -> bool:
    """Say whether both values are there and of one JSON type, by their first bytes."""
    one, other = difference.legacy_span, difference.new_span
    if one is None or other is None:
        return False
    kind = _kind_at(pair.bodies[0], one)
    return kind is not None and kind is _kind_at(pair.bodies[1], other)


def _kind_at(body: bytes, span: Span) -> Kind | None:
    return KINDS.get(body[span[0]]) if span[0] < len(body) else None


def _obeys(pair: _PairState, rule: RuleSpec, difference: Difference) -> bool:
    if not _keeps_kind(pair, difference):
        return False
    legacy, new = pair.bodies
    one, other = _value_at(legacy, difference.legacy_span), _value_at(new, difference.new_span)
    return one is not None and other is not None and are_alike(rule, one, other, pair.later)


def _value_at(body: bytes, span: Span | None) -> object:
    """Read the value of a span; ``None``: it is null or cannot be read, and obeys no rule."""
    try:
        return None if span is None else json_value.read(body[span[0] : span[1]])
    except (NotJsonError, OverLimitError):
        return None


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _follows_from_order(
    pair: _PairState, item: _Compiled, rule: RuleSpec, legacy: Path | None, new: Path | None
) -> bool:
    """Say whether something lies in an array whose items are the same, order aside."""
    if item.matcher is None:
        return False
    path = legacy if legacy is not None else new or ()
    for length in range(len(path) + 1):
        if item.matcher.is_at(path[:length]):
            both = _same_place(legacy, new, length)
            if both is not None and _arrays_are_same(pair, item, rule, *both):
                return True
    return False


def _same_place(legacy: Path | None, new: Path | None, length: int) -> tuple[Path, Path] | None:
    """Give the array's path on both sides; ``None`` where it is not certain which array stands for which."""
    if legacy is not None and new is not None:
        return (legacy[:length], new[:length]) if len(new) >= length else None
    place = (legacy if legacy is not None else new or ())[:length]
    # Of one side only, an index around the array says nothing about the other side.
    return None if any(type(step) is int for step in place) else (place, place)


def _arrays_are_same(pair: _PairState, item: _Compiled, rule: RuleSpec, legacy: Path, new: Path) -> bool:
    key = (item.spec.id, legacy, new)
    if key not in pair.arrays:
        pair.arrays[key] = _compare_arrays(pair, rule, legacy, new)
    return pair.arrays[key]


def _compare_arrays(pair: _PairState, rule: RuleSpec, legacy: Path, new: Path) -> bool:
    values = pair.read()
    ours, theirs = _step_down(values[0], legacy), _step_down(values[1], new)
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return False
    used: set[str] = set()

    def is_tolerated(at: int, change: Change) -> bool:
        inside = change.legacy_path if change.legacy_path is not None else change.new_path or ()
        name = _permitted_by(pair, (*legacy, at, *inside), change)
        used.add(name)
        return bool(name)

    if rule.name == "keyed_by":
        is_same = same_by_member(ours, theirs, rule.member, is_tolerated)
    else:
        is_same = same_in_any_order(ours, theirs, is_tolerated)
    if is_same:
        pair.inner |= used
    return is_same


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


# ---- changes ---------------------------------------------------------------------------------------------------------


def _sifted_by(pair: _PairState, change: Change) -> str:
    """Name the first tolerance that hides a change of two plain values; empty: none does."""
    path = change.legacy_path if change.legacy_path is not None else change.new_path or ()
    for item in pair.active:
        rule = item.spec.rule
        if rule is not None and rule.name not in SCALAR_RULES:
            if _follows_from_order(pair, item, rule, change.legacy_path, change.new_path):
                return item.spec.id
        elif _permits(item, path, change, pair.later):
            return item.spec.id
    return ""


def _permitted_by(pair: _PairState, path: Path, change: Change) -> str:
    """Name the first tolerance that permits a change inside an array; rules for arrays do not count here."""
    for item in pair.active:
        if (item.spec.rule is None or item.spec.rule.name in SCALAR_RULES) and _permits(item, path, change, pair.later):
            return item.spec.id
    return ""


def _permits(item: _Compiled, path: Path, change: Change, later: Later) -> bool:
    spec, matcher = item.spec, item.matcher
    if matcher is not None and not matcher.covers(path):
        return False
    cause = cause_of(change)
    if spec.cause is not None:
        return spec.cause == cause
    if matcher is None:
        return False
    if spec.rule is None:
        return cause in VALUES or cause in ORDERS
    return cause in VALUES and are_alike(spec.rule, change.legacy, change.new, later)


def cause_of(change: Change) -> str:
    """Name the cause of a change where two plain values tell it; empty: only an explanation can.

    Shape: ``value.changed`` stands for every cause that leaves a value of the same type in its place.
    """
    one, other = change.legacy, change.new
    if one is ABSENT or other is ABSENT:
        there = one if other is ABSENT else other
        path = change.legacy_path if other is ABSENT else change.new_path
        if there in _NOTHING or not path:
            return ""  # null.omitted or zero.omitted, as it may be
        if isinstance(path[-1], int):
            return "array.missing_item" if other is ABSENT else "array.extra_item"
        return "member.missing" if other is ABSENT else "member.added"
    if isinstance(one, list) and isinstance(other, list):
        return "array.reordered" if change.kind == "array, reordered" else ""
    is_kept = type(one) is type(other) or {type(one), type(other)} == {str, tuple}
    return "value.changed" if is_kept and not isinstance(one, dict) else ""


_NOTHING: Final[tuple[object, ...]] = (None, False, b"0", "", [], {})
"""Values whose absence may mean the same."""
