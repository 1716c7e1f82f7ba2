"""Read paths: templates, the canonical form for matching, and every way to misread a target.

The theory. A proxy that matches one reading of a path while the backend acts on
another one can be talked past its routes (``/public/..%2fadmin``). We do not
normalise what we forward, because the raw bytes are the client's. Instead we ask
how else somebody behind us could read the target, and refuse only where the
answer would come from another backend.

Rules of this file:

1. The canonical form is for matching only and never forwarded: escapes of
   unreserved characters are decoded, the hex digits of the others are upper
   case (RFC 3986 section 6.2.2), nothing else changes.
2. One regex (:data:`PLAIN`) recognises the targets that have exactly one
   reading; it is possessive throughout, so its cost is linear on any bytes.
   Everything else takes the slow way, which must be right, not fast.
3. Readings are the closure under single misreadings, not a list of known
   attacks, so their order and depth need no thought. The closure is bounded;
   a target that exceeds the bound counts as ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from config.errors import MatapaloError

# Characters that a segment of one reading only consists of: pchar of RFC 3986
# without "%" (escapes), ";" (parameters) and, in front, "." (dot segments).
_PLAIN_FIRST: Final = rb"A-Za-z0-9_~!$&'()*+,=:@\-"

PLAIN: Final = re.compile(rb"(?=/)((?:/[" + _PLAIN_FIRST + rb"][" + _PLAIN_FIRST + rb".]*+)*+/?+)(?:\?|\Z)")
"""Matches a target that has one reading; group 1 is its path, which is canonical already."""

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_SUSPICIOUS: Final = re.compile(rb"//|[;\\]|/\.\.?(?:[/;\\%]|\Z)|%(?:2[eEfF]|5[cC]|3[bB]|00|25)")
_SLASHES: Final = re.compile(rb"//++")
_PARAMETERS: Final = re.compile(rb";[^/]*+")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What a literal segment of a template may hold as written: pchar without "%", which is checked apart.
_LITERAL: Final = _UNRESERVED | frozenset(b"!$&'()*+,;=:@%")

_PLAIN_LITERAL: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]*|")

MAX_READINGS: Final = 64
"""Readings computed for one target; honest targets have at most a dozen (tests/rules/test_path.py)."""

MAX_READING_BYTES: Final = 1 << 16
"""Bytes over all readings of one target, which bounds the slow way to about a millisecond."""


class TemplateError(MatapaloError, ValueError):
    """A path template cannot be used; the sentence says what is expected."""

    def __init__(self, template: str, expected: str) -> None:
        super().__init__(f"path {template!r} {expected}")
        self.template = template


class Kind(IntEnum):
    """Rank what a segment of a template takes; a lower rank is more specific and tried first."""

    LITERAL = 0
    INT = 1
    UUID = 2
    SLUG = 3
    PARAM = 4
    PREFIX = 5


_KINDS: Final = {"": Kind.PARAM, "int": Kind.INT, "uuid": Kind.UUID, "slug": Kind.SLUG}

ADMITS: Final[dict[Kind, Callable[[bytes], object]]] = {
    Kind.INT: bytes.isdigit,
    Kind.UUID: re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}").fullmatch,
    Kind.SLUG: re.compile(rb"[A-Za-z0-9_-]+").fullmatch,
    Kind.PARAM: len,
}
"""What each kind of parameter takes; a parameter never takes an empty segment."""

_PARAMETER: Final = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")

Shape = tuple[tuple[Kind, bytes], ...]
"""One entry per segment: its kind and, for a literal, its canonical bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Hold one parsed path template."""

    text: str
    shape: Shape
    """A trailing slash is a last literal that is empty."""

    def is_exact(self) -> bool:
        """Say whether exactly one canonical path matches."""
        return all(kind is Kind.LITERAL for kind, _ in self.shape)

    def exact_path(self) -> bytes:
        """Join the literals of an exact template into its one path."""
        return b"/" + b"/".join(literal for _, literal in self.shape)

    def takes(self, path: bytes) -> bool:
        """Say whether one canonical path matches; the plain definition that the index must agree with."""
        segments = path.split(b"/")[1:]
        for at, (kind, literal) in enumerate(self.shape):
            if kind is Kind.PREFIX:
                return True
            if at >= len(segments):
                return False
            if segments[at] != literal if kind is Kind.LITERAL else not ADMITS[kind](segments[at]):
                return False
        return len(segments) == len(self.shape)

    def with_other_slash(self) -> Template:
        """Give the same template with its trailing slash taken away or put there.

        Shape: a prefix and the bare ``/`` are returned as they are.
        """
        last_kind, last = self.shape[-1]
        if last_kind is Kind.PREFIX or self.shape == ((Kind.LITERAL, b""),):
            return self
        if last_kind is Kind.LITERAL and not last:
            return Template(text=self.text, shape=self.shape[:-1])
        return Template(text=self.text, shape=(*self.shape, (Kind.LITERAL, b"")))


def template_from(text: str) -> Template:
    """Parse ``/exact``, ``/with/{param}``, ``/typed/{id:int}`` or ``/prefix/**``.

    Raises: TemplateError saying what was expected and what to write instead.
    """
    if not text.startswith("/"):
        raise TemplateError(text, "must begin with '/'")
    parts = text[1:].split("/")
    shape: list[tuple[Kind, bytes]] = []
    for number, part in enumerate(parts, start=1):
        last = number == len(parts)
        if part == "**":
            if not last:
                raise TemplateError(text, "has '**' before its end; expected it as the last segment")
            shape.append((Kind.PREFIX, b""))
        elif "{" in part or "}" in part:
            shape.append((_kind_of(text, part), b""))
        elif part or last:
            shape.append((Kind.LITERAL, _literal(text, part)))
        else:
            raise TemplateError(text, "has an empty segment; write one '/' between segments")
    return Template(text=text, shape=tuple(shape))


def _kind_of(text: str, part: str) -> Kind:
    parameter = _PARAMETER.fullmatch(part)
    if parameter is None:
        raise TemplateError(text, f"has the segment {part!r}; expected a whole segment such as {{id}} or {{id:int}}")
    kind = _KINDS.get(parameter[2] or "")
    if kind is None:
        raise TemplateError(text, f"asks for the type {parameter[2]!r} in {part!r}; expected int, uuid or slug")
    return kind


def _literal(text: str, part: str) -> bytes:
    if _PLAIN_LITERAL.fullmatch(part):
        return part.encode()
    if part in (".", ".."):
        raise TemplateError(text, f"has the dot segment {part!r}; write the path it leads to")
    if "*" in part:
        raise TemplateError(text, f"has '*' in the segment {part!r}; write {{name}} for one segment, /** for all below")
    for mark in ";\\?#":
        if mark in part:
            raise TemplateError(text, f"has {mark!r} in the segment {part!r}; a path matches whole, plain segments")
    raw = b"".join(bytes((byte,)) if byte in _LITERAL else b"%%%02X" % byte for byte in part.encode())
    if _ESCAPE.sub(b"", raw).find(b"%") >= 0:
        raise TemplateError(text, f"has a '%' without two hex digits in the segment {part!r}; write %25 for itself")
    literal = canonical(raw)
    if _SUSPICIOUS.search(b"/" + literal):
        raise TemplateError(text, f"has an escape in {part!r} that backends read differently; match it with {{name}}")
    return literal


def path_of(target: bytes) -> bytes:
    """Cut the query off an origin-form target."""
    return target.partition(b"?")[0]


def query_of(target: bytes) -> bytes:
    """Give the raw query of a target, empty when there is none."""
    return target.partition(b"?")[2]


def _canonical_escape(escape: re.Match[bytes]) -> bytes:
    value = int(escape[1], 16)
    return bytes((value,)) if value in _UNRESERVED else escape[0].upper()


def canonical(path: bytes) -> bytes:
    """Give the form of *path* that templates are matched against.

    Shape: unreserved characters decoded, other escapes in upper case; never used for forwarding.
    Source: RFC 3986 sections 6.2.2.1 and 6.2.2.2.
    """
    return _ESCAPE.sub(_canonical_escape, path) if b"%" in path else path


def is_suspicious(path: bytes) -> bool:
    """Say whether *path* could be read in more than one way; a cheap test with no false negatives."""
    return _SUSPICIOUS.search(path) is not None


def without_dots(path: bytes) -> bytes:
    """Remove dot segments.

    Source: RFC 3986 section 5.2.4; ``..`` at the root stays at the root.
    """
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments and segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def _decoded(path: bytes) -> bytes:
    return _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), path)


_MISREADINGS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    canonical,
    _decoded,
    without_dots,
    lambda path: _SLASHES.sub(b"/", path),
    lambda path: _PARAMETERS.sub(b"", path),
    lambda path: path.replace(b"\\", b"/"),
    lambda path: path.partition(b"\0")[0],
)


def readings(path: bytes) -> frozenset[bytes] | None:
    """Compute every path that a reader behind us could take *path* for, in canonical form.

    Shape: always has the canonical form of *path* itself; ``None``: more than the bounds allow.
    Bound: :data:`MAX_READINGS` and :data:`MAX_READING_BYTES`.
    """
    seen = {path}
    todo = [path]
    budget = MAX_READING_BYTES
    while todo:
        current = todo.pop()
        for misread in _MISREADINGS:
            reading = misread(current)
            if reading not in seen:
                budget -= len(reading)
                if len(seen) >= MAX_READINGS or budget < 0:
                    return None
                seen.add(reading)
                todo.append(reading)
    return frozenset(canonical(reading) for reading in seen)
