"""What a vector is: raw bytes that a client sends, and what may become of them.

Every vector of the corpus carries :data:`TAG` in its target (or in a field, where its target is the
fault), so that whatever part of it reaches a backend can be told from everything else in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

TAG = b"tag00000"
"""Stands for one sending of one vector; the runner puts eight other bytes in its place."""

Rows: TypeAlias = Iterable[tuple[str, str, bytes]]
"""One line per vector: its name inside the group, why, and its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """Hold one request that two readers may read differently, or that is none."""

    id: str
    """Group and name: ``A4/cl-then-te``; unique."""
    group: str
    """Row of the conformance table."""
    raw: bytes
    statuses: frozenset[int]
    """What Matapalo may answer; of a peer any 4xx, 501 or 505 counts."""
    why: str
    """The rule (RFC section) or the class of bug behind it."""
    late: bool = False
    """The fault lies behind the head: a proxy that streams may have sent the head on and must then break off."""
    size: bool = False
    """Only large: where a peer draws the line is a matter of its configuration."""
    lenient: bool = False
    """An RFC allows a recipient to repair or ignore this; we refuse it, a peer that does not is no sinner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legal:
    """Hold one request that is legal, and what a backend must get of it."""

    id: str
    raw: bytes
    method: bytes
    target: bytes
    body: bytes
    fields: tuple[bytes, ...]
    """End-to-end field lines, byte for byte and in order; the proxy's own are left out of the comparison."""
    why: str


def rejected(
    group: str,
    statuses: Iterable[int],
    rows: Rows,
    *,
    late: bool = False,
    size: bool = False,
    lenient: bool = False,
) -> Iterator[Vector]:
    """Make the vectors of one group that share their statuses."""
    allowed = frozenset(statuses)
    for name, why, raw in rows:
        yield Vector(
            id=f"{group}/{name}",
            group=group,
            raw=raw,
            statuses=allowed,
            why=why,
            late=late,
            size=size,
            lenient=lenient,
        )


def ask(*lines: bytes, start: bytes = b"POST /tag00000 HTTP/1.1", body: bytes = b"") -> bytes:
    """Write a request with a Host and these further field lines."""
    return b"\r\n".join((start, b"Host: shop.test", *lines, b"", b"")) + body


def get(*lines: bytes) -> bytes:
    """Write a GET with a Host and these further field lines."""
    return ask(*lines, start=b"GET /tag00000 HTTP/1.1")


def chunked(body: bytes, *lines: bytes) -> bytes:
    """Write a POST whose body's chunks are given raw."""
    return ask(b"Transfer-Encoding: chunked", *lines, body=body)


def hosted(value: bytes) -> bytes:
    """Write a GET with this for its Host."""
    return b"GET /tag00000 HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def started(line: bytes) -> bytes:
    """Write a request with this first line; the tag stands in a field as well."""
    return line + b"\r\nHost: shop.test\r\nX-Tag: tag00000\r\n\r\n"
