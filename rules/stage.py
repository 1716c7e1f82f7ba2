"""The stage machine: which flips make sense, and what a flag looks like afterwards.

Everything here is arithmetic on flags. Whether the evidence allows a flip is the
gate's question, and whether legacy is quiet enough for ``complete`` is the
ledger's; neither is asked here. tests/rules/test_stage_table.py holds the whole
machine, stage by event.

Rules of this file:

1. Only rollbacks, ``complete`` and ``gone`` speak for everybody: they end the stages that cohorts have of their own.
   Any other flip of the route leaves those alone, as a flip of a cohort leaves the route's.
2. A cohort is not gated: it is few people, named in the configuration, who know what they try. So only the route's
   own share counts in :func:`raises_new_share`, but for a cohort that is everybody by its addresses.
3. A canary of 100 % is less than live: it leaves clients without a key on legacy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from config.errors import MatapaloError
from config.spec import RouteSpec
from rules.flag import BUCKETS, DEFAULT_SAMPLE_BP, FOR_EVERYBODY, CohortFlag, Flag, Stage

BORN_WITHOUT_LEGACY: Final = (Stage.LIVE, Stage.GONE)
"""The stages of a route with ``legacy: none``."""

POSSIBLE_WITHOUT_NEW: Final = (Stage.LEGACY, Stage.GONE)
"""The stages of a route that has no new side yet."""

NO_STAGE: Final = "none"
"""In place of a stage, for a cohort: it has none of its own any more and gets what everybody gets."""

_COPYING: Final = (Stage.SHADOW, Stage.CANARY, Stage.LIVE)


class FlipError(MatapaloError, ValueError):
    """A flip makes no sense; the sentence names the route, what was expected and the next step."""

    def __init__(self, sentence: str, where: str = "") -> None:
        super().__init__(sentence)
        self.where = where
        """Which part of what was asked is wrong in itself (``stage``, ``percent``, ``sample``); empty: none is, but
        the route as it stands cannot follow."""

    def __reduce__(self) -> tuple[type[FlipError], tuple[str, str]]:
        """Pickle by the parts that the constructor takes."""
        return type(self), (str(self), self.where)


def initial_flag(route: RouteSpec) -> Flag:
    """Give the flag that a route is born with.

    Shape: a route with ``legacy: none`` is born live and copies nothing, whatever it asks for.
    """
    stage = Stage(route.initial_stage)
    if route.legacy is None and stage not in BORN_WITHOUT_LEGACY:
        stage = Stage.LIVE
    sample_bp = DEFAULT_SAMPLE_BP[stage] if route.shadow.sample_bp is None else route.shadow.sample_bp
    return Flag(
        stage=stage,
        percent_bp=route.initial_percent_bp if stage is Stage.CANARY else 0,
        sample_bp=sample_bp if stage in _COPYING and route.legacy is not None else 0,
        salt=route.journey or route.name,
        cohorts={} if stage in FOR_EVERYBODY else initial_cohorts(route),
    )


def initial_cohorts(route: RouteSpec) -> dict[str, CohortFlag]:
    """Give the stages that cohorts are born with on a route, by cohort."""
    flags = {}
    for cohort in route.cohorts:
        stage = Stage(cohort.stage)
        sample_bp = DEFAULT_SAMPLE_BP[stage] if cohort.sample_bp is None else cohort.sample_bp
        flags[cohort.name] = CohortFlag(stage=stage, percent_bp=cohort.percent_bp, sample_bp=sample_bp)
    return flags


def new_share_bp(flag: Flag | CohortFlag) -> int:
    """Say which share of the clients new answers."""
    if flag.stage is Stage.CANARY:
        return flag.percent_bp
    return BUCKETS if flag.stage in (Stage.LIVE, Stage.COMPLETE) else 0


def raises_new_share(before: Flag, after: Flag, everybody: Collection[str] = ()) -> bool:
    """Say whether a flip needs a gate: only giving new more clients does.

    Shape: *everybody* names the cohorts that are no few people but all clients, in the order of the configuration.
    """
    return _reached(after, everybody) > _reached(before, everybody)


def _reached(flag: Flag, everybody: Collection[str]) -> tuple[int, bool]:
    """Say which share of the clients new answers, and whether also those that have no key."""
    ruling = next((flag.cohorts[name] for name in everybody if name in flag.cohorts), flag)
    return new_share_bp(ruling), ruling.stage in (Stage.LIVE, Stage.COMPLETE)


def is_possible(route: RouteSpec, stage: Stage) -> bool:
    """Say whether a route has the sides that *stage* needs."""
    if route.legacy is None and stage not in BORN_WITHOUT_LEGACY:
        return False
    return route.new is not None or stage in POSSIBLE_WITHOUT_NEW


def can_carry(route: RouteSpec, flag: Flag) -> bool:
    """Say whether a route has the sides that every stage of a flag needs, those of its cohorts too."""
    return all(is_possible(route, stage) for stage in stages_of(flag))


def is_beyond_legacy(flag: Flag) -> bool:
    """Say whether anybody may get anything but legacy's answers, uncopied."""
    return stages_of(flag) != {Stage.LEGACY}


def stages_of(flag: Flag) -> set[Stage]:
    """Name the stages that clients of a route may meet: everybody's, and those of cohorts."""
    return {flag.stage, *(own.stage for own in flag.cohorts.values())}


def plan_flip(
    route: RouteSpec,
    flag: Flag,
    *,
    stage: str,
    percent_bp: int | None = None,
    sample_bp: int | None = None,
    cohort: str | None = None,
) -> Flag:
    """Give the flag after one flip of a route that belongs to no journey.

    Shape: a canary that stays one keeps its percent unless told; the sample is the target stage's default
    unless told; the salt never changes. With a *cohort* it is that one's stage that flips, or ends with ``none``.
    Raises: FlipError saying why it cannot be, and what to do instead.
    """
    if route.journey is not None:
        raise FlipError(
            f"route {route.name!r} belongs to the journey {route.journey!r}, whose routes flip together; "
            f"expected the whole journey: flip --journey {route.journey} {stage}"
        )
    return _planned(route, flag, stage, percent_bp, sample_bp, cohort)


def plan_journey(
    journey: str,
    routes: Iterable[RouteSpec],
    flags: Mapping[str, Flag],
    *,
    stage: str,
    percent_bp: int | None = None,
    sample_bp: int | None = None,
    cohort: str | None = None,
) -> dict[str, Flag]:
    """Give the flags of every route of one journey after they flip together.

    Shape: ``routes`` are all routes of the configuration; a route without a flag starts from its initial one.
    Raises: FlipError for an unknown journey, or the first route that cannot follow: then none flips.
    """
    routes = tuple(routes)
    members = [route for route in routes if route.journey == journey]
    if not members:
        known = sorted({route.journey for route in routes if route.journey is not None})
        raise FlipError(f"journey {journey!r} has no routes; known journeys: {', '.join(known) or 'none'}")
    return {
        route.name: _planned(route, flags.get(route.name) or initial_flag(route), stage, percent_bp, sample_bp, cohort)
        for route in members
    }


def plan_rollback(route: RouteSpec, flag: Flag, *, stage: str = Stage.LEGACY.value) -> Flag:
    """Give the flag after a route was taken back to ``legacy``, or to ``shadow`` to keep evidence coming.

    Shape: single routes of a journey too, because a rollback must never wait for others. Cohorts go back with
    everybody else.
    Raises: FlipError where there is no legacy to go back to.
    """
    target = stage_from(stage)
    if target not in (Stage.LEGACY, Stage.SHADOW):
        raise FlipError(f"a rollback of route {route.name!r} to {stage!r} is not one; expected legacy or shadow")
    if target is Stage.SHADOW and route.new is None:
        target = Stage.LEGACY
    return replace(_plan(route, flag, target, None, None), cohorts={})


def stage_from(text: str) -> Stage:
    """Read the name of a stage.

    Raises: FlipError listing the stages.
    """
    try:
        return Stage(text)
    except ValueError:
        names = ", ".join(stage.value for stage in Stage)
        raise FlipError(f"stage {str(text)!r} does not exist; expected one of {names}", "stage") from None


def _planned(
    route: RouteSpec, flag: Flag, stage: str, percent_bp: int | None, sample_bp: int | None, cohort: str | None
) -> Flag:
    if cohort is None:
        return _plan(route, flag, stage_from(stage), percent_bp, sample_bp)
    if stage != NO_STAGE:
        own = _plan_cohort(route, flag, cohort, stage_from(stage), percent_bp, sample_bp)
        return replace(flag, cohorts={**flag.cohorts, cohort: own})
    return replace(flag, cohorts={name: own for name, own in flag.cohorts.items() if name != cohort})


def _plan(route: RouteSpec, flag: Flag, stage: Stage, percent_bp: int | None, sample_bp: int | None) -> Flag:
    _check_sides(route, stage)
    return replace(
        flag,
        stage=stage,
        percent_bp=_percent(route, flag, stage, percent_bp),
        sample_bp=_sample(route, stage, sample_bp),
        cohorts={} if stage in FOR_EVERYBODY else flag.cohorts,
    )


def _plan_cohort(
    route: RouteSpec, flag: Flag, cohort: str, stage: Stage, percent_bp: int | None, sample_bp: int | None
) -> CohortFlag:
    if stage in FOR_EVERYBODY:
        raise FlipError(
            f"stage {stage.value!r} is for everybody, so cohort {cohort!r} of route {route.name!r} cannot have it "
            "alone; expected legacy, shadow, canary or live, or none to end its own stage"
        )
    if flag.stage in FOR_EVERYBODY:
        raise FlipError(
            f"route {route.name!r} is {flag.stage.value!r}, which is for everybody, so cohort {cohort!r} cannot have "
            "a stage of its own; flip the route to another stage first"
        )
    if route.legacy is None:
        raise FlipError(
            f"route {route.name!r} has no legacy side (legacy: none), so cohort {cohort!r} has no other stage to be in"
        )
    _check_sides(route, stage)
    own = flag.cohorts.get(cohort)
    return CohortFlag(
        stage=stage,
        percent_bp=_percent(route, own, stage, percent_bp),
        sample_bp=_sample(route, stage, sample_bp),
    )


def _check_sides(route: RouteSpec, stage: Stage) -> None:
    if is_possible(route, stage):
        return
    if route.legacy is None:
        raise FlipError(
            f"route {route.name!r} has no legacy side (legacy: none), so it cannot be {stage.value!r}; "
            "expected live or gone, or a legacy backend in the configuration"
        )
    raise FlipError(
        f"route {route.name!r} has no new side yet, so it cannot be {stage.value!r}; "
        "name its backend as `new:` in the configuration first (until then: legacy or gone)"
    )


def _percent(route: RouteSpec, flag: Flag | CohortFlag | None, stage: Stage, percent_bp: int | None) -> int:
    if stage is not Stage.CANARY:
        if percent_bp is not None:
            raise FlipError(
                f"stage {stage.value!r} of route {route.name!r} takes no percent; leave it out, or flip to canary",
                "percent",
            )
        return 0
    if percent_bp is None:
        if flag is not None and flag.stage is Stage.CANARY:
            return flag.percent_bp
        raise FlipError(
            f"route {route.name!r} becomes a canary and needs the percent of clients that new answers, "
            "for example --percent 5",
            "percent",
        )
    return _share("percent", route, percent_bp)


def _sample(route: RouteSpec, stage: Stage, sample_bp: int | None) -> int:
    if sample_bp is None:
        return DEFAULT_SAMPLE_BP[stage] if route.legacy is not None else 0
    if _share("sample", route, sample_bp) and (stage not in _COPYING or route.legacy is None):
        why = f"stage {stage.value!r}" if stage not in _COPYING else "a route with legacy: none"
        raise FlipError(f"{why} copies nothing, so route {route.name!r} takes no sample; leave it out", "sample")
    return sample_bp


def _share(what: str, route: RouteSpec, share_bp: int) -> int:
    if not 0 <= share_bp <= BUCKETS:
        raise FlipError(
            f"{what} {share_bp / 100:g} of route {route.name!r} is no share; expected 0 to 100, for example 12.5",
            what,
        )
    return share_bp
