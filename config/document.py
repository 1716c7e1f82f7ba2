"""YAML as a tree in which every node knows its file, line and column.

Rules of this file:

1. Nothing is constructed from tags: a node is text, a list or a map. What a text means is decided by the
   key it stands under (:mod:`config.kinds`), so ``off`` is a word where a word is expected.
2. Bounded on every axis: depth, nodes as written, and nodes counted through their aliases.
3. One pass over the parser's events with an explicit stack: no recursion on input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from config.errors import Problem, UnfitError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml reads the same, some ten times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]  # both have the event methods that we use

MAX_DEPTH: Final = 32
"""Levels of nesting; the deepest valid file has nine."""
MAX_NODES: Final = 1_000_000
"""Nodes of one file, aliases counted in full: 10,000 rich routes have about 600,000."""


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a node stands; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class TextNode:
    """Hold one scalar as written, before variables are put in."""

    place: Place
    text: str
    plain: bool
    """Without quotes: only then can it be a number, a boolean or nothing."""


@dataclass(frozen=True, slots=True)
class ListNode:
    """Hold one sequence."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """Hold one mapping, keys unique, in file order."""

    place: Place
    entries: tuple[tuple[TextNode, Node], ...]


Node = TextNode | ListNode | MapNode


class _BrokenError(Exception):
    """The rest of the file cannot be read; carries the problem that says why."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(place.file, place.line, place.column, "yaml", message)


def read_document(raw_text: bytes, file: str) -> tuple[Node | None, tuple[Problem, ...]]:
    """Compose the one YAML document in *raw_text*.

    Shape: no node when the text is broken or empty; the problems then say why.
    Bound: MAX_DEPTH and MAX_NODES; the caller bounds the bytes.
    Cost: about 10 microseconds per node with libyaml.
    """
    composer = _Composer(file)
    try:
        return composer.compose(_decoded(raw_text, file)), tuple(composer.problems)
    except _BrokenError as error:
        return None, (*composer.problems, error.problem)


def _decoded(raw_text: bytes, file: str) -> str:
    """Decode UTF-8, with or without its mark, and place the first wrong byte."""
    try:
        return raw_text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw_text[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        message = f"found the byte 0x{raw_text[error.start]:02x}, expected UTF-8 text"
        raise _BrokenError(Place(file, line, column), message) from error


@dataclass(slots=True)
class _OpenState:
    """Hold one collection whose end has not come yet."""

    place: Place
    is_map: bool
    anchor: str | None
    nodes: list[Node] = field(default_factory=list)
    """Items of a list; keys and values in turn of a map."""
    weight: int = 1


class _Composer:
    """Turn parser events into nodes."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._stack: list[_OpenState] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._root: Node | None = None

    def compose(self, text: str) -> Node | None:
        """Run over all events of *text*."""
        place = Place(self._file, 1, 1)
        documents = 0
        try:
            for event in yaml.parse(text, Loader=_Loader):
                place = self._place(event.start_mark)
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise _BrokenError(place, "found a second document, expected one; remove the --- line")
                else:
                    self._take(event, place)
        except yaml.MarkedYAMLError as error:
            if error.problem_mark is not None:
                place = self._place(error.problem_mark)
            said = ", ".join(part for part in (error.problem, error.context) if part)
            raise _BrokenError(place, f"found broken YAML ({said}){_hint(text, place)}") from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # ReaderError has no mark, and escapes beyond Unicode surface as ValueError from chr().
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise _BrokenError(place, f"found text that YAML does not allow ({said})") from error
        if self._root is None:
            raise _BrokenError(Place(self._file, 1, 1), "found nothing, expected a mapping of keys")
        return self._root

    def _take(self, event: yaml.Event, place: Place) -> None:
        """Add what one event says."""
        # Neither a tag nor an alias is repeated: a password may begin with ! or *.
        if getattr(event, "tag", None) is not None:
            self._report(place, "found a tag, expected a plain value; remove it, or quote a text that begins with !")
        if isinstance(event, yaml.ScalarEvent):
            self._finish(TextNode(place, event.value, not event.style), 1, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._stack) >= MAX_DEPTH:
                raise _BrokenError(place, f"found more than {MAX_DEPTH} levels, expected a flatter file")
            self._stack.append(_OpenState(place, isinstance(event, yaml.MappingStartEvent), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._stack.pop()
            node: Node = self._map(done) if done.is_map else ListNode(done.place, tuple(done.nodes))
            self._finish(node, done.weight, done.anchor)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                message = "found an alias, expected its anchor complete before it; quote a text that begins with *"
                raise _BrokenError(place, message)
            self._finish(*self._anchors[event.anchor], None)

    def _finish(self, node: Node, weight: int, anchor: str | None) -> None:
        """Hand a complete node to the collection around it."""
        if anchor is not None:
            self._anchors[anchor] = (node, weight)
        if not self._stack:
            self._root = node
            return
        around = self._stack[-1]
        around.nodes.append(node)
        # An alias weighs what it stands for, so a bomb is heavy before anybody walks through it.
        around.weight += weight
        if around.weight > MAX_NODES:
            raise _BrokenError(around.place, f"found more than {MAX_NODES} values, aliases counted; expected fewer")

    def _map(self, done: _OpenState) -> MapNode:
        """Pair keys with values, refuse what YAML would let pass, and put merged maps (``<<``) behind."""
        own: dict[str, tuple[TextNode, Node]] = {}
        merged: list[MapNode] = []
        for key, value in zip(done.nodes[::2], done.nodes[1::2], strict=True):
            if not isinstance(key, TextNode):
                self._report(key.place, "found a list or map as a key, expected a word")
            elif key.text == "<<" and key.plain:
                merged += self._merged(value)
            elif key.text in own:
                first = own[key.text][0].place
                self._report(
                    key.place, f"found {key.text[:100]!r} again, expected each key once; it is on line {first.line}"
                )
            else:
                own[key.text] = (key, value)
        for node in merged:
            for key, value in node.entries:
                own.setdefault(key.text, (key, value))
        return MapNode(done.place, tuple(own.values()))

    def _merged(self, value: Node) -> list[MapNode]:
        """Read the value of ``<<``: one map or a list of maps, the first one strongest."""
        nodes = value.items if isinstance(value, ListNode) else (value,)
        maps = [node for node in nodes if isinstance(node, MapNode)]
        if len(maps) < len(nodes):
            self._report(value.place, "found a << that is not a map, expected *name of an anchored map")
        return maps

    def _report(self, place: Place, message: str) -> None:
        """Remember a problem that leaves the rest readable."""
        if len(self.problems) < 1_000:
            self.problems.append(Problem(place.file, place.line, place.column, "yaml", message))

    def _place(self, mark: Any) -> Place:  # libyaml's marks and the Python parser's share no type
        """Count a parser's mark from 1."""
        return Place(self._file, mark.line + 1, mark.column + 1)


def _hint(text: str, place: Place) -> str:
    """Name the usual reason for a broken line, where its text shows it."""
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "${" in line or "{id" in line:
        return "; inside { } or [ ], a value with braces needs quotes"
    return "; indent with spaces" if "\t" in line else ""


_VARIABLE: Final = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)([^}]*))?\}|\$\{")


def has_variable(text: str) -> bool:
    """Tell whether :func:`interpolated` would change or refuse *text*."""
    return "${" in text or "$$" in text


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Put in ``${VAR}``, ``${VAR:-default}`` and ``${VAR:?message}``; ``$$`` is one dollar sign.

    Shape: a dollar sign before anything else stands for itself, so ``$.email`` needs no escape.
    Raises: UnfitError for a variable that is not set and for an unfinished ``${``.
    """
    return _VARIABLE.sub(lambda found: _value(found, environ), text)


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    """Give what one ``$$`` or ``${…}`` stands for."""
    name, operator, word = found[1], found[2], found[3]
    if found[0] == "$$":
        return "$"
    if name is None or (word is not None and "${" in word):
        raise UnfitError(found.string, "${NAME}, ${NAME:-default} or ${NAME:?message}", "write $$ for a dollar sign")
    value = environ.get(name)
    if operator is None:
        if value is None:
            hint = f"set it, or give a default: ${{{name}:-value}}"
            raise UnfitError(found[0], f"the environment variable {name} to be set", hint)
        return value
    if value:
        return value
    if operator == ":-":
        return str(word)
    raise UnfitError(found[0], f"the environment variable {name} to be set", str(word))
