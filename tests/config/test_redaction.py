"""What may stand in ``redact``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import UnfitError
from config.redaction import redaction


@pytest.mark.parametrize(
    "written",
    ["$.email", "$.rows.*.card", "$.rows[*].card", "$..password", "/card/number", "$", "pattern:[0-9]{16}"],
)
def test_places_and_patterns_are_taken_as_written(written: str) -> None:
    """A place in any of its spellings and a regular expression are entries."""
    assert redaction(written) == written


def test_a_header_is_named_in_any_case() -> None:
    """A header's name is taken in lower case, as it is looked up."""
    assert redaction("header:X-Token") == "header:x-token"


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("email", "write $.email"),
        ("$.rows[?(@.x)]", "filters"),
        ("header:X Token", "neither blanks"),
        ("pattern:[0-9", "not a regular expression"),
        ("pattern:[0-9]*", "fits nothing"),
        ("pattern:" + "a" * 501, "at most 500"),
    ],
)
def test_a_wrong_entry_says_what_to_write(written: str, hint: str) -> None:
    """What cannot be an entry is refused with the hint that gets one further."""
    with pytest.raises(UnfitError) as caught:
        redaction(written)

    assert hint in caught.value.hint


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(written: str) -> None:
    """Any text is either taken or an UnfitError."""
    for kind in ("", "$.", "header:", "pattern:"):
        with contextlib.suppress(UnfitError):
            redaction(kind + written)
