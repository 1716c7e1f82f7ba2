"""The kinds of values a configuration is made of: how each is read, shown and described as JSON Schema.

A kind never raises: it reports to the reader what is wrong and gives
``REFUSED``, so that one pass finds every problem.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, Protocol

from config.document import ListNode, MapNode, Node, Place, TextNode
from config.errors import UnfitError
from config.reader import REFUSED, Reader, found

Schema = dict[str, Any]  # JSON Schema is open-ended by nature


MAX_PLAIN: Final = 4_096
"""Characters of a value that is handed on unread."""

VARIABLE: Final = {"$ref": "#/definitions/variable"}


def _item(where: str, index: int, item: Node) -> str:
    """Name an item by its own name where it has one: ``routes.orders`` says more than ``routes[17]``."""
    if isinstance(item, MapNode):
        for key, value in item.entries:
            if key.text == "name" and isinstance(value, TextNode) and value.text and len(value.text) <= 100:
                return f"{where}.{value.text}"
    return f"{where}[{index}]"


class Kind(Protocol):
    """Be one kind of value."""

    @property
    def words(self) -> str:
        """Say what is expected, as it follows "expected" in a message."""
        ...

    @property
    def secret(self) -> bool:
        """Tell whether a value may be or hold a secret; a text in its place is then never repeated."""
        ...

    def read(self, node: Node, where: str, reader: Reader) -> Any:  # each kind has its own value
        """Give the value of *node*, or report what is wrong and give REFUSED."""
        ...

    def show(self, value: Any) -> str:  # each kind has its own value
        """Write a value the way the file would."""
        ...

    def schema(self) -> Schema:
        """Describe what is accepted, as JSON Schema."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Be a value that is written as one scalar."""

    words: str
    parse: Callable[[str], Any]  # each form gives its own value
    """Raises UnfitError."""
    show: Callable[[Any], str] = str
    types: tuple[str, ...] = ("string",)
    """Core types that are accepted without quotes."""
    limits: Schema = field(default_factory=dict)
    """Pattern, enum or bounds for the JSON Schema."""
    secret: bool = False
    """Never repeat what was found: it may be the secret, or hold it; what *parse* raises gives no hint that does."""
    later: Mapping[str, str] = field(default_factory=dict)
    """Keys of a mapping that may once stand here, and what each will be."""

    def read(self, node: Node, where: str, reader: Reader) -> Any:
        """Parse one scalar."""
        shown = found(node, secret=self.secret)
        if not isinstance(node, TextNode):
            keys = [key.text for key, _ in node.entries] if isinstance(node, MapNode) else []
            hint = "".join(f"; not yet: {self.later[key]}" for key in keys if key in self.later)
            return reader.report(node.place, where, f"found {shown}, expected {self.words}{hint}")
        try:
            text, core = reader.written(node)
        except UnfitError as error:
            return reader.report(node.place, where, f"found {shown}, expected {error.expected}; {error.hint}")
        if core not in (*self.types, "any") and not (core == "integer" and "number" in self.types):
            hint = f"; {self._other(text, core)}".rstrip("; ")
            return reader.report(node.place, where, f"found {shown}, expected {self.words}{hint}")
        try:
            return self.parse(text)
        except UnfitError as error:
            # Where variables were put in, a hint could show what they hold, and that may be a secret.
            hint = f"; {error.hint}" if error.hint and (core != "any" or self.secret) else ""
            return reader.report(node.place, where, f"found {shown}, expected {self.words}{hint}")

    def _other(self, text: str, core: str) -> str:
        """Say how to write a value whose type is not the expected one."""
        if core == "null":
            return "give it a value, or remove the key"
        try:
            self.parse(text)
        except UnfitError as error:
            return error.hint
        return "put it in quotes" if "string" in self.types else "write it without quotes"

    def schema(self) -> Schema:
        """Describe the scalar; a variable may stand in its place."""
        types: str | list[str] = self.types[0] if len(self.types) == 1 else list(self.types)
        own = {"enum": self.limits["enum"]} if "enum" in self.limits else {"type": types, **self.limits}
        return own if own == {"type": "string"} else {"anyOf": [own, VARIABLE]}


def choice(*words: str, later: Mapping[str, str] | None = None) -> Word:
    """Make the kind of one word out of a closed list; ``later`` words are recognised and refused."""
    expected = " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]

    def parse(text: str) -> str:
        if text in words:
            return text
        promised = next((said for start, said in (later or {}).items() if text.startswith(start)), "")
        close = difflib.get_close_matches(text[:100], words, n=1)
        raise UnfitError(
            text, expected, f"not yet: {promised}" if promised else f"did you mean {close[0]!r}?" if close else ""
        )

    return Word(words=expected, parse=parse, limits={"enum": list(words)})


def whole(low: int, high: int) -> Word:
    """Make the kind of a whole number between two bounds."""
    words = f"a whole number from {low} to {high}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise UnfitError(text, words)
        return int(text)

    return Word(words=words, parse=parse, types=("integer",), limits={"minimum": low, "maximum": high})


def boolean() -> Word:
    """Make the kind of ``true`` and ``false``."""
    values = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

    def parse(text: str) -> bool:
        if text not in values:
            raise UnfitError(text, "true or false")
        return values[text]

    return Word(words="true or false", parse=parse, show=lambda value: str(value).lower(), types=("boolean",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Be any one scalar, of the type that YAML gives it: for values that belong to somebody else."""

    words: str = "a text, a number, true or false"
    secret: bool = True
    """What belongs to somebody else may be anything."""

    def read(self, node: Node, where: str, reader: Reader) -> Any:
        """Take a text, a number or a boolean."""
        shown = found(node, secret=self.secret)
        try:
            text, core = reader.written(node) if isinstance(node, TextNode) else ("", "null")
        except UnfitError as error:
            return reader.report(node.place, where, f"found {shown}, expected {error.expected}; {error.hint}")
        if core == "null" or len(text) > MAX_PLAIN:
            return reader.report(node.place, where, f"found {shown}, expected {self.words}")
        if core == "boolean":
            return text.lower() == "true"
        try:
            return int(text, 0) if core == "integer" else float(text) if core == "number" else text
        except ValueError:  # 007: YAML's integer, but nobody's
            return text

    def show(self, value: Any) -> str:
        """Write the scalar."""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def schema(self) -> Schema:
        """Describe the scalar."""
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """Be a list of one kind, each value once."""

    of: Kind
    or_one: bool = False
    """A single value may stand there without the list."""
    at_least: int = 0
    at_most: int | None = None

    @property
    def words(self) -> str:
        """Say what one item is."""
        return f"{self.of.words}, or a list of them" if self.or_one else f"a list, each {self.of.words}"

    @property
    def secret(self) -> bool:
        """Tell whether an item may be a secret."""
        return self.of.secret

    def read(self, node: Node, where: str, reader: Reader) -> Any:
        """Read every item, in order; wrong ones are left out, so that the others are still checked."""
        if not isinstance(node, ListNode):
            if self.or_one:
                value = self.of.read(node, where, reader)
                return value if value is REFUSED else (value,)
            return reader.report(node.place, where, f"found {found(node, secret=self.secret)}, expected {self.words}")
        if len(node.items) < self.at_least:
            return reader.report(node.place, where, f"found an empty list, expected {self.words}")
        if self.at_most is not None and len(node.items) > self.at_most:
            return reader.report(node.place, where, f"found {len(node.items)} items, expected at most {self.at_most}")
        values = []
        seen = set()
        for index, item in enumerate(node.items):
            inner = _item(where, index, item)
            value = self.of.read(item, inner, reader)
            if value is REFUSED:
                continue
            values.append(value)
            if not isinstance(value, Filled):
                if value in seen:
                    reader.report(
                        item.place, inner, f"found {found(item, secret=self.secret)} again, expected each value once"
                    )
                seen.add(value)
        return tuple(values)

    def show(self, value: Any) -> str:
        """Write a flow list, or one bare value where that is allowed."""
        shown = [self.of.show(item) for item in value]
        return shown[0] if self.or_one and len(shown) == 1 else f"[{', '.join(shown)}]"

    def schema(self) -> Schema:
        """Describe the list."""
        items: Schema = {"type": "array", "items": self.of.schema()}
        if self.at_least:
            items["minItems"] = self.at_least
        if self.at_most is not None:
            items["maxItems"] = self.at_most
        return {"anyOf": [self.of.schema(), items]} if self.or_one else items


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Be a mapping whose keys the author chooses."""

    key: Word
    of: Kind
    words: str
    extensions: bool = False
    """Keys that start with ``x-`` are ignored; not where they are names of headers."""

    @property
    def secret(self) -> bool:
        """Tell whether a value may be a secret."""
        return self.of.secret

    def read(self, node: Node, where: str, reader: Reader) -> Any:
        """Read pairs of key and value, in file order; of names that others use, a refused value stays as REFUSED."""
        if not isinstance(node, MapNode):
            return reader.report(node.place, where, f"found {found(node, secret=self.secret)}, expected {self.words}")
        pairs = []
        for key_node, value_node in node.entries:
            if self.extensions and key_node.text.startswith("x-"):
                continue
            inner = f"{where}.{key_node.text[:100]}"
            # Keys are names: a number or a boolean is as good as its text, and variables stay as written.
            key = self.key.read(TextNode(key_node.place, key_node.text, plain=False), inner, reader)
            pairs.append((key, self.of.read(value_node, inner, reader)))
        return tuple(pair for pair in pairs if pair[0] is not REFUSED and (self.extensions or pair[1] is not REFUSED))

    def show(self, value: Any) -> str:
        """Write a flow mapping."""
        return "{" + ", ".join(f"{key}: {self.of.show(item)}" for key, item in value) + "}"

    def schema(self) -> Schema:
        """Describe the mapping; names under ``x-`` are left to whoever uses them."""
        pattern = str(self.key.limits.get("pattern", "^"))
        own = pattern.replace("^", "^(?!x-)", 1) if self.extensions else pattern
        free: Schema = {"^x-": {}} if self.extensions else {}
        return {"type": "object", "patternProperties": {own: self.of.schema(), **free}, "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Describe one key of a section; the loader, the JSON Schema and the reference all read this."""

    name: str
    kind: Kind
    doc: str
    field: str = ""
    """The attribute of the spec, where it is not called like the key."""
    default: Any = None  # each key has its own value
    """The value when the key is missing; ``None``: what the spec's attribute says."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """Hold what one section of a file says."""

    place: Place
    where: str
    section: Section
    given: dict[str, Any]  # the table's kinds decide the types, which mypy cannot follow
    """Key to value, for the keys that were there and right."""
    places: dict[str, Place]
    """Key to the place of its value, also where the value was refused."""

    def get(self, name: str) -> Any:
        """Give the value of a key, or its default."""
        return self.given[name] if name in self.given else self.section.default(self.section.key(name))

    def fields(self, *names: str) -> dict[str, Any]:
        """Give the given values of *names* (of all keys, when none is named) as attributes of the spec."""
        keys = self.section.keys if not names else tuple(map(self.section.key, names))
        return {key.field or key.name: self.given[key.name] for key in keys if key.name in self.given}

    def refused(self, name: str) -> bool:
        """Tell whether the key was there and has been reported already."""
        return name in self.places and name not in self.given


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Be a mapping with known keys."""

    title: str
    doc: str
    keys: tuple[Key, ...]
    spec: type | None = None
    """Where the defaults come from."""
    later: Mapping[str, str] = field(default_factory=dict)
    """Keys whose feature is still to come, and what it will be."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """Single words that may stand in place of the mapping, and what each means."""
    alone: str = ""
    """The key whose value may stand in place of a mapping with only this key."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Keys that people look for here, and where they belong."""

    @property
    def words(self) -> str:
        """Say what is expected, the single words first."""
        alone = (self.key(self.alone).kind.words,) if self.alone else ()
        return " or ".join((*self.instead, *alone, f"a mapping ({self.title})"))

    @property
    def secret(self) -> bool:
        """Tell whether one of the keys may hold a secret."""
        return any(key.kind.secret for key in self.keys)

    def key(self, name: str) -> Key:
        """Find a key by its name."""
        return next(key for key in self.keys if key.name == name)

    def default(self, key: Key) -> Any:
        """Give what a missing key stands for; ``None`` where that is nothing."""
        if key.default is None and self.spec is not None:
            for item in fields(self.spec):
                if item.name == (key.field or key.name) and item.default is not MISSING:
                    return item.default
        return key.default

    def read(self, node: Node, where: str, reader: Reader) -> Any:
        """Read every key; unknown ones are reported with the one that was probably meant."""
        if isinstance(node, TextNode) and node.text in self.instead:
            return node.text
        if self.alone and isinstance(node, TextNode):
            value = self.key(self.alone).kind.read(node, where, reader)
            places = {self.alone: node.place}
            return REFUSED if value is REFUSED else Filled(node.place, where, self, {self.alone: value}, places)
        if not isinstance(node, MapNode):
            return reader.report(node.place, where, f"found {found(node, secret=self.secret)}, expected {self.words}")
        filled = Filled(node.place, where, self, {}, {})
        known = {key.name: key for key in self.keys}
        for key_node, value_node in node.entries:
            name, inner = key_node.text, f"{where}.{key_node.text[:100]}".lstrip(".")
            if name.startswith("x-"):
                continue
            if name not in known:
                reader.report(key_node.place, inner, self._unknown(name, tuple(known), reader))
                continue
            filled.places[name] = value_node.place
            value = known[name].kind.read(value_node, inner, reader)
            if value is not REFUSED:
                filled.given[name] = value
        for key in self.keys:
            if key.required and key.name not in filled.places:
                reader.report(node.place, f"{where}.{key.name}".lstrip("."), f"is missing, expected {key.kind.words}")
        return filled

    def _unknown(self, name: str, known: Sequence[str], reader: Reader) -> str:
        """Say what to do about a key that this section does not have."""
        if name in self.later:
            return f"not yet: {self.later[name]}; remove the key for now"
        if name in self.elsewhere:
            return f"found an unknown key, expected it elsewhere: {self.elsewhere[name]}"
        return f"found an unknown key; {reader.near(name, known)}the keys here are {', '.join(known)}"

    def show(self, value: Any) -> str:
        """Write a single word, or the value that may stand alone; a whole section has no short form."""
        if self.alone:
            return self.key(self.alone).kind.show(value)
        return value if isinstance(value, str) else ""

    def schema(self) -> Schema:
        """Describe the mapping with its keys, their defaults and texts."""
        properties = {}
        for key in self.keys:
            described = {**key.kind.schema(), "description": key.doc}
            default = _plain(key.kind, self.default(key))
            if default is not None:
                described["default"] = default
            properties[key.name] = described
        own: Schema = {
            "type": "object",
            "properties": properties,
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
        }
        required = [key.name for key in self.keys if key.required]
        if required:
            own["required"] = required
        if self.alone:
            return {"anyOf": [self.key(self.alone).kind.schema(), own]}
        return {"anyOf": [{"enum": list(self.instead)}, own]} if self.instead else own


def _plain(kind: Kind, default: Any) -> Any:
    """Turn a default into what JSON would hold; ``None`` where there is nothing short to say."""
    if isinstance(default, bool) or default is None:
        return default
    if isinstance(kind, Many):
        return [_plain(kind.of, item) for item in default] or None
    shown = kind.show(default)
    return int(shown) if shown.isdigit() else shown or None
