"""Places in a JSON document, written as RFC 6901 pointers."""

from __future__ import annotations

Path = tuple[str | int, ...]
"""Member names, decoded, and array indexes from the root down."""


def pointer_of(path: Path) -> str:
    """Give the RFC 6901 pointer; empty is the root."""
    return "".join(f"/{_escape(step)}" for step in path)


def fold(path: Path) -> str:
    """Give the pointer with every array index as ``*``: what differences are grouped by."""
    return "".join("/*" if type(step) is int else f"/{_escape(step)}" for step in path)


def _escape(step: str | int) -> str:
    """Escape one reference token (RFC 6901, section 3)."""
    return str(step) if type(step) is int else str(step).replace("~", "~0").replace("/", "~1")
