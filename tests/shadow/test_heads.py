"""Rules of what differs before the body."""

from __future__ import annotations

import gzip
import zlib

import brotli  # type: ignore[import-untyped]  # ships no types
import pytest
import zstandard

from shadow.coding import Outcome
from shadow.heads import EVERY, VOLATILE, Heads, compare_heads, fold_content_type, is_json_type
from tests.shadow.made import JSON_TYPE, Headers

GZIPPED = (*JSON_TYPE, (b"Content-Encoding", b"gzip"))
BODY = b'{"a":1}' * 20


def gzipped(body: bytes, level: int = 9) -> bytes:
    """Compress without the time of day: what a test is called by must be the same in every process."""
    return gzip.compress(body, level, mtime=0)


def heads(
    legacy: Headers = JSON_TYPE,
    new: Headers = JSON_TYPE,
    *,
    statuses: tuple[int, int] = (200, 200),
    bodies: tuple[bytes, bytes] = (b"", b""),
    watch: tuple[str, ...] = (EVERY,),
) -> Heads:
    """Compare two heads."""
    return compare_heads(statuses=statuses, headers=(legacy, new), bodies=bodies, watch=watch)


def named(found: Heads) -> list[tuple[str, str]]:
    """Give causes and details."""
    return [(difference.cause, difference.detail) for difference in found.differences]


def typed(value: bytes) -> Headers:
    """Make headers of one content type."""
    return ((b"Content-Type", value),)


def test_equal_heads_have_no_difference() -> None:
    """Names in another case, blanks around values and volatile headers are no difference."""
    found = heads(
        ((b"content-type", b"application/json"), (b"Date", b"1"), (b"ETag", b"a"), (b"X-Powered-By", b"Express")),
        ((b"Content-Type", b" application/json "), (b"date", b"2"), (b"Set-Cookie", b"s=1"), (b"etag", b"b")),
    )

    assert (found.differences, found.say_the_same, found.is_json) == ((), True, True)


def test_every_header_of_the_list_of_volatile_ones_can_be_compared_by_name() -> None:
    """A volatile header is compared only where the route asks for it."""
    for name in VOLATILE:
        legacy = (*JSON_TYPE, (name.encode(), b"1"))
        assert named(heads(legacy)) == []
        assert named(heads(legacy, watch=(name,))) == [("http.header", name)]


@pytest.mark.parametrize(
    ("legacy", "new", "expected"),
    [
        ((b"Cache-Control", b"no-store"), None, ["cache-control"]),
        ((b"Location", b"/a"), (b"location", b"/b"), ["location"]),
        ((b"Allow", b"GET"), (b"Allow", b"GET, PUT"), ["allow"]),
    ],
)
def test_a_header_that_differs_is_named(
    legacy: tuple[bytes, bytes], new: tuple[bytes, bytes] | None, expected: list[str]
) -> None:
    """A compared header that differs, or that one side lacks, is one difference with its name."""
    found = heads((*JSON_TYPE, legacy), JSON_TYPE if new is None else (*JSON_TYPE, new))

    assert named(found) == [("http.header", name) for name in expected]
    assert not found.say_the_same
    assert named(heads((*JSON_TYPE, legacy), watch=("x-other",))) == []


def test_of_a_validator_only_its_presence_counts() -> None:
    """Where every header is compared, an ETag that one side lacks is named, another value is not; by name it is."""
    one, two = (*JSON_TYPE, (b"ETag", b"1")), (*JSON_TYPE, (b"ETag", b"2"))

    assert named(heads(one, two)) == []
    assert named(heads(one, JSON_TYPE)) == [("http.header", "etag")]
    assert named(heads(one, two, watch=("etag",))) == [("http.header", "etag")]


def test_repeated_headers_count_one_by_one() -> None:
    """Two values of one name are two, in their order."""
    one, two = (b"Link", b"<a>"), (b"Link", b"<b>")

    assert named(heads((one, two), (one,))) == named(heads((one, two), (two, one))) == [("http.header", "link")]


def test_a_status_that_differs_stands_first() -> None:
    """The status is named with both values, before whatever else differs."""
    found = heads(JSON_TYPE, typed(b"text/html"), statuses=(200, 502))

    assert named(found) == [("http.status", "200 -> 502"), ("http.content_type", "application/json -> text/html")]


@pytest.mark.parametrize(
    ("legacy", "new", "cause", "same"),
    [
        (b"application/json; charset=utf-8", b"application/json", "http.charset", True),
        (b"application/json", b'Application/JSON;charset="UTF-8"', "http.charset", True),
        (b"application/json; charset=latin1", b"application/json", "http.charset", False),
        (b"text/html; charset=utf-8", b"text/html", "http.charset", False),
        (b"text/html;charset=UTF-8", b"text/html; charset=utf-8", "http.charset", True),
        (b"application/json", b"text/plain; charset=utf-8", "http.content_type", False),
        (b"application/json", b"application/problem+json", "http.content_type", False),
        (b"multipart/mixed; boundary=a", b"multipart/mixed; boundary=b", "http.content_type", False),
    ],
)
def test_another_content_type_is_told_from_another_charset(legacy: bytes, new: bytes, cause: str, same: bool) -> None:
    """The charset alone is its own cause, and what only reads otherwise says the same."""
    for one, two in ((legacy, new), (new, legacy)):
        found = heads(typed(one), typed(two))
        assert ([cause for cause, _ in named(found)], found.say_the_same) == ([cause], same)


def test_a_missing_content_type_is_another_one() -> None:
    """A side without a Content-Type says so."""
    assert named(heads(JSON_TYPE, ())) == [("http.content_type", "application/json -> (absent)")]


def test_content_types_fold_as_their_standards_say() -> None:
    """Case, quotes, blanks and order of parameters do not count, a charset does unless the type is JSON."""
    assert fold_content_type(b"text/html; Charset=UTF-8") == fold_content_type(b'text/HTML;charset="utf-8"')
    assert fold_content_type(b"a/b; x=1; y=2") == fold_content_type(b"a/b;y=2 ;x=1")
    assert fold_content_type(b"application/problem+json; charset=utf-8") == fold_content_type(
        b"application/problem+json"
    )
    assert fold_content_type(b"text/html; charset=utf-8") != fold_content_type(b"text/html")
    assert fold_content_type(b"application/json; charset=latin1") != fold_content_type(b"application/json")
    assert fold_content_type(b"multipart/x; boundary=A") != fold_content_type(b"multipart/x; boundary=a")
    assert is_json_type(b"Application/HAL+JSON; x=1")
    assert not is_json_type(b"text/plain; note=json")


@pytest.mark.parametrize(
    ("name", "coded"),
    [
        (b"gzip", gzipped(BODY)),
        (b"deflate", zlib.compress(BODY)),
        (b"br", brotli.compress(BODY)),
        (b"zstd", zstandard.compress(BODY)),
    ],
)
def test_another_declared_coding_of_one_body_says_the_same(name: bytes, coded: bytes) -> None:
    """Both sides decode to one body: the coding is the only difference, and clients do not see it."""
    found = heads(JSON_TYPE, (*JSON_TYPE, (b"content-encoding", name)), bodies=(BODY, coded))

    assert named(found) == [("http.content_encoding", f"identity -> {name.decode()}")]
    assert found.say_the_same
    assert found.bodies.legacy == found.bodies.new == BODY


def test_another_level_of_compression_is_named() -> None:
    """Other compressed bytes of one content are a difference of the coding; of other contents, of the bodies."""
    one, two = gzip.compress(BODY, 1, mtime=0), gzip.compress(BODY, 9, mtime=1)

    assert named(heads(GZIPPED, GZIPPED, bodies=(one, two))) == [("http.content_encoding", "gzip -> gzip")]
    assert named(heads(GZIPPED, GZIPPED, bodies=(one, gzipped(b"other")))) == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [(JSON_TYPE, gzipped(BODY)), (GZIPPED, gzipped(gzipped(BODY)))],
    ids=["undeclared", "twice"],
)
def test_a_body_compressed_without_saying_so_is_named(headers: Headers, body: bytes) -> None:
    """Compressed bytes that no header announces are undone to be compared, and never say the same."""
    found = heads(JSON_TYPE, headers, bodies=(BODY, body))

    assert [cause for cause, _ in named(found)] == ["http.content_encoding"]
    assert "undeclared" in named(found)[0][1]
    assert found.bodies.new == BODY
    assert found.bodies.outcomes == (Outcome.PLAIN, Outcome.SNIFFED)
    assert not found.say_the_same


def test_bodies_that_cannot_be_undone_are_compared_as_received() -> None:
    """One broken or bounded stream leaves both bodies as they came."""
    good, broken, bomb = gzipped(BODY), gzipped(BODY)[:-4], gzipped(b"\0" * (4 << 20))

    cut = heads(GZIPPED, GZIPPED, bodies=(good, broken))
    bounded = heads(GZIPPED, GZIPPED, bodies=(good, bomb))

    assert (cut.bodies.legacy, cut.bodies.new, cut.bodies.can_be_read, cut.say_the_same) == (good, broken, False, False)
    assert (bounded.bodies.is_limited, bounded.bodies.new) == (True, bomb)
