"""What an explanation consists of: differences, each at its place on both sides, and how far they are proven."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from shadow.causes import CAUSES, Severity
from shadow.json_value import Meaning
from shadow.pointer import Path

Span = tuple[int, int]
"""Offsets into the decoded body: first byte, and the byte behind the last one."""

MAX_DIFFERENCES: Final = 10_000
"""Differences kept of one pair; a further one is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Name one place in which two answers differ, and why."""

    cause: str
    """A name of :data:`shadow.causes.CAUSES`."""
    legacy_path: Path | None
    """``None``: absent on this side. A cause of the whole document, or of the head, stands at the root."""
    new_path: Path | None
    legacy_span: Span | None = None
    """Of the value, or of the members or blanks that differ; ``None``: nothing in the body stands for it."""
    new_span: Span | None = None
    detail: str = ""
    """More about the cause in a few words: ``sorted``, ``, `` and so on, a header's name."""
    count: int = 1
    """Places that a cause of the whole document has."""

    @property
    def severity(self) -> Severity:
        """Give the cause's severity."""
        return CAUSES[self.cause].severity

    @property
    def path(self) -> Path:
        """Give legacy's path, or new's where legacy has none."""
        return self.legacy_path if self.legacy_path is not None else self.new_path or ()


class Proof(str, Enum):
    """Say how far applying the differences to legacy's bytes leads to new's."""

    PROVEN = "proven"
    """The result is new's bytes."""
    PARTLY = "partly"
    """It is not: :attr:`Explanation.residual` is the first byte that stays unexplained."""
    NONE = "none"
    """Nobody tried: at least one body is not JSON, or a limit stopped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Say why two bodies differ."""

    meaning: Meaning
    differences: tuple[Difference, ...]
    """Empty only for equal bytes; in document order."""
    proof: Proof
    residual: int = -1
    """Offset in new's decoded body; -1: none."""
    omitted: int = 0
    """Differences beyond :data:`MAX_DIFFERENCES`."""

    @property
    def causes(self) -> frozenset[str]:
        """Give the set of causes."""
        return frozenset(difference.cause for difference in self.differences)
