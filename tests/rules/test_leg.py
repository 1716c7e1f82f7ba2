"""Prove the legs: fixed beginnings, never older than asked for, and one chance of being wrong for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.leg import ALPHA, Leg, leg_at, recent_legs

WEEK_S = 7 * 86_400.0
BEGAN = st.floats(1.6e9, 1.9e9)
LATER = st.floats(0, 200 * 86_400.0)


@given(BEGAN, LATER)
def test_a_leg_holds_what_is_young_enough(began: float, later: float) -> None:
    """A leg never reaches back further than `over`, nor before the build, and always holds the younger half of it."""
    now = began + later

    leg = leg_at(began, now, WEEK_S)

    assert leg.since >= began
    assert now - leg.since <= WEEK_S
    assert leg.since <= max(began, now - WEEK_S / 2)


@given(BEGAN, LATER, st.floats(0, 3_600))
def test_a_leg_does_not_move_with_the_looks(began: float, later: float, wait: float) -> None:
    """A leg begins where it began at the look before, or a half of `over` later with the next number."""
    first, second = (leg_at(began, began + later + extra, WEEK_S) for extra in (0.0, wait))

    assert (second.since == first.since) or second.number == first.number + 1
    assert second.number - first.number in (0, 1)


def test_all_legs_together_are_wrong_as_often_as_one_may_be() -> None:
    """What the legs of a build may spend adds up to 5 %, however many there are."""
    spent = [Leg(since=0.0, number=number, over_s=WEEK_S).alpha for number in range(1, 10_000)]

    assert sum(spent) < ALPHA
    assert sum(spent) == pytest.approx(ALPHA, rel=1e-3)
    assert spent[0] == ALPHA / 2


def test_the_first_leg_lasts_until_the_second_can_stand_alone() -> None:
    """A young build counts from its beginning; two half weeks later the oldest half is let go."""
    began = 1.8e9

    assert leg_at(began, began, WEEK_S) == Leg(since=began, number=1, over_s=WEEK_S)
    assert leg_at(began, began + WEEK_S / 2, WEEK_S).since == began
    assert leg_at(began, began + WEEK_S, WEEK_S).number == 2
    assert leg_at(began, began - 100.0, WEEK_S).since == began - 100.0


def test_short_legs_look_at_the_last_day_and_hour() -> None:
    """Of a week the last day and hours are looked at on their own; a window of an hour has no shorter one."""
    began = 1.8e9
    now = began + 30 * 86_400.0 + 1_000

    day, hour = recent_legs(began, now, WEEK_S)

    assert 43_200 <= now - day.since <= 86_400
    assert 3_600 <= now - hour.since <= 7_200
    assert recent_legs(began, now, 3_600.0) == ()
