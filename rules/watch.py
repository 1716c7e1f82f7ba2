"""Whether new harms clients now: the decision over one sliding window of one route, always new against legacy.

What a window shows for certain is :mod:`rules.findings`; here is what to make of it at the route's stage.

*Against what.* In ``canary`` legacy's present (:mod:`rules.window`) is enough. In ``live`` it is thin (1 % is copied),
in ``complete`` there is none: then legacy's past says whether something is wrong, and the present only has to say that
legacy does not have it, too.

What to do about it, and when: :mod:`rules.sure`.

Rules of this file:

1. Nothing trips on fewer than ``min_requests`` requests or ``min_errors`` failures, or on what chance explains.
2. Both sides failing alike never trips where legacy is asked at all, by clients or by copies: it is an alert, because
   legacy would not help. Nor is it a divergence: that is for answers that are none of them failures.
3. What is not known is said: too little traffic, or nothing known of legacy, is ``blind``, never ``watching``.
4. Only where new answers clients there is something to take back; in ``shadow`` the same findings are alerts.
5. Pure: time, counts and what is remembered come from the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from config.spec import WatchdogSpec
from rules.chance import CHANCE, at_least, excess, excess_over
from rules.findings import Finding, certain, fails, is_much, new_fails, percent, within
from rules.flag import CohortFlag, Flag, Stage
from rules.window import Known, Seen, Window, counts, legacy_now, new_seen, strata

DOUBT: Final = 1e-3
"""When legacy's past already says that new is at fault, its present must be this unlikely to be as bad as new."""

HINT: Final = 1e-2
"""Legacy's present has trouble of its own when its past makes it less likely than this."""

State = Literal["off", "idle", "watching", "blind", "suspicious", "alert", "tripped"]
STATES: Final[tuple[State, ...]] = ("off", "idle", "watching", "blind", "suspicious", "alert", "tripped")


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


def judge(
    spec: WatchdogSpec,
    flag: Flag,
    windows: Sequence[Window],
    *,
    known: Known | None = None,
    suspicious_s: float = 0.0,
    bounds: Sequence[float] = (),
) -> Judgement:
    """Decide by this look alone what to make of a route that no hold keeps on legacy.

    Shape: *windows* are those of :func:`looks`; *known* is legacy's past, ``None``
    if it never answered; *bounds* are the upper bounds of the latency bins in seconds, the last bin has none.
    Unit: *suspicious_s* says for how long the route has been suspicious without a break.
    """
    if not is_watched(flag):
        return Judgement(state="idle", sentence="new answers nobody")
    whole = windows[-1]
    for window in windows:
        for finding in certain(spec, window, bounds, has_clients=answers(flag)):
            return _told(finding, flag)
    if not answers(flag):
        return Judgement(state="idle", sentence="new answers nobody; its copies do not fail more than legacy")
    if whole.new < spec.min_requests:
        return Judgement(state="blind", sentence=f"blind: {whole.new} of {spec.min_requests} requests {within(whole)}")
    return _by_the_past(spec, flag, windows, known, suspicious_s)


# --- what legacy's past says ---------------------------------------------------------------------------------------


def _by_the_past(
    spec: WatchdogSpec, flag: Flag, windows: Sequence[Window], known: Known | None, suspicious_s: float
) -> Judgement:
    """Decide where legacy's present alone does not."""
    for window in windows:
        new, now = new_seen(window), legacy_now(window)
        if not is_much(spec, new, 0.0):
            continue
        past = Seen(requests=0, failed=0) if known is None else Seen(requests=known.requests, failed=known.failed)
        if not is_much(spec, new, past.share):
            continue  # legacy always failed about as often
        if _is_sick(now, past, new, spec):
            return _both_fail(spec, window)
        if not past.requests:
            if now.requests:
                continue
            return _unknown(spec, window)
        if excess(new.failed, new.requests, *counts(past)) >= CHANCE:
            if at_least(new.failed, new.requests, past.share + spec.error_delta_max_bp / 10_000) < CHANCE:
                return _too_little(spec, window, past)
            continue
        words = f"{percent(past.share)} of legacy so far ({past.requests} requests)"
        if _is_absolved(window, flag, suspicious_s, spec):
            seen = f", {now.failed} of {now.requests} now" if now.requests else ", which is not asked now"
            return _told(fails(spec, window, past, words + seen), flag)
        return Judgement(
            state="suspicious",
            sentence=(
                f"{new_fails(window)} against {words}; waiting for legacy's answers to copies: "
                f"{now.failed} of {now.requests} failed"
            ),
            rule="errors",
            value=new.share,
            against=past.share,
            limit=spec.error_delta_max_bp / 10_000,
        )
    return _quiet(windows[-1], known)


def _is_sick(now: Seen, past: Seen, new: Seen, spec: WatchdogSpec) -> bool:
    """Tell whether legacy has trouble now, too: it fails about as new does, or clearly more than it ever did."""
    limit = spec.error_delta_max_bp / 10_000
    if not now.failed:
        return False
    if new.share - now.share <= limit:
        return True
    return now.share - past.share > limit and excess(now.failed, now.requests, *counts(past)) < HINT


def _is_absolved(window: Window, flag: Flag, suspicious_s: float, spec: WatchdogSpec) -> bool:
    """Tell whether legacy does not have what new has: its present says so, or nobody can say in time.

    Theory: without copies there is nothing to wait for; with few of them we wait one window, then the past decides.
    """
    if excess_over(strata(window)) < DOUBT:
        return True
    if not any(part.sample_bp for part in _parts(flag)):
        return True
    return suspicious_s >= spec.window_ns / 1e9


def _both_fail(spec: WatchdogSpec, window: Window) -> Judgement:
    now = legacy_now(window)
    return Judgement(
        state="alert",
        sentence=(
            f"both sides fail: {new_fails(window)}, legacy {percent(now.share)} of {now.requests}; "
            "a rollback would not help"
        ),
        rule="errors",
        value=new_seen(window).share,
        against=now.share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _unknown(spec: WatchdogSpec, window: Window) -> Judgement:
    return Judgement(
        state="alert",
        sentence=(
            f"{new_fails(window)}, and nothing is known of legacy on this route; nothing is taken back on that alone"
        ),
        rule="errors",
        value=new_seen(window).share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _too_little(spec: WatchdogSpec, window: Window, past: Seen) -> Judgement:
    return Judgement(
        state="suspicious",
        sentence=(
            f"{new_fails(window)} against {percent(past.share)} of legacy so far, which is {past.requests} requests: "
            "too few to tell; more copies will (`sample`)"
        ),
        rule="errors",
        value=new_seen(window).share,
        against=past.share,
        limit=spec.error_delta_max_bp / 10_000,
    )


def _quiet(window: Window, known: Known | None) -> Judgement:
    new, now = new_seen(window), legacy_now(window)
    if not now.requests and (known is None or not known.requests):
        return Judgement(
            state="blind",
            sentence=f"blind: nothing is known of legacy on this route; {new_fails(window)}",
            value=new.share,
        )
    against = now if now.requests else known
    assert against is not None
    when = "" if now.requests else " so far"
    share = against.failed / against.requests
    return Judgement(
        state="watching",
        sentence=f"{new_fails(window)}, legacy {percent(share)} of {against.requests}{when}",
        value=new.share,
        against=share,
    )


def _told(finding: Finding, flag: Flag) -> Judgement:
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


# --- flags ---------------------------------------------------------------------------------------------------------


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
