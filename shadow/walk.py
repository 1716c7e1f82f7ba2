"""The walk down two trees at once: what differs, why, and what legacy would have sent with that applied.

Rules of this file:

1. Equal bytes are never walked into; unequal ones always give a difference or another writing.
2. No recursion: what is left to do stands on a list. Paths are linked, and spelled out for a difference only.
3. What is written is legacy's own, laid out by rule and spelled by rule. New's bytes are spliced in only where the
   value itself differs, and there a difference says so. A cosmetic cause never splices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from shadow import align, kinds, texts
from shadow.align import ABSENT
from shadow.causes import CAUSES, Severity
from shadow.difference import MAX_DIFFERENCES, Difference, Span
from shadow.json_value import plain_text
from shadow.layout import SPOTS, Writer
from shadow.pointer import Path
from shadow.reason import Reason, Reasons
from shadow.tree import Kind, Node, Tree

Place = tuple["Place", str | int] | None
"""A path as a link to the container around and one step; ``None`` is the root."""

Where = tuple[Place, Span] | None
"""A place and its bytes; ``None``: absent on this side."""


def path_of(place: Place) -> Path:
    """Spell out a linked path."""
    steps: list[str | int] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return tuple(reversed(steps))


@dataclass(slots=True, eq=False, kw_only=True)
class Found:
    """Gather differences, counting what is beyond the limit."""

    differences: list[Difference] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    omitted: int = 0

    def add(self, difference: Difference) -> None:
        """Keep a difference."""
        self.causes.add(difference.cause)
        self.differences.append(difference)

    def note(self, cause: str, legacy: Where, new: Where, detail: str = "") -> None:
        """Keep a difference of the walk, or only count it; the first one of a cause is always kept."""
        if len(self.differences) >= MAX_DIFFERENCES and cause in self.causes:
            self.omitted += 1
            return
        self.add(
            Difference(
                cause=cause,
                legacy_path=None if legacy is None else path_of(legacy[0]),
                new_path=None if new is None else path_of(new[0]),
                legacy_span=None if legacy is None else legacy[1],
                new_span=None if new is None else new[1],
                detail=detail,
            )
        )


@dataclass(slots=True, eq=False)
class Pair:
    """Hold two values that stand for each other, and where."""

    legacy: Node
    new: Node
    legacy_place: Place
    new_place: Place
    level: int
    name: str
    """Of the member, or of the nearest one around."""


COSMETIC: Final = frozenset(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC)
"""Causes after which every conforming parser gives the same value."""
_NULL: Final = (b"null", b'"0001-01-01T00:00:00Z"')
_CHANGED: Final = frozenset({"type.changed", "value.changed"})
_EMPTY: Final = (b"null", b'""')
_ZERO: Final = (b"0", b"0.0", b"-0", b"-0.0", b"false", b'""', b'"0"')


class Walk:
    """Go down both trees at once; write what legacy would have sent."""

    def __init__(self, legacy: Tree, new: Tree, writer: Writer, found: Found, *, is_same: bool) -> None:
        self.written: list[bytes] = []
        self._legacy, self._new = legacy, new
        self._writer, self._found = writer, found
        self._is_same = is_same
        self._likeness = align.Likeness(legacy), align.Likeness(new)
        self._to_do: list[bytes | Pair] = []
        self._members: dict[tuple[bytes, ...], align.Members] = {}
        self._names: dict[bytes, str] = {}

    def run(self, root: Pair) -> None:
        """Meet the roots, and all that comes of it."""
        to_do, written = self._to_do, self.written
        to_do.append(root)
        while to_do:
            pair = to_do.pop()
            if type(pair) is bytes:
                written.append(pair)
            else:
                assert type(pair) is Pair
                self._meet(pair)

    def _meet(self, pair: Pair) -> None:
        legacy, new = self._legacy.raw(pair.legacy), self._new.raw(pair.new)
        if legacy == new:  # the roots, or what an envelope held
            self.written.append(legacy)
            return
        kind = pair.legacy.kind
        if kind is Kind.OBJECT and pair.new.kind is kind:
            self._meet_objects(pair)
        elif kind is Kind.ARRAY and pair.new.kind is kind:
            self._meet_arrays(pair)
        elif pair.legacy.is_open or pair.new.is_open:
            return
        elif not self._meet_list_as_object(pair):
            self._meet_values(pair, legacy, new)

    def _note(self, cause: str, pair: Pair, detail: str = "") -> None:
        legacy, new = pair.legacy, pair.new
        places = (pair.legacy_place, (legacy.start, legacy.end)), (pair.new_place, (new.start, new.end))
        self._found.note(cause, *places, detail)

    # ---- values

    def _meet_values(self, pair: Pair, legacy: bytes, new: bytes) -> None:
        reasons = kinds.classify(legacy, new, name=pair.name)
        if reasons[0].cause in _CHANGED and self._meet_envelope(pair):
            return
        for reason in reasons:
            self._note(reason.cause, pair, reason.detail)
        self.written.append(self._respelled(legacy, new, reasons))

    def _respelled(self, legacy: bytes, new: bytes, reasons: Reasons) -> bytes:
        """Give legacy's lexeme with the causes applied, or new's where the value itself differs."""
        causes = frozenset(reason.cause for reason in reasons)
        respelled = kinds.respell(legacy, new, causes)
        if respelled is None and not causes <= COSMETIC:
            return new
        return legacy if respelled is None else respelled

    # ---- objects

    def _meet_objects(self, pair: Pair) -> None:
        legacy, new = pair.legacy, pair.new
        members = self._aligned(legacy, new)
        common = sum(ABSENT not in pairing for pairing in members.pairs)
        if 2 * common <= max(len(legacy.children), len(new.children)) and self._meet_envelope(pair, common):
            return
        is_cut = legacy.is_open or new.is_open
        if not common and legacy.children and new.children and pair.new_place is None and not is_cut:
            self._note("body.changed", pair)
            self.written.append(self._new.raw(new))
            return
        if members.order and not is_cut:
            self._note("key_order", pair, members.order)
        gaps = self._writer.gaps(legacy, len(new.children), pair.level)
        level = self._writer.level_in(Kind.OBJECT, pair.level)
        colons = self._writer.colons(legacy, level)
        legacy_body, new_body = self._legacy.body, self._new.body
        to_do: list[bytes | Pair] = []
        for one, two in members.pairs:
            if ABSENT in (one, two):
                self._note_absent(pair, one, two, is_duplicate=(one, two) in members.duplicates)
            if two == ABSENT:
                continue
            if one == ABSENT:
                value = self._new.raw(new.children[two])
                to_do.append(gaps[two] + new.names[two] + self._writer.colon(level) + value)
                continue
            to_do.append(gaps[two] + self._name(pair, one, two) + colons[one])
            child, other = legacy.children[one], new.children[two]
            value = legacy_body[child.start : child.end]
            if value == new_body[other.start : other.end]:
                to_do.append(value)
                continue
            name, new_name = self._name_of(legacy.names[one]), self._name_of(new.names[two])
            to_do.append(Pair(child, other, (pair.legacy_place, name), (pair.new_place, new_name), level, name))
        to_do.append(gaps[-1])
        to_do.reverse()
        self._to_do += to_do

    def _aligned(self, legacy: Node, new: Node) -> align.Members:
        """Pair the members of two objects; those of one list mostly have the same names."""
        key = (*legacy.names, b":", *new.names)
        known = self._members.get(key)
        if known is None:
            known = align.align_members(legacy, new)
            if len(self._members) < _MOST_REMEMBERED:
                self._members[key] = known
        return known

    def _name_of(self, raw: bytes) -> str:
        name = self._names.get(raw)
        if name is None:
            name = align.name_of(raw)
            if len(self._names) < _MOST_REMEMBERED:
                self._names[raw] = name
        return name

    def _name(self, pair: Pair, one: int, two: int) -> bytes:
        """Explain how a name is written, and write it."""
        legacy, new = pair.legacy.names[one], pair.new.names[two]
        if legacy == new:
            return legacy
        is_renamed = plain_text(legacy) != plain_text(new)
        reasons = texts.escapes_as_well(legacy, new) if is_renamed else kinds.classify(legacy, new)
        if is_renamed:
            reasons = (Reason("key.name"), *reasons)
        places = (pair.legacy_place, self._name_of(legacy)), (pair.new_place, self._name_of(new))
        spans = _name_span(pair.legacy, one), _name_span(pair.new, two)
        for reason in reasons:
            self._found.note(reason.cause, (places[0], spans[0]), (places[1], spans[1]), reason.detail)
        return new if is_renamed else self._respelled(legacy, new, reasons)

    def _note_absent(self, pair: Pair, one: int, two: int, *, is_duplicate: bool) -> None:
        """Explain a member that one side has not."""
        is_missing = two == ABSENT
        tree, node, index, place, other = (
            (self._legacy, pair.legacy, one, pair.legacy_place, pair.new)
            if is_missing
            else (self._new, pair.new, two, pair.new_place, pair.legacy)
        )
        if other.is_open:
            return
        child = node.children[index]
        cause = "key.duplicate" if is_duplicate else _absence(tree, child, is_missing=is_missing)
        where: Where = (place, self._name_of(node.names[index])), (node.name_starts[index], child.end)
        self._found.note(cause, where if is_missing else None, None if is_missing else where)

    # ---- arrays

    def _meet_arrays(self, pair: Pair) -> None:
        legacy, new = pair.legacy, pair.new
        is_cut = legacy.is_open or new.is_open
        if self._meet_envelope(pair):
            return
        items = align.by_place(len(legacy.children), len(new.children)) if is_cut else self._items(legacy, new)
        if items.is_reordered:
            self._note("array.reordered", pair)
        self._go_through(pair, items.pairs, is_cut=is_cut)

    def _items(self, legacy: Node, new: Node) -> align.Items:
        """Pair the items of two lists."""
        if self._is_same and len(legacy.children) == len(new.children):
            return align.by_place(len(legacy.children), len(new.children))
        keys = align.keys_of_items(self._legacy, legacy, self._new, new)
        if keys is None:
            keys = self._likeness[0].of_items(legacy), self._likeness[1].of_items(new)
        return align.align_items(*keys)

    def _go_through(self, pair: Pair, pairs: list[align.Pairing], *, is_cut: bool) -> None:
        """Explain and write the items of an array."""
        legacy, new = pair.legacy, pair.new
        gaps = self._writer.gaps(legacy, len(new.children), pair.level)
        level = self._writer.level_in(Kind.ARRAY, pair.level)
        legacy_body, new_body = self._legacy.body, self._new.body
        to_do: list[bytes | Pair] = []
        for one, two in pairs:
            if two == ABSENT or one == ABSENT:
                if not is_cut:
                    self._note_item(pair, one, two)
                if two != ABSENT:
                    to_do.append(gaps[two] + self._new.raw(new.children[two]))
                continue
            to_do.append(gaps[two])
            child, other = legacy.children[one], new.children[two]
            value = legacy_body[child.start : child.end]
            if value == new_body[other.start : other.end]:
                to_do.append(value)
                continue
            to_do.append(Pair(child, other, (pair.legacy_place, one), (pair.new_place, two), level, pair.name))
        to_do.append(gaps[-1])
        to_do.reverse()
        self._to_do += to_do

    def _note_item(self, pair: Pair, one: int, two: int) -> None:
        """Explain an item that one side has not."""
        if two == ABSENT:
            child = pair.legacy.children[one]
            place = pair.legacy_place, _step(pair.legacy, one)
            self._found.note("array.missing_item", (place, (child.start, child.end)), None)
        else:
            child = pair.new.children[two]
            place = pair.new_place, _step(pair.new, two)
            self._found.note("array.extra_item", None, (place, (child.start, child.end)))

    # ---- containers of another shape

    def _meet_list_as_object(self, pair: Pair) -> bool:
        """Meet an array and an object whose names are numbers, as PHP writes a list that has lost an item."""
        legacy, new = pair.legacy, pair.new
        if {legacy.kind, new.kind} != {Kind.ARRAY, Kind.OBJECT} or not legacy.children or not new.children:
            return False
        named = legacy if legacy.kind is Kind.OBJECT else new
        if not all(_INDEX.fullmatch(name) for name in named.names):
            return False
        self._note("container.object_as_array", pair)
        items = _by_index(legacy, new) or self._items(legacy, new)
        if items.is_reordered:
            self._note("array.reordered", pair)
        level = self._writer.level_in(new.kind, pair.level)
        body, position = self._new.body, new.start
        to_do: list[bytes | Pair] = []
        for one, two in items.pairs:
            if two == ABSENT or one == ABSENT:
                self._note_item(pair, one, two)
                continue
            places = (pair.legacy_place, _step(legacy, one)), (pair.new_place, _step(new, two))
            inner = new.children[two]
            to_do.append(body[position : inner.start])
            to_do.append(Pair(legacy.children[one], inner, *places, level, pair.name))
            position = inner.end
        to_do.append(body[position : new.end])
        to_do.reverse()
        self._to_do += to_do
        return True

    def _meet_envelope(self, pair: Pair, common: int = 0) -> bool:
        """Meet a value with the one inside the other side's further level, if that has more than *common* with it."""
        index = _index_of_wrapped(pair.legacy, pair.new, common)
        if index != ABSENT:
            inner, step = pair.new.children[index], _step(pair.new, index)
            self._note("envelope.wrapped", pair, str(step))
            level = self._writer.level_in(pair.new.kind, pair.level)
            body = self._new.body
            self._to_do.append(body[inner.end : pair.new.end])
            self._to_do.append(Pair(pair.legacy, inner, pair.legacy_place, (pair.new_place, step), level, pair.name))
            self._to_do.append(body[pair.new.start : inner.start])
            return True
        index = _index_of_wrapped(pair.new, pair.legacy, common)
        if index != ABSENT:
            inner, step = pair.legacy.children[index], _step(pair.legacy, index)
            self._note("envelope.unwrapped", pair, str(step))
            place = (pair.legacy_place, step)
            self._to_do.append(Pair(inner, pair.new, place, pair.new_place, pair.level, pair.name))
            return True
        return False


def _by_index(legacy: Node, new: Node) -> align.Items | None:
    """Pair a list with an object whose names are exactly its indexes, in whatever order; ``None``: they are not."""
    named = legacy if legacy.kind is Kind.OBJECT else new
    indexes = [int(name[1:-1]) for name in named.names]
    if len(legacy.children) != len(new.children) or sorted(indexes) != list(range(len(indexes))):
        return None
    if named is new:
        return align.Items(pairs=[(one, two) for two, one in enumerate(indexes)])
    return align.Items(pairs=sorted(enumerate(indexes), key=lambda pairing: pairing[1]))


def _name_span(node: Node, index: int) -> Span:
    return node.name_starts[index], node.name_starts[index] + len(node.names[index])


def _step(node: Node, index: int) -> str | int:
    return align.name_of(node.names[index]) if node.kind is Kind.OBJECT else index


def _absence(tree: Tree, node: Node, *, is_missing: bool) -> str:
    """Name the cause of a member that one side has, and the other one has not."""
    raw = tree.raw(node)
    if raw in _NULL:
        return "null.omitted"
    if raw in _ZERO or (node.kind in SPOTS and _is_hollow(tree, node)):
        return "zero.omitted"
    return "member.missing" if is_missing else "member.added"


def _is_hollow(tree: Tree, node: Node) -> bool:
    """Say whether a container is empty, or an object whose members are all empty: Go's v2 omits it with them."""
    return not node.children or (
        node.kind is Kind.OBJECT
        and all(not child.children if child.kind in SPOTS else tree.raw(child) in _EMPTY for child in node.children)
    )


_INDEX: Final = re.compile(rb'"(?:0|[1-9][0-9]{0,8})"')

_MOST_REMEMBERED: Final = 1_024
"""Lists of names, and names, that one walk remembers."""

_MOST_IN_ENVELOPE: Final = 16
"""Members of an envelope; with more it is no envelope, and looking through them would cost."""

_MOST_LEVELS: Final = 8
"""Lists in lists that are looked through for a resemblance: at every level, so all of them would be quadratic."""


def _index_of_wrapped(inner: Node, outer: Node, common: int) -> int:
    """Give the index of the one value in *outer* that resembles *inner*, ABSENT if there is none.

    Shape: an object is resembled by an object with most of its names, and with more than the *common* ones that the
    outer one has itself; a list by a list that begins alike. A list around holds a single item.
    """
    if not inner.children or not 0 < len(outer.children) <= _MOST_IN_ENVELOPE:
        return ABSENT
    if outer.kind is Kind.ARRAY and (len(outer.children) != 1 or _resemblance(inner, outer)):
        return ABSENT
    alike = [
        index for index, child in enumerate(outer.children) if child.children and _resemblance(inner, child) > common
    ]
    return alike[0] if len(alike) == 1 else ABSENT


def _resemblance(one: Node, two: Node) -> int:
    """Count the names that two objects, or the first ones of two lists, have in common; 0: less than half.

    Shape: lists of scalars of one kind count as one.
    """
    for _ in range(_MOST_LEVELS):
        if not (one.kind is two.kind is Kind.ARRAY and one.children and two.children):
            break
        one, two = one.children[0], two.children[0]
    if one.kind is not two.kind or one.kind is Kind.ARRAY:
        return 0
    if one.kind is not Kind.OBJECT:
        return 1
    names = {align.folded(plain_text(name)) for name in one.names}
    common = len(names & {align.folded(plain_text(name)) for name in two.names})
    return common if 2 * common >= max(len(one.names), len(two.names)) else 0
