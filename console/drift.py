"""Where what serves is not what was asked for: holds that a flag does not agree with, and files nobody has read yet.

A flag that differs from the file's ``initial_stage`` is no drift: with ``flags: database`` the file only names the
first value, and flips are meant to leave it behind.
"""

from __future__ import annotations

import asyncio
from typing import Final

from config.spec import RouteSpec
from console.shapes import Json
from console.state import ControlState
from rules.decision import effective_stage
from rules.flag import CohortFlag, Flag, Hold, Stage, flag_as_json
from rules.stage import stages_of

READ_S: Final = 2.0
"""For reading the files of the configuration; a network file system may hang."""

_RULER: Final = {"database": "the flag says", "file": "the file says", "openfeature": "the provider says"}


async def drift(state: ControlState) -> list[Json]:
    """Name everything that is not as asked for: the files first, then routes as in the file."""
    return [*await _of_files(state), *of_holds(state)]


def of_holds(state: ControlState) -> list[Json]:
    """Name the routes that a hold keeps from what their flag asks for.

    Shape: a route whose flag asks for what the hold does anyway agrees; the hold is then only waiting for a release.
    """
    found = []
    for route in state.config.routes:
        hold, flag = state.holds.get(route.name), state.flag(route)
        if hold is None or not differs(route, flag, hold):
            continue
        serves = effective_stage(flag, hold).value
        found.append(
            {
                "route": route.name,
                "kind": "hold",
                "asked": flag_as_json(flag),
                "serves": serves,
                "sentence": f"{route.name}: {_RULER[state.config.flags]} {words(flag)}, a hold keeps it in {serves}; "
                f"bring both together, then `matapalo release {route.name}`",
            }
        )
    return found


def differs(route: RouteSpec, flag: Flag, hold: Hold) -> bool:
    """Say whether a hold makes a route do something else, for anybody, than its flag asks for."""
    return route.legacy is not None and stages_of(flag) != {effective_stage(flag, hold)}


def words(flag: Flag | CohortFlag) -> str:
    """Say a flag's stage, with the share of a canary, and those of its cohorts."""
    said = f"canary {flag.percent_bp / 100:g} %" if flag.stage is Stage.CANARY else flag.stage.value
    cohorts = flag.cohorts if isinstance(flag, Flag) else {}
    return ", ".join([said, *(f"{name}: {words(own)}" for name, own in cohorts.items())])


async def _of_files(state: ControlState) -> list[Json]:
    """Say that the files on disk are not the ones in force."""
    config = state.config
    if not config.files:
        return []
    from config.loader import digest_of  # the YAML reader costs 70 ms that control does not have at its start

    try:
        async with asyncio.timeout(READ_S):
            digest = await asyncio.to_thread(digest_of, config.files)
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or f"no answer within {READ_S:g} s"
        said = f"the files of the configuration cannot be read ({why}); the last good configuration serves"
    else:
        if digest == config.digest:
            return []
        reload = "refused" if state.reload.error else "not read yet"
        said = f"the files of the configuration have changed and are {reload}; `matapalo check`, then `matapalo reload`"
    return [{"route": None, "kind": "file", "asked": None, "serves": None, "sentence": said}]
