"""Gather what gates judge: what all workers of this node counted, by route, build of new and hour.

Rules of this file:

1. What grew between two looks joins the part that was open at the earlier one. A new build, another basis, a flip or
   a reset of the evidence closes it; whatever is counted afterwards stands in a part of its own, which begins with that
   look. So a part never holds anything from before its beginning. Where no part was open (control or the route is new)
   what grew is closed at once, as nobody knows since when.
2. Of a dead worker's open copies and pairs what :func:`console.epochs.left_open` assumes is gathered; if the worker
   lives after all, it is taken back. Sums over parts are therefore exact, single parts may be below zero.
3. Rows of this hour stay in memory; each change is written by replacing the whole row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from rules.distinct import bitmap_of, positions_from
from rules.latency import added
from store.gatehours import HOUR_S, Key, Part, encode_parts

COMPARED: Final = frozenset({"identical", "tolerated", "divergent"})
"""With ``undecided`` the cells whose growth is a comparison: their time is the evidence's age."""

FAULT: Final = {
    ("legacy", "primary"): "legacy",
    ("legacy", "shadow"): "new",
    ("new", "primary"): "new",
    ("new", "shadow"): "legacy",
    ("legacy", "both"): "both",
    ("new", "both"): "both",
}
"""(Primary, who gave no complete answer) to the side; a client that left, or a fault of ours, is no side's."""


def cell_of(key: str) -> tuple[str, str, bool] | None:
    """Turn a tally's key into route, cell, and whether it is a comparison; ``None``: no gate asks for it.

    Shape: ``eligible`` · ``skipped`` · ``identical`` · ``tolerated`` · ``divergent`` · ``undecided|reason`` ·
    ``errored|side`` · ``paired|method|legacy class|new class`` · ``uncopied|method`` · ``tolerance_hits|id`` ·
    ``requests|side|class`` · ``fallbacks`` · ``broken|side``.
    """
    match key.split("|"):
        case [("eligible" | "skipped" | "identical" | "tolerated" | "divergent" | "fallbacks") as family, route, *_]:
            return route, family, family in COMPARED
        case ["undecided", route, _, reason]:
            return route, f"undecided|{reason}", True
        case ["errored", route, primary, which] if (primary, which) in FAULT:
            return route, f"errored|{FAULT[primary, which]}", False
        case ["requests", route, side, _, code]:
            return route, f"requests|{side}|{code}", False
        case [("paired" | "uncopied" | "tolerance_hits" | "broken") as family, route, *labels]:
            return route, "|".join((family, *labels)), False
    return None


MAX_CELLS: Final = 400_000
"""Keys of tallies whose meaning is remembered."""

_UNKNOWN: Final = object()
"""A mark that no route has."""


class _RouteState:
    """Follow one route: under which build, basis and mark its open part stands."""

    __slots__ = ("basis", "build", "mark", "part")

    def __init__(self, build: str, basis: str) -> None:
        self.build, self.basis = build, basis
        self.mark: Hashable = _UNKNOWN
        self.part: tuple[Key, Part] | None = None


class GateHours:
    """Hold this node's rows of the current hour, and what of them is not written.

    Runs: on control's loop.
    Bound: the routes that were asked in this hour, times their builds; 1 KB each.
    """

    def __init__(self, rows: Mapping[Key, list[Part]] | None = None) -> None:
        self._rows: dict[Key, list[Part]] = {}
        self._routes: dict[str, _RouteState] = {}
        self._dirty: set[Key] = set()
        self._cells: dict[str, tuple[str, str, bool] | None] = {}
        self._bits: dict[str, set[int]] = {}
        self._looked_at = 0.0
        self.join(rows or {})

    def join(self, rows: Mapping[Key, list[Part]]) -> None:
        """Take over what the file already has of this hour; parts that are here, too, are newer here."""
        for key, parts in rows.items():
            mine = self._rows.setdefault(key, [])
            here = {part.began for part in mine}
            mine[:0] = [part for part in parts if part.began not in here]

    def rewrite(self) -> None:
        """Write every row again with the next batch: the file may be another one."""
        self._dirty.update(self._rows)

    def note(self, distinct: Mapping[str, bytes]) -> None:
        """Take the bits of a tally in; what no version of ours wrote is left out."""
        for route, raw in distinct.items():
            if len(raw) % 2 == 0:
                self._bits.setdefault(route, set()).update(positions_from(raw))

    def gather(
        self,
        grown: Iterable[tuple[str, int]],
        bins: Iterable[tuple[str, list[int]]],
        *,
        now: float,
        build_of: Callable[[str], str],
        basis_of: Callable[[str], str],
        mark_of: Callable[[str], Hashable],
    ) -> None:
        """Add what grew since the last look.

        Shape: *grown* and *bins* are keys of tallies with what they grew by; when what *build_of*, *basis_of* or
        *mark_of* say of a route changes, its evidence begins anew.
        Unit: *now* is Unix time.
        """
        hour = int(now // HOUR_S)
        open_parts: dict[str, Part] = {}

        def part_of(route: str) -> Part:
            part = open_parts.get(route)
            if part is None:
                part = open_parts[route] = self._part(route, hour, build_of, basis_of)
            return part

        cells = self._cells
        if len(cells) > MAX_CELLS:
            cells.clear()
        for key, count in grown:
            try:
                place = cells[key]
            except KeyError:
                place = cells[key] = cell_of(key)
            if place is not None:
                route, cell, is_comparison = place
                part = part_of(route)
                part.counts[cell] = part.counts.get(cell, 0) + count
                if is_comparison:
                    part.first, part.last = part.first or now, now
        for key, grew in bins:
            _, route, side = key.split("|")
            part = part_of(route)
            part.bins[side] = added(part.bins.get(side, ()), grew)
        bits, self._bits = self._bits, {}
        for route, positions in bits.items():
            part_of(route).bits |= bitmap_of(positions)
        self._close(build_of, basis_of, mark_of)
        self._looked_at = now

    def take(self) -> dict[Key, bytes]:
        """Hand out every row that the file does not have as it is."""
        dirty, self._dirty = self._dirty, set()
        return {key: encode_parts(self._rows[key]) for key in dirty}

    def settle(self, rows: Mapping[Key, bytes], *, written: bool) -> None:
        """Remember that rows are in the file, or that they are not; rows of past hours that are need no memory."""
        if not written:
            self._dirty.update(rows)
            return
        hour = int(self._looked_at // HOUR_S)
        for key in [key for key in self._rows if key[2] < hour and key not in self._dirty]:
            del self._rows[key]

    def _part(self, route: str, hour: int, build_of: Callable[[str], str], basis_of: Callable[[str], str]) -> Part:
        """Give the open part of a route, a new one where there is none."""
        state = self._routes.get(route)
        if state is None:
            state = self._routes[route] = _RouteState(build_of(route), basis_of(route))
        state.build = state.build or build_of(route)
        key = (route, state.build, hour)
        if state.part is None or state.part[0] != key:
            # Before the first look nobody knows since when it grew: since this hour began, at least by its row.
            began = self._looked_at or float(hour * HOUR_S)
            state.part = (key, Part(began=began, basis=state.basis))
            self._rows.setdefault(key, []).append(state.part[1])
        self._dirty.add(key)
        return state.part[1]

    def _close(
        self,
        build_of: Callable[[str], str],
        basis_of: Callable[[str], str],
        mark_of: Callable[[str], Hashable],
    ) -> None:
        """Close the parts of routes on which something has changed (rule 1)."""
        for route, state in self._routes.items():
            now = build_of(route), basis_of(route), mark_of(route)
            if now != (state.build, state.basis, state.mark):
                state.build, state.basis, state.mark = now
                state.part = None
