"""Two arrays hold the same items, or they do not; what differs inside is for other tolerances to permit."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shadow import json_value
from shadow.changes import Change
from shadow.items import MAX_DEPTH, MAX_UNPAIRED, identity, same_by_member, same_in_any_order

plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([b"0", b"1", b"15e-1"]),
        st.sampled_from(["", "0", "1", "a", "__p"]),
        st.just((b"\xff",)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "__b", "0"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def nothing(_at: int, _change: Change) -> bool:
    """Permit nothing."""
    return False


def clocks(_at: int, change: Change) -> bool:
    """Permit another value of a member ``at``."""
    return change.legacy_path == change.new_path == ("at",)


def items(text: str) -> list[object]:
    """Read an array."""
    value = json_value.read(text.encode())
    assert isinstance(value, list)
    return value


@given(st.lists(plain, max_size=5), st.randoms(use_true_random=False))
def test_shuffled_items_are_the_same(values: list[object], order: random.Random) -> None:
    """An array is the same in any order."""
    shuffled = order.sample(values, len(values))

    assert same_in_any_order(values, shuffled, nothing)


@given(st.lists(plain, max_size=4), st.lists(plain, max_size=4))
def test_only_the_same_items_are(legacy: list[object], new: list[object]) -> None:
    """Arrays are the same exactly where each item stands in both equally often."""
    expected = Counter(map(repr_of, legacy)) == Counter(map(repr_of, new))

    assert same_in_any_order(legacy, new, nothing) == expected


def repr_of(value: object) -> str:
    """Write a plain value so that equal ones are equal texts."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{name!r}:{repr_of(child)}" for name, child in value.items())) + "}"
    return "[" + ",".join(map(repr_of, value)) + "]" if isinstance(value, list) else repr(value)


def test_what_other_tools_overlook_counts() -> None:
    """Repetitions, members with two underscores, types, and the order inside an item all count."""
    pairs = [
        ("[1,1,2]", "[1,2,2]"),
        ("[1,1,2]", "[1,2]"),
        ('[{"__a":1}]', '[{"__a":2}]'),
        ("[true]", "[1]"),
        ("[1]", '["1"]'),
        ("[0]", "[false]"),
        ("[null]", '["null"]'),
        ("[[1,2],[3]]", "[[2,1],[3]]"),
        ('[{"t":["x","y"]}]', '[{"t":["y","x"]}]'),
        ("[9007199254740993]", "[9007199254740992]"),
    ]

    for legacy, new in pairs:
        assert not same_in_any_order(items(legacy), items(new), nothing), (legacy, new)
        assert not same_in_any_order(items(new), items(legacy), nothing), (legacy, new)


def test_items_may_differ_in_what_is_tolerated() -> None:
    """Items that differ only in a tolerated clock belong together, and every further difference tells them apart."""
    legacy = items('[{"id":1,"at":1},{"id":2,"at":2},{"id":3,"at":3}]')
    late = items('[{"id":3,"at":9},{"id":2,"at":2},{"id":1,"at":8}]')
    wrong = items('[{"id":3,"at":9},{"id":2,"at":2},{"id":4,"at":8}]')

    assert same_in_any_order(legacy, late, clocks)
    assert not same_in_any_order(legacy, late, nothing)
    assert not same_in_any_order(legacy, wrong, clocks)


def test_the_work_in_any_order_is_bounded() -> None:
    """Where too many items differ in what is tolerated, the answer is no, and it comes at once."""

    def late(count: int) -> tuple[list[object], list[object]]:
        legacy: list[object] = [{"id": str(n), "at": "1"} for n in range(count)]
        return legacy, [{"id": str(n), "at": "2"} for n in reversed(range(count))]

    assert same_in_any_order(*late(MAX_UNPAIRED), clocks)
    assert not same_in_any_order(*late(MAX_UNPAIRED + 1), clocks)
    assert not same_in_any_order(*late(20_000), clocks)


def test_a_member_tells_items_apart() -> None:
    """Objects with the same key are held against each other wherever they stand."""
    legacy = items('[{"id":1,"at":1,"p":5},{"id":2,"at":2,"p":6}]')

    assert same_by_member(legacy, items('[{"id":2,"at":7,"p":6},{"id":1,"at":8,"p":5}]'), "id", clocks)
    assert not same_by_member(legacy, items('[{"id":2,"at":7,"p":6},{"id":1,"at":8,"p":6}]'), "id", clocks)
    assert not same_by_member(legacy, items('[{"id":2,"at":2,"p":6},{"id":1,"at":8,"p":5}]'), "id", nothing)


def test_a_member_that_tells_nothing_apart_helps_nothing() -> None:
    """Where a key is missing, repeated, no scalar, or of one side only, the arrays are not the same."""
    legacy = '[{"id":1},{"id":2}]'
    for new in (
        '[{"id":1}]',
        '[{"id":1},{"id":3}]',
        '[{"id":1},{"id":1}]',
        '[{"id":1},{}]',
        '[{"id":1},2]',
        '[{"id":1},{"id":"2"}]',
        '[{"id":1},{"id":2},{"id":2}]',
    ):
        assert not same_by_member(items(legacy), items(new), "id", lambda _at, _change: True), new
    for both in ('[{"id":[1]}]', '[{"id":null}]', '[{"id":true}]', '[{"id":1},{"id":1}]', "[1]"):
        assert not same_by_member(items(both), items(both), "id", lambda _at, _change: True), both


def test_deep_items_are_not_looked_into() -> None:
    """Nesting beyond the limit is an answer, not a crash."""
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]

    assert not same_in_any_order(deep, deep, nothing)
    assert not same_by_member([{"id": "1", "deep": deep}], [{"id": "1", "deep": deep}], "id", nothing)
    assert MAX_DEPTH < 500


@given(plain, plain)
def test_an_identity_is_shared_by_equal_values_only(legacy: object, new: object) -> None:
    """Items are found by what they are, exactly."""
    assert (identity(legacy) == identity(new)) == (repr_of(legacy) == repr_of(new))
