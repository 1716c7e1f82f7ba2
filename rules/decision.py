"""Turn one route with its flag and hold into ready-made decisions.

Everything that does not depend on the request is decided here, once per
snapshot: a request then picks one of a few finished values and allocates
nothing. The picking is in :meth:`rules.snapshot.Snapshot.decide`. What is the
same for several routes is one object for all of them: with hundreds of routes
it is memory that a request waits for, and what every request reads stays near.

Order of what rules a request: a hold, then ``gone`` and ``complete``, then an override, a pin, a cohort, the stage.
A pin keeps a client on a side that its stage knows, so whose stage it is (everybody's or a cohort's) is found first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from math import inf
from types import MappingProxyType
from typing import Final

from config.spec import RouteSpec
from rules.bucket import bucket_salt, sample_salt
from rules.cohort import Clues, Cohort, clues_of
from rules.flag import BUCKETS, DEFAULT_SAMPLE_BP, FOR_EVERYBODY, Flag, Hold, Side, Stage
from rules.pin import Pin, ended_after, pin_of
from rules.sticky import MAX_SHARED, Fields, Source, header_from, sources_from

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
    "pin",
    "cohort",
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
    cohort: str = ""
    """The cohort whose own stage decided; empty: what everybody gets, or nobody asked."""
    issue_pin: Pin | None = None
    """Once this write is answered, pin the client to the side that answered it (canary only)."""
    shows_pins: bool = False
    """The request carries pins, and its route pins: they are taken out of what backends get."""
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
    """Hold what a canary route needs to place a client; first what every request reads, to lie close together."""

    reads: frozenset[bytes] | None
    """Methods that follow a pin, all others set one; ``None``: the route does not pin."""
    header: bytes
    """The header that is asked first; empty: there is none."""
    salt: bytes
    threshold: int
    """The first bucket of new."""
    legacy: Choice
    new: Choice
    no_key: Choice
    sources: tuple[Source, ...]
    """All that are asked, that header among them."""
    issued: tuple[Choice, Choice] | None
    """Legacy's and new's choice when the cookie is issued; ``None``: the route does not ask for it."""
    pinned: Mapping[Side, Choice]
    """What a pinned client's reads get; a side that is missing here is never kept."""
    writing: Canary | None = None
    """What writes get instead, where their answers pin; ``None``: the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Hold one route as its requests need it: policy, flag, hold and finished decisions.

    Order: first what every request reads, to lie close together. None of it but ``fixed`` and ``canary`` leads to an
    object of this route alone: with hundreds of routes those must be fetched, also to learn that they are there.
    """

    pins: bool
    """There is a ``pin``."""
    clues: Clues | None = None
    """What all who belong to one of the ``audiences`` show; ``None``: there are none."""
    fixed: FixedChoice | None
    """What every request gets; ``None``: it depends on the client, see ``audiences``, else ``canary``."""
    canary: Canary | None
    copied_methods: frozenset[bytes]
    """Methods that are eligible for a copy now; empty: nothing is."""
    sample_bp: int
    sample_salt: bytes
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
    override_legacy: FixedChoice | None
    """``None``: no override is heard: none is configured, or the route is held, gone or complete."""
    override_new: FixedChoice | None
    pin: Pin | None = None
    """How the route pins, in whatever stage it is; ``None``: it does not."""
    cohort: str = ""
    """Whose route this is, as one of the ``audiences`` of another; empty: everybody's."""
    audiences: tuple[tuple[Cohort, Route], ...] = ()
    """Cohorts with a stage of their own here, and what they get instead: the first that takes the request."""

    def audience(self, fields: Fields, client_ip: str) -> Route:
        """Give the route of the cohort that a request belongs to; this one where no cohort has a stage of its own."""
        for cohort, route in self.audiences:
            if cohort.takes(fields, client_ip):
                return route
        return self


def at_no_time() -> float:
    """Be the clock of a snapshot that decides for nobody: whatever ends has ended."""
    return inf


def compile_route(
    spec: RouteSpec,
    flag: Flag,
    hold: Hold | None = None,
    *,
    index: int = 1,
    copying: bool = True,
    overrides: bool = True,
    cohorts: Mapping[str, Cohort] = MappingProxyType({}),
    pin_keys: tuple[bytes, ...] = (),
    before: Route | None = None,
    clock: Callable[[], float] = at_no_time,
) -> Route:
    """Decide everything about a route that no request can change.

    Shape: ``overrides`` says whether the configuration has an override header at all; ``cohorts`` are its cohorts, in
    their order. A cohort of the flag that is not among them is ignored: it may belong to another configuration.
    *before* is the route as it was until now, whose pins may end.
    Raises: StickyError for an unknown sticky key.
    """
    if hold is not None and spec.legacy is None:
        hold = None
    pin = None
    if spec.pin_ns is not None and pin_keys:
        known = before.pin.ended if before is not None and before.pin is not None else {}
        stood = None if before is None else (before.flag, before.hold)
        ended = ended_after(known, stood, (flag, hold), clock())
        pin = pin_of(flag.salt, spec.pin_ns, pin_keys, ended)
    stage = effective_stage(flag, hold)
    route = _compile(spec, flag, hold, stage, index=index, copying=copying, overrides=overrides, pin=pin)
    if hold is not None or stage in FOR_EVERYBODY:
        return route
    audiences = tuple(
        (cohort, _cohort_route(route, name, pin)) for name, cohort in cohorts.items() if name in flag.cohorts
    )
    if not audiences:
        return route
    answers = route.answers.union(*(one.answers for _, one in audiences))
    clues = clues_of(tuple(cohort for cohort, _ in audiences))
    return replace(route, answers=answers, audiences=audiences, clues=clues)


def _cohort_route(route: Route, name: str, pin: Pin | None) -> Route:
    """Compile what one cohort gets: the same route, as if the cohort's stage were everybody's."""
    own = route.flag.cohorts[name]
    flag = Flag(stage=own.stage, percent_bp=own.percent_bp, sample_bp=own.sample_bp, salt=route.flag.salt)
    return _compile(
        route.spec,
        flag,
        None,
        own.stage,
        index=route.index,
        copying=route.copying,
        overrides=False,
        pin=pin,
        cohort=name,
    )


def _compile(
    spec: RouteSpec,
    flag: Flag,
    hold: Hold | None,
    stage: Stage,
    *,
    index: int,
    copying: bool,
    overrides: bool,
    pin: Pin | None,
    cohort: str = "",
) -> Route:
    """Compile a route for one audience."""
    copied = _copied_methods(spec, stage)
    maker = _Maker(spec=spec, index=index, skip="" if copying else "off", copies=bool(copied), cohort=cohort)
    fixed: FixedChoice | None = None
    canary: Canary | None = None
    if stage is Stage.GONE:
        fixed = _fixed((maker.refusal(410, "gone"),) * 3)
    elif stage is Stage.CANARY:
        canary = _canary(maker, flag, pin)
    elif stage is Stage.LIVE and pin is not None and spec.legacy is not None:
        canary = _live_with_pins(maker, flag)
    else:
        side = Side.NEW if stage in (Stage.LIVE, Stage.COMPLETE) else Side.LEGACY
        fixed = _fixed(maker.choice(side, "hold" if hold else maker.stage_reason))
    overridable = overrides and hold is None and stage not in FOR_EVERYBODY
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
        pin=pin,
        pins=pin is not None,
        cohort=cohort,
    )


def effective_stage(flag: Flag, hold: Hold | None) -> Stage:
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
    return _reads(spec)


def _reads(spec: RouteSpec) -> frozenset[bytes]:
    """Name the methods that change nothing on a route: the safe ones, and those that it declares."""
    if not spec.shadow.reads:
        return SAFE_METHODS
    return SAFE_METHODS | {method.encode() for method in spec.shadow.reads}


def _fixed(choice: Choice) -> FixedChoice:
    uncopied, unsampled, sampled = choice
    return (uncopied, NO_BUCKET), (unsampled, NO_BUCKET), (sampled, NO_BUCKET)


def _answers(fixed: FixedChoice | None, canary: Canary | None) -> frozenset[tuple[int, str | None]]:
    decisions = [fixed[0][0]] if fixed else []
    if canary is not None:
        # Without any client on new there is one answer; with all of them, those without a key stay on legacy.
        decisions += [canary.no_key[0]] if canary.threshold >= BUCKETS else [canary.no_key[0], canary.new[0]]
        decisions += [choice[0] for choice in canary.pinned.values()]
    return frozenset((decision.status, decision.backend) for decision in decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Make the decisions of one route."""

    spec: RouteSpec
    index: int
    skip: str
    copies: bool
    cohort: str

    @property
    def stage_reason(self) -> str:
        """Say which rule it is that a stage decides."""
        return "cohort" if self.cohort else "stage"

    def refusal(self, status: int, reason: str) -> Decision:
        """Make the decision that Matapalo answers itself."""
        return Decision(route=self.spec.name, index=self.index, status=status, reason=reason, spec=self.spec)

    def choice(
        self, side: Side, reason: str, *, issue: bool = False, fallback: str | None = None, pin: Pin | None = None
    ) -> Choice:
        """Make the three decisions for one answering side; *pin*: its answer pins the client."""
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
                cohort=self.cohort,
                issue_pin=pin,
                spec=self.spec,
            )

        uncopied = decision(eligible=False, sampled=False)
        if not self.copies:
            return uncopied, uncopied, uncopied
        return uncopied, decision(eligible=True, sampled=False), decision(eligible=True, sampled=True)


def _canary(maker: _Maker, flag: Flag, pin: Pin | None) -> Canary:
    spec = maker.spec
    falls = spec.fallback
    fallback = spec.legacy if falls.connect or falls.timeout or falls.statuses else None
    issues = "issued_cookie" in spec.sticky
    sources = sources_from(spec.sticky)
    reads = None if pin is None else _reads(spec)

    def canary(pinned: Mapping[Side, Choice], pin: Pin | None, writing: Canary | None = None) -> Canary:
        return Canary(
            header=header_from(spec.sticky),
            sources=sources,
            salt=bucket_salt(flag.salt),
            threshold=_threshold(flag.percent_bp),
            new=maker.choice(Side.NEW, "bucket", fallback=fallback, pin=pin),
            legacy=maker.choice(Side.LEGACY, "bucket", pin=pin),
            no_key=maker.choice(Side.LEGACY, "no_key", pin=pin),
            issued=(
                maker.choice(Side.LEGACY, "bucket", issue=True, pin=pin),
                maker.choice(Side.NEW, "bucket", issue=True, fallback=fallback, pin=pin),
            )
            if issues
            else None,
            pinned=pinned,
            reads=reads,
            writing=writing,
        )

    if pin is None:
        return canary({}, None)
    # Nobody is to be on new any more: that is a rollback, and takes the pinned ones along.
    kept = (Side.LEGACY, Side.NEW) if flag.percent_bp else (Side.LEGACY,)
    return canary(_pinned(maker, kept, fallback), None, writing=canary({}, pin))


@lru_cache(maxsize=MAX_SHARED)
def _threshold(percent_bp: int) -> int:
    """Give the first bucket of new; one object for all routes with the same share."""
    return BUCKETS - percent_bp


def _live_with_pins(maker: _Maker, flag: Flag) -> Canary:
    """Make of a live route a canary that places everybody on new, key or not, but hears who is pinned to legacy."""
    new = maker.choice(Side.NEW, maker.stage_reason)
    return Canary(
        header=b"",
        sources=(),
        salt=bucket_salt(flag.salt),
        threshold=0,
        new=new,
        legacy=new,
        no_key=new,
        issued=None,
        pinned=_pinned(maker, (Side.LEGACY,), None),
        reads=_reads(maker.spec),
    )


def _pinned(maker: _Maker, sides: Iterable[Side], fallback: str | None) -> dict[Side, Choice]:
    """Make the choices of pinned reads; new's may fall back as any other."""
    return {side: maker.choice(side, "pin", fallback=fallback if side is Side.NEW else None) for side in sides}
