"""Prove where keys come from: raw bytes, the first present source, the first occurrence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules import FieldList, StickyError
from rules.sticky import cookie_value, header_from, query_value, source_from
from tests.rules.made import NO_FIELDS, fields


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("header:X-User-Id", b"42"),
        ("cookie:sid", b'"a%20b"'),
        ("query:user", b"a%20b"),
        ("issued_cookie", b"abc"),
        ("ip", b"192.0.2.7"),
    ],
)
def test_every_source_gives_its_raw_bytes(text: str, key: bytes) -> None:
    """A key is what the client sent: no decoding, no unquoting."""
    headers = fields(X_User_Id="42", cookie='a=1; sid="a%20b"; matapalo_client=abc')

    assert source_from(text)(b"/x?user=a%20b&user=c", headers, "192.0.2.7") == key


@pytest.mark.parametrize("text", ["header:x", "cookie:x", "query:x", "issued_cookie"])
def test_an_absent_source_gives_no_key(text: str) -> None:
    """A source that the request does not have is passed over."""
    assert source_from(text)(b"/", NO_FIELDS, "192.0.2.7") is None


def test_a_header_sent_twice_counts_by_its_first_value() -> None:
    """Of a repeated header the first value is the key."""
    twice = FieldList([(b"X-User", b"1"), (b"x-user", b"2")])

    assert source_from("header:x-user")(b"/", twice, "") == b"1"


@pytest.mark.parametrize(
    ("sticky", "header"), [(("header:X-User", "ip"), b"x-user"), (("ip", "header:x-user"), b""), ((), b"")]
)
def test_a_header_is_asked_first_only_where_it_stands_first(sticky: tuple[str, ...], header: bytes) -> None:
    """A header may be asked before its list where that changes no key: at the list's head."""
    assert header_from(sticky) == header


def test_present_and_empty_is_present() -> None:
    """An empty header, cookie or parameter is a key of no bytes."""
    assert source_from("header:x-user")(b"/", fields(x_user=""), "") == b""
    assert source_from("cookie:a")(b"/", fields(cookie="a="), "") == b""
    assert source_from("query:a")(b"/?a", NO_FIELDS, "") == b""


@pytest.mark.parametrize("text", ["", "header:", "header", "session", "IP", "cookie", "query:", "ip:4", "body:x"])
def test_an_unknown_source_is_refused(text: str) -> None:
    """A sticky key that names no source is refused by a sentence that lists them."""
    with pytest.raises(StickyError, match="expected header:NAME, cookie:NAME, query:NAME, issued_cookie or ip"):
        source_from(text)


@pytest.mark.parametrize(
    ("raw_cookie", "value"),
    [
        (b"sid=1", b"1"),
        (b"a=2; sid=1; sid=3", b"1"),
        (b"a=2;sid=1", b"1"),
        (b"xsid=2; sid=1", b"1"),
        (b"a=sid=9; sid=1", b"1"),
        (b"a=x sid=9", None),
        (b"SID=1", None),
        (b"sid", None),
        (b" \tsid= 1 ;", b"1"),
        (b"sid=a=b", b"a=b"),
        (b"", None),
    ],
)
def test_cookies_are_found_by_whole_name(raw_cookie: bytes, value: bytes | None) -> None:
    """A cookie is found by its exact name at the start of a pair, and the first one counts."""
    assert cookie_value(raw_cookie, b"sid") == value


@given(st.text(alphabet="sid=; \tx", max_size=40))
def test_the_cookie_search_agrees_with_splitting(text: str) -> None:
    """Finding a cookie without splitting gives what splitting at every semicolon gives."""
    raw_cookie = text.encode()
    pairs = (pair.lstrip(b" \t").partition(b"=") for pair in raw_cookie.split(b";"))
    expected = next((value.strip(b" \t") for name, eq, value in pairs if name == b"sid" and eq), None)

    assert cookie_value(raw_cookie, b"sid") == expected


@pytest.mark.parametrize(
    ("raw_query", "value"),
    [
        (b"a=1&a=2", b"1"),
        (b"b=1&a=", b""),
        (b"a", b""),
        (b"%61=1", None),
        (b"", None),
        (b"&&a=x=y", b"x=y"),
        (b"A=1", None),
    ],
)
def test_parameters_are_found_by_their_raw_name(raw_query: bytes, value: bytes | None) -> None:
    """A query parameter is found by the exact bytes of its name, and the first one counts."""
    assert query_value(raw_query, b"a") == value
