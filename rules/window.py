"""What the watchdog judges: the counts of one sliding window of one route, and what each side's share of it is.

*What failed.* New fails a request when the client got a 5xx from it (Matapalo's own 502, 503 and 504 in its place
included), when its answer broke off, or when legacy had to take the request over (fallback).

*Against what.* Legacy's present is what it answers now, to clients or to copies, whichever are more within the window.
Legacy's past is the rate at which it ever failed this route's clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from config.spec import WatchdogSpec

SHORT: Final = 12
SHORT_S: Final = 5.0
"""The newest twelfth of the window, but five seconds at least, is looked at alone, so that a sudden failure is not
thinned by the minute before."""

FAILED: Final = frozenset(("5xx", "none"))
"""Classes of answers to copies that stand for a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hold what happened on one route within the last *seconds*."""

    seconds: float
    covers_s: float = 0.0
    """How much of it was seen, while it fills; 0: all."""
    new: int = 0
    """Requests of clients that new was to answer."""
    new_failed: int = 0
    """Those of them that it failed."""
    fallbacks: int = 0
    """Those of the failed that legacy answered."""
    legacy: int = 0
    """Requests of clients that legacy answered."""
    legacy_failed: int = 0
    pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(class of legacy's answer, class of new's) to comparisons; a class is ``2xx`` … ``5xx``, or ``none``."""
    compared: int = 0
    divergent: int = 0
    latency: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """``legacy`` and ``new`` to pairs per bin, of requests that both answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Hold what legacy's past says of this route's clients."""

    requests: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Hold how many requests one side had, and how many of them it failed."""

    requests: int
    failed: int

    @property
    def share(self) -> float:
        """Give the failed as a share of all."""
        return self.failed / self.requests if self.requests else 0.0


def looks(spec: WatchdogSpec) -> tuple[float, float]:
    """Name the windows that *judge* wants, in seconds: the newest part, and the whole."""
    whole = spec.window_ns / 1e9
    return max(SHORT_S, whole / SHORT), whole


def new_seen(window: Window) -> Seen:
    """Take what clients had of new."""
    return Seen(requests=window.new, failed=window.new_failed)


def legacy_now(window: Window) -> Seen:
    """Take legacy's present from clients or from copies, whichever are more."""
    compared = sum(window.pairs.values())
    if window.legacy >= compared:
        return Seen(requests=window.legacy, failed=window.legacy_failed)
    return Seen(requests=compared, failed=sum(n for (legacy, _), n in window.pairs.items() if legacy in FAILED))


def counts(seen: Seen) -> tuple[int, int]:
    """Give failed and all, as the tests of :mod:`rules.chance` take them."""
    return seen.failed, seen.requests
