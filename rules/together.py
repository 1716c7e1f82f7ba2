"""What a node makes of its own counts and of the sum over all nodes.

Theory: own counts are enough, nobody waits for a sum. They are one node's view, though: where legacy certainly fails on
other nodes while new does not, and over all of them new is not worse than legacy, a rollback would only move the harm
to those nodes. That is the same case as both sides failing alike: an alert. What other nodes have not told holds
nothing up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from config.spec import WatchdogSpec
from rules.chance import CHANCE, excess_over
from rules.findings import is_much, new_fails, percent
from rules.watch import Judgement
from rules.window import Window, legacy_now, new_seen, strata

_GRAVITY: Final = {"suspicious": 2, "alert": 1}
"""What outweighs which; whatever takes back outweighs all, and the rest is what the sum says."""


def together(spec: WatchdogSpec, own: Judgement, total: Judgement, windows: Sequence[Window]) -> Judgement:
    """Decide between what this node sees and what all see; *windows* are the sums that *total* was judged on."""
    if own.to and own.rule in ("errors", "pairs"):
        for window in windows:
            if _only_moves(spec, window):
                return _moved(spec, own, window)
    return max((total, own), key=_gravity)


def _gravity(found: Judgement) -> int:
    return 3 if found.to else _GRAVITY.get(found.state, 0)


def _only_moves(spec: WatchdogSpec, window: Window) -> bool:
    """Tell whether legacy certainly fails on other nodes where new does not, and by as much as new here."""
    if is_much(spec, new_seen(window), legacy_now(window).share):
        return False
    of_others = strata(window)[1:]
    return excess_over([(b, m, a, n) for a, n, b, m in of_others]) < CHANCE


def _moved(spec: WatchdogSpec, own: Judgement, window: Window) -> Judgement:
    legacy = legacy_now(window)
    return replace(
        own,
        state="alert",
        to="",
        sentence=(
            f"both sides fail, on different nodes: {new_fails(window)}, legacy {percent(legacy.share)} of "
            f"{legacy.requests}; a rollback would only move that"
        ),
        value=new_seen(window).share,
        against=legacy.share,
        limit=spec.error_delta_max_bp / 10_000,
    )
