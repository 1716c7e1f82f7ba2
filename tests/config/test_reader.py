"""The reader: core types, descriptions, bounded guesses, ordered problems."""

from __future__ import annotations

import pytest

from config.document import ListNode, MapNode, Place, TextNode
from config.reader import Reader, core_type, found

PLACE = Place("f.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "null"),
        ("~", "null"),
        ("true", "boolean"),
        ("yes", "string"),
        ("off", "string"),
        ("12", "integer"),
        ("-0x", "string"),
        ("1.5", "number"),
        (".inf", "number"),
        ("1:30", "string"),
        ("10.0.0.0", "string"),
    ],
)
def test_plain_text_has_the_type_of_yaml_1_2(text: str, expected: str) -> None:
    """Words such as off and yes are words, as in every editor; quotes make anything a text."""
    assert core_type(TextNode(PLACE, text, True)) == expected
    assert core_type(TextNode(PLACE, text, False)) == "string"


def test_a_node_is_described_as_it_is_written() -> None:
    """Messages show what stands in the file, cut to one line's length."""
    assert found(TextNode(PLACE, "a", False)) == "'a'"
    assert found(TextNode(PLACE, "7", True)) == "the number 7"
    assert found(TextNode(PLACE, "", True)) == "nothing"
    assert found(ListNode(PLACE, ())) == "a list"
    assert found(MapNode(PLACE, ())) == "a mapping"
    assert len(found(TextNode(PLACE, "x" * 10_000, False))) < 100


def test_problems_come_once_and_in_the_order_of_the_files() -> None:
    """Each problem is said once; files stand in reading order, lines in theirs."""
    reader = Reader({})
    for file, line in (("main", 9), ("other", 1), ("main", 2), ("main", 9)):
        reader.report(Place(file, line, 1), "k", "is wrong")

    assert [(problem.file, problem.line) for problem in reader.problems] == [("main", 2), ("main", 9), ("other", 1)]


def test_ten_thousand_wrong_names_are_answered_soon() -> None:
    """Guessing what was meant is bounded, and so is the number of problems."""
    reader = Reader({})
    known = [f"backend-{number}" for number in range(1_000)]

    guesses = [reader.near(f"bakend-{number}", known) for number in range(10_000)]
    for number in range(10_000):
        reader.report(Place("f.yaml", 1, 1), f"k{number}", "is wrong")

    assert guesses[0]
    assert not guesses[-1]
    assert len(reader.problems) == 1_000
