"""Turn one route with its flag and hold into ready-made decisions.

Everything that does not depend on the request is decided here, once per
snapshot: a request then picks one of a few finished values and allocates
nothing. The picking is in :meth:`rules.snapshot.Snapshot.decide`.

Order of what rules a route: a hold, then ``gone``, then an override, then the stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from config.spec import RouteSpec
from rules.bucket import bucket_salt, sample_salt
from rules.flag import BUCKETS, DEFAULT_SAMPLE_BP, Flag, Hold, Side, Stage
from rules.sticky import Source, source_from

SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""RFC 9110 section 9.2.1."""

NO_ROUTE: Final = "-"
"""The metric label of what no route matched."""

NO_BUCKET: Final = -1
"""Stands where a bucket would, when none was needed."""

REASONS: Final = (
    "stage",
    "bucket",
    "no_key",
    "hold",
    "override",
    "undeclared",
    "gone",
    "ambiguous_target",
    "no_backend",
)
"""Every value of :attr:`Decision.reason`."""

COPYING_STAGES: Final = frozenset((Stage.SHADOW, Stage.CANARY, Stage.LIVE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Say what happens with one request; shared by all requests that are decided alike."""

    route: str = NO_ROUTE
    """Metric label; ``-`` when no route matched."""
    index: int = 0
    """Dense per snapshot: 0 is "no route", routes count from 1 in file order."""
    side: str = "none"
    """``legacy``, ``new``, ``undeclared``, or ``none``: answered by Matapalo itself."""
    backend: str | None = None
    """Who answers; ``None`` exactly when ``status`` is not 0."""
    copy_side: str | None = None
    """Where a copy would go; set whenever ``eligible``, sampled or not."""
    copy_backend: str | None = None
    eligible: bool = False
    """A safe or declared-read method, on a route that copies in this stage."""
    sampled: bool = False
    """The draw fell below the sample: send the copy, unless ``skip`` says why not."""
    skip: str = ""
    """``off``: copying is switched off; set whenever ``eligible``, sampled or not."""
    status: int = 0
    """0: forward. Else answer it: 400 ambiguous target, 404 undeclared, 410 gone, 503 no backend."""
    reason: str
    """Why, one of :data:`REASONS`."""
    issue_cookie: bool = False
    """Set the cookie ``matapalo_client`` to the request id, which was the key of this decision."""
    fallback_backend: str | None = None
    """Legacy's backend where a failure of new may fall back to it (canary only)."""
    spec: RouteSpec | None = None
    ambiguous: bool = False
    """The target has readings that other backends would answer (``strict: report`` forwards it anyway)."""


Outcome = tuple[Decision, int]
"""A decision and its bucket, -1 when none was needed."""

Choice = tuple[Decision, Decision, Decision]
"""One answer, as three decisions: nothing to copy, eligible but unsampled, sampled."""

FixedChoice = tuple[Outcome, Outcome, Outcome]
"""The same where no bucket is involved: even the pair is ready made."""


class Ambiguity(Enum):
    """Be the type of :data:`AMBIGUOUS`."""

    AMBIGUOUS = "ambiguous"


AMBIGUOUS: Final = Ambiguity.AMBIGUOUS
"""Stands where a route would: the target has readings with different answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Hold what a canary route needs to place a client."""

    sources: tuple[Source, ...]
    salt: bytes
    threshold: int
    """The first bucket of new."""
    new: Choice
    legacy: Choice
    no_key: Choice
    issued: tuple[Choice, Choice] | None
    """Legacy's and new's choice when the cookie is issued; ``None``: the route does not ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Hold one route as its requests need it: policy, flag, hold and finished decisions."""

    name: str
    index: int
    spec: RouteSpec
    flag: Flag
    hold: Hold | None
    """The hold that is in force; ``None`` also where ``legacy: none`` makes it void."""
    copying: bool
    """Nobody has switched its copies off."""
    answers: frozenset[tuple[int, str | None]]
    """Every (status, backend) that may answer without an override; decides whether readings differ."""
    copied_methods: frozenset[bytes]
    """Methods that are eligible for a copy now; empty: nothing is."""
    sample_bp: int
    sample_salt: bytes
    fixed: FixedChoice | None
    """What every request gets; ``None``: a canary, see ``canary``."""
    canary: Canary | None
    override_legacy: FixedChoice | None
    """``None``: no override is heard, because none is configured or the route is held or gone."""
    override_new: FixedChoice | None


def compile_route(
    spec: RouteSpec,
    flag: Flag,
    hold: Hold | None = None,
    *,
    index: int = 1,
    copying: bool = True,
    overrides: bool = True,
) -> Route:
    """Decide everything about a route that no request can change.

    Shape: ``overrides`` says whether the configuration has an override header at all.
    Raises: StickyError for an unknown sticky key.
    """
    if hold is not None and spec.legacy is None:
        hold = None
    stage = _effective_stage(flag, hold)
    copied = _copied_methods(spec, stage)
    maker = _Maker(spec=spec, index=index, skip="" if copying else "off", copies=bool(copied))
    fixed: FixedChoice | None = None
    canary: Canary | None = None
    if stage is Stage.GONE:
        fixed = _fixed((maker.refusal(410, "gone"),) * 3)
    elif stage is Stage.CANARY:
        canary = _canary(maker, flag)
    else:
        side = Side.NEW if stage in (Stage.LIVE, Stage.COMPLETE) else Side.LEGACY
        fixed = _fixed(maker.choice(side, "hold" if hold else "stage"))
    overridable = overrides and hold is None and stage is not Stage.GONE
    return Route(
        name=spec.name,
        index=index,
        spec=spec,
        flag=flag,
        hold=hold,
        copying=copying,
        answers=_answers(fixed, canary),
        copied_methods=copied,
        sample_bp=_sample_bp(flag, hold),
        sample_salt=sample_salt(flag.salt),
        fixed=fixed,
        canary=canary,
        override_legacy=_fixed(maker.choice(Side.LEGACY, "override")) if overridable else None,
        override_new=_fixed(maker.choice(Side.NEW, "override")) if overridable else None,
    )


def _effective_stage(flag: Flag, hold: Hold | None) -> Stage:
    """Say which stage a route behaves as: a held one as ``legacy``, or ``shadow`` if it keeps copying.

    A route that copied nothing to new before the hold has nothing to keep.
    """
    if hold is None:
        return flag.stage
    keeps = hold.keep_copying and flag.stage not in (Stage.LEGACY, Stage.GONE)
    return Stage.SHADOW if keeps else Stage.LEGACY


def _sample_bp(flag: Flag, hold: Hold | None) -> int:
    """Say which share is copied: under a hold that of stage shadow, because live's guards the other side."""
    if hold is not None and flag.stage not in (Stage.SHADOW, Stage.CANARY):
        return DEFAULT_SAMPLE_BP[Stage.SHADOW]
    return flag.sample_bp


def _copied_methods(spec: RouteSpec, stage: Stage) -> frozenset[bytes]:
    if stage not in COPYING_STAGES or spec.shadow.mode == "never" or spec.legacy is None or spec.new is None:
        return frozenset()
    return SAFE_METHODS | {method.encode() for method in spec.shadow.reads}


def _fixed(choice: Choice) -> FixedChoice:
    uncopied, unsampled, sampled = choice
    return (uncopied, NO_BUCKET), (unsampled, NO_BUCKET), (sampled, NO_BUCKET)


def _answers(fixed: FixedChoice | None, canary: Canary | None) -> frozenset[tuple[int, str | None]]:
    decisions = [fixed[0][0]] if fixed else []
    if canary is not None:
        # Without any client on new there is one answer; with all of them, those without a key stay on legacy.
        decisions += [canary.legacy[0]] if canary.threshold >= BUCKETS else [canary.legacy[0], canary.new[0]]
    return frozenset((decision.status, decision.backend) for decision in decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Make the decisions of one route."""

    spec: RouteSpec
    index: int
    skip: str
    copies: bool

    def refusal(self, status: int, reason: str) -> Decision:
        """Make the decision that Matapalo answers itself."""
        return Decision(route=self.spec.name, index=self.index, status=status, reason=reason, spec=self.spec)

    def choice(self, side: Side, reason: str, *, issue: bool = False, fallback: str | None = None) -> Choice:
        """Make the three decisions for one answering side."""
        backend, other, other_backend = self.spec.legacy, Side.NEW, self.spec.new
        if side is Side.NEW:
            backend, other, other_backend = other_backend, Side.LEGACY, backend
        if backend is None:
            return (self.refusal(503, "no_backend"),) * 3

        def decision(*, eligible: bool, sampled: bool) -> Decision:
            return Decision(
                route=self.spec.name,
                index=self.index,
                side=side.value,
                backend=backend,
                copy_side=other.value if eligible else None,
                copy_backend=other_backend if eligible else None,
                eligible=eligible,
                sampled=sampled,
                skip=self.skip if eligible else "",
                reason=reason,
                issue_cookie=issue,
                fallback_backend=fallback,
                spec=self.spec,
            )

        uncopied = decision(eligible=False, sampled=False)
        if not self.copies:
            return uncopied, uncopied, uncopied
        return uncopied, decision(eligible=True, sampled=False), decision(eligible=True, sampled=True)


def _canary(maker: _Maker, flag: Flag) -> Canary:
    spec = maker.spec
    falls = spec.fallback
    fallback = spec.legacy if falls.connect or falls.timeout or falls.statuses else None
    issues = "issued_cookie" in spec.sticky
    return Canary(
        sources=tuple(map(source_from, spec.sticky)),
        salt=bucket_salt(flag.salt),
        threshold=BUCKETS - flag.percent_bp,
        new=maker.choice(Side.NEW, "bucket", fallback=fallback),
        legacy=maker.choice(Side.LEGACY, "bucket"),
        no_key=maker.choice(Side.LEGACY, "no_key"),
        issued=(
            maker.choice(Side.LEGACY, "bucket", issue=True),
            maker.choice(Side.NEW, "bucket", issue=True, fallback=fallback),
        )
        if issues
        else None,
    )
