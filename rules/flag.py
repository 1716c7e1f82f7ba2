"""The run-time state of a route: its stage, its shares, its salt and its hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

BUCKETS = 10_000
"""Buckets per route; one bucket is one basis point (docs/decisions/0004-buckets.md)."""


class Side(str, Enum):
    """Name the role of a backend on a route."""

    LEGACY = "legacy"
    NEW = "new"


class Stage(str, Enum):
    """Name where a route stands on its way from legacy to new (docs/glossary.md)."""

    LEGACY = "legacy"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    COMPLETE = "complete"
    GONE = "gone"


DEFAULT_SAMPLE_BP = {
    Stage.LEGACY: 0,
    Stage.SHADOW: BUCKETS,
    Stage.CANARY: BUCKETS,
    Stage.LIVE: 100,
    Stage.COMPLETE: 0,
    Stage.GONE: 0,
}
"""The sample a stage starts with when a flip names none."""


FOR_EVERYBODY = (Stage.COMPLETE, Stage.GONE)
"""Stages in which legacy is never asked, or nobody is answered: no cohort can have it otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortFlag:
    """Hold the stage that one cohort has on a route, whatever everybody else gets."""

    stage: Stage
    """``legacy``, ``shadow``, ``canary`` or ``live``: ``complete`` and ``gone`` are for everybody."""
    percent_bp: int = 0
    """Share of the cohort's buckets that ``new`` answers in ``canary``; ignored elsewhere."""
    sample_bp: int = 0
    """Share of the cohort's eligible requests that are copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Hold everything that a flip may change about one route."""

    stage: Stage
    percent_bp: int = 0
    """Share of the buckets that ``new`` answers in ``canary``; ignored elsewhere."""
    sample_bp: int = 0
    """Share of the eligible requests that are copied."""
    salt: str
    """Fixed when the route is created: its journey, else its name."""
    cohorts: Mapping[str, CohortFlag] = field(default_factory=dict)
    """By cohort, those with a stage of their own; empty: everybody gets the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Send a route to legacy whatever its flag says, until released."""

    route: str
    keep_copying: bool = False
    """``rollback --to shadow``: legacy answers, new still gets its copy."""
    reason: str = ""
    actor: str = ""
    at: str = ""
    """RFC 3339 in UTC."""


def flag_as_json(flag: Flag) -> dict[str, object]:
    """Show a flag as the admin API and the audit do: shares in percent."""
    return {
        "stage": flag.stage.value,
        "percent": flag.percent_bp / 100,
        "sample": flag.sample_bp / 100,
        "salt": flag.salt,
        "cohorts": {
            name: {"stage": own.stage.value, "percent": own.percent_bp / 100, "sample": own.sample_bp / 100}
            for name, own in flag.cohorts.items()
        },
    }


def flag_from_json(shown: Mapping[str, Any]) -> Flag:
    """Read back what :func:`flag_as_json` wrote, in this version or in one without cohorts."""
    return Flag(
        stage=Stage(shown["stage"]),
        percent_bp=round(shown["percent"] * 100),
        sample_bp=round(shown["sample"] * 100),
        salt=shown["salt"],
        cohorts=cohorts_from_json(shown.get("cohorts", {})),
    )


def cohorts_from_json(shown: Mapping[str, Any]) -> dict[str, CohortFlag]:
    """Read back the part of a flag's object that is about cohorts."""
    return {
        name: CohortFlag(
            stage=Stage(own["stage"]), percent_bp=round(own["percent"] * 100), sample_bp=round(own["sample"] * 100)
        )
        for name, own in shown.items()
    }
