"""Say whether two arrays hold the same items, in any order or by a member that names them.

Equal items are found by equality, exactly and in linear time. Only what is left over is compared value by value, and
each difference is put to the other tolerances of the route: an item whose clock is tolerated is the same item.

DeepDiff is not used here: with ``ignore_order`` it says that ``[[1, 2], [3]]`` is ``[[2, 1], [3]]`` whichever array is
free to be reordered, and takes 2.3 s for 100 items that differ in one member (docs/decisions/0017-tolerances.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from shadow.pointer import Path

MAX_UNPAIRED: Final = 64
"""Items of each side without an equal one, in any order: each is held against each, at most 30 ms for so many."""

MAX_DEPTH: Final = 64
"""Levels inside an array; the identity of an item recurses."""

Change = tuple[str, Path, object, object]
"""A cause, its path inside the array by legacy's indexes, and both values; None for the side that has none."""

Judge = Callable[[Change], bool]
"""Say whether a tolerance permits this change."""


def same_in_any_order(legacy: list[object], new: list[object], is_tolerated: Judge) -> bool:
    """Say whether both arrays hold the same items, each as often; only this array's own order is free.

    Bound: at most MAX_UNPAIRED items may differ in what is tolerated; with more of them the answer is no.
    Cost: about 1 microsecond per value inside where all items have an equal one.
    """
    if len(legacy) != len(new) or _exceeds_depth((legacy, new)):
        return False
    waiting: dict[object, list[int]] = defaultdict(list)
    for index, item in enumerate(new):
        waiting[identity(item)].append(index)
    unpaired = []
    for index, item in enumerate(legacy):
        equal = waiting.get(identity(item))
        if equal:
            equal.pop()
        else:
            unpaired.append(index)
    if len(unpaired) > MAX_UNPAIRED:
        return False
    rest = [index for indexes in waiting.values() for index in indexes]
    for at in unpaired:
        partner = next((to for to in rest if _is_permitted(legacy[at], new[to], (at,), is_tolerated)), None)
        if partner is None:
            return False
        rest.remove(partner)
    return True


def same_by_member(legacy: list[object], new: list[object], member: str, is_tolerated: Judge) -> bool:
    """Say whether both arrays hold the same objects, told apart by one member's value; their order is free.

    Shape: where an item is no object, has no such member or shares its value with another, the answer is no.
    Cost: about 1 microsecond per value inside.
    """
    ours, theirs = _by_member(legacy, member), _by_member(new, member)
    if ours is None or theirs is None or ours.keys() != theirs.keys() or _exceeds_depth((legacy, new)):
        return False
    return all(_is_permitted(legacy[at], new[theirs[key]], (at,), is_tolerated) for key, at in ours.items())


def identity(value: object) -> object:
    """Give a hashable stand-in that equals another one exactly where the two plain values are equal."""
    if isinstance(value, dict):
        return "{", frozenset((name, identity(child)) for name, child in value.items())
    if isinstance(value, list):
        return "[", tuple(map(identity, value))
    # Python calls True and 1 equal, but no plain value is a Python number.
    return value


def changes_between(legacy: object, new: object, path: Path = ()) -> Iterator[Change]:
    """Give every difference of two plain values; items of arrays are held against each other by their index.

    Runs: without recursion.
    """
    pairs: list[tuple[Path, object, object]] = [(path, legacy, new)]
    while pairs:
        at, one, other = pairs.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            for name in one.keys() | other.keys():
                if name not in other:
                    yield "member.missing", (*at, name), one[name], None
                elif name not in one:
                    yield "member.added", (*at, name), None, other[name]
                else:
                    pairs.append(((*at, name), one[name], other[name]))
        elif isinstance(one, list) and isinstance(other, list):
            common = min(len(one), len(other))
            pairs += ((((*at, index)), one[index], other[index]) for index in range(common))
            yield from (("array.missing_item", (*at, index), one[index], None) for index in range(common, len(one)))
            yield from (("array.extra_item", (*at, index), None, other[index]) for index in range(common, len(other)))
        elif one != other:
            is_kept = type(one) is type(other) or {type(one), type(other)} == {str, tuple}
            yield "value.changed" if is_kept else "type.changed", at, one, other


def _is_permitted(legacy: object, new: object, path: Path, is_tolerated: Judge) -> bool:
    return all(map(is_tolerated, changes_between(legacy, new, path)))


def _by_member(items: list[object], member: str) -> dict[object, int] | None:
    """Find each item by its member's value; ``None`` where that does not tell the items apart."""
    found: dict[object, int] = {}
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get(member), str | bytes):
            return None
        found[item[member]] = index
    return found if len(found) == len(items) else None


def _exceeds_depth(values: tuple[object, ...]) -> bool:
    """Say whether anything is nested beyond MAX_DEPTH, level by level."""
    level = list(values)
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
