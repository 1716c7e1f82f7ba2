"""The ledger: when legacy last answered a route, and whether it is quiet enough to be let go.

What nobody watched was not quiet: the time before the evidence began, a time in which Matapalo was off or the clock ran
ahead, requests that the route did not take then (:mod:`store.watched`), nodes and workers that have not reported, and
workers that ended without their last counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from config.spec import RouteSpec
from config.units import format_duration
from console.journal import moment_text
from console.judged import Quiet
from console.problem import ProblemError
from console.state import ControlState
from rules.basis import takes_of
from rules.flag import Flag, Stage
from rules.stage import stages_of
from store.database import StoreError
from store.evidence import EvidenceStore
from store.nodes import NodeStore
from store.watched import GAP_S, WatchStore

REPORT_S: Final = 10.0
"""A node whose last report is older may have answered with legacy since; it reports every two seconds."""

HOLE_SHARE: Final = 1 / 24
"""The longest hole in the watch, as a share of ``quiet``: an hour of the day that is the default."""

HISTORY: Final = 500
"""Audit entries of a route that are looked through for the moment it went live."""


def require_quiet(told: Iterable[Quiet]) -> None:
    """Refuse ``complete`` until legacy has been silent on every live route for the time that it calls quiet.

    Raises: ProblemError ``ledger`` with the evidence.
    """
    for one in told:
        if not one.is_quiet:
            raise ProblemError("ledger", f"{one.sentence}, or repeat with force.", extra={"evidence": one.evidence})


async def ask_ledger(state: ControlState, planned: Mapping[str, Flag]) -> tuple[Quiet, ...]:
    """Ask about the routes that let legacy go: those that come to ``complete``, and refuse none.

    Shape: a route without a flag in force is born, which asks nothing.
    """
    flags = state.spec.flags
    ends = [name for name, flag in planned.items() if flag.stage is Stage.COMPLETE and name in flags]
    routes = [state.route(name) for name in ends if flags[name].stage is not Stage.COMPLETE]
    return tuple([await quiet_of(state, route) for route in routes if route.legacy is not None])


async def quiet_of(state: ControlState, route: RouteSpec) -> Quiet:
    """Say whether legacy has been silent on a live route for the time that it calls quiet, and since when it is."""
    live_since = await _live_since(state, route.name)
    last_legacy, missing, age_s = await _reported(state, route.name)
    # Up to the oldest of the nodes' reports: what a node did since is not known, so it cannot have been quiet.
    now = time.time() - age_s
    # What happened before the evidence began is not known, so it cannot have been quiet.
    quiet_s, quiet = route.quiet_ns // 10**9, format_duration(route.quiet_ns)
    watched = await _watched(state)
    began = None if watched is None else watched.since(route.name, min(GAP_S, quiet_s * HOLE_SHARE))
    lost = 0.0 if watched is None else watched.lost(route.name)
    known = None if live_since is None or began is None or missing else max(live_since, began, lost, last_legacy or 0.0)
    unwatched_s = 0.0 if known is None or watched is None else watched.unwatched_s(known)
    quiet_for_s = None if known is None else now - known - unwatched_s
    is_quiet = quiet_for_s is not None and quiet_for_s >= quiet_s
    if live_since is None:
        why = (
            f"Route {route.name!r} is not live, so nothing is known about a life without legacy; flip it to live first"
        )
    elif began is None:
        why = f"Whether legacy still answers route {route.name!r} is not known: {state.evidence_error}"
    elif missing:
        why = f"Whether legacy still answers route {route.name!r} is not known: {missing}"
    elif is_quiet:
        assert known is not None
        why = f"Legacy has not answered route {route.name!r} since {moment_text(known)}; expected quiet for {quiet}"
    elif last_legacy is not None and last_legacy == known:
        why = f"Legacy still answered route {route.name!r} at {moment_text(last_legacy)}; expected quiet for {quiet}"
    elif lost and lost == known:
        why = (
            f"A worker ended without its last counts at {moment_text(lost)}, and legacy may have answered route "
            f"{route.name!r} until then; expected quiet for {quiet}"
        )
    else:
        assert known is not None
        but = f", and {unwatched_s:.0f} s of that nobody watched" if unwatched_s >= 1 else ""
        why = (
            f"Route {route.name!r} has been watched without legacy only since {moment_text(known)}{but}; "
            f"expected quiet for {quiet}"
        )
    evidence = {
        "last_legacy": None if last_legacy is None else moment_text(last_legacy),
        "live_since": None if live_since is None else moment_text(live_since),
        "quiet_for_s": None if quiet_for_s is None else max(0, int(quiet_for_s)),
        "counts_lost": moment_text(lost) if lost else None,
        "needed_s": quiet_s,
    }
    return Quiet(route=route.name, is_quiet=is_quiet, sentence=why, evidence=evidence)


async def _watched(state: ControlState) -> WatchStore | None:
    """Say what is known of the watch, on all nodes; ``None``: nothing."""
    if state.evidence is None:
        return None
    try:
        await watch(state, state.evidence, takes_of(state.config), anew=True)
    except StoreError:
        return None
    return state.evidence.watched


async def watch(state: ControlState, evidence: EvidenceStore, takes: Mapping[str, str], *, anew: bool = False) -> None:
    """Note that we watch, what each route takes, and on which routes a worker may have taken counts along.

    Raises: StoreError.
    """
    is_lossy, state.totals.is_lossy = state.totals.is_lossy, False
    lost = [route.name for route in state.config.routes if is_lossy and _may_reach_legacy(state, route)]
    try:
        await evidence.watched.note(time.time(), takes, time.monotonic(), lost=lost, anew=anew)
    except StoreError:
        state.totals.is_lossy = state.totals.is_lossy or is_lossy
        raise


def _may_reach_legacy(state: ControlState, route: RouteSpec) -> bool:
    """Tell whether legacy may answer a live route: under a hold, for an override, a pin or a cohort.

    In the stages before ``live`` it does anyway, and quiet has not begun.
    """
    flag, config = state.flag(route), state.config
    if flag.stage is not Stage.LIVE or route.legacy is None:
        return False
    pins = route.pin_ns is not None and bool(config.pins)
    return route.name in state.holds or config.override is not None or pins or stages_of(flag) != {Stage.LIVE}


async def _reported(state: ControlState, name: str) -> tuple[float | None, str, float]:
    """Say when legacy last answered a route on any node, who has not said, and how old the oldest report is.

    Shape: an empty text in the middle: every node has said.
    """
    own = state.totals.last_legacy(name)
    if unheard := state.totals.unheard(state.config.workers):
        return own, f"worker {', '.join(map(str, unheard))} has not reported what it answered", 0.0
    if state.replicas is None or state.evidence is None or state.flag_store is None:
        return own, "", 0.0
    try:
        # The nodes first: what they had reported when they spoke is then in the evidence.
        nodes = await NodeStore(state.flag_store.database).list()
        on_any = (await state.evidence.load_last_legacy()).get(name)
    except StoreError as error:
        return own, str(error), 0.0
    others = [node for node in nodes if node.name != state.replicas.name]
    ages = [REPORT_S if node.reported_age_s is None else node.reported_age_s + node.age_s for node in others]
    silent = [
        f"{node.name} (silent for {node.age_s:.0f} s)" if node.is_away else f"{node.name} (no evidence from it)"
        for node, age_s in zip(others, ages, strict=True)
        if node.is_away or age_s >= REPORT_S
    ]
    last = max((at for at in (own, on_any) if at is not None), default=None)
    why = f"node {', '.join(silent)} has not reported what it answered" if silent else ""
    return last, why, max(ages, default=0.0)


async def _live_since(state: ControlState, name: str) -> float | None:
    """Find the moment since which a route is live without a break; ``None``: it is not, or nobody knows."""
    if state.spec.flags[name].stage is not Stage.LIVE or state.flag_store is None:
        return None
    try:
        entries = await state.flag_store.entries(before=None, limit=HISTORY, route=name)
    except StoreError:
        return None
    since = None
    for entry in entries:
        flags = entry.after["flags"] if entry.kind in ("reload", "start") else entry.after
        shown = flags.get(name)
        if not isinstance(shown, dict) or "stage" not in shown:
            continue
        if shown["stage"] != Stage.LIVE.value:
            break
        since = entry.at
    return None if since is None else datetime.fromisoformat(since).timestamp()
