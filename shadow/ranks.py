"""The order in which people should look at differences: the worst one first, and it decides the place of its pair.

A cause has a severity (who can see it); a rank is finer, because of two differences that every client sees one is
still the worse: a server error comes before a wrong status, a missing member before another value, and every one of
them before a million line feeds.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from typing import Final

from shadow.causes import CAUSES, Severity


class Rank(IntEnum):
    """Name the places, the worst one first; the number is what is stored and sorted by."""

    NEW_5XX = 0
    """New fails with a server error where legacy succeeds."""
    STATUS = 1
    CONTENT_TYPE = 2
    INVALID_BODY = 3
    """One side's body is empty, cut short, or not what the other one is."""
    TYPE = 4
    """A value has another type: typed clients break."""
    MEMBER = 5
    """A member or an item is there on one side only, or under another name."""
    VALUE = 6
    UNEXPLAINED = 7
    """Nobody knows, so it may be as bad as a value."""
    ARRAY_ORDER = 8
    DEPENDENT = 9
    NOISE = 10
    COSMETIC = 11
    HEADER = 12

    @property
    def word(self) -> str:
        """Give the name as people read it: ``new_5xx``."""
        return self.name.lower()


_BY_CAUSE: Final = {
    "http.status": Rank.STATUS,
    "http.content_type": Rank.CONTENT_TYPE,
    "http.header": Rank.HEADER,
    "body.changed": Rank.VALUE,
    "number.as_string": Rank.TYPE,
    "null.omitted": Rank.MEMBER,
    "value.null": Rank.TYPE,
    "value.changed": Rank.VALUE,
    "key.name": Rank.MEMBER,
    "array.reordered": Rank.ARRAY_ORDER,
}

_BY_FAMILY: Final = {
    "body": Rank.INVALID_BODY,
    "type": Rank.TYPE,
    "null": Rank.TYPE,
    "container": Rank.TYPE,
    "envelope": Rank.TYPE,
    "member": Rank.MEMBER,
    "zero": Rank.MEMBER,
    "array": Rank.MEMBER,
}
"""Of causes that every client sees, by what stands before the dot."""

_BY_SEVERITY: Final = {
    Severity.VISIBLE: Rank.VALUE,
    Severity.UNKNOWN: Rank.UNEXPLAINED,
    Severity.DEPENDENT: Rank.DEPENDENT,
    Severity.NOISE: Rank.NOISE,
    Severity.COSMETIC: Rank.COSMETIC,
}


@cache
def rank_of_cause(cause: str) -> Rank:
    """Rank one cause; a name that the table of causes does not have counts as unexplained."""
    if cause in _BY_CAUSE:
        return _BY_CAUSE[cause]
    known = CAUSES.get(cause)
    if known is None:
        return Rank.UNEXPLAINED
    if known.severity is Severity.VISIBLE:
        return _BY_FAMILY.get(cause.partition(".")[0], Rank.VALUE)
    return _BY_SEVERITY[known.severity]


def rank_of_pair(causes: Iterable[str], legacy_status: int, new_status: int) -> Rank:
    """Rank a pair by its worst cause; without any it is unexplained."""
    if new_status >= 500 and 200 <= legacy_status < 300:
        return Rank.NEW_5XX
    worst = min(map(rank_of_cause, causes), default=Rank.UNEXPLAINED)
    return min(worst, Rank.STATUS) if legacy_status != new_status else worst
