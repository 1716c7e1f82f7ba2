"""The written forms: what is taken, what is refused, and with which hint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import UnfitError, forms
from config.spec import AddressSpec
from rules.path import template_from
from rules.sticky import source_from


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/**",
        "/a",
        "/a/",
        "/a/{id}",
        "/a/{id:int}/b/{x:uuid}",
        "/a/{s:slug}/**",
        "/caf%C3%A9",
        "/café",
        "/a.b~c:d@e",
    ],
)
def test_a_template_is_taken_as_written(path: str) -> None:
    """Exact paths, parameters of four types and a prefix at the end are templates, and the rules compile them."""
    assert forms.template(path) == path
    assert template_from(path)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("a", "write /a"),
        ("", "starts with /"),
        ("/a//b", "without empty segments"),
        ("/**/b", "** stands only at the end"),
        ("/a/*", "the only wildcards"),
        ("/a*", "the only wildcards"),
        ("/a/{id", "a parameter is a whole segment"),
        ("/a/x{id}", "a parameter is a whole segment"),
        ("/a/{id:float}", "the types are int, uuid, slug"),
        ("/{id}/{id}", "stands there twice"),
        ("/a/../b", "without . and .."),
        ("/a?x=1", "a query is matched with query:"),
        ("/a b", "a character that backends read differently"),
        ("/a;v=1", "a character that backends read differently"),
        ("/a%2fb", "an escape that is broken or that backends read differently"),
        ("/a%zz", "an escape that is broken"),
        ("/a\n", "a character"),
    ],
)
def test_a_wrong_template_names_the_segment(path: str, hint: str) -> None:
    """A template that is not one says which segment is wrong and what would be right."""
    with pytest.raises(UnfitError) as caught:
        forms.template(path)

    assert hint in caught.value.hint


@given(
    st.text(alphabet="/ab.{}:*%2fcé;int~ \\", max_size=12).map("/{}".format) | st.text(max_size=12).map("/{}".format)
)
def test_whatever_is_taken_as_a_template_compiles(path: str) -> None:
    """The loader takes no path template that the rules would refuse later, without a line number."""
    with contextlib.suppress(UnfitError):
        assert template_from(forms.template(path))


@given(st.text(alphabet="headercookiequryip:_X-a é=\n", max_size=20))
def test_whatever_is_taken_as_sticky_compiles(written: str) -> None:
    """The loader takes no sticky source that the rules would refuse later."""
    with contextlib.suppress(UnfitError):
        assert callable(source_from(forms.sticky(written)))


def test_addresses_are_literals_with_a_port() -> None:
    """IPv4 and bracketed IPv6 addresses are read, and written back the same."""
    assert forms.address("0.0.0.0:0") == AddressSpec(host="0.0.0.0", port=0)
    assert forms.address("[::1]:8080") == AddressSpec(host="::1", port=8080)
    assert forms.format_address(AddressSpec(host="::1", port=8080)) == "[::1]:8080"


@pytest.mark.parametrize(
    ("read", "written", "hint"),
    [
        (forms.address, "8080", "127.0.0.1:8080 is this machine only"),
        (forms.address, ":8080", "0.0.0.0:8080 every interface"),
        (forms.address, "localhost:8080", "write 127.0.0.1:8080"),
        (forms.address, "::1:8080", "brackets"),
        (forms.address, "127.0.0.1:65536", "a port is 0 to 65535"),
        (forms.address, "127.0.0.1:", "a port is 0 to 65535"),
        (forms.address, "127.0.0.1.1:80", ""),
        (forms.network, "10.1.2.3/8", "write 10.0.0.0/8"),
        (forms.network, "everybody", ""),
        (forms.url, "shop:8080", "begins with http://"),
        (forms.url, "ftp://shop", "http:// or https://"),
        (forms.url, "http://", "the host is"),
        (forms.url, "http://shop:99999", "a port is 1 to 65535"),
        (forms.url, "http://shop:0", "a port is 1 to 65535"),
        (forms.url, "http://shop?x", "without a query"),
        (forms.url, "http://shop//a", "empty segments"),
        (forms.url, "http://[::1", "a name or an IP address"),
        (forms.host, "shop:80", "without the port"),
        (forms.host, "*.shop", "without wildcards"),
        (forms.host_header, "a b", ""),
        (forms.prefix, "/api/", "write /api"),
        (forms.prefix, "api", ""),
        (forms.method, "get", "write GET"),
        (forms.method, "CONNECT", "never routed"),
        (forms.own_header, "Transfer-Encoding", "belongs to the connection"),
        (forms.own_header, "Host", "say host:"),
        (forms.own_header, "X-Matapalo-Shadow", "Matapalo's own"),
        (forms.header, "X Env", "letters"),
        (forms.header, "X-Env\n", "letters"),
        (forms.header_value, "a\r\nb", "line breaks"),
        (forms.sticky, "X-User-Id", "write header:X-User-Id"),
        (forms.sticky, "cookie", "write cookie:NAME"),
        (forms.failure, "200", ""),
        (forms.name, "Orders List", "for example orders-list"),
        (forms.name, "a|b", "for example a-b"),
        (forms.name, "none", "the word for no backend"),
        (forms.text, "a\0b", "no control characters"),
        (forms.ratio, "1e1", ""),
        (forms.ratio, "0.01", ""),
        (forms.ratio, "1.1\n", ""),
    ],
)
def test_a_wrong_form_says_what_to_write(read: Callable[[str], object], written: str, hint: str) -> None:
    """Each form refuses what it cannot be, with the hint that gets one further."""
    with pytest.raises(UnfitError) as caught:
        read(written)

    assert hint in caught.value.hint


def test_a_url_is_taken_apart() -> None:
    """Scheme, host, port with its default, and a path without its last slash."""
    parts = forms.url("https://Shop.example.com/base/")

    assert (parts.scheme, parts.host, parts.port, parts.path) == ("https", "shop.example.com", 443, "/base")
    assert forms.url("http://[::1]:9000").host == "::1"


@pytest.mark.parametrize(
    "written",
    [
        "http://ops:hunter2@shop",
        "https://ops:hunter2@shop:99999",
        "http://ops:hunter2#@shop",
        "http://ops:hunter2/@shop",
        "http://[ops:hunter2@shop",
        "htp://ops:hunter2@shop",
        "ops:hunter2@shop",
    ],
)
def test_credentials_in_a_url_are_not_repeated(written: str) -> None:
    """A password inside a URL is refused without showing it, whatever else is wrong with the URL."""
    with pytest.raises(UnfitError) as caught:
        forms.url(written)

    assert "hunter2" not in str(caught.value)


def test_header_names_become_lower_case_where_they_are_looked_up() -> None:
    """Names that are looked up are lower case; names that are sent stay as written."""
    assert forms.header("X-Env") == "x-env"
    assert forms.sticky("header:X-User-Id") == "header:x-user-id"
    assert forms.sticky("cookie:Session") == "cookie:Session"
    assert forms.own_header("X-Env") == "X-Env"


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(written: str) -> None:
    """Any text is either taken or an UnfitError."""
    for read in (
        forms.address,
        forms.failure,
        forms.header,
        forms.header_value,
        forms.host,
        forms.host_header,
        forms.method,
        forms.name,
        forms.network,
        forms.own_header,
        forms.prefix,
        forms.sticky,
        forms.template,
        forms.text,
        forms.url,
    ):
        with contextlib.suppress(UnfitError):
            read(written)


@pytest.mark.parametrize(
    "text", ["sqlite", "postgresql://u:p%40@h:5432/d?sslmode=verify-full", "postgres://h/d", "env:DB", "file:db.url"]
)
def test_a_database_is_files_or_a_postgresql(text: str) -> None:
    """The word sqlite, a URL of PostgreSQL and the reference to one are taken as they stand."""
    assert forms.database(text) == text


@pytest.mark.parametrize("text", ["mysql://u:secret@h/d", "postgresql:// h", "secret", "postgres", "env:", ""])
def test_another_database_is_refused_without_repeating_it(text: str) -> None:
    """What is refused may hold a password, so it is not shown."""
    with pytest.raises(UnfitError) as caught:
        forms.database(text)

    assert "secret" not in str(caught.value)
