"""Rules of routes that stay half way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from console.stuck import DAY_S, stuck
from store.entries import Entry
from tests.rules.made import config, flag, route

AT = "2026-01-01T00:00:00.000Z"
MOVED_S = 1_767_225_600.0


def move(name: str) -> Entry:
    """Make the entry that moved a route."""
    return Entry(kind="flip", source="api", actor="ops", routes=(name,), reason="", at=AT, before={}, after={}, id=7)


@pytest.mark.parametrize(
    ("stage", "days", "expected"),
    [
        ("shadow", 30, [30]),
        ("shadow", 29, []),
        ("canary", 31, [31]),
        ("live", 45, [45]),
        ("complete", 99, []),
        ("legacy", 99, []),
    ],
)
def test_a_route_is_stuck_between_legacy_and_complete(stage: str, days: int, expected: list[int]) -> None:
    """After `stuck_after` a route in shadow, canary or live is named with its days; one at an end never is."""
    spec = config(route("orders"), route("young"))
    # The four attributes that are looked at; a whole state needs a process.
    state: Any = SimpleNamespace(config=spec, flag=lambda one: flag(stage))

    found = stuck(state, {"orders": move("orders")}, MOVED_S + days * DAY_S + 5)

    assert [one["days"] for one in found] == expected
    assert all("a-7 by ops" in one["sentence"] for one in found)
