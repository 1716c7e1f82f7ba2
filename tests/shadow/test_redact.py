"""Rules of what may leave the comparer, and in which form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow import redact
from shadow.json_place import locate


def covered(entries: tuple[str, ...], body: bytes, needle: bytes) -> bool:
    """Say whether the place of the first byte of *needle* is covered."""
    return redact.redaction_of(entries).covers(locate(body, body.index(needle)))


BODY = b'{"email":"e@x","rows":[{"card":{"no":"4111"},"name":"Ana"}],"address":{"zip":"1"}}'


@pytest.mark.parametrize(
    ("entry", "needle", "expected"),
    [
        ("$.email", b'"e@x"', True),
        ("$.email", b'"4111"', False),
        ("$.rows.*.card", b'"4111"', True),
        ("$.rows.*.card.no", b'"4111"', True),
        ("$.rows.*.card.no", b'"Ana"', False),
        ("$.*.zip", b'"1"', True),
        ("$.address", b'"1"', True),
        ("$.rows.*.card.no.x", b'"4111"', False),
        ("$", b'"Ana"', True),
        ("no path at all", b'"Ana"', True),
    ],
)
def test_a_path_covers_its_member_and_all_below(entry: str, needle: bytes, expected: bool) -> None:
    """A redacted path masks the value it names and everything inside it, and nothing else; * is any one step."""
    assert covered((entry,), BODY, needle) is expected


def test_a_place_nobody_can_name_is_masked_as_soon_as_a_path_is() -> None:
    """Bytes of a body that is no JSON are masked on every route that redacts a path."""
    assert redact.redaction_of(("$.email",)).covers(None)
    assert not redact.redaction_of(("header:x-token",)).covers(None)


def test_headers_are_masked_by_name_and_credentials_always() -> None:
    """header:NAME masks that header whatever its case; cookies and authorization are masked on every route."""
    redaction = redact.redaction_of(("header:X-Token",))

    assert redaction.covers_header("x-token")
    assert redaction.covers_header("set-cookie")
    assert not redaction.covers_header("location")


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


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_fragment_is_one_short_printable_line(body: bytes, offset: int) -> None:
    """Whatever a body holds, its fragment prints on one line and comes from at most 64 bytes."""
    offset = min(offset, len(body))

    text = redact.fragment(body, None, offset)

    assert text.isprintable()
    assert len(text.encode()) <= redact.MAX_FRAGMENT * 6 + 6
    assert len(body) > redact.MAX_FRAGMENT or text == redact.printable_bytes(body)


@given(st.text("aé日😀", min_size=60, max_size=200), st.integers(0, 400))
def test_a_fragment_never_cuts_a_character_in_two(text: str, at: int) -> None:
    """A fragment of well-formed text shows no broken bytes at its edges."""
    body = text.encode()

    assert "\\x" not in redact.fragment(body, None, min(at, len(body)))


def test_a_fragment_shows_the_place_of_the_difference() -> None:
    """In a long value the fragment is the part around the differing byte, marked where it is cut."""
    body = b'["' + b"a" * 100 + b"X" + b"b" * 100 + b'"]'
    offset = body.index(b"X")

    text = redact.fragment(body, locate(body, offset), offset)

    assert text == "…" + "a" * 24 + "X" + "b" * 39 + "…"


def test_outside_values_only_punctuation_and_names_are_shown() -> None:
    """Where neighbours must stay hidden, a member shows its name and a gap its brackets and commas."""
    body = b'{"name":"secret"}  '
    name, end = locate(body, 2), locate(body, 17)

    assert name is not None
    assert end is not None
    assert redact.outside_values(body, name, 2) == '"name"'
    assert redact.outside_values(body, end, 17) == "  "
    assert redact.outside_values(body, end, 1) == redact.REDACTED
    assert redact.outside_values(body, end, len(body)) == ""


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'"ab\\u00e9"', "string(3)"),
        (b'"\xff"', "string(1)"),
        (b"-1.5", "number(4)"),
        (b"true", "boolean"),
        (b"null", "null"),
        (b"[1]", "array"),
        (b"{}", "object"),
    ],
)
def test_a_shape_tells_type_and_length_only(body: bytes, shape: str) -> None:
    """A shape names the type and the length, and nothing of the value."""
    assert redact.shape(body, locate(body, 0)) == shape
    assert redact.shape(b"<html>", None) == "bytes(6)"


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
