"""What is certain by what is seen now: four rules that new can break within one window, each with its sentence.

Two shares differ if Fisher's exact test, one-sided, gives less than :data:`rules.chance.CHANCE` for what was seen or
worse, were both sides alike. A look per second at overlapping windows, for a year, on equal sides, stays below one
false trip (docs/operations.md has the simulation).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from config.spec import WatchdogSpec
from rules.chance import CHANCE, at_least, excess, excess_over
from rules.window import Seen, Window, legacy_now, new_seen, strata

P95: Final = 0.95

_WORSE: Final[Mapping[str, int]] = {"4xx": 1, "5xx": 2, "none": 2}
"""How bad a class of answer is beside the others, which are fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Hold one rule that is broken for certain."""

    rule: Literal["errors", "pairs", "latency", "divergence"]
    sentence: str
    value: float
    limit: float
    against: float | None = None


def certain(spec: WatchdogSpec, window: Window, bounds: Sequence[float], *, has_clients: bool) -> Iterable[Finding]:
    """Name the rules that are broken beyond doubt within one window, the worst first."""
    rules = (_errors(spec, window) if has_clients else None, _pairs(spec, window), _slow(spec, window, bounds))
    yield from (finding for finding in (*rules, _diverges(spec, window)) if finding is not None)


def _errors(spec: WatchdogSpec, window: Window) -> Finding | None:
    """Hold what clients got from new against what legacy answers now."""
    new, legacy = new_seen(window), legacy_now(window)
    if not is_much(spec, new, legacy.share) or excess_over(strata(window)) >= CHANCE:
        return None
    return fails(spec, window, legacy, f"{percent(legacy.share)} of {legacy.requests} of legacy")


def _pairs(spec: WatchdogSpec, window: Window) -> Finding | None:
    """Hold both answers to the same request against each other: which side alone is worse, and how often."""
    compared = sum(window.pairs.values())
    worse = sum(n for (legacy, new), n in window.pairs.items() if _WORSE.get(new, 0) > _WORSE.get(legacy, 0))
    better = sum(n for (legacy, new), n in window.pairs.items() if _WORSE.get(new, 0) < _WORSE.get(legacy, 0))
    limit = spec.error_delta_max_bp / 10_000
    if compared < spec.min_requests or worse < spec.min_errors or (worse - better) / compared <= limit:
        return None
    if at_least(worse, worse + better, 0.5) >= CHANCE:
        return None
    return Finding(
        rule="pairs",
        sentence=(
            f"new answered {percent(worse / compared)} of {compared} compared requests with an error where legacy had "
            f"none or a lesser one, legacy {percent(better / compared)} where new had none, {within(window)}, "
            f"limit {percent(limit)} more"
        ),
        value=worse / compared,
        against=better / compared,
        limit=limit,
    )


def _slow(spec: WatchdogSpec, window: Window, bounds: Sequence[float]) -> Finding | None:
    """Hold new's times against legacy's 95th percentile, on the same requests.

    Theory: were new's p95 at most *ratio* times legacy's, no more of its times would lie beyond ratio x p95 than of
    legacy's beyond p95. A bin that straddles the line counts as fast.
    """
    legacy, new = window.latency.get("legacy", ()), window.latency.get("new", ())
    ratio, total = spec.p95_ratio_max, sum(new)
    if ratio is None or total < spec.min_requests or not sum(legacy):
        return None
    at = _percentile_bin(legacy)
    if at >= len(bounds):
        return None  # legacy itself is beyond what is measured
    slow_legacy = sum(legacy[at + 1 :])
    slow_new = sum(n for i, n in enumerate(new) if i and bounds[i - 1] >= ratio * bounds[at])
    is_much = slow_new >= spec.min_errors and slow_new / total > 1 - P95
    if not is_much or excess(slow_new, total, slow_legacy, sum(legacy)) >= CHANCE:
        return None
    place = _percentile_bin(new)
    p95_new = bounds[min(place, len(bounds) - 1)]
    return Finding(
        rule="latency",
        sentence=(
            f"new answered {percent(slow_new / total)} of {total} compared requests later than {ratio:g} times "
            f"legacy's p95 of {bounds[at] * 1000:.3g} ms {within(window)}, limit 5 % (its p95: "
            f"{'over ' if place >= len(bounds) else ''}{p95_new * 1000:.3g} ms)"
        ),
        value=p95_new / bounds[at],
        against=1.0,
        limit=ratio,
    )


def _diverges(spec: WatchdogSpec, window: Window) -> Finding | None:
    """Hold the share of divergent comparisons against its budget; what a side failed is for the other rules."""
    if spec.divergent_max_bp is None:
        return None
    # A pair without an answer has no verdict; one with a 5xx may be alike or not, and is taken out as if it was not.
    failed = sum(n for pair, n in window.pairs.items() if "5xx" in pair and "none" not in pair)
    compared, divergent = window.compared - failed, window.divergent - failed
    if compared < spec.min_requests or divergent < spec.min_errors:
        return None
    limit = spec.divergent_max_bp / 10_000
    share = divergent / compared
    if share <= limit or at_least(divergent, compared, limit) >= CHANCE:
        return None
    return Finding(
        rule="divergence",
        sentence=(
            f"{percent(share)} of {compared} comparisons of answers without 5xx were divergent {within(window)}, "
            f"limit {percent(limit)}"
        ),
        value=share,
        limit=limit,
    )


def is_much(spec: WatchdogSpec, new: Seen, legacy_share: float) -> bool:
    """Tell whether new fails often enough, and by enough more than legacy, to be looked at."""
    return (
        new.requests >= spec.min_requests
        and new.failed >= spec.min_errors
        and new.share - legacy_share > spec.error_delta_max_bp / 10_000
    )


def _percentile_bin(counts: Sequence[int]) -> int:
    """Find the bin that holds the 95th percentile."""
    wanted, passed = P95 * sum(counts), 0
    for place, count in enumerate(counts):
        passed += count
        if passed >= wanted:
            return place
    return len(counts) - 1


# --- words ---------------------------------------------------------------------------------------------------------


def fails(spec: WatchdogSpec, window: Window, legacy: Seen, words: str) -> Finding:
    """Find that new fails clients, against what *words* say of legacy."""
    limit = spec.error_delta_max_bp / 10_000
    return Finding(
        rule="errors",
        sentence=f"{new_fails(window)} against {words}, limit {percent(limit)} more",
        value=new_seen(window).share,
        against=legacy.share,
        limit=limit,
    )


def new_fails(window: Window) -> str:
    """Say how much new failed."""
    rescued = f", {window.fallbacks} of them answered by legacy" if window.fallbacks else ""
    return (
        f"new failed {percent(new_seen(window).share)} of {window.new} requests (5xx or no answer{rescued}) "
        f"{within(window)}"
    )


def within(window: Window) -> str:
    """Say what a window spans."""
    nodes = f" on {len(window.parts)} nodes" if window.parts else ""
    return f"within {window.seconds:.3g} s{nodes}"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.3g} %"
