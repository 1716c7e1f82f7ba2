"""Judge pairs one after the other: a verdict for each, a Finding for the few that say something new.

Rules of this file:

1. Every compared pair is counted by exactly one divergence: in its Finding if control takes it, else in ``Seen``.
2. What only an explanation can decide is explained at once, whatever it costs. All other explanations are examples,
   and rationed (:mod:`shadow.known`).
3. Nothing heavy begins before the caller was warned: it has verdicts to send.
4. Noise, repeats and rechecks are always explained, teach nothing and are counted nowhere: whoever asked for them
   bounds them, and wants an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic_ns, time
from typing import Final

from shadow import link
from shadow.compare import Body, Case, Decision, VerdictName, open_case, unexplained
from shadow.difference import Difference
from shadow.encoding import learn
from shadow.findings import Group, builds_of, describe, group_of, named
from shadow.known import Kind, Memory, Purse, Ration

NEW_NS: Final = 300_000_000
"""Time per second for kinds of pairs that nobody knows: 150 pairs of 1 KB, 3 of 100 KB."""

SAMPLE_NS: Final = 100_000_000
"""Time per second for further examples."""

ENCODING: Final = "encoding"
"""What a replayed pair is counted by: that the proven encoding is all it differs in."""

Report = Callable[[link.Finding], bool]
"""Take a Finding; false: there is no room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Hold what one pair got."""

    verdict: link.Verdict
    finding: link.Finding | None = None
    """For whoever asked by hand."""


class Judge:
    """Judge pairs and remember what they showed.

    Runs: in one comparer; not thread-safe.
    """

    def __init__(
        self,
        report: Report,
        *,
        before_heavy: Callable[[], None] = lambda: None,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.memory: Final = Memory()
        self._report, self._before_heavy, self._now_ns = report, before_heavy, now_ns
        self._new, self._samples, self._ration = Purse(NEW_NS), Purse(SAMPLE_NS), Ration()

    def judge(self, policy: link.Policy, pair: link.Pair, rest: bytes) -> Judged:
        """Decide one pair; *rest* holds legacy's body, new's and the request's, as received.

        Cost: 40 to 150 microseconds for 1 KB, 1 ms more with an explanation.
        """
        legacy_bytes, new_bytes, _ = body_sizes(pair)
        split = legacy_bytes + new_bytes
        case = open_case(policy, pair, rest[:legacy_bytes], rest[legacy_bytes:split])
        case.look(self.memory.encoding_of(policy.route))
        if pair.purpose != "compare":
            return self._answer(case, rest[split:])
        kind = self.memory.of(policy).kinds.get(case.key)
        quick = case.quick_verdict()
        if quick is None and kind is not None and kind.is_hopeless:
            quick = "divergent"
        if quick is None or self._is_wanted(case, kind):
            return self._explained(case, quick, kind, rest[split:])
        if kind is None:
            return self._unexplained(case, quick)
        self._count(case, kind.group)
        hits = case.replayed_hits() if quick == "tolerated" else case.sifted
        return Judged(verdict=_verdict(case, quick, kind.group, hits))

    def take_counts(self) -> list[link.Seen]:
        """Hand over how many pairs were counted without a Finding since the last time."""
        return list(self.memory.take_counts(time()))

    # ---- with an explanation ----

    def _is_wanted(self, case: Case, kind: Kind | None) -> bool:
        """Say whether this pair becomes an example."""
        now_ns = self._now_ns()
        if kind is not None and now_ns < kind.due_ns:
            return False
        purse = self._new if kind is None else self._samples
        return purse.is_open(now_ns) and self._ration.has(case.policy.route, now_ns)

    def _explained(self, case: Case, quick: VerdictName | None, kind: Kind | None, request_body: bytes) -> Judged:
        self._before_heavy()
        began_ns = self._now_ns()
        explanation = case.explain()
        decision = case.decide(explanation, quick)
        group = group_of(case, explanation, decision)
        shared = shared_group(case, group)
        purse = self._samples
        if kind is None:
            purse, kind = self._new, Kind(group=encoding_group(case) if case.body is Body.REPLAYED else group)
            self.memory.of(case.policy).learn(case.key, kind)
        kind.is_hopeless = case.is_hopeless(explanation, decision)
        route = case.policy.route
        self.memory.teach(route, learn(self.memory.encoding_of(route), explanation))
        shown = group if kind.is_described else shared
        if not self._tell(case, kind, lambda: describe(case, explanation, decision, shown, request_body=request_body)):
            self._count(case, shown)
        if quick is not None:
            purse.take(self._now_ns() - began_ns)
        return Judged(verdict=_verdict(case, decision.verdict, replace(group, id=shared.id), decision.hits))

    def _answer(self, case: Case, request_body: bytes) -> Judged:
        """Judge a pair for whoever asked for it."""
        self._before_heavy()
        explanation = case.explain()
        decision = case.decide(explanation, case.quick_verdict())
        group = group_of(case, explanation, decision)
        finding = describe(case, explanation, decision, group, request_body=request_body)
        if case.pair.purpose == "noise":
            self._report(finding)
        # A repeat is held against the verdict of the pair that it repeats.
        named_alike = replace(group, id=shared_group(case, group).id)
        verdict = _verdict(case, decision.verdict, named_alike, decision.hits)
        return Judged(verdict=verdict, finding=finding if case.pair.purpose == "recheck" else None)

    # ---- without one ----

    def _unexplained(self, case: Case, quick: VerdictName) -> Judged:
        """Judge a pair of a kind that there is no time to explain; the next one of the kind may be."""
        explanation = unexplained(case)
        decision = Decision(verdict=quick, hits=(), by=("",) * len(explanation.differences))
        group = group_of(case, explanation, decision)
        memory = self.memory.of(case.policy)
        kind = memory.kinds.get(group.id)
        if kind is None:
            kind = Kind(group=group)
            memory.learn(group.id, kind)
        if not self._tell(case, kind, lambda: describe(case, explanation, decision, group)):
            self._count(case, group)
        return Judged(verdict=_verdict(case, quick, replace(group, id=""), case.sifted))

    def _tell(self, case: Case, kind: Kind, write: Callable[[], link.Finding]) -> bool:
        """Report a pair if its kind is due and its route has its ration left; say whether control took it."""
        now_ns, route = self._now_ns(), case.policy.route
        if now_ns < kind.due_ns or not self._ration.has(route, now_ns) or not self._report(write()):
            return False
        self._ration.take(route)
        kind.put_off(now_ns)
        return True

    def _count(self, case: Case, group: Group) -> None:
        self.memory.count(case.policy.route, builds_of(case.policy, case.pair)[1], group.id)


def _verdict(case: Case, verdict: VerdictName, group: Group, hits: tuple[str, ...]) -> link.Verdict:
    return link.Verdict(
        sequence=case.pair.sequence,
        verdict=verdict,
        reason="limit" if verdict == "undecided" else "",
        causes=group.causes,
        tolerated=hits,
        divergence=group.id if verdict == "divergent" else "",
    )


def replayed_group(case: Case) -> Group:
    """Name the divergence of the pairs that the route's encoding covers, whichever part of it each of them needs."""
    cosmetic = [Difference(cause=cause, legacy_path=(), new_path=()) for cause in case.encoding]
    differences = (*case.heads.differences, *cosmetic)
    return named(case, differences, {difference.cause for difference in differences})


def shared_group(case: Case, group: Group) -> Group:
    """Give the divergence that pairs like an explained one are counted under."""
    return replayed_group(case) if case.body is Body.REPLAYED else group


def encoding_group(case: Case) -> Group:
    """Give the same divergence, counted by the one word ``encoding`` beside what the heads differ in."""
    heads = {difference.cause for difference in case.heads.differences}
    return replace(replayed_group(case), causes=(ENCODING, *sorted(heads)))


def body_sizes(pair: link.Pair) -> tuple[int, int, int]:
    """Say how the raw rest of a pair is divided: legacy's body, new's, the request's."""
    if not pair.whole:
        return 0, 0, pair.request_body_bytes
    return pair.legacy.body_bytes, pair.new.body_bytes, pair.request_body_bytes
