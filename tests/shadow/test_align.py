"""Rules of alignment: which member and which item stand for each other."""

from __future__ import annotations

import random

import pytest

from shadow.align import ABSENT, Likeness, align_items, align_members, keys_of_items, name_of
from shadow.tree import Node, parse


def root(body: bytes) -> Node:
    """Read a body's root."""
    node = parse(body).root
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("legacy", "new", "pairs", "order"),
    [
        (b'{"a":1,"b":2}', b'{"a":1,"b":2}', [(0, 0), (1, 1)], ""),
        (b'{"b":1,"a":2}', b'{"a":2,"b":1}', [(1, 0), (0, 1)], "its own -> sorted"),
        (b'{"a":1,"b":2}', b'{"b":2,"c":3}', [(1, 0), (ABSENT, 1), (0, ABSENT)], ""),
        (b'{"user_id":1}', b'{"userId":1}', [(0, 0)], ""),
        (b'{"user_id":1,"UserId":2}', b'{"userId":1}', [(ABSENT, 0), (0, ABSENT), (1, ABSENT)], ""),
        (rb'{"\u0061":1}', b'{"a":1}', [(0, 0)], ""),
        (b'{"10":1,"2":2,"b":3}', b'{"2":2,"10":1,"b":3}', [(1, 0), (0, 1), (2, 2)], "sorted -> integers first"),
        (
            '{"\uff5e":1,"\U0001f600":2}'.encode(),
            '{"\U0001f600":2,"\uff5e":1}'.encode(),
            [(1, 0), (0, 1)],
            "sorted -> sorted by UTF-16",
        ),
    ],
)
def test_members_meet_by_name(legacy: bytes, new: bytes, pairs: list[tuple[int, int]], order: str) -> None:
    """Members meet by decoded name, else by folded name if only one fits, in new's order."""
    members = align_members(root(legacy), root(new))

    assert (members.pairs, members.order) == (pairs, order)
    assert not members.duplicates


@pytest.mark.parametrize(
    ("legacy", "new", "pairs", "duplicates"),
    [
        (b'{"a":1}', b'{"a":9,"a":1}', [(ABSENT, 0), (0, 1)], {(ABSENT, 0)}),
        (b'{"a":9,"a":1}', b'{"a":1}', [(1, 0), (0, ABSENT)], {(0, ABSENT)}),
        (b'{"a":1,"a":2}', b'{"a":1,"a":3}', [(0, 0), (1, 1)], set()),
        (b"{}", b'{"a":1,"a":2}', [(ABSENT, 0), (ABSENT, 1)], {(ABSENT, 0)}),
        (b'{"a":1,"a":2}', b"{}", [(0, ABSENT), (1, ABSENT)], {(0, ABSENT)}),
    ],
)
def test_the_last_of_a_name_counts(
    legacy: bytes, new: bytes, pairs: list[tuple[int, int]], duplicates: set[tuple[int, int]]
) -> None:
    """Members of one name meet from the end; what one side has more is a duplicate."""
    members = align_members(root(legacy), root(new))

    assert (members.pairs, set(members.duplicates)) == (pairs, duplicates)


@pytest.mark.parametrize(
    ("legacy", "new", "pairs", "is_reordered"),
    [
        ([1, 2, 3], [1, 2, 3], [(0, 0), (1, 1), (2, 2)], False),
        ([1, 2, 3], [2, 3], [(0, ABSENT), (1, 0), (2, 1)], False),
        ([1, 2], [1, 1, 2], [(0, 0), (ABSENT, 1), (1, 2)], False),
        ([1, 2, 3], [3, 1, 2], [(2, 0), (0, 1), (1, 2)], True),
        ([1, 2, 3, 4], [2, 3, 4, 5], [(0, ABSENT), (1, 0), (2, 1), (3, 2), (ABSENT, 3)], False),
        ([1, 2, 3], [7, 8, 9], [(0, 0), (1, 1), (2, 2)], False),
        ([1, 2, 3], [7, 8], [(0, 0), (1, 1), (2, ABSENT)], False),
        ([1, 2, 3, 4], [1, 9, 4], [(0, 0), (1, 1), (2, ABSENT), (3, 2)], False),
        ([1, 2, 3, 4], [4, 9, 1, 2], [(3, 0), (2, 1), (0, 2), (1, 3)], True),
        ([], [1], [(ABSENT, 0)], False),
    ],
)
def test_items_meet_by_likeness_where_that_explains_more(
    legacy: list[int], new: list[int], pairs: list[tuple[int, int]], is_reordered: bool
) -> None:
    """Items meet by place, unless their likeness shows that some moved, went or came."""
    items = align_items(legacy, new)

    assert (items.pairs, items.is_reordered) == (pairs, is_reordered)


def test_every_item_of_both_sides_is_in_one_pair() -> None:
    """Whatever the arrays, no item is lost and none is used twice; new's stand in order."""
    dice = random.Random(1)
    for _ in range(2_000):
        legacy = [dice.randrange(6) for _ in range(dice.randrange(9))]
        new = [dice.randrange(6) for _ in range(dice.randrange(9))]

        pairs = align_items(legacy, new).pairs

        assert sorted(one for one, _ in pairs if one != ABSENT) == list(range(len(legacy)))
        assert [two for _, two in pairs if two != ABSENT] == list(range(len(new)))


def test_likeness_is_blind_to_spelling_and_habits() -> None:
    """Values that encoders write differently are alike; others are not."""
    one = parse(
        b'[{"id":1.0,"at":"2024-01-02T03:04:05.123Z","n":null,"t":"\\u00e9"},{"id":2},[1,2],900719925474099312]'
    )
    two = parse('[{"t":"é","at":"2024-01-02 03:04:05+00:00","ID":1,"l":[]},{"id":3},[2,1],900719925474099300]'.encode())
    assert one.root is not None
    assert two.root is not None

    likes = zip(Likeness(one).of_items(one.root), Likeness(two).of_items(two.root), strict=True)

    assert [first == second for first, second in likes] == [True, False, False, True]


def test_items_are_known_by_the_member_that_identifies_them() -> None:
    """Objects with a member of distinct values meet by it, whatever else in them differs."""
    legacy, new = (
        parse(b'[{"kind":"x","id":1,"v":1},{"kind":"x","id":2,"v":2},{"kind":"x","id":3,"v":3}]'),
        parse(b'[{"kind":"x","id":3,"v":7},{"kind":"x","id":2,"v":8}]'),
    )
    assert legacy.root is not None
    assert new.root is not None

    keys = keys_of_items(legacy, legacy.root, new, new.root)

    assert keys is not None
    assert align_items(*keys).pairs == [(2, 0), (1, 1), (0, ABSENT)]
    assert keys_of_items(legacy, legacy.root, new, root(b'[{"id":1},{"id":1}]')) is None


def test_a_broken_name_is_shown_escaped() -> None:
    """A name that is not UTF-8 has a text for people all the same."""
    assert name_of(b'"a\xff"') == "a\\xff"
