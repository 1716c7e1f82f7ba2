"""What a node makes of its own counts and of the sum over all nodes.

Theory: own counts are enough, nobody waits for a sum. But where legacy fails on some node while new does not, and over
all nodes about as much as new, or not certainly less, a rollback would only move the harm there. That is the same case
as both sides failing alike: an alert. It is asked of what the sum finds, too: nodes copy more while they are in doubt,
so the pairs of the one whose new fails outnumber the others'. What other nodes have not told holds nothing up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from config.spec import WatchdogSpec
from rules.chance import CHANCE, excess, excess_over
from rules.findings import new_fails, percent
from rules.watch import DOUBT, Judgement
from rules.window import Window, legacy_now, new_seen, strata

ABOUT: Final = 0.5
"""Legacy fails about as much as new if it fails this part of it: what was told last is a second older than what is
seen here, and failures grow within it."""

_GRAVITY: Final = {"suspicious": 2, "alert": 1}
"""What outweighs which; whatever takes back outweighs all, and the rest is what the sum says."""


def together(spec: WatchdogSpec, own: Judgement, total: Judgement, windows: Sequence[Window]) -> Judgement:
    """Decide between what this node sees and what all see; *windows* are the sums that *total* was judged on."""
    found = max((total, own), key=_gravity)
    if found.to and found.rule in ("errors", "pairs"):
        for window in windows:
            if _only_moves(window):
                return _moved(spec, found, window)
    return found


def _gravity(found: Judgement) -> int:
    return 3 if found.to else _GRAVITY.get(found.state, 0)


def _only_moves(window: Window) -> bool:
    """Tell whether legacy fails on some node where new does not, and over all of them about as much as new."""
    nodes = strata(window)
    if not any(excess(b, m, a, n) < DOUBT / len(nodes) for a, n, b, m in nodes):
        return False
    return legacy_now(window).share >= ABOUT * new_seen(window).share or excess_over(nodes) >= CHANCE


def _moved(spec: WatchdogSpec, found: Judgement, window: Window) -> Judgement:
    legacy = legacy_now(window)
    return replace(
        found,
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
