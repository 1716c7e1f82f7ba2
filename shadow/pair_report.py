"""Say of two recorded bodies all there is to say, without a server: what ``matapalo compare`` prints.

Rules of this file:

1. A body whose bytes are equal is identical, and nothing else is.
2. What nobody declared (gzip in a file) is undone to find the causes behind it, and named itself.
3. ``same_meaning`` is true only of what was read on both sides and is one JSON value; nothing is guessed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Final

from shadow import coding
from shadow.causes import Severity
from shadow.coding import Outcome
from shadow.difference import Difference, Explanation, Proof, Span
from shadow.explain import explain
from shadow.json_value import Meaning
from shadow.pointer import pointer_of
from shadow.ranks import Rank, rank_of_cause
from shadow.tolerance import Tolerances

MAX_FRAGMENT: Final = 200
"""Bytes shown of each side of a difference."""

NOTHING_TOLERATED: Final = Tolerances(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDifference:
    """Hold one difference with the bytes that stand there."""

    difference: Difference
    legacy: str
    """At most :data:`MAX_FRAGMENT` bytes; what is not UTF-8 as ``\\xff``. Empty: nothing stands there."""
    new: str
    tolerated: bool

    def as_json(self) -> dict[str, Any]:
        """Show it as one object; a pointer is ``None`` on the side that lacks the place."""
        one = self.difference
        return {
            "cause": one.cause,
            "legacy_pointer": None if one.legacy_path is None else pointer_of(one.legacy_path),
            "new_pointer": None if one.new_path is None else pointer_of(one.new_path),
            "severity": one.severity.value,
            "detail": one.detail,
            "legacy": self.legacy,
            "new": self.new,
            "count": one.count,
            "legacy_span": one.legacy_span,
            "new_span": one.new_span,
            "tolerated": self.tolerated,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """Hold the verdict on one pair."""

    name: str
    identical: bool
    same_meaning: bool
    """True only if both are the same JSON value, or the same bytes."""
    proven: bool
    """Whether applying the causes to legacy's bytes gives new's."""
    differences: tuple[ShownDifference, ...] = ()
    """In document order."""
    omitted: int = 0
    """Differences that were counted and not kept."""
    tolerated: bool = False
    """Tolerances hide every difference."""
    problem: str = ""
    """Why there is nothing to compare: one side is missing, or cannot be read."""

    @property
    def causes(self) -> list[str]:
        """Name each cause once, sorted."""
        return sorted({shown.difference.cause for shown in self.differences})

    @property
    def rank(self) -> Rank:
        """Rank the pair by the worst that is not tolerated."""
        if self.problem:
            return Rank.NEW_5XX
        left = [rank_of_cause(shown.difference.cause) for shown in self.differences if not shown.tolerated]
        return min(left, default=Rank.HEADER)

    def is_fine(self, parity: str) -> bool:
        """Say whether the pair passes under parity ``bytes`` or ``meaning``.

        A difference beyond those that were kept is nobody's to tolerate, and no byte may be left unexplained.
        """
        if self.identical or self.tolerated:
            return True
        if parity != "meaning" or not self.same_meaning or self.omitted:
            return False
        left = [shown.difference for shown in self.differences if not shown.tolerated]
        return bool(self.differences) and all(one.severity is Severity.COSMETIC for one in left)

    def as_json(self) -> dict[str, Any]:
        """Show it as one object; ``problem`` and ``omitted`` stand there only if there is one."""
        shown: dict[str, Any] = {
            "name": self.name,
            "identical": self.identical,
            "same_meaning": self.same_meaning,
            "proven": self.proven,
            "causes": self.causes,
            "differences": [one.as_json() for one in self.differences],
        }
        if self.omitted:
            shown["omitted"] = self.omitted
        if self.problem:
            shown["problem"] = self.problem
        return shown


def report_of(name: str, legacy: bytes, new: bytes, tolerances: Tolerances = NOTHING_TOLERATED) -> PairReport:
    """Compare two recorded bodies and name every cause.

    Cost: microseconds for equal bytes; else that of the explanation, about 1 ms for two bodies of 1 KB.
    """
    if legacy == new:
        return PairReport(name=name, identical=True, same_meaning=True, proven=True)
    (legacy_body, legacy_layers, legacy_end), (new_body, new_layers, new_end) = _open(legacy), _open(new)
    if {legacy_end, new_end} & coding.LIMITS:
        return unexplained_report(name, "limit.size", "compressed too far to be undone")
    explanation = explain(legacy_body, new_body)
    if legacy_layers != new_layers or legacy_body == new_body:
        # The compressed bytes differ: in how often they were compressed, or in nothing but how well.
        layers = f"{_layers(legacy_layers)} -> {_layers(new_layers)}"
        first = Difference(cause="http.content_encoding", legacy_path=(), new_path=(), detail=layers)
        explanation = replace(explanation, differences=(first, *explanation.differences))
    if legacy_layers != new_layers:
        # Who cannot undo what nobody declares does not read a JSON value.
        explanation = replace(explanation, meaning=Meaning.NOT_JSON)
    return explained_report(name, explanation, legacy_body, new_body, tolerances)


def explained_report(
    name: str, explanation: Explanation, legacy: bytes, new: bytes, tolerances: Tolerances = NOTHING_TOLERATED
) -> PairReport:
    """Show an explanation of two decoded bodies that came from unequal answers."""
    tolerated = tolerances.apply(explanation, legacy, new, now=time.time())
    return PairReport(
        name=name,
        identical=False,
        same_meaning=explanation.meaning is Meaning.SAME,
        proven=explanation.proof is Proof.PROVEN,
        differences=tuple(
            ShownDifference(
                difference=one,
                legacy=_fragment(legacy, one.legacy_span),
                new=_fragment(new, one.new_span),
                tolerated=bool(by),
            )
            for one, by in zip(explanation.differences, tolerated.by, strict=True)
        ),
        omitted=explanation.omitted,
        tolerated=tolerated.is_whole,
    )


def problem_report(name: str, sentence: str) -> PairReport:
    """Report a pair of which there is nothing to compare."""
    return PairReport(name=name, identical=False, same_meaning=False, proven=False, problem=sentence)


def unexplained_report(name: str, cause: str, detail: str) -> PairReport:
    """Report two unequal bodies that nobody could look into."""
    whole = Difference(cause=cause, legacy_path=(), new_path=(), detail=detail)
    shown = ShownDifference(difference=whole, legacy="", new="", tolerated=False)
    return PairReport(name=name, identical=False, same_meaning=False, proven=False, differences=(shown,))


def _open(body: bytes) -> tuple[bytes, int, Outcome]:
    """Undo streams that announce themselves, at most :data:`coding.MAX_CODINGS` times, and count them."""
    outcome = Outcome.PLAIN
    for layers in range(coding.MAX_CODINGS):
        decoded = coding.undo(body, ())
        outcome = decoded.outcome
        if outcome is not Outcome.SNIFFED:
            return body, layers, outcome
        body = decoded.body
    return body, coding.MAX_CODINGS, outcome


def _layers(count: int) -> str:
    return {0: "not compressed", 1: "compressed"}.get(count, f"compressed {count} times")


def _fragment(body: bytes, span: Span | None) -> str:
    if span is None:
        return ""
    start, end = span
    return body[start : min(end, start + MAX_FRAGMENT)].decode("utf-8", "backslashreplace")
