"""Rules of reach: a match is unreachable exactly when the index gives every request of it to others."""

from __future__ import annotations

from config.spec import MatchSpec
from rules.reach import METHODS, unreachable
from tests.rules.made import config, route

ALL = tuple(method.decode() for method in METHODS)


def test_ordinary_routes_are_all_reachable() -> None:
    """Literals, every kind of parameter, prefixes, methods, hosts, headers and queries leave each other room."""
    found = unreachable(
        config(
            route("root", "/"),
            route("all", "/**"),
            route("int", "/a/{id:int}"),
            route("slug", "/a/{id:slug}"),
            route("uuid", "/a/{id:uuid}"),
            route("any", "/a/{id}"),
            route("deep", "/a/{id}/**"),
            route("get", match=[MatchSpec(path="/a", methods=("GET",))]),
            route("rest", "/a"),
            route("host", match=[MatchSpec(path="/a", host="shop.test")]),
            route("header", match=[MatchSpec(path="/a", headers=(("x-tenant", "7"),))]),
            route("query", match=[MatchSpec(path="/a", query=(("on", "a b&c"),), trailing_slash="either")]),
        )
    )

    assert found == []


def test_a_match_whose_every_method_others_take_is_unreachable() -> None:
    """A route for any method serves nobody when others list them all; who takes its requests is named."""
    first = route("first", match=[MatchSpec(path="/a", methods=ALL[:4])])
    second = route("second", match=[MatchSpec(path="/a", methods=ALL[4:])])

    [found] = unreachable(config(first, second, route("rest", "/b", "/a")))

    assert (found.route, found.match, found.path, found.takers) == ("rest", 1, "/a", ("first", "second"))
    assert unreachable(config(first, route("rest", "/a"))) == []


def test_a_match_that_excludes_itself_is_unreachable() -> None:
    """A host and a Host header that differ can never both be there."""
    [found] = unreachable(
        config(route("odd", match=[MatchSpec(path="/a", host="a.test", headers=(("host", "b.test"),))]))
    )

    assert (found.route, found.takers) == ("odd", ())
