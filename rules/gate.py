"""Whether new may have more clients: what a gate looks at, and what it says.

The shapes come first: :class:`GateEvidence` is everything that is known about one route, one build of new, since one
moment; :class:`GateVerdict` is the answer that an operator reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Result = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEvidence:
    """Hold what was compared of one route and one build of new, since one moment, over all nodes."""

    build: str = ""
    """Empty: new does not say which build it is."""
    since: float = 0.0
    """Unix time of the first counted comparison; 0.0: there is none."""
    until: float = 0.0
    """Unix time of the last one."""
    identical: int = 0
    tolerated: int = 0
    divergent: int = 0
    undecided: int = 0
    eligible: int = 0
    """Requests that could have been copied: the sampled, the unsampled and the skipped."""
    skipped: int = 0
    """All reasons but ``unsampled``."""
    dropped: int = 0
    """Pairs that nobody looked at: ``undecided`` as ``dropped`` or ``queued``."""
    errored: Mapping[str, int] = field(default_factory=dict)
    """``legacy``, ``new`` or ``both`` gave no complete answer, to pairs."""
    tolerated_by: Mapping[str, int] = field(default_factory=dict)
    """Tolerance id to the pairs in which it hid something."""
    classes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """(method, class of legacy's answer, class of new's) to pairs; a class is ``2xx`` … ``5xx``, or ``none``."""
    distinct: int = 0
    """Different requests compared, estimated; it saturates."""
    latency: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """``legacy`` and ``new`` to pairs per bin of ``rules.latency.BINS``; only pairs that both sides answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Hold one thing that a gate looked at."""

    name: str
    result: Result
    sentence: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Hold what a gate says: the result, why in one sentence, and everything it looked at."""

    result: Result
    sentence: str
    checks: tuple[Check, ...] = ()
    needs_s: float | None = None
    """How long until it can pass at this rate if nothing goes wrong; ``None``: nobody can say, or nothing is needed."""
