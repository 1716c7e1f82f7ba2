"""Find the route of a request among thousands, the most specific one first.

The order. Templates are compared segment by segment from the left: a literal
beats a typed parameter (``int`` and ``uuid`` before ``slug``), that beats a plain
one, that beats ``/**``; so a deeper prefix beats a shallower one. Among equal
templates a route with a host beats one without, then methods, then more headers,
then more query parameters. Two routes that are still equal and could both take
one request are a tie, and a tie is refused (:func:`problems`): the order of the
file decides nothing.

Rules of this file:

1. A search visits the tree of segments, never the list of routes. It backs up
   only where a node offers a second way, and meets each node at most once.
2. The same tree answers for every reading of an ambiguous target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Generic, Never, TypeVar
from urllib.parse import unquote_to_bytes

from config.spec import ConfigSpec, MatchSpec, RouteSpec
from rules.path import ADMITS, PLAIN, Kind, Template, TemplateError, query_of, template_from
from rules.sticky import Fields, StickyError, source_from

T = TypeVar("T")

Rank = tuple[bool, bool, int, int]

_NO_LITERALS: Final[Mapping[bytes, Never]] = {}
"""One object for all nodes: with hundreds of routes it is memory that a request waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[T]):
    """Hold one match of one route at the place where its path ends."""

    value: T
    methods: frozenset[bytes]
    """Empty: any."""
    host: bytes | None
    headers: tuple[tuple[bytes, bytes], ...]
    query: tuple[tuple[bytes, bytes], ...]

    def rank(self) -> Rank:
        """Say how specific the match is beside its path; more is tried first."""
        return self.host is not None, bool(self.methods), len(self.headers), len(self.query)

    def is_bare(self) -> bool:
        """Say whether the path and the method are all that is asked."""
        return self.host is None and not self.headers and not self.query

    def admits(self, method: bytes, target: bytes, fields: Fields) -> bool:
        """Say whether one request fulfils everything beside the path."""
        if self.methods and method not in self.methods:
            return False
        if self.host is not None and host_of(fields) != self.host:
            return False
        for name, value in self.headers:
            if fields.get(name) != value:
                return False
        if self.query:
            found = first_parameters(query_of(target))
            return all(found.get(name) == value for name, value in self.query)
        return True

    def overlaps(self, other: Candidate[T]) -> bool:
        """Say whether one request could fulfil both, given equal paths."""
        if self.host is not None and other.host is not None and self.host != other.host:
            return False
        if self.methods and other.methods and not self.methods & other.methods:
            return False
        return _compatible(self.headers, other.headers) and _compatible(self.query, other.query)


def _compatible(left: Iterable[tuple[bytes, bytes]], right: Iterable[tuple[bytes, bytes]]) -> bool:
    wanted = dict(left)
    return all(wanted.get(name, value) == value for name, value in right)


def host_of(fields: Fields) -> bytes | None:
    """Give the host that a request asks for, in lower case and without its port."""
    raw_host = fields.get(b"host")
    if raw_host is None:
        return None
    if raw_host.startswith(b"["):
        return raw_host.partition(b"]")[0].lower() + b"]"
    return raw_host.partition(b":")[0].lower()


def first_parameters(raw_query: bytes) -> dict[bytes, bytes]:
    """Decode a query and keep the first value of each name; ``+`` is a blank."""
    found: dict[bytes, bytes] = {}
    for pair in raw_query.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            found.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
    return found


class Leaf(Generic[T]):
    """Hold the candidates whose paths end at one place, the most specific first."""

    __slots__ = ("_by_method", "_candidates", "only")

    def __init__(self, candidates: Sequence[Candidate[T]]) -> None:
        self._candidates: Final = tuple(sorted(candidates, key=Candidate.rank, reverse=True))
        first = self._candidates[0]
        self.only: Final = first.value if first.is_bare() and not first.methods else None
        """The one route for every request; ``None``: the request must be looked at."""
        self._by_method: Final = self._sure_methods()

    def _sure_methods(self) -> dict[bytes, T]:
        """List the methods that alone decide, which is nearly every leaf of a real configuration."""
        found: dict[bytes, T] = {}
        for method in frozenset[bytes]().union(*(candidate.methods for candidate in self._candidates)):
            first = next(one for one in self._candidates if not one.methods or method in one.methods)
            if first.is_bare():
                found[method] = first.value
        return found

    def choose(self, method: bytes, target: bytes, fields: Fields) -> T | None:
        """Pick the most specific candidate that admits the request."""
        if self.only is not None:
            return self.only
        sure = self._by_method.get(method)
        if sure is not None:
            return sure
        for candidate in self._candidates:
            if candidate.admits(method, target, fields):
                return candidate.value
        return None


class Node(Generic[T]):
    """Be one segment of the tree."""

    __slots__ = ("forks", "leaf", "literals", "patterns", "prefix")

    def __init__(self) -> None:
        self.literals: dict[bytes, Node[T]] = {}
        self.patterns: tuple[tuple[Callable[[bytes], object], Node[T]], ...] = ()
        """Parameters, the most specific kind first."""
        self.leaf: Leaf[T] | None = None
        """Where a path may end."""
        self.prefix: Leaf[T] | None = None
        """What takes everything below, and the node itself."""
        self.forks = False
        """There is a way beside the literal one."""


class Index(Generic[T]):
    """Answer which route takes a request; built once, then only read."""

    __slots__ = ("_exact", "_root", "ends")

    def __init__(self, entries: Iterable[tuple[Template, Candidate[T]]]) -> None:
        places: defaultdict[tuple[tuple[Kind, bytes], ...], list[Candidate[T]]] = defaultdict(list)
        templates: dict[tuple[tuple[Kind, bytes], ...], Template] = {}
        for template, candidate in entries:
            places[template.shape].append(candidate)
            templates[template.shape] = template
        self._exact: Final[dict[bytes, Leaf[T]]] = {}
        self._root: Final = Node[T]()
        # The order of the shapes is the order of the kinds, so parameters are added the most specific first.
        for shape in sorted(places):
            leaf = Leaf(places[shape])
            self._plant(shape, leaf)
            if templates[shape].is_exact():
                self._exact[templates[shape].exact_path()] = leaf
        self.ends: Final = dict(self._sure_ends())
        """The path before a last segment, to the route that takes whatever it is, and the literals that others take.

        With such a segment a target of letters, digits and dashes has one reading, and is asked neither for others
        nor for a way through the tree.
        """

    def _sure_ends(self) -> Iterator[tuple[bytes, tuple[T, Mapping[bytes, Node[T]]]]]:
        """Find where paths end in a parameter that takes anything, as nearly all of an API do (``/orders/{id}``)."""
        waiting = [(b"", self._root)]
        while waiting:
            before, node = waiting.pop()
            waiting += [(b"%b/%b" % (before, literal), child) for literal, child in node.literals.items()]
            admits, child = node.patterns[0] if node.patterns else (None, node)
            if admits is ADMITS[Kind.PARAM] and child.leaf is not None and PLAIN.match(before + b"/0") is not None:
                only = child.leaf.only
                if only is not None:
                    yield before, (only, node.literals or _NO_LITERALS)

    def _plant(self, shape: tuple[tuple[Kind, bytes], ...], leaf: Leaf[T]) -> None:
        node = self._root
        for kind, literal in shape:
            if kind is Kind.PREFIX:
                node.prefix = leaf
                node.forks = True
                return
            if kind is Kind.LITERAL:
                node = node.literals.setdefault(literal, Node())
                continue
            admits = ADMITS[kind]
            child = next((child for known, child in node.patterns if known is admits), None)
            if child is None:
                child = Node()
                node.patterns = (*node.patterns, (admits, child))
                node.forks = True
            node = child
        node.leaf = leaf

    def find(self, path: bytes, method: bytes, target: bytes, fields: Fields) -> T | None:
        """Find the most specific route for a canonical path.

        Shape: ``target`` is only read for its query; ``None``: no route takes the request.
        Cost: about a microsecond, whatever the number of routes (bench/rules.py).
        """
        leaf = self._exact.get(path)
        if leaf is not None:
            found = leaf.choose(method, target, fields)
            if found is not None:
                return found
        if path[:1] != b"/":
            return None
        return _walk(self._root, path.split(b"/"), 1, method, target, fields)


def _walk(node: Node[T], segments: list[bytes], at: int, method: bytes, target: bytes, fields: Fields) -> T | None:
    """Go down from *node*, which stands before segment *at*; come back with the first route that admits.

    A node without a fork is passed in the loop; only forks cost a call, so backing up is returning.
    """
    end = len(segments)
    while at < end:
        segment = segments[at]
        child = node.literals.get(segment)
        at += 1
        if not node.forks:
            if child is None:
                return None
            node = child
            continue
        if child is not None:
            found = _walk(child, segments, at, method, target, fields)
            if found is not None:
                return found
        for admits, child in node.patterns:
            if admits(segment):
                found = _walk(child, segments, at, method, target, fields)
                if found is not None:
                    return found
        prefix = node.prefix
        return None if prefix is None else prefix.choose(method, target, fields)
    if node.leaf is not None:
        found = node.leaf.choose(method, target, fields)
        if found is not None:
            return found
    return None if node.prefix is None else node.prefix.choose(method, target, fields)


def candidates_of(route: RouteSpec, value: T) -> Iterator[tuple[Template, Candidate[T]]]:
    """Yield every place where a route is found; ``trailing_slash: either`` gives two.

    Raises: TemplateError for a path that cannot be used.
    """
    for match in route.match:
        template = template_from(match.path)
        candidate = _candidate(match, value)
        yield template, candidate
        if match.trailing_slash == "either":
            twin = template.with_other_slash()
            if twin.shape != template.shape:
                yield twin, candidate


def _candidate(match: MatchSpec, value: T) -> Candidate[T]:
    return Candidate(
        value=value,
        methods=frozenset(method.encode() for method in match.methods),
        host=None if match.host is None else match.host.lower().encode(),
        headers=tuple((name.lower().encode(), text.encode()) for name, text in match.headers),
        query=tuple((name.encode(), text.encode()) for name, text in match.query),
    )


def problems(config: ConfigSpec) -> list[str]:
    """Say everything about the routes that only their rules can tell: bad paths, bad keys, ties.

    Shape: finished sentences that name the routes; empty: a snapshot can be built.
    Order: by route as in the file, then ties.
    """
    found: list[str] = []
    places: defaultdict[tuple[tuple[Kind, bytes], ...], list[tuple[str, Candidate[str]]]] = defaultdict(list)
    for route in config.routes:
        try:
            for template, candidate in candidates_of(route, route.name):
                places[template.shape].append((template.text, candidate))
        except TemplateError as error:
            found.append(f"route {route.name!r}: {error}")
        for text in route.sticky:
            try:
                source_from(text)
            except StickyError as error:
                found.append(f"route {route.name!r}: {error}")
    ties = (tie for shape in places.values() for tie in _ties(shape))
    return found + list(dict.fromkeys(ties))


def _ties(candidates: Iterable[tuple[str, Candidate[str]]]) -> Iterator[str]:
    for (left_path, left), (right_path, right) in combinations(candidates, 2):
        if left.value != right.value and left.rank() == right.rank() and left.overlaps(right):
            first, second = (left_path, right_path)
            paths = f"{first!r}" if first == second else f"{first!r} and {second!r}"
            yield (
                f"routes {left.value!r} and {right.value!r} tie: both match {paths} and nothing makes one more "
                "specific; give one a method, host, header or query that the other has not, or another path"
            )
