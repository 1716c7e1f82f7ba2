"""Rules of text that is safe to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import redact


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/a/b", "/a/b"),
        (b"/a?token=s3cret&page=2", "/a?token=…&page=…"),
        (b"/a?flag&x=", "/a?flag&x=…"),
        (b"/a?" + b"k" * 65, "/a?"),
        (b"/a?x=1?y=2", "/a?x=…"),
        (b"/\xff\n", "/\\xff\\n"),
    ],
)
def test_a_target_shows_no_query_value(target: bytes, shown: str) -> None:
    """Of a query only the names are shown, and of a nameless one nothing that is longer than a name."""
    assert redact.mask_query(target) == shown


@given(st.text(max_size=50))
def test_text_always_encodes(text: str) -> None:
    """Lone surrogates, controls and bidirectional marks are escaped, so every text is one safe line of UTF-8."""
    shown = redact.shortened(text + "\ud800\n\u202e")

    assert shown.isprintable()
    assert shown.encode()


def test_a_pointer_of_a_megabyte_is_cut() -> None:
    """Text of any length is cut to 1,024 characters."""
    assert len(redact.shortened("/" + "a" * 1_000_000)) == redact.MAX_TEXT
    assert len(redact.mask_query(b"/?" + b"a=1&" * 100_000)) <= redact.MAX_TEXT
