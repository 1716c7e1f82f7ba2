"""Whether new may have more clients: what a gate looks at, and what it says.

:class:`GateEvidence` is everything that is known about one route, one build of new, since one moment;
:class:`GateVerdict` is the answer that an operator reads; :func:`judge` makes one of the other.

Rules of this file:

1. Silence proves nothing: no traffic, old traffic and little traffic are inconclusive, never a pass, never a fail.
2. A fail is shown, not suspected: what could still be chance is inconclusive. One fail fails, one inconclusive check
   makes the rest wait, and every check is made and shown, so that nobody meets the second reason after the first.
3. What nobody could look at counts against new: undecided pairs are divergent ones, and what clients are answered but
   no pair covers is taken to differ.
4. A sentence names what is missing, and how long that takes at this rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log, sqrt
from typing import Final, Literal

from config.spec import GateSpec
from rules.latency import quantile
from rules.leg import ALPHA, RECENT, Leg
from rules.sequential import MAX_NEEDED, Outcomes, is_above, needed, upper_bound

Result = Literal["pass", "fail", "inconclusive"]

MAX_UNSEEN: Final = 0.05
"""Share of the eligible requests that may stay uncompared against our will (DESIGN, counting)."""

MENTIONED: Final = 0.01
"""Share of the requests that could not be copied from which on a pass says so: it is a pass for the others."""

FRESH_PART: Final = 7
"""The last comparison may be as old as this part of ``over``: of a week a day."""

P95: Final = 0.95

Z95: Final = 1.645
"""Standard errors of a one-sided 95 % bound. Each side's quantile is taken at its worse end, so their ratio is bounded
at about 99 % where the sides vary apart, and looking again and again costs little of the 95."""


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
    """Requests that could have been copied: those sent, the unsampled and the skipped."""
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
    uncopied: Mapping[str, int] = field(default_factory=dict)
    """Method to the skipped requests that came with it. Those outside the sample are like those in it."""
    clients: Mapping[str, int] = field(default_factory=dict)
    """Class to the answers that legacy gave clients in the same time; empty: nobody knows."""
    fallbacks: int = 0
    """Requests of clients that new failed and legacy then answered: no pair is left of them."""
    asked: int = 0
    """Requests of clients in the same time, whichever side answered; 0: nobody knows."""
    comparable: int = 0
    """How many of them could have been copied: the others are writes, or came in a stage that copies nothing."""

    @property
    def compared(self) -> int:
        """Count the pairs with a verdict."""
        return self.identical + self.tolerated + self.divergent + self.undecided

    @property
    def differing(self) -> int:
        """Count the pairs that count against new."""
        return self.divergent + self.undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Hold one thing that a gate looked at."""

    name: str
    result: Result
    sentence: str
    value: float | None = None
    limit: float | None = None
    needs: int = 0
    """Further clean comparisons until this check can pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Hold what a gate says: the result, why in one sentence, and everything it looked at."""

    result: Result
    sentence: str
    checks: tuple[Check, ...] = ()
    needs_s: float | None = None
    """How long until it can pass at this rate if nothing goes wrong; ``None``: nobody can say, or nothing is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Hold what the checks look at."""

    spec: GateSpec
    evidence: GateEvidence
    recent: Sequence[GateEvidence]
    now: float
    leg: Leg
    tolerances: Mapping[str, str] | None
    today: str


def judge(
    spec: GateSpec,
    evidence: GateEvidence,
    now: float,
    *,
    leg: Leg,
    recent: Sequence[GateEvidence] = (),
    build: str = "",
    tolerances: Mapping[str, str] | None = None,
    today: str = "",
) -> GateVerdict:
    """Judge the evidence of one leg.

    Shape: *recent* is the evidence of the short legs; *build* is what new runs now, as far as anybody said;
    *tolerances* are those in the configuration, id to the last day on which they hide anything, and *today* is a day
    written alike.
    Cost: a millisecond.
    """
    if not evidence.compared and not _failures(evidence).total:
        of = f" of build {build}" if build else ""
        since = "in this time" if leg.number > 1 else "yet"
        return _alone(f"nothing{of} was compared {since}; the route needs traffic in shadow or canary")
    if build and evidence.build != build:
        found = f"build {evidence.build}" if evidence.build else "no known build"
        return _alone(f"the evidence is of {found}, and new runs {build}; it has to be compared first")
    case = _Case(spec=spec, evidence=evidence, recent=recent, now=now, leg=leg, tolerances=tolerances, today=today)
    checks = tuple(check(case) for check in _CHECKS)
    needs = max(check.needs for check in checks)
    needs_s = _seconds(needs, case)
    if wrong := [check for check in checks if check.result == "fail"]:
        return GateVerdict(result="fail", sentence=_joined(wrong), checks=checks)
    if unsure := [check for check in checks if check.result == "inconclusive"]:
        sentence = _missing(unsure, needs, needs_s, case)
        return GateVerdict(result="inconclusive", sentence=sentence, checks=checks, needs_s=needs_s)
    shown = filter(None, (_joined(checks, "divergence", "tolerances"), _beside(evidence)))
    return GateVerdict(result="pass", sentence=", ".join(shown), checks=checks)


# --- the checks -------------------------------------------------------------------------------------------------------


def _fresh(case: _Case) -> Check:
    age_s = max(0.0, case.now - case.evidence.until)
    limit_s = max(3_600.0, case.leg.over_s / FRESH_PART)
    if age_s <= limit_s:
        return Check(name="fresh", result="pass", sentence=f"compared until {about(age_s)} ago", value=age_s)
    return Check(
        name="fresh",
        result="inconclusive",
        sentence=f"nothing was compared for {about(age_s)}; {about(limit_s)} is as old as evidence may be",
        value=age_s,
        limit=limit_s,
    )


def _enough(case: _Case) -> Check:
    count, wanted = case.evidence.compared, case.spec.comparisons
    return Check(
        name="comparisons",
        result="pass" if count >= wanted else "inconclusive",
        sentence=_counted(count, wanted, "comparisons"),
        value=count,
        limit=wanted,
        needs=max(0, wanted - count),
    )


def _distinct(case: _Case) -> Check:
    count, wanted = case.evidence.distinct, case.spec.distinct_requests
    return Check(
        name="distinct",
        result="pass" if count >= wanted else "inconclusive",
        sentence=_counted(count, wanted, "different requests"),
        value=count,
        limit=wanted,
    )


def _counted(count: int, wanted: int, what: str) -> str:
    return f"{count:,} of {wanted:,} {what}" if count < wanted else f"{count:,} {what}, {wanted:,} are enough"


def _divergence(case: _Case) -> Check:
    limit = case.spec.divergent_max_bp / 10_000
    said = _differing(case.evidence)
    late = _lately(case, limit, _divergences)
    return _bounded("divergence", said, late, _divergences(case.evidence), limit, case.leg.alpha)


def _errors(case: _Case) -> Check:
    limit = case.spec.error_delta_max_bp / 10_000
    seen = _failures(case.evidence)
    said = f"new alone failed {seen.plus:,}, legacy alone {seen.minus:,} of {seen.total:,}"
    late = _lately(case, limit, _failures, lowest=-1)
    return _bounded("errors", said, late, seen, limit, case.leg.alpha, lowest=-1)


def _bounded(name: str, said: str, late: str, seen: Outcomes, limit: float, alpha: float, *, lowest: int = 0) -> Check:
    """Hold a share against its limit: shown to be below, shown to be above, or neither yet."""
    shown = f"limit {_share(limit)}"
    if late:
        bound = upper_bound(seen, alpha)
        return Check(name=name, result="fail", sentence=f"{late} ({shown})", value=bound, limit=limit)
    if is_above(seen, limit, ALPHA, lowest=lowest):
        return Check(name=name, result="fail", sentence=f"{said}: too many ({shown})", value=_mean(seen), limit=limit)
    bound = upper_bound(seen, alpha)
    missing = needed(seen, limit, alpha)
    return Check(
        name=name,
        result="inconclusive" if missing else "pass",
        sentence=f"{said}: at most {_share(bound)} ({shown})",
        value=bound,
        limit=limit,
        needs=missing,
    )


def _lately(case: _Case, limit: float, read: Callable[[GateEvidence], Outcomes], *, lowest: int = 0) -> str:
    """Say which short stretch shows a share above its limit, though the long one may not."""
    for evidence in case.recent:
        seen = read(evidence)
        if is_above(seen, limit, ALPHA / (1 + len(RECENT)), lowest=lowest):
            what = f"{seen.plus:,} of {seen.total:,} {'went wrong' if lowest < 0 else 'were divergent'}"
            return f"{what} in the last {about(case.now - evidence.since)}: too many"
    return ""


def _unseen(case: _Case) -> Check:
    evidence = case.evidence
    lost = evidence.skipped + evidence.dropped
    share = lost / evidence.eligible if evidence.eligible else 0.0
    if share <= MAX_UNSEEN:
        said = f"{lost:,} of {evidence.eligible:,} eligible requests were not compared"
        return Check(name="unseen", result="pass", sentence=said, value=share, limit=MAX_UNSEEN)
    return Check(
        name="unseen",
        result="inconclusive",
        sentence=f"{share:.0%} of the eligible requests were skipped or dropped, and {MAX_UNSEEN:.0%} is as many as "
        "may be; matapalo_shadow_skipped_total and matapalo_undecided_total say why",
        value=share,
        limit=MAX_UNSEEN,
    )


def _latency(case: _Case) -> Check:
    limit = case.spec.p95_ratio_max
    legacy, new = (case.evidence.latency.get(side, ()) for side in ("legacy", "new"))
    count = min(sum(legacy), sum(new))
    spread = Z95 * sqrt(P95 * (1 - P95) / count) if count else 1.0
    # The rank of a quantile is known to within the noise of a coin; its ends are read off the counts.
    ends = [quantile(side, share) for side in (legacy, new) for share in (P95 - spread, P95, P95 + spread)]
    if P95 + spread >= 1.0 or not all(ends):
        sentence = f"p95 of {count:,} pairs says nothing yet"
        return Check(name="latency", result="inconclusive", sentence=sentence, limit=limit, needs=max(0, 100 - count))
    legacy_low, legacy_mid, legacy_high, new_low, new_mid, new_high = (end or 0.0 for end in ends)
    low, ratio, high = new_low / legacy_high, new_mid / legacy_mid, new_high / legacy_low
    said = f"p95 of new is {ratio:.2f} times legacy's ({low:.2f} to {high:.2f}, limit {limit:g})"
    result: Result = "pass" if high <= limit else "fail" if low > limit else "inconclusive"
    needs = 0
    if result == "inconclusive" and ratio < limit:
        needs = min(MAX_NEEDED, ceil(count * ((log(high / ratio) / log(limit / ratio)) ** 2 - 1)))
    return Check(name="latency", result=result, sentence=said, value=ratio, limit=limit, needs=needs)


def _coverage(case: _Case) -> Check:
    evidence, limit = case.evidence, case.spec.divergent_max_bp / 10_000
    methods = {method for method, _, _ in evidence.classes}
    classes = {legacy for _, legacy, _ in evidence.classes}
    answers, eligible = sum(evidence.clients.values()), max(evidence.eligible, sum(evidence.uncopied.values()))
    uncovered = {
        **{method: count / eligible for method, count in evidence.uncopied.items() if method not in methods},
        **{status: count / answers for status, count in evidence.clients.items() if status not in classes},
    }
    # Some requests may stand under both, a method and a class; taken twice they count against new (rule 3).
    share = sum(uncovered.values())
    if share <= limit:
        said = "; ".join(filter(None, (f"covers {', '.join(sorted(methods) + sorted(classes))}", _beside(evidence))))
        return Check(name="coverage", result="pass", sentence=said, value=share, limit=limit)
    names = ", ".join(sorted(uncovered, key=lambda name: (-uncovered[name], name)))
    return Check(
        name="coverage",
        result="inconclusive",
        sentence=f"{names} reached clients and was never compared ({_share(min(share, 1.0))} of the requests)",
        value=share,
        limit=limit,
    )


def _tolerated(case: _Case) -> Check:
    hidden, count = case.evidence.tolerated_by, case.evidence.tolerated
    known = dict.fromkeys(hidden, _NEVER) if case.tolerances is None else case.tolerances
    gone = [name for name in sorted(hidden) if name not in known]
    expired = [f"{name} ended {known[name]}" for name in sorted(known.keys() & hidden) if known[name] < case.today]
    share = count / case.evidence.compared if case.evidence.compared else 0.0
    rules = f"{len(hidden)} rule{'' if len(hidden) == 1 else 's'}" if hidden else "parity"
    result: Result = "pass"
    said = f"{_share(share)} tolerated by {rules}" if count else "none tolerated"
    if expired:
        result, said = (
            "fail",
            f"a tolerance that has expired hid differences: {', '.join(expired)}; renew it or fix them",
        )
    elif gone:
        result = "inconclusive"
        said = f"tolerances that are gone hid differences: {', '.join(gone)}; begin anew with `matapalo evidence reset`"
    return Check(name="tolerances", result=result, sentence=said, value=share)


def _beside(evidence: GateEvidence) -> str:
    """Say which share of the requests no pair can speak for; empty: nearly none."""
    share = 1.0 - evidence.comparable / evidence.asked if evidence.asked else 0.0
    if share < MENTIONED:
        return ""
    return f"{_share(share)} of the requests cannot be compared (writes, or a stage that copies nothing)"


_NEVER: Final = "9999-12-31"

_CHECKS: Final = (_fresh, _enough, _distinct, _divergence, _unseen, _errors, _latency, _coverage, _tolerated)


# --- what the evidence says -------------------------------------------------------------------------------------------


def _divergences(evidence: GateEvidence) -> Outcomes:
    return Outcomes(plus=evidence.differing, zero=evidence.compared - evidence.differing)


def _failures(evidence: GateEvidence) -> Outcomes:
    """Sort pairs by who failed alone; a failure is a status of 5xx, or no complete answer."""
    plus, zero, minus = evidence.fallbacks, 0, 0
    for (_, legacy, new), count in evidence.classes.items():
        worse = (new in _FAILED) - (legacy in _FAILED)
        plus, zero, minus = plus + count * (worse > 0), zero + count * (worse == 0), minus + count * (worse < 0)
    return Outcomes(plus=plus, zero=zero, minus=minus)


_FAILED: Final = frozenset(("5xx", "none"))


def _mean(seen: Outcomes) -> float:
    return (seen.plus - seen.minus) / seen.total if seen.total else 0.0


# --- sentences --------------------------------------------------------------------------------------------------------


def about(seconds: float) -> str:
    """Say a duration as people do: ``40 s``, ``12 min``, ``6 h``, ``3 days``."""
    for size, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _share(share: float) -> str:
    """Write a share in percent with two digits that count."""
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share:.0%}".replace("%", " %")


def _differing(evidence: GateEvidence) -> str:
    undecided = f" and {evidence.undecided:,} undecided" if evidence.undecided else ""
    return f"{evidence.divergent:,} divergent{undecided} of {evidence.compared:,}"


def _seconds(needs: int, case: _Case) -> float | None:
    """Say how long a number of comparisons takes at this rate; ``None``: none are needed, or it never ends."""
    watched_s = max(60.0, case.now - case.evidence.since)
    compared = case.evidence.compared
    if not needs or not compared or needs >= MAX_NEEDED:
        return None
    seconds = needs * watched_s / compared
    return seconds if watched_s + seconds <= case.leg.over_s else None


def _missing(found: Sequence[Check], needs: int, needs_s: float | None, case: _Case) -> str:
    """Say what has to happen before the gate can pass."""
    parts = [check.sentence for check in found if not check.needs]
    if needs:
        slow = (
            f"too slow at this rate: evidence counts for {about(case.leg.over_s)}, so raise the sample or ask for less"
        )
        when = slow if needs_s is None else f"about {about(needs_s)} at this rate"
        # The checks that only wait for more comparisons are one reason, and the slowest of them says which.
        slowest = max(found, key=lambda check: check.needs)
        parts.insert(0, f"needs {needs:,} more clean, {when} ({slowest.sentence})")
    return "; ".join(parts)


def _joined(checks: Sequence[Check], *names: str) -> str:
    return ", ".join(check.sentence for check in checks if not names or check.name in names)


def _alone(sentence: str) -> GateVerdict:
    check = Check(name="evidence", result="inconclusive", sentence=sentence)
    return GateVerdict(result="inconclusive", sentence=sentence, checks=(check,))
