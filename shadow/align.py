"""Which member and which item of legacy's stands for which of new's.

Rules of this file:

1. Members meet by decoded name, the n-th of a name with the n-th of that name from the end, because the last one
   wins. What is left over meets by folded name (``user_id``, ``userId``, ``UserID``), if only one name fits.
2. Items meet by place, unless a member that identifies them, or else their *likeness*, shows that some moved, went
   or came.
3. Likeness is a hash of the value, blind to spelling and to the habits of encoders. It may call two items alike that
   are not: those meet, and the walk then finds what differs. It decides where to look, never what is equal.
4. Everything is linear but the longest rising sequence of places, which is n log n.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shadow import json_grammar as grammar
from shadow.json_value import plain_text
from shadow.tree import Kind, Node, Tree

ABSENT: Final = -1
"""In place of an index: this side has nothing that fits."""

Pairing = tuple[int, int]
"""Indexes of a member or an item in legacy and in new, or ABSENT."""


@dataclass(slots=True, eq=False, kw_only=True)
class Members:
    """Hold how two objects meet."""

    pairs: list[Pairing]
    """In new's order; those that new lacks stand at the end."""
    order: str = ""
    """Not empty: common members stand in another order, and this says in which."""
    duplicates: frozenset[Pairing] = frozenset()
    """Those of *pairs* that stand once more on one side than on the other."""


def name_of(raw: bytes) -> str:
    """Decode a member's name for people; broken bytes are escaped."""
    text = plain_text(raw)
    return text if isinstance(text, str) else text[0].decode("utf-8", "backslashreplace")


def align_members(legacy: Node, new: Node) -> Members:
    """Pair the members of two objects."""
    if legacy.names == new.names and len(set(new.names)) == len(new.names):
        return Members(pairs=[(index, index) for index in range(len(new.names))])
    legacy_names, new_names = [plain_text(raw) for raw in legacy.names], [plain_text(raw) for raw in new.names]
    waiting: dict[object, list[int]] = {}
    for index, name in enumerate(legacy_names):
        waiting.setdefault(name, []).append(index)
    met: list[int] = [ABSENT] * len(new_names)
    for index in range(len(new_names) - 1, -1, -1):
        same = waiting.get(new_names[index])
        if same:
            met[index] = same.pop()
    duplicates = _take_duplicates(legacy_names, new_names, waiting, met)
    doubled = {index for index, _ in duplicates}, {index for _, index in duplicates}
    missing = [index for left in waiting.values() for index in left if index not in doubled[0]]
    if missing:
        _meet_by_folded_name(legacy_names, new_names, missing, met, doubled[1])
    places = [index for index in met if index != ABSENT]
    order = ""
    if any(one > two for one, two in pairwise(places)):
        order = f"{_order(legacy_names)} -> {_order(new_names)}"
    found = set(met)
    pairs = [(one, index) for index, one in enumerate(met)]
    pairs += [(index, ABSENT) for index in range(len(legacy_names)) if index not in found]
    return Members(pairs=pairs, order=order, duplicates=frozenset(duplicates))


def _take_duplicates(
    legacy_names: Sequence[object], new_names: Sequence[object], waiting: dict[object, list[int]], met: list[int]
) -> list[Pairing]:
    """Find the members that one side has once more than the other one, though both have one."""
    in_legacy, in_new = set(legacy_names), set(new_names)
    surplus = [(index, ABSENT) for name, left in waiting.items() if name in in_new for index in left]
    surplus += [(ABSENT, index) for index, one in enumerate(met) if one == ABSENT and new_names[index] in in_legacy]
    # A name that only one side has, and has twice: its last one is missing or added, the others are duplicates.
    surplus += [(index, ABSENT) for name, left in waiting.items() if name not in in_new for index in left[:-1]]
    last: dict[object, int] = {}
    for index, one in enumerate(met):
        if one == ABSENT and new_names[index] not in in_legacy:
            if new_names[index] in last:
                surplus.append((ABSENT, last[new_names[index]]))
            last[new_names[index]] = index
    return surplus


_SEPARATORS: Final = re.compile(r"[_\-\s.]+")


def folded(name: object) -> str:
    """Give what spellings of one name have in common: ``user_id``, ``userId`` and ``UserID`` are ``userid``."""
    return _SEPARATORS.sub("", name).casefold() if isinstance(name, str) else ""


def _meet_by_folded_name(
    legacy_names: Sequence[object],
    new_names: Sequence[object],
    missing: list[int],
    met: list[int],
    doubled: set[int],
) -> None:
    by_fold: dict[str, list[int]] = {}
    for index in missing:
        by_fold.setdefault(folded(legacy_names[index]), []).append(index)
    added: dict[str, list[int]] = {}
    for index, one in enumerate(met):
        if one == ABSENT and index not in doubled:
            added.setdefault(folded(new_names[index]), []).append(index)
    for fold, indexes in added.items():
        if len(indexes) == 1 and len(by_fold.get(fold, ())) == 1:
            met[indexes[0]] = by_fold[fold][0]


_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,9}")


def _order(names: Sequence[object]) -> str:
    """Name the rule by which names are ordered."""
    texts = [name if isinstance(name, str) else "" for name in names]
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    if encoded == sorted(encoded):
        return "sorted"
    if texts == sorted(texts, key=lambda text: text.encode("utf-16-be", "surrogatepass")):
        return "sorted by UTF-16"
    numbers = [int(text) for text in texts if _INTEGER.fullmatch(text)]
    leading = [text for text in texts[: len(numbers)] if _INTEGER.fullmatch(text)]
    if len(numbers) > 1 and len(leading) == len(numbers) and numbers == sorted(numbers):
        return "integers first"
    return "its own"


# ---- items ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, kw_only=True)
class Items:
    """Hold how two arrays meet."""

    pairs: list[Pairing]
    """In new's order; those that new lacks stand where they stood."""
    is_reordered: bool = False


def align_items(legacy: list[int], new: list[int]) -> Items:
    """Pair the items of two arrays by their likenesses."""
    if len(legacy) == len(new):
        agreeing = sum(one == two for one, two in zip(legacy, new, strict=True))
        if agreeing == len(new):
            return by_place(len(legacy), len(new))
    else:
        agreeing = ABSENT
    met = _meet_by_likeness(legacy, new)
    rising = _longest_rising(met)
    moved = sum(one != ABSENT for one in met) - len(rising)
    if len(legacy) == len(new) and not _is_better_than_place(len(new), agreeing, len(rising), moved):
        return by_place(len(legacy), len(new))
    if not rising:
        return by_place(len(legacy), len(new))
    if moved:
        return _reordered(met, len(legacy))
    return _shifted(met, len(legacy))


def by_place(legacy: int, new: int) -> Items:
    """Pair the items of two arrays by their places; what is over is missing or extra."""
    common = min(legacy, new)
    pairs = [(index, index) for index in range(common)]
    pairs += [(ABSENT, index) for index in range(common, new)]
    pairs += [(index, ABSENT) for index in range(common, legacy)]
    return Items(pairs=pairs)


def _is_better_than_place(count: int, agreeing: int, rising: int, moved: int) -> bool:
    """Say whether arrays of one length should meet by likeness: it must explain more than places do."""
    if rising + moved == count:
        return True
    return rising + moved > agreeing + 1 and 2 * (rising + moved) > count


def _meet_by_likeness(legacy: list[int], new: list[int]) -> list[int]:
    """Give for each item of new's the one of legacy's that is alike: the n-th of a likeness meets the n-th."""
    waiting: dict[int, list[int]] = {}
    for index in range(len(legacy) - 1, -1, -1):
        waiting.setdefault(legacy[index], []).append(index)
    return [left.pop() if (left := waiting.get(likeness)) else ABSENT for likeness in new]


def _longest_rising(met: list[int]) -> set[int]:
    """Give the indexes of new's that keep the most items in order (patience sorting)."""
    tails: list[int] = []
    at: list[int] = []
    before: list[int] = [ABSENT] * len(met)
    for index, place in enumerate(met):
        if place == ABSENT:
            continue
        pile = bisect_left(tails, place)
        if pile:
            before[index] = at[pile - 1]
        if pile == len(tails):
            tails.append(place)
            at.append(index)
        else:
            tails[pile], at[pile] = place, index
    rising: set[int] = set()
    index = at[-1] if at else ABSENT
    while index != ABSENT:
        rising.add(index)
        index = before[index]
    return rising


def _reordered(met: list[int], count: int) -> Items:
    """Pair what is alike wherever it stands, and the others with each other in order."""
    taken = set(met)
    left = [index for index in range(count) if index not in taken]
    left.reverse()
    pairs = [(place if place != ABSENT or not left else left.pop(), index) for index, place in enumerate(met)]
    pairs += [(index, ABSENT) for index in reversed(left)]
    return Items(pairs=pairs, is_reordered=True)


def _shifted(met: list[int], count: int) -> Items:
    """Pair what is alike, and between two such anchors the others by place."""
    pairs: list[Pairing] = []
    legacy_at = new_at = 0
    for index, place in enumerate([*met, count]):
        if place == ABSENT:
            continue
        between = by_place(place - legacy_at, index - new_at).pairs
        pairs += [
            (one + legacy_at if one != ABSENT else ABSENT, two + new_at if two != ABSENT else ABSENT)
            for one, two in between
        ]
        if index < len(met):
            pairs.append((place, index))
        legacy_at, new_at = place + 1, index + 1
    return Items(pairs=pairs)


# ---- identity ------------------------------------------------------------------------------------------------------

_MOST_NAMES: Final = 8
"""Members of an item that are tried as its key."""


def keys_of_items(legacy_tree: Tree, legacy: Node, new_tree: Tree, new: Node) -> tuple[list[int], list[int]] | None:
    """Give for each item the hash of the one member that identifies it; ``None``: there is no such member.

    Shape: the first scalar member whose values are all different on either side, and mostly the same ones on both.
    Cost: about 0.2 microseconds per item and name that is tried.
    """
    nodes = (*legacy.children, *new.children)
    if not nodes or any(node.kind is not Kind.OBJECT or not node.children for node in nodes):
        return None
    for name in legacy.children[0].names[:_MOST_NAMES] if legacy.children else ():
        keys = _values_of(legacy_tree, legacy.children, name)
        if keys is None or len(set(keys)) < len(keys):
            continue
        new_keys = _values_of(new_tree, new.children, name)
        if new_keys is None or len(set(new_keys)) < len(new_keys):
            continue
        if 2 * len(set(keys) & set(new_keys)) > min(len(keys), len(new_keys)):
            return keys, new_keys
    return None


def _values_of(tree: Tree, items: list[Node], name: bytes) -> list[int] | None:
    """Hash the member *name* of each item; ``None``: one of them lacks it, or it is no number and no text."""
    body = tree.body
    keys = []
    for item in items:
        try:
            value = item.children[item.names.index(name)]
        except ValueError:
            return None
        if value.kind is not Kind.STRING and value.kind is not Kind.NUMBER:
            return None
        # 7 and "7" are one key: a number in quotes is a habit of encoders.
        keys.append(hash(body[value.start : value.end].strip(b'"')))
    return keys


# ---- likeness ------------------------------------------------------------------------------------------------------

_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}")
_ZERO: Final = hash("zero")


class Likeness:
    """Hash values so that two which mean the same, or nearly, are alike."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[Node, int] = {}
        self._folded: dict[bytes, str] = {}

    def of_items(self, node: Node) -> list[int]:
        """Hash each item of an array.

        Cost: about 2 microseconds per value below, once: what is known is kept.
        """
        return [self._of(child) for child in node.children]

    def _of(self, top: Node) -> int:
        known = self._known
        stack = [top]
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
            elif not node.children:
                known[node] = self._of_leaf(node)
                stack.pop()
            else:
                waiting = [child for child in node.children if child not in known]
                if waiting:
                    stack += waiting
                    continue
                known[node] = self._of_container(node)
                stack.pop()
        return known[top]

    def _of_container(self, node: Node) -> int:
        known = self._known
        if node.kind is Kind.ARRAY:
            return hash(tuple(known[child] for child in node.children))
        members = zip(node.names, node.children, strict=True)
        # Zeros count as absent: omitting them is a habit of encoders.
        likes = frozenset((self._fold(name), known[child]) for name, child in members if known[child] != _ZERO)
        return hash(likes) if likes else _ZERO

    def _fold(self, raw: bytes) -> str:
        fold = self._folded.get(raw)
        if fold is None:
            fold = self._folded[raw] = folded(plain_text(raw))
        return fold

    def _of_leaf(self, node: Node) -> int:
        raw = self._tree.raw(node)
        if node.kind is Kind.NUMBER:
            return _of_number(raw)
        if node.kind is not Kind.STRING:
            return hash(raw) if raw == b"true" else _ZERO
        if _NUMBER.fullmatch(raw, 1, len(raw) - 1):
            return _of_number(raw[1:-1])
        text = plain_text(raw)
        if isinstance(text, str) and (moment := _MOMENT.match(text)) is not None:
            return hash(moment[0].replace("T", " "))
        return hash(text) if text else _ZERO


_NUMBER: Final = re.compile(grammar.NUMBER)


def _of_number(raw: bytes) -> int:
    if len(raw) > grammar.MAX_NUMBER_CHARS:
        return hash(raw)
    number = float(raw)
    # A NaN's hash is its object's.
    return hash(raw) if number != number else hash(number) if number else _ZERO
