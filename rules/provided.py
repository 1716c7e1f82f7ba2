"""Read a flag out of what a provider of flags says: a stage, or a stage with its shares, taken whole or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from config.errors import UnfitError
from config.spec import RouteSpec
from config.units import percent_bp
from rules.flag import Flag, Stage
from rules.stage import FlipError, initial_flag, plan_flip, stage_from

EXPECTED: Final = (
    'a stage such as "shadow", "canary 5" for 5 % of the clients, or {"stage": "canary", "percent": 5, "sample": 10}'
)

_KNOWN: Final = ("stage", "percent", "sample")


def flags_from_value(routes: Sequence[RouteSpec], flags: Mapping[str, Flag], value: object) -> dict[str, Flag]:
    """Give the flags that one value asks for, for a route or for all routes of a journey.

    Shape: a missing sample is the route's own, else the stage's default; the salt never changes.
    Raises: FlipError saying what was found and what is expected; nothing of such a value is taken.
    """
    stage, percent, sample = _parts(value)
    planned = {}
    for route in routes:
        own = sample if sample is not None else _own_sample(route, stage)
        # Alone: whoever asks here speaks for the whole journey.
        alone = replace(route, journey=None)
        flag = flags.get(route.name) or initial_flag(route)
        planned[route.name] = plan_flip(alone, flag, stage=stage.value, percent_bp=percent, sample_bp=own)
    return planned


def _parts(value: object) -> tuple[Stage, int | None, int | None]:
    """Take a value apart.

    Raises: FlipError.
    """
    if isinstance(value, str):
        words = value.split()
        if not 1 <= len(words) <= 2:
            raise FlipError(f"found {value[:100]!r}, expected {EXPECTED}")
        shares: dict[str, object] = dict(zip(("stage", "percent"), words, strict=False))
    elif isinstance(value, Mapping) and "stage" in value:
        shares = {str(name): item for name, item in value.items()}
    else:
        raise FlipError(f"found {str(value)[:100]!r}, expected {EXPECTED}")
    if unknown := sorted(shares.keys() - {*_KNOWN}):
        raise FlipError(f"found {', '.join(unknown)[:100]}, expected only {', '.join(_KNOWN)}")
    stage = stage_from(str(shares["stage"])[:100])
    percent, sample = _share(shares, "percent"), _share(shares, "sample")
    if stage is Stage.CANARY and percent is None:
        raise FlipError("found a canary without percent, expected the share of the clients beside it")
    return stage, percent, sample


def _share(shares: Mapping[str, object], name: str) -> int | None:
    value = shares.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise FlipError(f"found {str(value)[:100]!r} as {name}, expected a number from 0 to 100")
    try:
        return percent_bp(f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)[:20])
    except UnfitError as error:
        raise FlipError(f"found {str(value)[:100]!r} as {name}, expected a number from 0 to 100") from error


def _own_sample(route: RouteSpec, stage: Stage) -> int | None:
    copies = stage in (Stage.SHADOW, Stage.CANARY, Stage.LIVE) and route.legacy is not None
    return route.shadow.sample_bp if copies else None
