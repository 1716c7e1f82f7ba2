"""What the watchdog judges: the counts of one sliding window of one route, and what each side's share of it is.

*What failed.* New fails a request when the client got a 5xx from it (Matapalo's own 502, 503 and 504 in its place
included), when its answer broke off, or when legacy had to take the request over (fallback).

*Against what.* Legacy's present is what it answers now, to clients or to copies, whichever are more within the window.
Legacy's past is the rate at which it ever failed this route's clients.

*Of several nodes.* Windows add up, and the sum keeps its parts. The nodes' clients differ, and so may what is wrong on
them: legacy's share is what it would be if its requests were spread over the nodes as new's are, and what one node
sees of both sides is compared on that node only (:func:`rules.chance.excess_over`). Pairs need none of that: both
answers are to the same request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from config.spec import WatchdogSpec
from rules.chance import Stratum
from rules.latency import added

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
    parts: tuple[Window, ...] = ()
    """What single nodes saw, if this is the sum, this node's first; empty: one node saw it."""


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
    spread: float | None = None
    """The share of the failed if they were spread over the nodes as new's requests are; ``None``: it is one node."""

    @property
    def share(self) -> float:
        """Give the failed as a share of all."""
        if self.spread is not None:
            return self.spread
        return self.failed / self.requests if self.requests else 0.0


def looks(spec: WatchdogSpec) -> tuple[float, float]:
    """Name the windows that *judge* wants, in seconds: the newest part, and the whole."""
    whole = spec.window_ns / 1e9
    return max(SHORT_S, whole / SHORT), whole


def new_seen(window: Window) -> Seen:
    """Take what clients had of new."""
    return Seen(requests=window.new, failed=window.new_failed)


def legacy_now(window: Window) -> Seen:
    """Take legacy's present from clients or from copies, whichever are more; of nodes that new is asked on."""
    if not window.parts:
        return _legacy(window, window)
    asked = [(part.new, _legacy(part, window)) for part in window.parts]
    told = [(new, seen) for new, seen in asked if new and seen.requests]
    if not told:
        return Seen(requests=0, failed=0)
    spread = sum(new * seen.share for new, seen in told) / sum(new for new, _ in told)
    return replace(_legacy(window, window), spread=spread)


def strata(window: Window) -> list[Stratum]:
    """Give what each node saw of new and of legacy now."""
    return [(*counts(new_seen(part)), *counts(_legacy(part, window))) for part in window.parts or (window,)]


def _legacy(part: Window, whole: Window) -> Seen:
    if whole.legacy >= sum(whole.pairs.values()):
        return Seen(requests=part.legacy, failed=part.legacy_failed)
    failed = sum(n for (legacy, _), n in part.pairs.items() if legacy in FAILED)
    return Seen(requests=sum(part.pairs.values()), failed=failed)


def counts(seen: Seen) -> tuple[int, int]:
    """Give failed and all, as the tests of :mod:`rules.chance` take them."""
    return seen.failed, seen.requests


def summed(parts: Sequence[Window]) -> Window:
    """Add up what several nodes saw within the same seconds, this node first."""
    pairs: dict[tuple[str, str], int] = {}
    latency: dict[str, Sequence[int]] = {}
    for part in parts:
        for pair, count in part.pairs.items():
            pairs[pair] = pairs.get(pair, 0) + count
        for side, bins in part.latency.items():
            latency[side] = added(latency.get(side, ()), bins)
    return Window(
        seconds=parts[0].seconds,
        covers_s=max(part.covers_s or part.seconds for part in parts),
        new=sum(part.new for part in parts),
        new_failed=sum(part.new_failed for part in parts),
        fallbacks=sum(part.fallbacks for part in parts),
        legacy=sum(part.legacy for part in parts),
        legacy_failed=sum(part.legacy_failed for part in parts),
        pairs=pairs,
        compared=sum(part.compared for part in parts),
        divergent=sum(part.divergent for part in parts),
        latency=latency,
        parts=tuple(parts),
    )


def summed_past(pasts: Sequence[tuple[int, Known | None]]) -> Known | None:
    """Add up what several nodes know of legacy, as if it had been asked on them as new is now.

    Shape: with each node's past, how much new is asked there.
    """
    told = [(new, past) for new, past in pasts if past is not None and past.requests]
    requests = sum(past.requests for _, past in told)
    asked = sum(new for new, _ in told)
    if not requests:
        return None
    if not asked:
        return Known(requests=requests, failed=sum(past.failed for _, past in told))
    share = sum(new * past.failed / past.requests for new, past in told) / asked
    return Known(requests=requests, failed=round(requests * share))
