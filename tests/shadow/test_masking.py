"""What may leave the comparer, and in which form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.difference import Difference
from shadow.masking import MAX_FRAGMENT, masking_of

BODY = b'{"email":"e@x.org","rows":[{"card":{"no":"4111"},"name":"Ana"}],"a":{"password":"hunter2"}}'


def shown(entries: tuple[str, ...], body: bytes = BODY) -> str:
    """Give the whole body as it would be kept."""
    return masking_of(entries, "bodies").body(body).whole().decode()


@pytest.mark.parametrize(
    ("entry", "hidden"),
    [
        ("$.email", ["e@x.org"]),
        ("$.rows.*.card", ["4111"]),
        ("$.rows[*].card.no", ["4111"]),
        ("$..password", ["hunter2"]),
        ("/rows/*/name", ["Ana"]),
        ("$.a", ["hunter2", "password"]),
        ("$", ["e@x.org", "4111", "Ana", "hunter2"]),
        ("pattern:[0-9]{4}", ["4111"]),
    ],
)
def test_what_an_entry_names_is_gone_and_the_rest_stays(entry: str, hidden: list[str]) -> None:
    """A redacted place takes its value and all below it away, a pattern what it fits, and nothing else goes."""
    whole = shown((entry,))

    assert not [text for text in hidden if text in whole]
    kept = {"e@x.org", "4111", "Ana", "hunter2"} - set(hidden)
    assert all(text in whole for text in kept)


def test_a_masked_body_is_still_json() -> None:
    """A reader of a kept body parses it as before."""
    assert json.loads(shown(("$.email", "$..password")))["email"] == "[redacted 9]"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hunter2</html>",
        b'{"a":{"password":"hunter2',
        b'{"a":1} {"password":"hunter2"}',
        b'\xef\xbb\xbf{"password":"hunter2"}',
        b'[{"password":hunter2}]',
        '{"password":"hunter2"}'.encode("utf-16"),
        b'{"password":"hunter1","password":"hunter2"}',
        b'{"pass\\u0077ord":"hunter2"}',
    ],
)
def test_what_cannot_be_read_is_masked_as_soon_as_a_place_is(body: bytes) -> None:
    """On a route that redacts a place, no byte of a body that could not be read is shown."""
    assert "hunter2" not in shown(("$..password",), body).replace("\0", "")


def test_a_difference_in_a_redacted_value_stays_visible_and_no_character_does() -> None:
    """Of a redacted value remain its length and the length of the beginning that both sides share."""
    legacy, new = b'{"iban":"DE44500105"}', b'{"iban":"DE4450xx"}'
    masking = masking_of(("$.iban",), "fragments")
    difference = Difference(
        cause="value.changed", legacy_path=("iban",), new_path=("iban",), legacy_span=(8, 20), new_span=(8, 18)
    )

    texts = masking.fragments(difference, masking.body(legacy), masking.body(new))

    assert texts == ("[redacted 10], the first 6 equal", "[redacted 8], the first 6 equal")


@pytest.mark.parametrize("name", ["password", "PassWord", "pass_word", "PASS-WORD"])
def test_a_renamed_secret_stays_one(name: str) -> None:
    """A redacted member is masked however a service cases and joins its name."""
    body = json.dumps({name: "hunter2", "passwords": 1}).encode()

    assert json.loads(shown(("$.passWord",), body)) == {name: "[redacted 9]", "passwords": 1}


def test_a_fragment_around_a_redacted_value_does_not_show_it() -> None:
    """A container is shown without what is redacted inside it, however the cut falls."""
    body = masking_of(("$..password",), "fragments").body(BODY)

    for start in range(len(BODY)):
        for end in range(start, len(BODY) + 1):
            assert "unter" not in body.fragment((start, end))


def test_a_pointer_ends_at_the_redacted_place() -> None:
    """Names of members below a redacted place are not shown either."""
    masking = masking_of(("$.users",), "fragments")

    assert masking.path(("users", "ana@example.org", "age")) == ("users",)
    assert masking.path(("rows", 0)) == ("rows", 0)
    assert masking.path(None) is None


def test_a_route_that_keeps_shapes_shows_types_and_lengths() -> None:
    """keep: shapes shows of every value its type and length only."""
    body = masking_of((), "shapes").body(b'{"a":"text","b":12.5,"c":[1,2],"d":null}')

    assert [body.fragment(span) for span in ((5, 11), (16, 20), (25, 30), (35, 39), (3, 9))] == [
        "string(4)",
        "number(4)",
        "array(2)",
        "null",
        "bytes(6)",
    ]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("authorization", b"Bearer s3cret", "[redacted 13]"),
        ("x-api-key", b"s3cret", "[redacted 6]"),
        ("set-cookie", b"sid=s3cret", "[redacted 10]"),
        ("x-tenant", b"s3cret", "[redacted 6]"),
        ("referer", b"http://a/b?token=s3cret&x=1", "http://a/b?token=\u2026&x=\u2026"),
        ("accept", b"text/html", "text/html"),
        ("x-note", b"card 4111222233334444", "card [redacted]"),
    ],
)
def test_credential_headers_are_always_masked(name: str, value: bytes, text: str) -> None:
    """Credentials and what the route names are masked, another request's query too; other headers are shown."""
    assert masking_of(("header:x-tenant", "pattern:[0-9]{16}"), "fragments").header(name, value) == text


def test_a_target_shows_neither_query_values_nor_what_a_pattern_fits() -> None:
    """Of a query only names are shown; a path is shown without what a pattern fits."""
    masking = masking_of(("pattern:(?<=/reset/)[^/?]+",), "fragments")

    assert masking.target(b"/reset/s3cret?token=s3cret") == "/reset/[redacted]?token=\u2026"


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 400), st.sampled_from(("fragments", "shapes")))
def test_a_fragment_is_one_bounded_printable_line(raw: bytes, start: int, end: int, keep: str) -> None:
    """Whatever a body holds, its fragment prints on one line and comes from at most MAX_FRAGMENT bytes."""
    start, end = sorted((min(start, len(raw)), min(end, len(raw))))

    text = masking_of((), keep).body(raw).fragment((start, end))

    assert text.isprintable()
    assert len(text.encode()) <= MAX_FRAGMENT * 6 + 6


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_redacted_root_leaves_nothing_of_any_value(value: object) -> None:
    """Redacting the root leaves one placeholder, whatever the document is."""
    raw = json.dumps(value).encode()

    assert masking_of(("$",), "bodies").body(raw).whole() == b'"[redacted %d]"' % len(raw)
