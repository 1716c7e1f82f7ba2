"""Differences and explanations."""

from __future__ import annotations

from shadow.causes import Severity
from shadow.difference import Difference, Explanation, Proof
from shadow.json_value import Meaning


def test_a_difference_has_its_causes_severity_and_the_place_it_has() -> None:
    """The severity comes from the table; an added member stands at its place in new."""
    difference = Difference(cause="member.added", legacy_path=None, new_path=("rows", 3, "tax"))

    assert difference.severity is Severity.VISIBLE
    assert difference.path == ("rows", 3, "tax")


def test_causes_are_a_set() -> None:
    """A cause that stands at many places is one cause."""
    twice = tuple(Difference(cause="value.changed", legacy_path=(n,), new_path=(n,)) for n in range(2))

    explanation = Explanation(meaning=Meaning.DIFFERENT, differences=twice, proof=Proof.PROVEN)

    assert explanation.causes == {"value.changed"}
