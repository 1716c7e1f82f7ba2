"""Rules of the order in which differences are looked at."""

from __future__ import annotations

import pytest

from shadow.causes import CAUSES, Severity
from shadow.ranks import Rank, rank_of_cause, rank_of_pair

ORDER = (
    ({"http.status"}, (200, 500), Rank.NEW_5XX),
    ({"http.status"}, (200, 404), Rank.STATUS),
    ({"http.status"}, (500, 502), Rank.STATUS),
    ({"http.content_type"}, (200, 200), Rank.CONTENT_TYPE),
    ({"body.truncated"}, (200, 200), Rank.INVALID_BODY),
    ({"type.changed"}, (200, 200), Rank.TYPE),
    ({"member.missing"}, (200, 200), Rank.MEMBER),
    ({"array.extra_item"}, (200, 200), Rank.MEMBER),
    ({"value.changed"}, (200, 200), Rank.VALUE),
    ({"unexplained"}, (200, 200), Rank.UNEXPLAINED),
    ({"array.reordered"}, (200, 200), Rank.ARRAY_ORDER),
    ({"number.integral_float"}, (200, 200), Rank.DEPENDENT),
    ({"volatile.timestamp"}, (200, 200), Rank.NOISE),
    ({"whitespace.separator"}, (200, 200), Rank.COSMETIC),
    ({"http.header"}, (200, 200), Rank.HEADER),
)


def test_the_order_is_what_a_client_would_feel_first() -> None:
    """A server error outranks a status, a status a type, a type a value, a value thousands of cosmetic differences."""
    ranks = [rank_of_pair(causes, *statuses) for causes, statuses, _ in ORDER]

    assert ranks == [rank for _, _, rank in ORDER]
    assert ranks == sorted(ranks)


def test_the_worst_difference_decides_the_place_of_its_pair() -> None:
    """A wrong price behind a clock and a separator ranks as a wrong price."""
    causes = ("whitespace.separator", "volatile.timestamp", "value.changed", "http.header")

    assert rank_of_pair(causes, 200, 200) is Rank.VALUE


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_cause_that_every_client_sees_is_never_ranked_as_cosmetic(cause: str) -> None:
    """Each cause of the table has a rank that agrees with its severity."""
    rank, severity = rank_of_cause(cause), CAUSES[cause].severity

    assert (rank < Rank.UNEXPLAINED or rank is Rank.ARRAY_ORDER) == (severity is Severity.VISIBLE)
    assert (rank is Rank.COSMETIC) == (severity is Severity.COSMETIC)


def test_what_nobody_can_explain_is_not_called_harmless() -> None:
    """A cause that this version does not know, and no cause at all, rank before everything that is harmless."""
    assert rank_of_cause("from.the.future") is Rank.UNEXPLAINED
    assert rank_of_pair((), 200, 200) is Rank.UNEXPLAINED
