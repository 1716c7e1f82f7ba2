"""Routes that stay half way: two services are paid for and kept alike for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from console.shapes import Json
from console.state import ControlState
from rules.flag import Stage
from store.entries import Entry

HALF_WAY: Final = (Stage.SHADOW, Stage.CANARY, Stage.LIVE)
DAY_S: Final = 86_400


def stuck(state: ControlState, moves: Mapping[str, Entry], now: float) -> list[Json]:
    """Name the routes that stand between legacy and complete for longer than ``stuck_after``.

    Shape: ``moves`` holds what last moved each route; a route without an entry is too young to tell, and one without
    legacy stands where it was born.
    """
    found = []
    for route in state.config.routes:
        stage, move = state.flag(route).stage, moves.get(route.name)
        if move is None or stage not in HALF_WAY or route.legacy is None:
            continue
        days = int((now - datetime.fromisoformat(move.at).timestamp()) // DAY_S)
        if days * DAY_S * 10**9 >= state.config.stuck_after_ns:
            sentence = (
                f"it stands in {stage.value} for {days} days (a-{move.id} by {move.actor}); flip it on, or take it back"
            )
            found.append(
                {"route": route.name, "stage": stage.value, "since": move.at, "days": days, "sentence": sentence}
            )
    return found
