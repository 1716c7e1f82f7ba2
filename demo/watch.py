"""Keep the board up to date from the admin API."""

from __future__ import annotations

import time
from typing import Any

from demo import evidence, view
from demo.product import Product

# Workers tell control what they counted every 250 ms, and the board looks every 500: what was
# answered before a flip has arrived by then.
TALLY_LAG_S = 0.8


class Watch:
    """Remember between two looks what the admin API need not be asked again."""

    __slots__ = ("_board", "_examples", "_product", "_since_flip")

    def __init__(self, product: Product, board: view.Board) -> None:
        self._product = product
        self._board = board
        self._examples: dict[str, dict[str, Any]] = {}
        self._since_flip: dict[str, tuple[float, dict[str, int]]] = {}
        """Route to when its last flip was seen, and its counts by side when that had settled."""

    async def look(self) -> None:
        """Bring every row up to date: flag, shares, counts, gate, first difference."""
        for route in (await self._product.get("/api/v1/routes"))["routes"]:
            counts, asked = route["counts"], (route["flag"]["stage"], route["share"]["asked"])
            row = self._board.rows.setdefault(route["name"], view.RouteRow(name=route["name"]))
            row.sides = {side: counts["requests"].get(side, 0) for side in ("legacy", "new")}
            row.verdicts = {name: _added(counts[name]) for name in evidence.VERDICTS}
            row.actual = self._actual(row, flipped=asked != (row.stage, row.asked))
            row.stage, row.asked = asked
            row.gate, row.gate_sentence = route["gate"]["result"], route["gate"]["sentence"]
        await self._look_at_differences()

    def _actual(self, row: view.RouteRow, *, flipped: bool) -> float | None:
        """Compute the share of new in what was answered since the last flip, whoever flipped."""
        now = time.monotonic()
        seen, before = self._since_flip.get(row.name, (-TALLY_LAG_S, {}))
        if flipped:
            seen = now
        if now < seen + TALLY_LAG_S:
            self._since_flip[row.name] = (seen, dict(row.sides))
            return None
        new, both = (sum(row.sides[side] - before.get(side, 0) for side in sides) for sides in (("new",), row.sides))
        return 100 * new / both if both else None

    async def _look_at_differences(self) -> None:
        worst: dict[str, dict[str, Any]] = {}
        for group in (await self._product.get("/api/v1/divergences?limit=500"))["divergences"]:  # most severe first
            worst.setdefault(group["route"], group)
        for name, group in worst.items():
            known = self._examples.get(name)
            if known is None or known["id"] != group["id"]:
                known = self._examples[name] = await self._product.get(f"/api/v1/divergences/{group['id']}")
            if name in self._board.rows and known["example"] is not None:
                self._board.rows[name].difference = _first_difference(group, known["example"])


def _first_difference(group: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    worst = example["differences"][0]
    pointer = worst["legacy_pointer"] if worst["legacy_pointer"] is not None else worst["new_pointer"]
    return {
        **{name: group[name] for name in ("id", "statuses", "severity", "count", "sentence")},
        **{name: example["request"][name] for name in ("method", "target")},
        **{name: worst[name] for name in ("cause", "legacy", "new")},
        "pointer": pointer,
        "same_meaning": example["same_meaning"],
    }


def _added(count: int | dict[str, int]) -> int:
    return sum(count.values()) if isinstance(count, dict) else count
