"""The places in which two read bodies differ, cheaply: what a pair's fingerprint is made of.

An explanation costs a millisecond and more, so a pair is explained once per *fingerprint* and counted afterwards. A
fingerprint is the set of folded paths and kinds of change that are left once tolerances have excused theirs: a set,
so that a clock that differs in every answer never hides the one wrong price. Rules of this file:

1. Values are plain values of :mod:`shadow.json_value`, where ``==`` is exact: an equal subtree costs one comparison.
2. Kinds are coarse on purpose, but never so coarse that a harmless change hides a harmful one at the same path: two
   moments seconds apart are another kind than two that are days apart, and what is proven to say the same in another
   way (``12.5`` and ``12.50`` in quotes, a float32, seconds in milliseconds) names its cause beside the kind.
3. Bounded: :data:`MAX_CHANGES` places, beyond them only such whose mark is not there yet; a fingerprint names
   :data:`MAX_MARKS`, and one more stands for all the others. So no kind of change is ever left out.
4. Arrays are not explained here. Items are paired by place, or by equality where that explains every one of them; all
   that is asked is that the same fault gives the same fingerprint.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from json.encoder import encode_basestring_ascii
from typing import Any, Final

import msgspec

from shadow import kinds
from shadow.json_grammar import NUMBER, OverLimitError
from shadow.json_value import plain_number
from shadow.pointer import Path, fold

MAX_CHANGES: Final = 10_000
"""Places kept, as many as an explanation keeps differences."""

MAX_MARKS: Final = 64
"""Marks of one fingerprint."""

MAX_PROVEN: Final = 1_000
"""Places of one pair at which it is asked whether two scalars say the same; it costs 30 microseconds each."""

Mark = tuple[str, str]
"""A folded path and a kind of change."""

Fingerprint = frozenset[Mark]


class Absent(Enum):
    """Stand for a value that one side does not have."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Hold one place in which two plain values differ, and what stands there."""

    legacy_path: Path | None
    """``None``: absent on this side."""
    new_path: Path | None
    folded: str
    kind: str
    """In the words of :func:`kind_of`."""
    legacy: object
    """The plain value there, or :data:`ABSENT`."""
    new: object

    @property
    def mark(self) -> Mark:
        """Give what a fingerprint holds of this place, but for a cause that is proven."""
        return self.folded, self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Hold all places in which two values differ."""

    places: tuple[Change, ...]
    """Outer ones first; not in the order of the document."""
    is_whole: bool = True
    """False: there are more places, each of the kind and folded path of one that is here."""


def changes_between(legacy: object, new: object) -> Changes:
    """Find the places in which two plain values differ; none where they are equal.

    Bound: MAX_CHANGES, and as many again where each has a mark of its own.
    Cost: about 2 microseconds per place, and the comparison of what is equal.
    """
    search = _Search()
    search.run(legacy, new)
    return Changes(places=tuple(search.found), is_whole=search.is_whole)


def fingerprint_of(changes: Iterable[Change]) -> Fingerprint:
    """Fold places into the marks of a fingerprint.

    Shape: beyond MAX_MARKS the first in order stay, and the digest of all takes the place of the last one.
    """
    marks = set()
    for number, change in enumerate(changes):
        cause = _proven_cause(change) if number < MAX_PROVEN else ""
        marks.add((change.folded, f"{change.kind}, {cause}" if cause else change.kind))
    if len(marks) <= MAX_MARKS:
        return frozenset(marks)
    ordered = sorted(marks)
    digest = hashlib.blake2b(repr(ordered).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    return frozenset((*ordered[: MAX_MARKS - 1], ("", f"and others {digest}")))


# ---- the search ----------------------------------------------------------------------------------------------------

_Pair = tuple[object, object, Path, Path, str]
"""Two unequal values, their paths and the folded one."""


class _Search:
    """Walk two values side by side with an explicit stack."""

    def __init__(self) -> None:
        self.found: list[Change] = []
        self.is_whole = True
        self._marks: set[Mark] = set()
        """Of what was found, once there is too much of it."""
        self._open: list[_Pair] = []

    def run(self, legacy: object, new: object) -> None:
        if legacy != new:
            self._open.append((legacy, new, (), (), ""))
        while self._open:
            left, right, left_path, right_path, folded = self._open.pop()
            if type(left) is dict and type(right) is dict:
                self._compare_objects(left, right, left_path, right_path, folded)
            elif type(left) is list and type(right) is list:
                self._compare_arrays(left, right, left_path, right_path, folded)
            else:
                self._add(left, right, left_path, right_path, folded)

    def _add(
        self, legacy: object, new: object, legacy_path: Path | None, new_path: Path | None, folded: str, kind: str = ""
    ) -> None:
        kind = kind or kind_of(legacy, new)
        if len(self.found) >= MAX_CHANGES:
            self._marks = self._marks or {change.mark for change in self.found}
            if (folded, kind) in self._marks or len(self._marks) >= 2 * MAX_CHANGES:
                self.is_whole = False
                return
            self._marks.add((folded, kind))
        self.found.append(
            Change(legacy_path=legacy_path, new_path=new_path, folded=folded, kind=kind, legacy=legacy, new=new)
        )

    def _compare_objects(
        self,
        left: dict[object, object],
        right: dict[object, object],
        left_path: Path,
        right_path: Path,
        folded: str,
    ) -> None:
        for name, value in left.items():
            other = right.get(name, ABSENT)
            if value == other:
                continue
            step = _step(name)
            below = folded + fold((step,))
            if other is ABSENT:
                self._add(value, ABSENT, (*left_path, step), None, below)
            else:
                self._open.append((value, other, (*left_path, step), (*right_path, step), below))
        for name in right.keys() - left.keys():
            step = _step(name)
            self._add(ABSENT, right[name], None, (*right_path, step), folded + fold((step,)))

    def _compare_arrays(
        self, left: list[object], right: list[object], left_path: Path, right_path: Path, folded: str
    ) -> None:
        start = _common(left, right)
        tail = _common(left[start:][::-1], right[start:][::-1])
        left_items: Sequence[int] = range(start, len(left) - tail)
        right_items: Sequence[int] = range(start, len(right) - tail)
        if left_items and right_items:
            left_rest, right_rest = _unmatched(left, right, left_items, right_items)
            if not left_rest and not right_rest:
                self._add(left, right, left_path, right_path, folded, "array, reordered")
                return
            # Equality explains the difference in length only where it leaves nothing over on the shorter side.
            if not left_rest or not right_rest:
                left_items, right_items = left_rest, right_rest
        below = folded + "/*"
        for at, to in zip(left_items, right_items, strict=False):
            if left[at] != right[to]:
                self._open.append((left[at], right[to], (*left_path, at), (*right_path, to), below))
        common = min(len(left_items), len(right_items))
        for at in left_items[common:]:
            self._add(left[at], ABSENT, (*left_path, at), None, below)
        for to in right_items[common:]:
            self._add(ABSENT, right[to], None, (*right_path, to), below)


def _step(name: object) -> str:
    """Give a member's name as a step of a path; an ill-formed one, which is a 1-tuple of bytes, is shown, not kept."""
    return name[0].decode("utf-8", "backslashreplace") if isinstance(name, tuple) else str(name)


def _common(left: Sequence[object], right: Sequence[object]) -> int:
    """Count the equal items at the beginning."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _unmatched(
    left: list[object], right: list[object], left_items: Sequence[int], right_items: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Give the items that have no equal one on the other side.

    Shape: nothing is matched where an item differs from all that spell alike, which only hostile bytes do.
    """
    waiting: defaultdict[object, list[int]] = defaultdict(list)
    for to in reversed(right_items):
        waiting[_key(right[to])].append(to)
    left_rest = []
    for at in left_items:
        same = waiting.get(_key(left[at]))
        if same and left[at] == right[same[-1]]:
            same.pop()
        else:
            left_rest.append(at)
    return left_rest, sorted(to for rest in waiting.values() for to in rest)


_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def _key(item: object) -> object:
    """Give something hashable that equal items share; with ill-formed text inside, only if members are in one order."""
    if not isinstance(item, (dict, list)):
        return item
    try:
        return _ENCODER.encode(item)
    except (UnicodeEncodeError, TypeError):
        return repr(item)


# ---- kinds ---------------------------------------------------------------------------------------------------------

_CLOSE_S: Final = 120
"""Two clocks read for one request are at most so far apart; the same bound as for volatile.timestamp."""

_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}")
_IDENTIFIER: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}|[\w-]{20,}")
_NUMBER: Final = re.compile(NUMBER.decode())


def kind_of(legacy: object, new: object) -> str:
    """Name the kind of change: the types, or how two values of one type are alike.

    Shape: ``null → array``, ``number → absent``, ``close moments``, ``one double``, ``texts`` and so on.
    """
    types = _type(legacy), _type(new)
    if types == ("string", "string"):
        return _likeness_of_texts(legacy, new)
    if types == ("number", "number"):
        return _likeness_of_numbers(legacy, new)
    same = " of one value" if _is_one_value(legacy, new) else ""
    return f"{types[0]} → {types[1]}{same}"


def _type(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case None:
            return "null"
        case b"0":
            return "zero"
        case bytes():
            return "number"
        case "":
            return "empty string"
        case str():
            return "string"
        case list():
            return "array" if value else "empty array"
        case dict():
            return "object" if value else "empty object"
        case tuple():
            return "ill-formed string"
    return "absent"


def _likeness_of_texts(legacy: object, new: object) -> str:
    assert isinstance(legacy, str)
    assert isinstance(new, str)
    if _MOMENT.match(legacy) and _MOMENT.match(new):
        return _likeness_of_moments(_seconds_of(legacy), _seconds_of(new))
    if _IDENTIFIER.fullmatch(legacy) and _IDENTIFIER.fullmatch(new):
        return "identifiers"
    return "texts in another case" if legacy.casefold() == new.casefold() else "texts"


def _likeness_of_numbers(legacy: object, new: object) -> str:
    assert isinstance(legacy, bytes)
    assert isinstance(new, bytes)
    one, two = float(legacy), float(new)
    if one == two and math.isfinite(one):
        return "one double"
    # Seconds or milliseconds since 1970, of this century.
    for unit in (1, 1_000):
        if 1e9 * unit <= min(one, two) and max(one, two) < 5e9 * unit:
            likeness = _likeness_of_moments(one / unit, two / unit)
            return likeness if likeness == "close moments" else "numbers"
    return "numbers"


def _likeness_of_moments(legacy: float, new: float) -> str:
    if legacy == new:
        return "one moment"
    return "close moments" if abs(legacy - new) <= _CLOSE_S else "moments"


def _seconds_of(text: str) -> float:
    """Give a moment in seconds, in UTC where it names no zone; not a number where it is none after all."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_one_value(legacy: object, new: object) -> bool:
    """Say whether a number and a text, or a number and a truth value, say the same."""
    for one, two in ((legacy, new), (new, legacy)):
        if isinstance(one, bytes) and isinstance(two, str) and _NUMBER.fullmatch(two):
            try:
                return plain_number(two) == one
            except OverLimitError:
                return False
        if isinstance(one, bytes) and isinstance(two, bool):
            return one == (b"1" if two else b"0")
    return False


# ---- what is proven to say the same ---------------------------------------------------------------------------------

_CERTAIN: Final = ("one double", "one moment", "one value", "texts in another case")
"""Ends of kinds that say by themselves that little is lost."""

_LEXEMES: Final[dict[type, Callable[[Any], bytes]]] = {
    str: lambda text: encode_basestring_ascii(text).encode(),
    bytes: lambda number: number,
}
"""How a scalar's plain value is spelled again, whatever its spelling was."""

_UNPROVEN: Final = ("value.changed", "type.changed", "type.enum", "volatile.", "limit.")
"""Causes that prove nothing about what stands there."""


def _proven_cause(change: Change) -> str:
    """Name the cause that explains two texts or numbers without a change of what they say; empty: none is proven."""
    spell, spell_other = _LEXEMES.get(type(change.legacy)), _LEXEMES.get(type(change.new))
    if spell is None or spell_other is None or change.kind.endswith(_CERTAIN):
        return ""
    name = next((step for step in reversed(change.legacy_path or ()) if isinstance(step, str)), "")
    reasons = kinds.classify(spell(change.legacy), spell_other(change.new), name=name)
    cause = reasons[0].cause if reasons else ""
    return "" if cause.startswith(_UNPROVEN) else cause
