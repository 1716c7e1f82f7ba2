"""Say whether two arrays hold the same items, in any order or by a member that names them.

Equal items are found by equality, exactly and in linear time. Only what is left over is compared value by value, and
each difference is put to the other tolerances of the route: an item whose clock is tolerated is the same item.

DeepDiff is not used here: with ``ignore_order`` it says that ``[[1, 2], [3]]`` is ``[[2, 1], [3]]`` whichever array is
free to be reordered, and takes 2.3 s for 100 items that differ in one member (docs/decisions/0017-tolerances.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from shadow.changes import Change, changes_between

MAX_UNPAIRED: Final = 64
"""Items of each side without an equal one, in any order: each is held against each, at most 30 ms for so many."""

MAX_DEPTH: Final = 64
"""Levels inside an array; the identity of an item recurses."""

Judge = Callable[[int, Change], bool]
"""Say whether a tolerance permits this change inside the item at an index of legacy's array."""


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
        partner = next((to for to in rest if _is_permitted(at, legacy[at], new[to], is_tolerated)), None)
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
    return all(_is_permitted(at, legacy[at], new[theirs[key]], is_tolerated) for key, at in ours.items())


def identity(value: object) -> object:
    """Give a hashable stand-in that equals another one exactly where the two plain values are equal."""
    if isinstance(value, dict):
        return "{", frozenset((name, identity(child)) for name, child in value.items())
    if isinstance(value, list):
        return "[", tuple(map(identity, value))
    # Python calls True and 1 equal, but no plain value is a Python number.
    return value


def _is_permitted(at: int, legacy: object, new: object, is_tolerated: Judge) -> bool:
    changes = changes_between(legacy, new)
    return changes.is_whole and all(is_tolerated(at, change) for change in changes.places)


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
