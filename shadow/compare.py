"""Compare one pair, cheapest first, and decide what may be called tolerated.

Theory: a verdict is exact for every pair, an explanation is not made for every pair. So what is cheap comes first and
mostly suffices, and whatever may *hide* a difference needs proof for this very pair:

a. heads, content codings: :func:`open_case`;
b. is the route's proven encoding all that differs? (:mod:`shadow.encoding`)
c. the same value? if not, at which places? (:mod:`shadow.json_value`, :mod:`shadow.changes`): :meth:`Case.look`;
d. why, place by place (:mod:`shadow.explain`): :meth:`Case.explain`, and what the route permits: :meth:`Case.decide`.

Rules of this file:

1. Nothing here ever says identical: the worker saw a difference. One that nobody finds again is ``unexplained``.
2. ``tolerated`` is said of a pair only where this pair's bytes were replayed, or explained and proven. It is never
   taken over from a pair like it.
3. ``divergent`` may be said without an explanation: of any pair under parity ``bytes`` without tolerances, and of one
   like another that was found divergent.
4. A limit is ``undecided`` where something could have been excused, else ``divergent``.

======================================  ====================  =====================================================
what differs                            parity ``bytes``      parity ``meaning``
======================================  ====================  =====================================================
status, or what a head says             divergent             divergent
spelling of a type, a declared coding   divergent             tolerated
cosmetic causes only                    divergent             tolerated
anything else in the bodies             divergent             divergent
the same, all under tolerances          tolerated             tolerated, with cosmetic causes beside
======================================  ====================  =====================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from shadow import json_value
from shadow.answers import begins_like_json, explain_bodies, is_asked_for_meaning, join
from shadow.causes import CAUSES, Severity
from shadow.changes import Fingerprint, changes_between, fingerprint_of
from shadow.coding import Outcome
from shadow.difference import Difference, Explanation, Proof
from shadow.encoding import COSMETIC, NOTHING, Encoding, covers
from shadow.heads import Heads, compare_heads
from shadow.json_value import Meaning, check_meaning
from shadow.likeness import Later
from shadow.link import Pair, Policy
from shadow.tolerance import Tolerances, asked_later, tolerances_of

VerdictName = Literal["tolerated", "divergent", "undecided"]


class Body(Enum):
    """Say how two bodies differ, as far as the cheap steps tell."""

    SAME = "same"
    """Equal once decoded."""
    REPLAYED = "replayed"
    """Equal once the route's encoding is normalised away."""
    SPELLED = "spelled"
    """The same value in another spelling."""
    CHANGED = "changed"
    """Another value."""
    UNREAD = "unread"
    """Not JSON, on at least one side."""
    LIMIT = "limit"
    """Too large, too deep, or known by digest only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Hold what the route's parity and tolerances make of one explained pair."""

    verdict: VerdictName
    hits: tuple[str, ...]
    """Tolerances that hid something."""
    by: tuple[str, ...]
    """For each difference the tolerance that hides it; empty: none does."""


@dataclass(slots=True, eq=False)
class Case:
    """Be one pair on its way through the steps."""

    policy: Policy
    pair: Pair
    heads: Heads
    tolerances: Tolerances
    body: Body = Body.LIMIT
    encoding: Encoding = NOTHING
    """What was replayed."""
    marks: Fingerprint = field(default_factory=frozenset)
    """Places and kinds of change, of a body that is CHANGED."""
    sifted: tuple[str, ...] = ()
    """Tolerances whose places are not among the marks."""

    @property
    def statuses(self) -> tuple[int, int]:
        """Give legacy's status and new's."""
        return self.pair.legacy.status, self.pair.new.status

    def look(self, encoding: Encoding) -> None:
        """Take steps b and c.

        Cost: about 20 microseconds for 1 KB where the encoding decides, 80 where places are looked for.
        """
        legacy, new = self.heads.bodies.legacy, self.heads.bodies.new
        self.encoding = encoding
        if not self.pair.whole:
            self.body = Body.SAME if self.pair.legacy.digest == self.pair.new.digest else Body.LIMIT
        elif legacy == new:
            self.body = Body.SAME
        elif self.heads.bodies.is_limited:
            self.body = Body.LIMIT
        elif not (self.heads.bodies.can_be_read and is_asked_for_meaning(self.heads)):
            self.body = Body.UNREAD
        elif covers(encoding, legacy, new):
            self.body = Body.REPLAYED
        else:
            self.body = _BODIES[check_meaning(legacy, new).meaning]
            if self.body is Body.CHANGED:
                self.marks = self._marks(json_value.read(legacy), json_value.read(new))

    def _marks(self, legacy: object, new: object) -> Fingerprint:
        """Fold what differs between two values, but for what tolerances hide."""
        changes = changes_between(legacy, new).places
        if self.tolerances:
            rest = self.tolerances.sift(changes, legacy, new, now=self.pair.at, later=self._later)
            changes, self.sifted = rest.changes, rest.hits
        return fingerprint_of(changes)

    @property
    def _later(self) -> Later:
        return asked_later(self.pair.primary, self.pair.copy_after_us)

    @property
    def key(self) -> bytes:
        """Digest what pairs like this one share: statuses, heads, how the bodies differ and where, and their spelling.

        Shape: a digest, because a name or a media type may be as long as a body, and thousands of keys are remembered.
        """
        bodies = self.heads.bodies
        heads = tuple((difference.cause, difference.detail) for difference in self.heads.differences)
        spelling = 0
        if self.body in (Body.SPELLED, Body.CHANGED):
            spelling = _spelling_of(bodies.legacy) ^ _spelling_of(bodies.new)
        marks: Set[Any] = self.encoding if self.body is Body.REPLAYED else self.marks
        parts = repr((self.statuses, heads, self.body.value, sorted(marks), spelling))
        return hashlib.blake2b(parts.encode("utf-8", "backslashreplace"), digest_size=16).digest()

    @property
    def same_meaning(self) -> bool | None:
        """Say whether both bodies mean the same; ``None``: nobody can tell."""
        if self.body in (Body.UNREAD, Body.LIMIT):
            return None
        return self.body is not Body.CHANGED

    # ---- verdicts ----

    def quick_verdict(self) -> VerdictName | None:
        """Decide without an explanation; ``None``: only one can tell whether everything is excused."""
        is_replayed = self.body is Body.REPLAYED
        if self._is_excusable:
            if is_replayed or (self.body is Body.SAME and self.heads.differences):
                return "tolerated"
            if self.body is Body.SPELLED and self._is_all(COSMETIC):
                return "tolerated"
        if not self.tolerances:
            is_open = self._is_excusable and self.body in (Body.SPELLED, Body.LIMIT)
            if not is_open:
                return "divergent"
        elif is_replayed:
            everywhere = COSMETIC.intersection(self.tolerances.everywhere(self.pair.at))
            if not self.heads.differences and self._is_all(everywhere):
                return "tolerated"
            if not self._is_all(frozenset(filter(self.tolerances.may_hide, self.encoding))):
                return "divergent"
        return "undecided" if self.body is Body.LIMIT else None

    def replayed_hits(self) -> tuple[str, ...]:
        """Name the tolerances of what was replayed; all of them, as nobody knows which part this pair needed."""
        if self._is_excusable:
            return ()
        everywhere = self.tolerances.everywhere(self.pair.at)
        return tuple(sorted({everywhere[cause] for cause in self.encoding if cause in everywhere}))

    def _is_all(self, causes: Encoding) -> bool:
        """Say whether the bodies differ in nothing but these cosmetic causes."""
        return covers(causes, self.heads.bodies.legacy, self.heads.bodies.new)

    def is_hopeless(self, explanation: Explanation, decision: Decision) -> bool:
        """Say whether a pair differs where nothing could be excused, so that pairs like it are divergent too."""
        if self.body not in (Body.SPELLED, Body.CHANGED):
            return False
        left = (one for one, by in zip(explanation.differences, decision.by, strict=True) if not by)
        return any(not (self._is_excusable and _is_spelling(one)) and not self.tolerances.reach(one) for one in left)

    @property
    def _is_excusable(self) -> bool:
        """Say whether parity lets the spelling differ, and the heads do not say more than that."""
        is_unknown = not self.pair.whole and any(one.cause == "http.content_encoding" for one in self.heads.differences)
        return (
            self.policy.parity == "meaning"
            and self.heads.say_the_same
            and not is_unknown  # nobody has seen whether the bytes are what their coding says
            and Outcome.SNIFFED not in self.heads.bodies.outcomes
        )

    def explain(self) -> Explanation:
        """Say why the two answers differ: step d."""
        if self.body is Body.LIMIT and not self.pair.whole:
            body = _by_digest(self.pair)
        else:
            body = explain_bodies(self.heads, self.statuses)
        found = join(self.heads, body)
        return found if found.differences else unexplained(self)

    def decide(self, explanation: Explanation, quick: VerdictName | None) -> Decision:
        """Say what of an explanation is excused, and so the verdict, unless it was decided before."""
        bodies = self.heads.bodies
        now, later = self.pair.at, self._later
        hidden = self.tolerances.apply(explanation, bodies.legacy, bodies.new, now=now, later=later)
        verdict = quick
        if verdict is None:
            is_proven = explanation.proof is Proof.PROVEN and not explanation.omitted
            excused = self._is_excusable and is_proven
            if hidden.is_whole or (
                excused
                and all(
                    by or _is_spelling(difference)
                    for by, difference in zip(hidden.by, explanation.differences, strict=True)
                )
            ):
                verdict = "tolerated"
            else:
                verdict = "divergent"
                if any(cause.startswith("limit.") for cause in explanation.causes):
                    verdict = "undecided"
        return Decision(verdict=verdict, hits=hidden.hits, by=hidden.by)


_BODIES: Final = {
    Meaning.SAME: Body.SPELLED,
    Meaning.DIFFERENT: Body.CHANGED,
    Meaning.NOT_JSON: Body.UNREAD,
    Meaning.LIMIT: Body.LIMIT,
}

_SAID_ALIKE: Final = frozenset(("http.charset", "http.content_type", "http.content_encoding"))
"""Of heads that say the same, these name another spelling or another coding."""


def _is_spelling(difference: Difference) -> bool:
    return difference.cause in _SAID_ALIKE or CAUSES[difference.cause].severity is Severity.COSMETIC


def open_case(policy: Policy, pair: Pair, legacy: bytes, new: bytes) -> Case:
    """Take step a: compare the heads and undo the codings of the received bodies."""
    return Case(
        policy=policy,
        pair=pair,
        heads=compare_heads(
            statuses=(pair.legacy.status, pair.new.status),
            headers=(pair.legacy.headers, pair.new.headers),
            bodies=(legacy, new),
            watch=policy.watch,
        ),
        tolerances=tolerances_of(policy.tolerate),
    )


def unexplained(case: Case) -> Explanation:
    """Say that nobody looked, or that nobody found what the worker saw."""
    meaning = {True: Meaning.SAME, False: Meaning.DIFFERENT, None: Meaning.NOT_JSON}[case.same_meaning]
    return join(case.heads, Explanation(meaning=meaning, differences=(_NOBODY_KNOWS,), proof=Proof.NONE))


_NOBODY_KNOWS: Final = Difference(cause="unexplained", legacy_path=(), new_path=())


def _by_digest(pair: Pair) -> Explanation:
    """Say of two bodies that did not travel how large they are."""
    sizes = f"{pair.legacy.body_bytes} -> {pair.new.body_bytes} bytes, compared by digest"
    difference = Difference(cause="limit.size", legacy_path=(), new_path=(), detail=sizes)
    return Explanation(meaning=Meaning.LIMIT, differences=(difference,), proof=Proof.NONE)


# ---- spelling ------------------------------------------------------------------------------------------------------

_FEATURES: Final = (
    b'", "',
    b'": ',
    b"\n ",
    b"\\u00",
    b"\\u20",
    b"\\u",
    b"\\/",
    b".0",
    b"e-",
    b"e+",
    b"E",
    b"\xef\xbb\xbf",
)


def _spelling_of(body: bytes) -> int:
    """Say cheaply how a body is spelled, one bit per habit: a pair with another mixture is worth another look.

    Cost: about 2 microseconds for 1 KB.
    """
    bits = int(body.endswith(b"\n")) | int(body.isascii()) << 1 | int(begins_like_json(body)) << 2
    for place, feature in enumerate(_FEATURES, start=3):
        bits |= (feature in body) << place
    return bits
