"""Random values through two random encoders: every explanation is proven, and every fault is found."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadow.encoding import COSMETIC
from tests.explaining.fuzz import Fault, faults, judge_fault, judge_replay, judge_spelling
from tests.shadow.styles import STYLES, VALUES, Style


@given(VALUES, STYLES, STYLES)
def test_the_causes_between_two_encoders_are_named_and_proven(value: object, legacy: Style, new: Style) -> None:
    """One value written in two styles means the same, and its causes, which are their switches, give new's bytes."""
    judge_spelling(value, legacy, new)


@given(VALUES, STYLES, STYLES, st.frozensets(st.sampled_from(sorted(COSMETIC))))
def test_a_replay_never_covers_what_an_explanation_would_name(
    value: object, legacy: Style, new: Style, encoding: frozenset[str]
) -> None:
    """A pair is covered by an encoding only if the explanation names no cause outside it."""
    judge_replay(value, legacy, new, encoding)


@given(faults(), STYLES, STYLES)
def test_one_fault_behind_two_encoders_is_found_where_it_was_made(
    drawn: tuple[object, Fault], legacy: Style, new: Style
) -> None:
    """One changed, dropped or added value is never the same meaning, and its difference stands at its pointer."""
    judge_fault(*drawn, legacy, new)
