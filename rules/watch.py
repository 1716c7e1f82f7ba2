"""Whether new harms clients now: the decision over one sliding window of one route, always new against legacy.

*What failed.* New fails a request when the client got a 5xx from it (Matapalo's own 502, 503 and 504 in its place
included), when its answer broke off, or when legacy had to take the request over (fallback).

*Against what.* Legacy's present is what it answers now, to clients or to copies, whichever are more within the window.
Legacy's past is the rate at which it ever failed this route's clients. In ``canary`` the present is enough. In ``live``
it is thin (1 % is copied), in ``complete`` there is none: then the past says whether something is wrong, and the
present only has to say that legacy does not have it, too.

*When.* What happens to both sides shows on them at different moments: new answers 503 at once where legacy hangs until
a time runs out. So what is found has to be found for :data:`SURE_S`, and a legacy that has gone silent since is waited
for: it may have the same trouble.

*Chance.* Two shares differ if Fisher's exact test, one-sided, gives less than :data:`CHANCE` for what was seen or
worse, were both sides alike. A look per second at overlapping windows, for a year, on equal sides, stays below one
false trip (docs/operations.md has the simulation).

Rules of this file:

1. Nothing trips on fewer than ``min_requests`` requests or ``min_errors`` failures, or on what chance explains.
2. Both sides failing alike never trips: it is an alert, because legacy would not help. Nor is it a divergence: that is
   for answers that are none of them failures.
3. What is not known is said: too little traffic, or nothing known of legacy, is ``blind``, never ``watching``.
4. Only where new answers clients there is something to take back; in ``shadow`` the same findings are alerts.
5. Pure: time, counts and what is remembered come from the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, lgamma, log, log1p
from typing import Final, Literal

from config.spec import WatchdogSpec
from rules.flag import CohortFlag, Flag, Stage

CHANCE: Final = 1e-8
"""What chance may explain less often than this is no chance."""

DOUBT: Final = 1e-3
"""When legacy's past already says that new is at fault, its present must be this unlikely to be as bad as new."""

HINT: Final = 1e-2
"""Legacy's present has trouble of its own when its past makes it less likely than this."""

SURE_S: Final = 1.5
"""For how long something is found before it trips; five seconds from the first failure leave room for it."""

LESS: Final = 0.75
"""Legacy has gone silent if it answers less than this part of what is usual, and less than new by more than
:data:`HINT`; clients that wait for it hold back what new gets, too, so ..."""

NOTHING: Final = 0.1
"""... less than this part is silence whatever new does: then hardly anybody is there to be harmed."""

TOLD: Final = 10
"""Answers that have to be usual before their absence says anything."""

SHORT: Final = 12
SHORT_S: Final = 5.0
"""The newest twelfth of the window, but five seconds at least, is looked at alone, so that a sudden failure is not
thinned by the minute before."""

P95: Final = 0.95

State = Literal["off", "idle", "watching", "blind", "suspicious", "alert", "tripped"]
STATES: Final[tuple[State, ...]] = ("off", "idle", "watching", "blind", "suspicious", "alert", "tripped")

FAILED: Final = frozenset(("5xx", "none"))
_WORSE: Final[Mapping[str, int]] = {"4xx": 1, "5xx": 2, "none": 2}
"""How bad a class of answer is beside the others, which are fine."""


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
class Judgement:
    """Say what the watchdog makes of a window."""

    state: State
    sentence: str
    to: Literal["", "legacy", "shadow"] = ""
    """Where the route is to be taken back to now; empty: nowhere."""
    rule: Literal["", "errors", "pairs", "latency", "divergence"] = ""
    """What was found."""
    value: float | None = None
    """What was measured, as a share or a ratio."""
    limit: float | None = None
    against: float | None = None
    """What legacy had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """Hold one rule that is broken for certain."""

    rule: Literal["errors", "pairs", "latency", "divergence"]
    sentence: str
    value: float
    limit: float
    against: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Hold how many requests one side had, and how many of them it failed."""

    requests: int
    failed: int

    @property
    def share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


def judge(
    spec: WatchdogSpec,
    flag: Flag,
    windows: Sequence[Window],
    *,
    known: Known | None = None,
    suspicious_s: float = 0.0,
    bounds: Sequence[float] = (),
) -> Judgement:
    """Decide by this look alone what to make of a route that no hold keeps on legacy; :func:`sure` is what to do.

    Shape: *windows* are those of :func:`looks`; *known* is legacy's past, ``None``
    if it never answered; *bounds* are the upper bounds of the latency bins in seconds, the last bin has none.
    Unit: *suspicious_s* says for how long the route has been suspicious without a break.
    """
    if not is_watched(flag):
        return Judgement(state="idle", sentence="new answers nobody")
    whole = windows[-1]
    for window in windows:
        for finding in _certain(spec, window, bounds, has_clients=answers(flag)):
            return _told(finding, flag)
    if not answers(flag):
        return Judgement(state="idle", sentence="new answers nobody; its copies do not fail more than legacy")
    if whole.new < spec.min_requests:
        return Judgement(state="blind", sentence=f"blind: {whole.new} of {spec.min_requests} requests {_within(whole)}")
    return _by_the_past(spec, flag, windows, known, suspicious_s)


# --- what is sure enough to be done -------------------------------------------------------------------------------


def sure(
    spec: WatchdogSpec, found: Judgement, newest: Window, whole: Window, *, suspicious_s: float, settled_s: float
) -> Judgement:
    """Wait with a rollback until its reason has lasted for :data:`SURE_S`, and legacy has answered meanwhile.

    Shape: *newest* is the window of :data:`SURE_S`, *whole* that of the specification.
    Unit: *settled_s* says for how long the flag has not changed.
    """
    if not found.to:
        return found
    if suspicious_s < SURE_S:
        return _waiting(found, f"; it goes back if that lasts {SURE_S:g} s")
    if found.rule != "errors" or suspicious_s >= spec.window_ns / 1e9:
        return found
    silence = _silence(newest, whole, settled_s)
    return _waiting(found, silence) if silence else found


def _silence(newest: Window, whole: Window, settled_s: float) -> str:
    """Say so if legacy answers less than is usual; empty: it answers, or too little is seen to tell.

    Theory: less than usual alone would be a drop in traffic, less than new alone a new that fails fast and is asked
    again; a flip moves clients, so what was usual before it says nothing.
    """
    before_s = min(whole.covers_s or whole.seconds, whole.seconds) - newest.seconds
    if before_s < newest.seconds or settled_s < before_s + newest.seconds:
        return ""
    now, before = _answered(newest, whole), _answered(whole, whole) - _answered(newest, whole)
    usual, new_before = before * newest.seconds / before_s, whole.new - newest.new
    if usual < TOLD or now >= LESS * usual:
        return ""
    if now >= NOTHING * usual and excess(newest.new, newest.new + now, new_before, new_before + before) >= HINT:
        return ""
    return (
        f"; but legacy answered {now} requests {_within(newest)} where {usual:.0f} are usual: it may have the same "
        "trouble, so its answers are waited for, one window at most"
    )


def _answered(window: Window, whole: Window) -> int:
    """Count what legacy answered, to clients or to copies, whichever are more within the *whole* window."""
    of_copies = sum(window.pairs.values())
    return window.legacy if whole.legacy >= sum(whole.pairs.values()) else of_copies


def _waiting(found: Judgement, why: str) -> Judgement:
    """Take nothing back yet, and say what for."""
    return replace(found, state="suspicious", to="", sentence=found.sentence + why)


# --- what is certain by what is seen now --------------------------------------------------------------------------


def _certain(spec: WatchdogSpec, window: Window, bounds: Sequence[float], *, has_clients: bool) -> Iterable[_Finding]:
    """Name the rules that are broken beyond doubt within one window, the worst first."""
    rules = (_errors(spec, window) if has_clients else None, _pairs(spec, window), _slow(spec, window, bounds))
    yield from (finding for finding in (*rules, _diverges(spec, window)) if finding is not None)


def _errors(spec: WatchdogSpec, window: Window) -> _Finding | None:
    """Hold what clients got from new against what legacy answers now."""
    new, legacy = _new(window), _legacy_now(window)
    if not _is_much(spec, new, legacy.share) or excess(new.failed, new.requests, *_counts(legacy)) >= CHANCE:
        return None
    return _fails(spec, window, legacy, f"{_percent(legacy.share)} of {legacy.requests} of legacy")


def _pairs(spec: WatchdogSpec, window: Window) -> _Finding | None:
    """Hold both answers to the same request against each other: which side alone is worse, and how often."""
    compared = sum(window.pairs.values())
    worse = sum(n for (legacy, new), n in window.pairs.items() if _WORSE.get(new, 0) > _WORSE.get(legacy, 0))
    better = sum(n for (legacy, new), n in window.pairs.items() if _WORSE.get(new, 0) < _WORSE.get(legacy, 0))
    limit = spec.error_delta_max_bp / 10_000
    if compared < spec.min_requests or worse < spec.min_errors or (worse - better) / compared <= limit:
        return None
    if at_least(worse, worse + better, 0.5) >= CHANCE:
        return None
    return _Finding(
        rule="pairs",
        sentence=(
            f"new answered {_percent(worse / compared)} of {compared} compared requests with an error where legacy had "
            f"none or a lesser one, legacy {_percent(better / compared)} where new had none, {_within(window)}, "
            f"limit {_percent(limit)} more"
        ),
        value=worse / compared,
        against=better / compared,
        limit=limit,
    )


def _slow(spec: WatchdogSpec, window: Window, bounds: Sequence[float]) -> _Finding | None:
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
    return _Finding(
        rule="latency",
        sentence=(
            f"new answered {_percent(slow_new / total)} of {total} compared requests later than {ratio:g} times "
            f"legacy's p95 of {bounds[at] * 1000:.3g} ms {_within(window)}, limit 5 % (its p95: "
            f"{'over ' if place >= len(bounds) else ''}{p95_new * 1000:.3g} ms)"
        ),
        value=p95_new / bounds[at],
        against=1.0,
        limit=ratio,
    )


def _diverges(spec: WatchdogSpec, window: Window) -> _Finding | None:
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
    return _Finding(
        rule="divergence",
        sentence=(
            f"{_percent(share)} of {compared} comparisons of answers without 5xx were divergent {_within(window)}, "
            f"limit {_percent(limit)}"
        ),
        value=share,
        limit=limit,
    )


# --- what legacy's past says ---------------------------------------------------------------------------------------


def _by_the_past(
    spec: WatchdogSpec, flag: Flag, windows: Sequence[Window], known: Known | None, suspicious_s: float
) -> Judgement:
    """Decide where legacy's present alone does not."""
    for window in windows:
        new, now = _new(window), _legacy_now(window)
        if not _is_much(spec, new, 0.0):
            continue
        past = _Seen(requests=0, failed=0) if known is None else _Seen(requests=known.requests, failed=known.failed)
        if not _is_much(spec, new, past.share):
            continue  # legacy always failed about as often
        if _is_sick(now, past, new, spec):
            return _both_fail(spec, window)
        if not past.requests:
            if now.requests:
                continue
            return _unknown(spec, window)
        if excess(new.failed, new.requests, *_counts(past)) >= CHANCE:
            if at_least(new.failed, new.requests, past.share + spec.error_delta_max_bp / 10_000) < CHANCE:
                return _too_little(spec, window, past)
            continue
        words = f"{_percent(past.share)} of legacy so far ({past.requests} requests)"
        if _is_absolved(new, now, flag, suspicious_s, spec):
            seen = f", {now.failed} of {now.requests} now" if now.requests else ", which is not asked now"
            return _told(_fails(spec, window, past, words + seen), flag)
        return Judgement(
            state="suspicious",
            sentence=(
                f"{_new_fails(window)} against {words}; waiting for legacy's answers to copies: "
                f"{now.failed} of {now.requests} failed"
            ),
            rule="errors",
            value=new.share,
            against=past.share,
            limit=spec.error_delta_max_bp / 10_000,
        )
    return _quiet(windows[-1], known)


def _is_sick(now: _Seen, past: _Seen, new: _Seen, spec: WatchdogSpec) -> bool:
    """Tell whether legacy has trouble now, too: it fails about as new does, or clearly more than it ever did."""
    limit = spec.error_delta_max_bp / 10_000
    if not now.failed:
        return False
    if new.share - now.share <= limit:
        return True
    return now.share - past.share > limit and excess(now.failed, now.requests, *_counts(past)) < HINT


def _is_absolved(new: _Seen, now: _Seen, flag: Flag, suspicious_s: float, spec: WatchdogSpec) -> bool:
    """Tell whether legacy does not have what new has: its present says so, or nobody can say in time.

    Theory: without copies there is nothing to wait for; with few of them we wait one window, then the past decides.
    """
    if excess(new.failed, new.requests, *_counts(now)) < DOUBT:
        return True
    if not any(part.sample_bp for part in _parts(flag)):
        return True
    return suspicious_s >= spec.window_ns / 1e9


def _both_fail(spec: WatchdogSpec, window: Window) -> Judgement:
    now = _legacy_now(window)
    return Judgement(
        state="alert",
        sentence=(
            f"both sides fail: {_new_fails(window)}, legacy {_percent(now.share)} of {now.requests}; "
            "a rollback would not help"
        ),
        rule="errors",
        value=_new(window).share,
        against=now.share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _unknown(spec: WatchdogSpec, window: Window) -> Judgement:
    return Judgement(
        state="alert",
        sentence=(
            f"{_new_fails(window)}, and nothing is known of legacy on this route; nothing is taken back on that alone"
        ),
        rule="errors",
        value=_new(window).share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _too_little(spec: WatchdogSpec, window: Window, past: _Seen) -> Judgement:
    return Judgement(
        state="suspicious",
        sentence=(
            f"{_new_fails(window)} against {_percent(past.share)} of legacy so far, which is {past.requests} requests: "
            "too few to tell; more copies will (`sample`)"
        ),
        rule="errors",
        value=_new(window).share,
        against=past.share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _quiet(window: Window, known: Known | None) -> Judgement:
    new, now = _new(window), _legacy_now(window)
    if not now.requests and (known is None or not known.requests):
        return Judgement(
            state="blind",
            sentence=f"blind: nothing is known of legacy on this route; {_new_fails(window)}",
            value=new.share,
        )
    against = now if now.requests else known
    assert against is not None
    when = "" if now.requests else " so far"
    share = against.failed / against.requests
    return Judgement(
        state="watching",
        sentence=f"{_new_fails(window)}, legacy {_percent(share)} of {against.requests}{when}",
        value=new.share,
        against=share,
    )


# --- words ---------------------------------------------------------------------------------------------------------


def _told(finding: _Finding, flag: Flag) -> Judgement:
    """Turn a finding into what is to be done about it at this stage."""
    to: Literal["", "legacy", "shadow"] = ""
    if answers(flag):
        to = "shadow" if finding.rule == "divergence" else "legacy"
    return Judgement(
        state="tripped" if to else "alert",
        sentence=finding.sentence,
        to=to,
        rule=finding.rule,
        value=finding.value,
        limit=finding.limit,
        against=finding.against,
    )


def _fails(spec: WatchdogSpec, window: Window, legacy: _Seen, words: str) -> _Finding:
    limit = spec.error_delta_max_bp / 10_000
    return _Finding(
        rule="errors",
        sentence=f"{_new_fails(window)} against {words}, limit {_percent(limit)} more",
        value=_new(window).share,
        against=legacy.share,
        limit=limit,
    )


def _new_fails(window: Window) -> str:
    rescued = f", {window.fallbacks} of them answered by legacy" if window.fallbacks else ""
    return (
        f"new failed {_percent(_new(window).share)} of {window.new} requests (5xx or no answer{rescued}) "
        f"{_within(window)}"
    )


def _within(window: Window) -> str:
    return f"within {window.seconds:.3g} s"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


# --- counts --------------------------------------------------------------------------------------------------------


def looks(spec: WatchdogSpec) -> tuple[float, float]:
    """Name the windows that *judge* wants, in seconds: the newest part, and the whole."""
    whole = spec.window_ns / 1e9
    return max(SHORT_S, whole / SHORT), whole


def answers(flag: Flag) -> bool:
    """Tell whether new answers clients at all, so that there is something to take back."""
    return any(
        part.stage in (Stage.LIVE, Stage.COMPLETE) or (part.stage is Stage.CANARY and part.percent_bp > 0)
        for part in _parts(flag)
    )


def looks_closer(flag: Flag, found: Judgement) -> bool:
    """Tell whether more of legacy's answers to copies would help to decide, and may be had.

    A sample of nothing is somebody's will, and stays nothing.
    """
    copying = [part for part in _parts(flag) if part.stage in (Stage.SHADOW, Stage.CANARY, Stage.LIVE)]
    return found.state == "suspicious" and bool(copying) and all(part.sample_bp for part in copying)


def is_watched(flag: Flag) -> bool:
    """Tell whether new is asked at all, by clients or by copies; *judge* needs no window where it is not."""
    return answers(flag) or any(part.stage is Stage.SHADOW for part in _parts(flag))


def _parts(flag: Flag) -> tuple[Flag | CohortFlag, ...]:
    """Name what rules requests: the flag, and each cohort that has it otherwise."""
    return (flag, *flag.cohorts.values())


def _new(window: Window) -> _Seen:
    return _Seen(requests=window.new, failed=window.new_failed)


def _legacy_now(window: Window) -> _Seen:
    """Take legacy's present from clients or from copies, whichever are more."""
    compared = sum(window.pairs.values())
    if window.legacy >= compared:
        return _Seen(requests=window.legacy, failed=window.legacy_failed)
    return _Seen(requests=compared, failed=sum(n for (legacy, _), n in window.pairs.items() if legacy in FAILED))


def _counts(seen: _Seen) -> tuple[int, int]:
    return seen.failed, seen.requests


def _is_much(spec: WatchdogSpec, new: _Seen, legacy_share: float) -> bool:
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


# --- chance --------------------------------------------------------------------------------------------------------


def excess(failed: int, total: int, other_failed: int, other_total: int) -> float:
    """Say how likely so many of the failures, or more, hit the first side, were both sides alike.

    Theory: Fisher's exact test, one-sided: the tail of the hypergeometric distribution. It holds for any counts,
    however small, and without one request on the other side it is 1: nothing is known.
    Cost: a few microseconds; the terms fall off fast beyond the mean.
    """
    if failed * other_total <= other_failed * total:
        return 1.0
    everything, all_failed = total + other_total, failed + other_failed
    term = exp(
        _log_choose(total, failed) + _log_choose(other_total, other_failed) - _log_choose(everything, all_failed)
    )
    sum_, count = 0.0, failed
    while term > 0.0:
        sum_ += term
        if count >= min(total, all_failed) or term < 1e-9 * sum_:
            break
        term *= (all_failed - count) * (total - count)
        term /= (count + 1) * (other_total - all_failed + count + 1)
        count += 1
    return min(1.0, sum_)


def at_least(hits: int, total: int, probability: float) -> float:
    """Say how likely *hits* or more of *total* are, each with its own chance of *probability*.

    Theory: the upper tail of the binomial distribution, exact; meant for hits above the mean, where it falls fast.
    """
    if hits <= total * probability:
        return 1.0
    if probability <= 0.0:
        return 0.0
    odds = probability / (1.0 - probability)
    term = exp(_log_choose(total, hits) + hits * log(probability) + (total - hits) * log1p(-probability))
    sum_, count = 0.0, hits
    while term > 0.0:
        sum_ += term
        if count >= total or term < 1e-9 * sum_:
            break
        term *= (total - count) / (count + 1) * odds
        count += 1
    return min(1.0, sum_)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
