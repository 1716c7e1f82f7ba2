"""Prove how paths are read: templates, the canonical form, and every misreading."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rules import TemplateError
from rules.path import (
    MAX_READING_BYTES,
    MAX_READINGS,
    PLAIN,
    Kind,
    canonical,
    is_suspicious,
    path_of,
    query_of,
    readings,
    template_from,
    without_dots,
)

HOSTILE = st.lists(
    st.sampled_from(
        (
            b"/",
            b"//",
            b".",
            b"..",
            b"a",
            b"api",
            b";x=1",
            b"\\",
            b"%2f",
            b"%2F",
            b"%5c",
            b"%2e",
            b"%00",
            b"%252f",
            b"%",
            b"%4",
            b"?",
            b"\0",
            b"\xff",
        )
    ),
    max_size=12,
).map(b"".join)
TARGETS = st.one_of(st.binary(max_size=60), HOSTILE, HOSTILE.map(lambda rest: b"/" + rest))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("/", (Kind.LITERAL,)),
        ("/a", (Kind.LITERAL,)),
        ("/a/", (Kind.LITERAL, Kind.LITERAL)),
        ("/a/{x}", (Kind.LITERAL, Kind.PARAM)),
        ("/{a:int}/{b:uuid}/{c:slug}", (Kind.INT, Kind.UUID, Kind.SLUG)),
        ("/**", (Kind.PREFIX,)),
        ("/a/{x}/**", (Kind.LITERAL, Kind.PARAM, Kind.PREFIX)),
    ],
)
def test_a_template_is_read_segment_by_segment(text: str, kinds: tuple[Kind, ...]) -> None:
    """A template is literals, whole-segment parameters and at most one ``/**`` at its end."""
    assert tuple(kind for kind, _ in template_from(text).shape) == kinds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api", "must begin with '/'"),
        ("", "must begin with '/'"),
        ("/a/**/b", "before its end"),
        ("/a//b", "an empty segment"),
        ("/a/x{id}", "expected a whole segment"),
        ("/a/{id:float}", "expected int, uuid or slug"),
        ("/a/{}", "expected a whole segment"),
        ("/a/*", "write {name}"),
        ("/a/../b", "dot segment"),
        ("/a;b", "';'"),
        ("/a?b", "'?'"),
        ("/a%2fb", "backends read differently"),
        ("/a%2", "two hex digits"),
        ("/a%%20", "two hex digits"),
        ("/%2e%2e/a", "backends read differently"),
    ],
)
def test_a_bad_template_is_refused_with_the_way_out(text: str, said: str) -> None:
    """A path that cannot be meant is refused by a sentence that quotes it and says what to write."""
    with pytest.raises(TemplateError, match=re.escape(said)) as caught:
        template_from(text)

    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/caf\u00e9", b"/caf%C3%A9"),
        ("/caf%c3%a9", b"/caf%C3%A9"),
        ("/a b", b"/a%20b"),
        ("/%61pi", b"/api"),
        ("/.well-known/x", b"/.well-known/x"),
    ],
)
def test_a_literal_is_compared_in_canonical_form(text: str, path: bytes) -> None:
    """However a path is spelled in the file, it matches the canonical spelling of the wire."""
    assert template_from(text).exact_path() == path


@pytest.mark.parametrize(
    ("text", "path", "taken"),
    [
        ("/api/v2/**", b"/api/v2", True),
        ("/api/v2/**", b"/api/v2/", True),
        ("/api/v2/**", b"/api/v2/a/b", True),
        ("/api/v2/**", b"/api/v20", False),
        ("/api/v2/**", b"/api/v2.1", False),
        ("/api/v2/**", b"/API/v2", False),
        ("/**", b"/", True),
        ("/a/{x}", b"/a/", False),
        ("/a/{x}", b"/a/b/c", False),
        ("/a/{x:int}", b"/a/007", True),
        ("/a/{x:int}", b"/a/-7", False),
        ("/a/{x:int}", "/a/\u0663".encode(), False),
        ("/a/{x:slug}", b"/a/blue-shoe_2", True),
        ("/a/{x:slug}", b"/a/b.c", False),
        ("/a/{x:slug}", b"/a/b\n", False),
        ("/a/{x:uuid}", b"/a/F47AC10B-58cc-4372-a567-0e02b2c3d479", True),
        ("/a/{x:uuid}", b"/a/f47ac10b58cc4372a5670e02b2c3d479", False),
        ("/a", b"/a/", False),
    ],
)
def test_templates_take_whole_segments(text: str, path: bytes, taken: bool) -> None:
    """A template takes whole segments of the right type, never a string prefix, never an empty parameter."""
    assert template_from(text).takes(path) is taken


def test_the_other_slash_of_a_template() -> None:
    """With ``trailing_slash: either`` a path is found with and without its last slash."""
    assert template_from("/a").with_other_slash().exact_path() == b"/a/"
    assert template_from("/a/").with_other_slash().exact_path() == b"/a"
    assert template_from("/").with_other_slash() == template_from("/")
    assert template_from("/a/**").with_other_slash() == template_from("/a/**")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/%61%7E%2D", b"/a~-"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/a%20b", b"/a%20b"),
        (b"/%2541", b"/%2541"),
        (b"/100%", b"/100%"),
        (b"/%zz", b"/%zz"),
        (b"/A", b"/A"),
    ],
)
def test_the_canonical_form_decodes_only_unreserved_characters(path: bytes, expected: bytes) -> None:
    """Matching treats two spellings as one exactly where RFC 3986 says that they are one."""
    assert canonical(path) == expected


@given(st.lists(st.sampled_from((b"/", b"a", b"%41", b"%2f", b"%25", b"%7e", b"%C3")), max_size=10).map(b"".join))
def test_the_canonical_form_is_its_own(path: bytes) -> None:
    """Making a well-formed path canonical twice changes nothing."""
    assert canonical(canonical(path)) == canonical(path)


@given(TARGETS)
@example(b"/a/.")
@example(b"/.well-known/acme?x=//..")
@example(b"/a/%2e%2e/b")
def test_a_plain_target_has_one_reading(target: bytes) -> None:
    """What the fast test lets pass is canonical and nobody behind us can read it as another path."""
    plain = PLAIN.match(target)
    if plain is not None:
        assert plain[1] == path_of(target)
        assert readings(plain[1]) == frozenset((target[: plain.end(1)],))


@given(TARGETS)
def test_an_unsuspicious_path_has_no_dangerous_reading(target: bytes) -> None:
    """What the second test lets pass keeps its segments in every reading."""
    path = path_of(target)
    if path.startswith(b"/") and b"\0" not in path and not is_suspicious(path):
        found = readings(path)
        assert found is not None
        assert {one.count(b"/") for one in found} == {path.count(b"/")}


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/public/../admin", b"/admin"),
        (b"/public/..%2fadmin", b"/admin"),
        (b"/public/%2e%2e/admin", b"/admin"),
        (b"/public/%2e%2e%2fadmin", b"/admin"),
        (b"/public/%252e%252e%252fadmin", b"/admin"),
        (b"/public/..%5cadmin", b"/admin"),
        (b"/public\\..\\admin", b"/admin"),
        (b"/public/..;/admin", b"/admin"),
        (b"/public/..;x=%2f/admin", b"/admin"),
        (b"/public/..%3bx/admin", b"/admin"),
        (b"//admin", b"/admin"),
        (b"/./admin", b"/admin"),
        (b"/admin;jsessionid=1", b"/admin"),
        (b"/admin%00.html", b"/admin"),
        (b"/public//../admin", b"/admin"),
        (b"/public//../admin", b"/public/admin"),
        (b"/a;%2f../admin", b"/admin"),
        (b"/a;%2f../admin", b"/a/admin"),
    ],
)
def test_known_bypasses_are_among_the_readings(path: bytes, reading: bytes) -> None:
    """Every trick that is known to reach another path behind a proxy is one of the readings."""
    found = readings(path)

    assert found is not None
    assert reading in found
    assert is_suspicious(path)


@given(TARGETS)
def test_readings_are_closed_and_have_the_raw_one(target: bytes) -> None:
    """Reading a reading again gives nothing new, so no depth of encoding hides a path."""
    path = path_of(target)
    found = readings(path)
    if found is not None:
        assert canonical(path) in found
        for one in found:
            again = readings(one)
            assert again is not None
            assert again <= found


@pytest.mark.parametrize("unit", [b"/%25", b"/..;a", b"//", b"\\", b"%2f", b"%252e/", b"/a"])
def test_a_huge_target_costs_a_bounded_time(unit: bytes) -> None:
    """A hostile target of 64 KiB is read, or given up on, within a bounded budget."""
    path = b"/" + unit * (65_000 // len(unit))

    started = time.process_time()
    found = readings(path)
    PLAIN.match(path)

    assert found is None or len(found) <= MAX_READINGS
    assert time.process_time() - started < 0.25  # about 10 ms; a quadratic step would take seconds


def test_the_bounds_are_more_than_honest_targets_need() -> None:
    """A path with one oddity has at most a dozen readings, far below the bound."""
    for path in (b"/files/a%20b/c%2Fd", b"/shop;sid=1/cart//x", b"/a/../b/./c", b"/x%255Cy"):
        found = readings(path)
        assert found is not None
        assert len(found) <= 12
    assert MAX_READING_BYTES >= 12 * 4_096


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b/../c", b"/a/c"),
        (b"/../a", b"/a"),
        (b"/a/.", b"/a/"),
        (b"/a/..", b"/"),
        (b"/a/b/..", b"/a/"),
        (b"/...", b"/..."),
    ],
)
def test_dot_segments_go_as_the_standard_says(path: bytes, expected: bytes) -> None:
    """Dot segments are removed as RFC 3986 section 5.2.4 removes them."""
    assert without_dots(path) == expected


def test_a_target_is_cut_at_the_first_question_mark() -> None:
    """The path ends at the first ``?``, and the query may hold more of them."""
    assert (path_of(b"/a?b?c"), query_of(b"/a?b?c")) == (b"/a", b"b?c")
    assert (path_of(b"/a"), query_of(b"/a")) == (b"/a", b"")
