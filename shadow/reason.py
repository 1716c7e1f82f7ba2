"""Why two values differ: a cause and a few words more."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Reason(NamedTuple):
    """Name one cause of a difference between two values."""

    cause: str
    """A name of :data:`shadow.causes.CAUSES`."""
    detail: str = ""
    """More about it in a few words; empty where the cause says it all."""


Reasons = tuple[Reason, ...]


@lru_cache(maxsize=1024)
def because(cause: str, detail: str = "") -> Reasons:
    """Give the one reason there is, always the same object for the same words."""
    return (Reason(cause, detail),)
