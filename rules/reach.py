"""Find matches that no request can reach, by asking for each one with requests made for it.

The index that serves traffic answers, so nothing here has an opinion of its own about what is more specific. A match
is reached when one of its witnesses finds its route: a request with everything that the match asks for, with
parameters that no sibling names, and each method that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from config.spec import ConfigSpec, RouteSpec
from rules.index import Candidate, Index, candidates_of
from rules.path import Kind, Template, path_of
from rules.sticky import FieldList

METHODS: Final = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE")
"""What a match without methods is asked with; one that takes none of them serves nobody."""

_SAMPLES: Final = {
    Kind.INT: b"918273645",
    Kind.UUID: b"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    Kind.SLUG: b"witness-zq_7",
    Kind.PARAM: b"witness!zq~7",
    Kind.PREFIX: b"witness!zq~7/below",
}
"""A segment that only this kind takes, not one before it, and that no file spells out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Name a match that serves nobody, and who takes its requests instead."""

    route: str
    match: int
    """Its place in the route's list."""
    path: str
    takers: tuple[str, ...]
    """Empty: what it asks for contradicts itself."""


def unreachable(config: ConfigSpec) -> list[Unreachable]:
    """Name every match that no request can reach.

    Shape: the configuration has no tie and no malformed path (:func:`rules.index.problems`).
    Cost: a few microseconds per match and method.
    """
    index = Index(entry for route in config.routes for entry in candidates_of(route, route.name))
    found = []
    for route in config.routes:
        for number, match in enumerate(route.match):
            takers: dict[str, None] = {}
            for template, candidate in candidates_of(replace(route, match=(match,)), route.name):
                for taker in _takers(index, template, candidate):
                    takers[taker] = None
            if route.name not in takers:
                found.append(Unreachable(route=route.name, match=number, path=match.path, takers=tuple(takers)))
    return found


def witness_of(route: RouteSpec) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Make a target and header fields that a route's first match asks for."""
    template, candidate = next(iter(candidates_of(route, route.name)))
    return _witness(template, candidate)


def _witness(template: Template, candidate: Candidate[str]) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    path = b"".join(b"/" + (literal or _SAMPLES.get(kind, b"")) for kind, literal in template.shape)
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in candidate.query).encode()
    host = b"witness.invalid" if candidate.host is None else candidate.host
    # The match's own headers first: one that asks for another Host than `host` contradicts itself.
    return path + b"?" + query if query else path, (*candidate.headers, (b"host", host))


def _takers(index: Index[str], template: Template, candidate: Candidate[str]) -> Iterator[str]:
    """Yield the route that takes each witness of one match."""
    target, pairs = _witness(template, candidate)
    path, fields = path_of(target), FieldList(pairs)
    for method in sorted(candidate.methods) or METHODS:
        if (taker := index.find(path, method, target, fields)) is not None:
            yield taker
