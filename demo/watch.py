"""Keep the board up to date from the admin API."""

from __future__ import annotations

from typing import Any

from demo import evidence, view
from demo.product import Product


class Watch:
    """Remember between two looks what the admin API need not be asked again."""

    __slots__ = ("_before", "_board", "_examples", "_product")

    def __init__(self, product: Product, board: view.Board) -> None:
        self._product = product
        self._board = board
        self._before: dict[str, int] = {}
        self._examples: dict[str, dict[str, Any]] = {}

    def flipped(self) -> None:
        """Count the walked route's actual share anew, from what the board knows now."""
        row = self._board.rows.get(self._board.walked)
        self._before = dict(row.sides) if row else {}

    async def look(self) -> None:
        """Bring every row up to date: flag, shares, counts, first difference."""
        board = self._board
        for route in (await self._product.get("/api/v1/routes"))["routes"]:
            counts = route["counts"]
            row = board.rows.setdefault(route["name"], view.RouteRow(name=route["name"]))
            row.stage, row.asked = route["flag"]["stage"], route["share"]["asked"]
            row.sides = {side: counts["requests"].get(side, 0) for side in ("legacy", "new")}
            row.verdicts = {name: _added(counts[name]) for name in evidence.VERDICTS}
            before = self._before if row.name == board.walked else {}
            fresh = {side: count - before.get(side, 0) for side, count in row.sides.items()}
            row.actual = 100 * fresh["new"] / sum(fresh.values()) if any(fresh.values()) else None
        await self._look_at_differences()

    async def _look_at_differences(self) -> None:
        worst: dict[str, dict[str, Any]] = {}
        for group in (await self._product.get("/api/v1/divergences?limit=500"))["divergences"]:  # most severe first
            worst.setdefault(group["route"], group)
        for name, group in worst.items():
            known = self._examples.get(name)
            if known is None or known["id"] != group["id"]:
                known = self._examples[name] = await self._product.get(f"/api/v1/divergences/{group['id']}")
            if name in self._board.rows:
                self._board.rows[name].difference = _first_difference(group, known["example"])


def _first_difference(group: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    of_group = ("id", "kind", "statuses", "severity", "count", "sentence")
    of_example = ("method", "target", "pointer", "offset", "legacy", "new", "same_meaning")
    return {name: group[name] for name in of_group} | {name: example[name] for name in of_example}


def _added(count: int | dict[str, int]) -> int:
    return sum(count.values()) if isinstance(count, dict) else count
