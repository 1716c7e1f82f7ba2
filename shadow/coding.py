"""Undo content codings before two bodies are compared.

Rules of this file:

1. What comes out is either the whole decoded body or the body as received, with
   the outcome that says why; nothing is ever half decoded or trimmed.
2. A backend chooses these bytes, so every stream is bounded while it is inflated.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_OUTPUT: Final = 16 << 20
"""As large as the value check reads (json_grammar.MAX_BYTES)."""

MAX_RATIO: Final = 200
"""Real JSON deflates 5 to 40 times; deflate itself can reach 1,032."""

RATIO_FLOOR: Final = 1 << 20
"""An output below this is no threat whatever its ratio."""

MAX_MEMBERS: Final = 16
"""gzip streams or zstd frames one after the other (RFC 1952, section 2.2); servers send one."""

MAX_CODINGS: Final = 4
"""Codings applied on top of each other; servers apply one."""

GZIP_MAGIC: Final = b"\x1f\x8b\x08"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class Outcome(str, Enum):
    """Say how undoing the codings of one body ended."""

    PLAIN = "plain"
    """There was nothing to undo."""
    DECODED = "decoded"
    SNIFFED = "sniffed"
    """A stream that no header declares was undone, alone or inside a declared one; clients see compressed bytes."""
    UNKNOWN = "unknown"
    """A coding that is not undone here (``compress``, ``dcb`` …), or too many of them."""
    BROKEN = "broken"
    """Not what the header says, truncated, a wrong checksum, or bytes behind the end."""
    SIZE = "size"
    """More than MAX_OUTPUT."""
    RATIO = "ratio"
    """More than MAX_RATIO times the input, and more than RATIO_FLOOR."""
    MEMBERS = "members"
    """More than MAX_MEMBERS gzip members or zstd frames."""


LIMITS: Final = frozenset((Outcome.SIZE, Outcome.RATIO, Outcome.MEMBERS))
UNDONE: Final = frozenset((Outcome.PLAIN, Outcome.DECODED, Outcome.SNIFFED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Hold one body after its codings were undone, or as received where they were not."""

    body: bytes
    outcome: Outcome


def codings_of(values: Iterable[bytes]) -> tuple[bytes, ...]:
    """Read Content-Encoding field values into coding names, in the order they were applied.

    Shape: lower case, ``x-gzip`` as ``gzip`` (RFC 9110, section 8.4.1.3), without ``identity``.
    """
    names = (part.strip().lower() for value in values for part in value.split(b","))
    return tuple(b"gzip" if name == b"x-gzip" else name for name in names if name not in (b"", b"identity"))


def undo(body: bytes, codings: tuple[bytes, ...]) -> Decoded:
    """Undo *codings*, the last one first, and then a gzip or zstd stream that announces itself.

    Bound: MAX_OUTPUT, MAX_RATIO, MAX_MEMBERS and MAX_CODINGS; each is an outcome, none an exception.
    Cost: about 3 ms per MB of output.
    """
    if not body:
        # An answer to HEAD names a coding and has no body.
        return Decoded(body=body, outcome=Outcome.PLAIN)
    if len(codings) > MAX_CODINGS or any(coding not in _STREAMS for coding in codings):
        return Decoded(body=body, outcome=Outcome.UNKNOWN)
    bound = _bound(len(body))
    decoded = body
    for coding in reversed(codings):
        decoded, outcome = _STREAMS[coding](decoded, bound)
        if outcome is not Outcome.DECODED:
            return Decoded(body=body, outcome=outcome)
    undeclared = _MAGIC.get(decoded[:4]) or _MAGIC.get(decoded[:3])
    if undeclared is None:
        return Decoded(body=decoded, outcome=Outcome.DECODED if codings else Outcome.PLAIN)
    inner, outcome = undeclared(decoded, bound)
    if outcome is Outcome.DECODED:
        return Decoded(body=inner, outcome=Outcome.SNIFFED)
    if outcome is Outcome.BROKEN:
        # It merely begins like a stream.
        return Decoded(body=decoded, outcome=Outcome.DECODED if codings else Outcome.PLAIN)
    return Decoded(body=body, outcome=outcome)


def _bound(received: int) -> int:
    """Say how much a body of this size may become: the ratio counts over all codings together."""
    return min(MAX_OUTPUT, max(RATIO_FLOOR, MAX_RATIO * received))


def _excess(bound: int) -> tuple[bytes, Outcome]:
    return b"", Outcome.SIZE if bound == MAX_OUTPUT else Outcome.RATIO


def _gunzip(body: bytes, bound: int) -> tuple[bytes, Outcome]:
    parts: list[bytes] = []
    size = 0
    for _ in range(MAX_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(body, bound - size + 1)
        except zlib.error:
            return b"", Outcome.BROKEN
        size += len(part)
        if size > bound:
            return _excess(bound)
        if not stream.eof:
            return b"", Outcome.BROKEN
        parts.append(part)
        # gzip pads with zeros when it writes to tape, and readers skip them.
        body = stream.unused_data.lstrip(b"\0") if stream.unused_data.startswith(b"\0") else stream.unused_data
        if not body:
            return b"".join(parts), Outcome.DECODED
    return b"", Outcome.MEMBERS


def _inflate(body: bytes, bound: int) -> tuple[bytes, Outcome]:
    """Undo ``deflate``: zlib's format (RFC 9110, section 8.4.1.2), or the bare stream that some servers send."""
    has_zlib_head = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    stream = zlib.decompressobj(wbits=15 if has_zlib_head else -15)
    try:
        part = stream.decompress(body, bound + 1)
    except zlib.error:
        return b"", Outcome.BROKEN
    if len(part) > bound:
        return _excess(bound)
    if not stream.eof or stream.unused_data:
        return b"", Outcome.BROKEN
    return part, Outcome.DECODED


_PIECE: Final = 64 << 10
"""Bytes of brotli's output asked for at once, so that a bomb is met before it has grown."""

_ZSTD_INPUT: Final = 64
"""Bytes given to zstd at once, as it takes no bound on its output: they are at most 16 blocks of 128 KiB."""

_ZSTD_WINDOW: Final = 8 << 20
"""What a sender of this content coding must stay within (RFC 9659)."""


def _unbrotli(body: bytes, bound: int) -> tuple[bytes, Outcome]:
    """Undo ``br`` (RFC 7932): one stream, without a checksum."""
    import brotli  # type: ignore[import-untyped]  # ships no types; only where a backend sends it: the comparer starts faster without

    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    try:
        part = stream.process(body, output_buffer_limit=_PIECE)
        while part:
            parts.append(part)
            size += len(part)
            if size > bound:
                return _excess(bound)
            part = b"" if stream.is_finished() else stream.process(b"", output_buffer_limit=_PIECE)
    except brotli.error:
        return b"", Outcome.BROKEN
    return (b"".join(parts), Outcome.DECODED) if stream.is_finished() else (b"", Outcome.BROKEN)


def _unzstd(body: bytes, bound: int) -> tuple[bytes, Outcome]:
    """Undo ``zstd`` (RFC 8878): frames one after the other, each with a window of at most 8 MiB (RFC 9659)."""
    import zstandard  # as brotli

    parts: list[bytes] = []
    size = 0
    for _ in range(MAX_MEMBERS):
        stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        try:
            for start in range(0, len(body), _ZSTD_INPUT):
                part = stream.decompress(body[start : start + _ZSTD_INPUT])
                size += len(part)
                if size > bound:
                    return _excess(bound)
                parts.append(part)
                if stream.eof:
                    body = stream.unused_data + body[start + _ZSTD_INPUT :]
                    break
        except zstandard.ZstdError:
            return b"", Outcome.BROKEN
        if not stream.eof:
            return b"", Outcome.BROKEN
        if not body:
            return b"".join(parts), Outcome.DECODED
    return b"", Outcome.MEMBERS


_STREAMS: Final[dict[bytes, Callable[[bytes, int], tuple[bytes, Outcome]]]] = {
    b"gzip": _gunzip,
    b"deflate": _inflate,
    b"br": _unbrotli,
    b"zstd": _unzstd,
}
_MAGIC: Final = {GZIP_MAGIC: _gunzip, ZSTD_MAGIC: _unzstd}
