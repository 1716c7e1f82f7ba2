"""Prove who wins: the most specific route, whatever the order of the file, and no ties."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import MatchSpec, RouteSpec
from rules import SnapshotError, problems
from rules.index import Index, candidates_of, first_parameters, host_of
from rules.path import canonical, path_of
from tests.rules.made import NO_FIELDS, config, fields, route, snapshot


def index_of(*routes: RouteSpec) -> Index[str]:
    """Build an index that answers names."""
    return Index(entry for one in routes for entry in candidates_of(one, one.name))


def found(index: Index[str], target: str, method: str = "GET", **headers: str) -> str | None:
    """Ask an index for a target as a client spells it."""
    raw = target.encode()
    return index.find(canonical(path_of(raw)), method.encode(), raw, fields(**headers))


LADDER = (
    route("exact", "/api/orders/new"),
    route("int", "/api/orders/{id:int}"),
    route("uuid", "/api/orders/{id:uuid}"),
    route("slug", "/api/orders/{id:slug}"),
    route("any", "/api/orders/{id}"),
    route("below", "/api/orders/**"),
    route("api", "/api/**"),
    route("items", "/api/{kind}/{id:int}/items"),
    route("all", "/**"),
)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/api/orders/new", "exact"),
        ("/api/orders/7", "int"),
        ("/api/orders/f47ac10b-58cc-4372-a567-0e02b2c3d479", "uuid"),
        ("/api/orders/blue-shoe", "slug"),
        ("/api/orders/a.b", "any"),
        ("/api/orders/a/b", "below"),
        ("/api/orders", "below"),
        ("/api/orders/7/items", "below"),
        ("/api/carts/7/items", "items"),
        ("/api/carts/x/items", "api"),
        ("/apis", "all"),
        ("/", "all"),
        ("/api/orders/%6eew", "exact"),
        ("/api/orders/new?x=/", "exact"),
    ],
)
def test_the_most_specific_route_wins(target: str, name: str) -> None:
    """Literals beat typed parameters, these plain ones, these prefixes, a deeper prefix a shallower one."""
    assert found(index_of(*LADDER), target) == name


def test_the_first_segment_decides_before_the_second() -> None:
    """Between crossing templates the one with the earlier literal wins."""
    index = index_of(route("left", "/a/{y}"), route("right", "/{x}/b"))

    assert found(index, "/a/b") == "left"
    assert found(index, "/c/b") == "right"


def test_a_route_that_does_not_admit_the_request_is_passed_over() -> None:
    """A more specific route whose method, host, header or query does not fit leaves the request to the next."""
    index = index_of(
        route("write", match=[MatchSpec(path="/a/b", methods=("POST",))]),
        route("host", match=[MatchSpec(path="/a/{x}", host="shop.example")]),
        route("rest", "/a/**"),
    )

    assert found(index, "/a/b", "POST") == "write"
    assert found(index, "/a/b", "GET", host="SHOP.example:8080") == "host"
    assert found(index, "/a/b", "GET", host="other.example") == "rest"


def test_among_equal_paths_host_beats_methods_beats_headers_beats_query() -> None:
    """Equal paths are told apart by host, then methods, then headers, then query."""
    bare = MatchSpec(path="/a")
    index = index_of(
        route("bare", match=[bare]),
        route("query", match=[replace(bare, query=(("v", "1"),))]),
        route("header", match=[replace(bare, headers=(("x-v", "1"),))]),
        route("headers", match=[replace(bare, headers=(("x-v", "1"), ("x-w", "1")))]),
        route("method", match=[replace(bare, methods=("PUT",))]),
        route("host", match=[replace(bare, host="h")]),
    )

    assert found(index, "/a?v=1", "PUT", host="h", x_v="1", x_w="1") == "host"
    assert found(index, "/a?v=1", "PUT", x_v="1", x_w="1") == "method"
    assert found(index, "/a?v=1", "GET", x_v="1", x_w="1") == "headers"
    assert found(index, "/a?v=1", "GET", x_v="1") == "header"
    assert found(index, "/a?v=1") == "query"
    assert found(index, "/a") == "bare"


def test_get_does_not_imply_head() -> None:
    """A route for GET does not take HEAD, and methods keep their case."""
    index = index_of(route("a", match=[MatchSpec(path="/a", methods=("GET",))]))

    assert found(index, "/a", "GET") == "a"
    assert found(index, "/a", "HEAD") is None
    assert found(index, "/a", "get") is None


def test_either_trailing_slash() -> None:
    """With ``trailing_slash: either`` both spellings are one route; strict takes the one that is written."""
    either = route("e", match=[MatchSpec(path="/e/{x}", trailing_slash="either")])
    index = index_of(either, route("s", "/s"))

    assert [found(index, path) for path in ("/e/1", "/e/1/", "/e/1//", "/s", "/s/")] == ["e", "e", None, "s", None]


def test_a_prefix_never_takes_part_of_a_segment() -> None:
    """``/api/v2/**`` takes /api/v2 and everything below it, and never /api/v20."""
    index = index_of(route("v2", "/api/v2/**"))

    assert [found(index, path) for path in ("/api/v2", "/api/v2/", "/api/v2/x", "/api/v20", "/api/v2x/y")] == [
        "v2",
        "v2",
        "v2",
        None,
        None,
    ]


@given(st.text(alphabet="ab2v.~%20", min_size=1, max_size=6), st.text(alphabet="ab2v/", max_size=6))
def test_segments_are_safe(tail: str, rest: str) -> None:
    """Whatever is appended to the last segment of a prefix, the prefix no longer takes it."""
    assert found(index_of(route("v2", "/api/v2/**")), f"/api/v2{tail}{rest}") is None


def test_a_target_that_is_no_path_has_no_route() -> None:
    """``OPTIONS *`` and other targets without a path are taken by no route, not even by ``/**``."""
    assert found(index_of(route("all", "/**")), "*", "OPTIONS") is None
    assert found(index_of(route("all", "/**")), "") is None


SEGMENTS = st.sampled_from(("a", "b", "7", "{p}", "{n:int}", "{s:slug}"))
PATHS = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(SEGMENTS, max_size=3),
    st.sampled_from(([], ["**"], [""])),
)
METHODS = st.sampled_from(((), ("GET",), ("GET", "POST")))
MATCHES = st.builds(MatchSpec, path=PATHS, methods=METHODS, trailing_slash=st.sampled_from(("strict", "either")))
ASKED = st.lists(st.sampled_from(("a", "b", "7", "a.b", "")), max_size=4).map(lambda parts: "/" + "/".join(parts))


def routes_of(matches: list[MatchSpec]) -> list[RouteSpec]:
    """Make one route per match, and leave out those that would tie."""
    kept: list[RouteSpec] = []
    for number, match in enumerate(matches):
        one = route(f"r{number}", match=[match])
        if not problems(config(*kept, one)):
            kept.append(one)
    return kept


@given(st.lists(MATCHES, max_size=8), ASKED, st.sampled_from(("GET", "POST", "PUT")))
def test_the_index_agrees_with_the_plain_definition(matches: list[MatchSpec], path: str, method: str) -> None:
    """The tree finds what trying every template and taking the most specific one finds."""
    routes = routes_of(matches)
    raw = path.encode()
    admitted = [
        ([kind for kind, _ in template.shape], [-int(part) for part in candidate.rank()], one.name)
        for one in routes
        for template, candidate in candidates_of(one, one.name)
        if template.takes(raw) and candidate.admits(method.encode(), raw, NO_FIELDS)
    ]
    expected = min(admitted)[2] if admitted else None

    assert found(index_of(*routes), path, method) == expected


@given(st.lists(MATCHES, max_size=8), ASKED, st.randoms(use_true_random=False))
def test_the_order_of_the_file_decides_nothing(matches: list[MatchSpec], path: str, chance: random.Random) -> None:
    """Routes in any order take the same requests."""
    routes = routes_of(matches)
    shuffled = list(routes)
    chance.shuffle(shuffled)

    assert found(index_of(*routes), path) == found(index_of(*shuffled), path)


def both(left: MatchSpec, right: MatchSpec) -> list[str]:
    """Say what is wrong with two routes that have one match each."""
    return problems(config(route("one", match=[left]), route("two", match=[right])))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (MatchSpec(path="/a"), MatchSpec(path="/a")),
        (MatchSpec(path="/a/{x}"), MatchSpec(path="/a/{y}")),
        (MatchSpec(path="/a/**"), MatchSpec(path="/a/**")),
        (MatchSpec(path="/%61"), MatchSpec(path="/a")),
        (MatchSpec(path="/a", trailing_slash="either"), MatchSpec(path="/a/")),
        (MatchSpec(path="/a", methods=("GET", "HEAD")), MatchSpec(path="/a", methods=("GET",))),
        (MatchSpec(path="/a", headers=(("x", "1"),)), MatchSpec(path="/a", headers=(("y", "1"),))),
        (MatchSpec(path="/a", host="h"), MatchSpec(path="/a", host="H")),
    ],
)
def test_ties_are_refused_naming_both_routes(left: MatchSpec, right: MatchSpec) -> None:
    """Two routes that could both take a request with nothing to choose between them are refused."""
    (sentence,) = both(left, right)

    assert "'one'" in sentence
    assert "'two'" in sentence
    with pytest.raises(SnapshotError, match="tie"):
        snapshot(route("one", match=[left]), route("two", match=[right]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (MatchSpec(path="/a"), MatchSpec(path="/A")),
        (MatchSpec(path="/a"), MatchSpec(path="/a/")),
        (MatchSpec(path="/a/{x}"), MatchSpec(path="/a/{x:int}")),
        (MatchSpec(path="/a", methods=("GET",)), MatchSpec(path="/a", methods=("POST",))),
        (MatchSpec(path="/a", methods=("GET",)), MatchSpec(path="/a")),
        (MatchSpec(path="/a", host="h"), MatchSpec(path="/a", host="i")),
        (MatchSpec(path="/a", headers=(("x", "1"),)), MatchSpec(path="/a", headers=(("x", "2"),))),
        (MatchSpec(path="/a", query=(("x", "1"),)), MatchSpec(path="/a", query=(("x", "2"),))),
    ],
)
def test_routes_that_differ_anywhere_are_no_tie(left: MatchSpec, right: MatchSpec) -> None:
    """Routes that no request can confuse, or that one rule tells apart, may stand together."""
    assert both(left, right) == []


def test_two_matches_of_one_route_may_overlap() -> None:
    """A route does not tie with itself."""
    assert problems(config(route("one", "/a", "/a", "/{x}"))) == []


def test_every_problem_is_said_at_once() -> None:
    """Bad paths, bad keys and ties of all routes come in one list."""
    sentences = problems(config(route("a", "/x//y"), route("b", "/b", sticky=("sesion",)), route("c", "/b")))

    assert [sentence.split(":")[0] for sentence in sentences] == ["route 'a'", "route 'b'", "routes 'b' and 'c' tie"]


@pytest.mark.parametrize(
    ("raw_host", "host"),
    [
        ("Shop.Example:80", b"shop.example"),
        ("shop.example", b"shop.example"),
        ("[::1]:80", b"[::1]"),
        ("[FE80::1]", b"[fe80::1]"),
    ],
)
def test_a_host_is_compared_without_port_and_case(raw_host: str, host: bytes) -> None:
    """A host matches whatever its case and port."""
    assert host_of(fields(Host=raw_host)) == host


def test_query_conditions_look_at_the_first_decoded_value() -> None:
    """A query condition compares the decoded first value of the decoded name."""
    assert first_parameters(b"a=1&a=2&%62=x+y&c&&d=%C3%A9") == {
        b"a": b"1",
        b"b": b"x y",
        b"c": b"",
        b"d": "\u00e9".encode(),
    }
