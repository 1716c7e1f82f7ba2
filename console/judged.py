"""What gates and the ledger said: of one route, what a flip may rest on, and how people are shown both."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from config.spec import GateSpec, RouteSpec
from console.journal import moment_text
from console.problem import ProblemError
from console.shapes import Json
from rules.gate import GateEvidence, GateVerdict
from rules.latency import quantile
from rules.leg import Leg

if TYPE_CHECKING:
    from console.commits import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Hold what a gate said about a route, and on what."""

    route: str
    spec: GateSpec | None
    """``None``: the route has no gate."""
    verdict: GateVerdict
    evidence: GateEvidence
    leg: Leg | None = None
    at: float = 0.0
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Hold what the ledger said of a route that lets legacy go."""

    route: str
    is_quiet: bool
    sentence: str
    evidence: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Hold what a flip may rest on."""

    judged: tuple[Judged, ...] = ()
    """The gates that were asked; empty: new gets no more clients."""
    ledger: tuple[Quiet, ...] = ()
    """What the ledger said; empty: nobody lets legacy go."""
    forced: bool = False
    """One of them was against it, and whoever flips wants it all the same."""

    @property
    def shut(self) -> tuple[Judged, ...]:
        """The gates that did not pass."""
        return tuple(one for one in self.judged if one.verdict.result != "pass")

    @property
    def loud(self) -> tuple[Quiet, ...]:
        """The routes where legacy is not quiet."""
        return tuple(one for one in self.ledger if not one.is_quiet)

    def of(self, routes: Collection[str]) -> Admission:
        """Leave out what was said of other routes."""
        judged = tuple(one for one in self.judged if one.route in routes)
        return replace(self, judged=judged, ledger=tuple(one for one in self.ledger if one.route in routes))

    def on(self, caller: Caller) -> Caller:
        """Hand the evidence to the audit entry that this caller's change will get."""
        said = admission_as_json(self)
        shown = {} if said is None else {**said, "gates": [judged_as_json(one) for one in self.judged]}
        if self.ledger:
            shown["ledger"] = {one.route: quiet_as_json(one) for one in self.ledger}
        return replace(caller, evidence={**caller.evidence, **shown}, forced=self.forced)


def without(route: RouteSpec, now: float) -> Judged:
    """Say that a route has no gate."""
    why = "`gate: off`" if route.legacy is not None else "the route has no legacy side"
    verdict = GateVerdict(result="pass", sentence=f"no gate: {why}, so a flip asks for no evidence")
    return Judged(route=route.name, spec=None, verdict=verdict, evidence=GateEvidence(), at=now)


def unjudged(route: RouteSpec, why: str) -> Judged:
    """Say why a gate was not judged."""
    verdict = GateVerdict(result="inconclusive", sentence=f"not judged: {why}")
    return Judged(route=route.name, spec=route.gate, verdict=verdict, evidence=GateEvidence(), at=time.time())


def refusal(asked: Admission) -> ProblemError:
    """Say which gates keep new from more clients."""
    said = "; ".join(f"{one.route}: {one.verdict.result}, {one.verdict.sentence}" for one in asked.shut)
    return ProblemError(
        "gate",
        f"New gets no more clients yet. {said}. Wait, or flip with force and a reason.",
        extra={"gates": [judged_as_json(one) for one in asked.judged]},
    )


def objections(asked: Admission, ruler: str) -> list[tuple[str, str]]:
    """Say what stands against flips that were made all the same, because *ruler* rules the flags.

    Shape: the event for the log, and its sentence.
    """
    gates = [
        f"{one.route}: {ruler} gives new more clients, though its gate is {one.verdict.result}: {one.verdict.sentence}"
        for one in asked.shut
    ]
    ledger = [
        f"{one.route}: {ruler} lets legacy go, though the ledger is against it: {one.sentence}" for one in asked.loud
    ]
    return [*(("gate.not_passed", said) for said in gates), *(("ledger.not_quiet", said) for said in ledger)]


# --- how a gate is shown ----------------------------------------------------------------------------------------------


def gate_as_json(judged: Judged) -> Json:
    """Show a gate in a list of routes: the result and its sentence."""
    return {
        "result": "off" if judged.spec is None else judged.verdict.result,
        "sentence": judged.verdict.sentence,
        "needs_s": judged.verdict.needs_s,
    }


def admission_as_json(admission: Admission) -> Json | None:
    """Show in a flip's answer what its gates said; ``None``: none was asked."""
    if not admission.judged:
        return None
    said = [f"{one.route}: {one.verdict.sentence}" for one in admission.judged]
    results = {gate_as_json(one)["result"] for one in admission.judged}
    worst = next(result for result in ("fail", "inconclusive", "pass", "off") if result in results)
    return {"result": worst, "sentence": "; ".join(said), "forced": admission.forced}


def quiet_as_json(quiet: Quiet) -> Json:
    """Show what the ledger said, and on what."""
    return {"quiet": quiet.is_quiet, "sentence": quiet.sentence, **quiet.evidence}


def judged_as_json(judged: Judged) -> Json:
    """Show a gate whole: every check, what the evidence says, and what it was held against."""
    verdict, spec, leg = judged.verdict, judged.spec, judged.leg
    return {
        "route": judged.route,
        **gate_as_json(judged),
        "at": moment_text(judged.at),
        "checks": [
            {
                "name": check.name,
                "result": check.result,
                "sentence": check.sentence,
                "value": check.value,
                "limit": check.limit,
                "needs": check.needs,
            }
            for check in verdict.checks
        ],
        "evidence": evidence_as_json(judged.evidence),
        "limits": None
        if spec is None
        else {
            "comparisons": spec.comparisons,
            "distinct_requests": spec.distinct_requests,
            "divergent_max": spec.divergent_max_bp / 100,
            "p95_ratio_max": spec.p95_ratio_max,
            "error_delta_max": spec.error_delta_max_bp / 100,
            "over_s": spec.over_ns / 1e9,
        },
        "leg": None
        if leg is None
        else {"number": leg.number, "since": moment_text(leg.since), "confidence": 1.0 - leg.alpha},
    }


def evidence_as_json(evidence: GateEvidence) -> Json:
    """Show evidence in numbers; times as the two quantiles that count."""
    p95 = {side: quantile(evidence.latency.get(side, ()), 0.95) for side in ("legacy", "new")}
    return {
        "build": evidence.build,
        "since": moment_text(evidence.since) if evidence.since else None,
        "until": moment_text(evidence.until) if evidence.until else None,
        "compared": evidence.compared,
        "identical": evidence.identical,
        "tolerated": evidence.tolerated,
        "divergent": evidence.divergent,
        "undecided": evidence.undecided,
        "eligible": evidence.eligible,
        "skipped": evidence.skipped,
        "dropped": evidence.dropped,
        "fallbacks": evidence.fallbacks,
        "distinct": evidence.distinct,
        "errored": dict(evidence.errored),
        "tolerated_by": dict(evidence.tolerated_by),
        "p95_s": p95,
        "classes": [
            {"method": method, "legacy": legacy, "new": new, "pairs": pairs}
            for (method, legacy, new), pairs in sorted(evidence.classes.items())
        ],
    }
