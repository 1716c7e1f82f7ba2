"""Rules of the places in which two values differ, and of the fingerprint that they make."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.changes import ABSENT, MAX_CHANGES, MAX_MARKS, Change, Fingerprint, changes_between, fingerprint_of, kind_of
from shadow.json_value import read
from tests.shadow.made import VALUES, spelled

IDENTIFIERS = {("/i", "identifiers")}


def places(legacy: object, new: object) -> list[Change]:
    """Find the changes between two values that json can write."""
    return list(changes_between(read(json.dumps(legacy).encode()), read(json.dumps(new).encode())).places)


def marks(legacy: object, new: object) -> Fingerprint:
    """Find the fingerprint of two values that json can write."""
    return fingerprint_of(places(legacy, new))


@given(VALUES, VALUES, st.integers(0, 2**32))
def test_there_is_a_change_exactly_where_the_values_differ(one: object, two: object, seed: int) -> None:
    """Two values have changes if and only if they are not equal, however they are spelled."""
    left, right = read(spelled(one, seed)), read(spelled(two, seed + 1))

    assert bool(changes_between(left, right).places) == (left != right)
    assert changes_between(left, read(spelled(one, seed + 2))).places == ()


def at(value: object, path: tuple[str | int, ...] | None) -> object:
    """Follow a path."""
    if path is None:
        return ABSENT
    for step in path:
        value = value[step]  # type: ignore[index]  # the path was found in this very value
    return value


@given(VALUES, VALUES)
def test_every_change_stands_where_its_paths_lead(one: object, two: object) -> None:
    """Both paths of a change lead to its two values, which differ."""
    left, right = read(spelled(one, 1)), read(spelled(two, 2))

    for change in changes_between(left, right).places:
        assert at(left, change.legacy_path) == change.legacy
        assert at(right, change.new_path) == change.new
        assert change.legacy != change.new


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 3}, {("/a", "numbers")}),
        ({"a": {"b~/": True}}, {"a": {"b~/": 1}}, {("/a/b~0~1", "boolean → number of one value")}),
        ({"a": 1}, {"b": 1}, {("/a", "number → absent"), ("/b", "absent → number")}),
        ({"a": None}, {"a": []}, {("/a", "null → empty array")}),
        ({"a": "1.50"}, {"a": 1.5}, {("/a", "string → number of one value")}),
        ({"a": 0.1}, {"a": 0.1000000000000000055}, set()),
        ([{"p": 1}, {"p": 2}], [{"p": 1}, {"p": 3}], {("/*/p", "numbers")}),
        ([1, 2, 3], [3, 2, 1], {("", "array, reordered")}),
        ([1, 2, 3], [1, 3], {("/*", "number → absent")}),
        ([1, 3], [0, 1, 2, 3], {("/*", "absent → zero"), ("/*", "absent → number")}),
        ([1, 1, 2], [1, 2], {("/*", "number → absent")}),
        ([], [{"a": 1}], {("/*", "absent → object")}),
        ({"t": "2024-01-02T03:04:05Z"}, {"t": "2024-01-02T03:04:05.000+00:00"}, {("/t", "one moment")}),
        ({"t": "2024-01-02T03:04:05Z"}, {"t": "2024-01-02T03:05:35Z"}, {("/t", "close moments")}),
        ({"t": "2024-01-02T03:04:05Z"}, {"t": "2024-02-01T03:04:05Z"}, {("/t", "moments")}),
        ({"t": 1_700_000_000}, {"t": 1_700_000_009}, {("/t", "close moments")}),
        ({"t": 1_700_000_000}, {"t": 1_900_000_000}, {("/t", "numbers")}),
        ({"i": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"}, {"i": "6fa459ea-ee8a-3ca4-894e-db77e160355e"}, IDENTIFIERS),
        ({"s": "OPEN"}, {"s": "open"}, {("/s", "texts in another case")}),
        (1, "a", {("", "number → string")}),
    ],
)  # fmt: skip
def test_a_change_has_a_folded_path_and_a_kind(legacy: object, new: object, expected: set[tuple[str, str]]) -> None:
    """Indexes fold to a star; a kind says how the values are alike, so that a fault is not counted as a clock."""
    assert marks(legacy, new) == expected


def test_one_double_in_two_spellings_of_a_decimal_is_a_kind_of_its_own() -> None:
    """A number that lost digits beyond a double is another kind than a wrong number."""
    assert kind_of(b"10000000000000001", b"10000000000000002") == "numbers"
    assert kind_of(b"9007199254740993", b"9007199254740992") == "one double"
    assert kind_of(b"1" + b"0" * 400, b"2" + b"0" * 400) == "numbers"


def test_one_wrong_price_in_ten_thousand_answers_has_a_fingerprint_of_its_own() -> None:
    """Behind a clock that always differs, the one answer with a wrong price is not counted with the others."""
    dice = random.Random(1)
    seen: dict[Fingerprint, int] = {}
    for number in range(10_000):
        rows = [{"id": n, "price": 100 + n} for n in range(dice.randrange(1, 6))]
        legacy = {"at": f"2024-01-02T03:04:{number % 59:02}Z", "rows": rows}
        new = {"at": f"2024-01-02T03:04:{number % 59 + 1:02}Z", "rows": [dict(row) for row in rows]}
        if number == 7_123:
            new["rows"][-1]["price"] += 1  # type: ignore[index]  # a list of rows
        found = marks(legacy, new)
        seen[found] = seen.get(found, 0) + 1

    clock = ("/at", "close moments")
    assert seen == {frozenset((clock,)): 9_999, frozenset((clock, ("/rows/*/price", "numbers"))): 1}


@pytest.mark.parametrize(
    ("legacy", "always", "wrong"),
    [
        ("12.5", "12.50", "13.50"),
        (b"1e-1", b"10000000149011612e-17", b"135e-1"),
        (b"3600", b"3600000", b"3700000"),
        ("Wed, 28 Feb 1990 00:00:00 GMT", "1990-02-28T00:00:00Z", "1991-02-28T00:00:00Z"),
        (b"1704164645123", "2024-01-02T03:04:05.123Z", "2025-01-02T03:04:05.123Z"),
        ("2024-01-02T03:04:05.123456Z", "2024-01-02T03:04:05.123Z", "2024-01-02T03:04:35.123Z"),
        ("caf\u00e9", "cafe\u0301", "tea"),
        ("PT1H", "01:00:00", "02:00:00"),
        (b"1e-10", b"0", b"5"),
    ],
)
def test_another_spelling_of_a_value_never_hides_another_value(legacy: object, always: object, wrong: object) -> None:
    """A place that always differs, and means the same, is of another kind than a wrong value at that very place."""
    places = [changes_between({"timeout": legacy}, {"timeout": new}).places for new in (always, wrong)]

    assert fingerprint_of(places[0]) != fingerprint_of(places[1])


def test_the_number_of_items_does_not_change_a_fingerprint() -> None:
    """Lists of any length with the same fault have one fingerprint, as does an item that is missing anywhere."""
    lists = [[{"id": n, "at": f"2024-01-02T03:04:{n:02}Z"} for n in range(size)] for size in range(2, 40)]
    moved = [[{**row, "at": f"2024-01-02T03:05:{row['id']:02}Z"} for row in rows] for rows in lists]
    shorter = [[row for row in rows if row["id"] != len(rows) // 2] for rows in lists]

    assert {marks(one, two) for one, two in zip(lists, moved, strict=True)} == {frozenset([("/*/at", "close moments")])}
    assert {marks(one, two) for one, two in zip(lists, shorter, strict=True)} == {
        frozenset([("/*", "object → absent")])
    }


def test_a_fingerprint_is_bounded_and_leaves_nothing_out() -> None:
    """Beyond 64 marks the others stand behind a digest, so one more fault still makes another fingerprint."""
    legacy = {f"m{number:03}": number for number in range(200)}
    new = {name: number + 1000 for name, number in legacy.items()}

    many, one_less = marks(legacy, new), marks(legacy, {**new, "m150": 150})

    assert len(many) == len(one_less) == MAX_MARKS
    assert many != one_less
    assert many == marks(legacy, dict(reversed(new.items())))


def test_places_are_bounded_and_the_bound_is_told() -> None:
    """Of a list of differences only so many places are kept, and the answer says so; another kind is always there."""
    legacy: list[object] = [b"1"] * 30_000
    new: list[object] = [b"2"] * 30_000

    found = changes_between(legacy, new)

    assert (len(found.places), found.is_whole) == (MAX_CHANGES, False)
    for at in (0, 15_000, 29_999):
        one_null = changes_between(legacy, [*new[:at], None, *new[at + 1 :]])
        assert ("/*", "number → null") in fingerprint_of(one_null.places)
    assert changes_between(legacy, legacy[:-1]).is_whole


def deep(levels: int, leaf: str) -> bytes:
    """Nest objects that have something beside the next one."""
    return b'{"b":[1,2,3],"a":' * levels + leaf.encode() + b"}" * levels


def listed(items: Iterable[object]) -> bytes:
    """Write a list."""
    return json.dumps(list(items)).encode()


@pytest.mark.parametrize(
    ("legacy", "new"),
    [
        (listed(range(200_000)), listed(range(200_000, 0, -1))),
        (deep(500, "1"), deep(500, "2")),
        (listed([{"a": 1}] * 80_000), listed([{"a": 2}] * 80_000)),
        (
            json.dumps({f"a{n}": 1 for n in range(100_000)}).encode(),
            json.dumps({f"b{n}": 1 for n in range(99)}).encode(),
        ),
        (listed([[1]] * 60_000), listed([0, *[[1]] * 60_000])),
    ],
    ids=["reversed", "deep", "all different", "all renamed", "shifted"],
)
def test_hostile_values_cost_no_more_than_their_size(legacy: bytes, new: bytes) -> None:
    """Reversed, deep, renamed and shifted values of the largest size are compared within a second or two."""
    left, right = read(legacy), read(new)
    started = time.process_time()

    assert changes_between(left, right).places

    assert time.process_time() - started < 3.0
