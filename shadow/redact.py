"""Make any text or bytes safe to print: one line, bounded, and always encodable as UTF-8.

What of an answer may be shown at all is decided in :mod:`shadow.masking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MAX_FRAGMENT: Final = 64
"""Bytes of a name that is shown."""

MAX_BUILD: Final = 128
"""Bytes of a build: a commit's hash has 40, an image's digest 71."""

MAX_TEXT: Final = 1_024
"""Characters of a pointer or target; a member name may be a megabyte long."""


def printable(text: str) -> str:
    """Escape every character that does not print, lone surrogates among them, as Python would."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_bytes(raw: bytes) -> str:
    r"""Decode for printing: bytes that are no UTF-8 become ``\xNN``."""
    return printable(raw.decode("utf-8", "backslashreplace"))


def build(raw: bytes) -> str:
    """Write what an answer says of its build, the same way in a worker and in a comparer."""
    return printable_bytes(raw[:MAX_BUILD])


def shortened(text: str) -> str:
    """Make any text one printable line of at most MAX_TEXT characters."""
    text = printable(text[: MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def patterns_of(entries: Iterable[str]) -> tuple[re.Pattern[bytes], ...]:
    """Compile the ``pattern:`` entries of a route's ``redact``."""
    return tuple(re.compile(entry[8:].encode()) for entry in entries if entry.startswith("pattern:"))


def without(patterns: Iterable[re.Pattern[bytes]], raw: bytes) -> bytes:
    """Put ``[redacted]`` where a pattern fits."""
    for pattern in patterns:
        raw = pattern.sub(b"[redacted]", raw)
    return raw


def mask_query(target: bytes) -> str:
    """Show a request target with its query's names, but not their values.

    Shape: ``/a?token=1&b`` becomes ``/a?token=…&b``; a part without ``=`` that is too long for a name is masked too.
    """
    path, mark, query = target.partition(b"?")
    if not mark:
        return shortened(printable_bytes(path[: MAX_TEXT + 1]))
    shown = []
    for part in query[:MAX_TEXT].split(b"&"):
        name, equals, _ = part.partition(b"=")
        shown.append(printable_bytes(name if len(name) <= MAX_FRAGMENT else b"") + ("=…" if equals else ""))
    return shortened(f"{printable_bytes(path[:MAX_TEXT])}?{'&'.join(shown)}")
