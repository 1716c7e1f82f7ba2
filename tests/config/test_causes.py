"""The causes that a configuration may name are those of the table, less those that nobody may hide."""

from __future__ import annotations

import pytest

from config import causes
from config.errors import UnfitError
from shadow.causes import CAUSES, Severity


def test_the_names_are_those_of_the_table() -> None:
    """A configuration can name every cause that reports name, and no other."""
    assert sorted(causes.CAUSES) == sorted(CAUSES)
    assert set(causes.COSMETIC) == {cause.name for cause in CAUSES.values() if cause.severity is Severity.COSMETIC}


@pytest.mark.parametrize("name", causes.NEVER_TOLERATED)
def test_what_is_never_hidden_is_refused_with_the_reason(name: str) -> None:
    """Another status, half a body and what nobody has looked at are never tolerated."""
    assert name in CAUSES
    with pytest.raises(UnfitError, match="it is never hidden: "):
        causes.tolerable(name)


def test_a_wrong_name_is_answered_with_the_one_that_was_meant() -> None:
    """A cause that does not exist is refused, with the closest one."""
    with pytest.raises(UnfitError, match=r"did you mean 'whitespace\.trailing_newline'"):
        causes.tolerable("whitespace.trailing_newlines")
    with pytest.raises(UnfitError, match="matapalo causes"):
        causes.tolerable("qqqq")
    assert causes.tolerable("key_order") == "key_order"
