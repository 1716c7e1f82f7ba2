"""Since when every answer of legacy was seen: what nobody watched was not quiet.

Rules of this file:

1. Who watches says so each minute. From the last word of one process to the first of the next nobody watched: that is
   a *hole*. So is time that passed by the clock alone: it jumped, or the machine slept.
2. A hole counts for nothing, and one that is long against what is to be proven ends the watch
   (:meth:`WatchStore.since`).
3. A route that takes other requests than before was not watched before: what it takes now came from somewhere else.
4. A worker that ended without its last counts may have answered with legacy: for the routes on which it could have,
   that moment counts as an answer (:meth:`WatchStore.lost`).
5. Nodes that share a database watch together: one that is off has answered nobody.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import bindparam, select

from store.database import Database
from store.dialect import upsert
from store.schema import evidence_meta

NOTE_S: Final = 60.0
"""How often it is written that somebody watches."""

GAP_S: Final = 3_600.0
"""An upgrade, a reboot and a rescheduled container take less; whoever takes a service out for a day takes more."""

JUMP_S: Final = 1.0
"""By so much, in all, the clock may run ahead of the time that really passed: what corrects clocks does it slowly."""

KEPT_HOLES: Final = 512
"""One a day for longer than any ``quiet``; beyond it the watch begins where the oldest one that is forgotten ends."""

_WATCHED: Final = "watched"
_HOLES: Final = "unwatched"
_TAKES: Final = "takes:"
"""Before a route's name: the digest of its matches, and since when it has them."""
_LOST: Final = "lost:"
"""Before a route's name: when counts that may have been of it were lost last."""

Hole = tuple[float, float]
"""From and to, in Unix time."""


class WatchStore:
    """Note that somebody watches, and say since when."""

    def __init__(self, database: Database, began_at: float) -> None:
        self._database = database
        self._since = began_at
        self._holes: list[Hole] = []
        self._takes: dict[str, tuple[str, float]] = {}
        self._lost: dict[str, float] = {}
        self._noted: tuple[float, Mapping[str, str]] | None = None
        """When this process wrote last, and what routes took then; ``None``: it has not yet."""
        self._ticked: tuple[float, float] | None = None
        """Unix time and monotonic time of the last word."""
        self._ahead = 0.0
        """By how much the clock ran ahead of the time that passed, where that is no hole yet."""

    def since(self, route: str, hole_s: float = GAP_S) -> float:
        """Give the Unix time since which a route was watched, but for holes of at most *hole_s*, as noted last."""
        whole = (to for begin, to in self._holes if to - begin > hole_s)
        return max(self._since, self._takes.get(route, ("", 0.0))[1], *whole)

    def unwatched_s(self, since: float) -> float:
        """Say how many of the seconds since a moment in Unix time nobody watched, as noted last."""
        return sum(max(0.0, to - max(begin, since)) for begin, to in self._holes)

    def lost(self, route: str) -> float:
        """Say when counts that may have been a route's were lost last, in Unix time; 0.0: never."""
        return self._lost.get(route, 0.0)

    async def note(
        self,
        now: float,
        takes: Mapping[str, str],
        tick: float,
        *,
        lost: Collection[str] = (),
        anew: bool = False,
    ) -> None:
        """Say that somebody watches, what each route takes, and on which routes counts were lost.

        Shape: at most one write a minute, unless there is news, or what other nodes noted is wanted *anew*.
        Unit: *now* is Unix time, *tick* monotonic time, both in seconds.
        Raises: StoreError.
        """
        ahead_s = self._ahead_of(now, tick)
        jump_s = ahead_s if ahead_s > JUMP_S else 0.0
        recent = self._noted is not None and 0 <= now - self._noted[0] < NOTE_S and self._noted[1] == takes
        if recent and not (jump_s or lost or anew):
            self._ticked, self._ahead = (now, tick), ahead_s
            return
        async with self._database.transaction() as tx:
            rows = await tx.rows(select(evidence_meta.c.key, evidence_meta.c.value))
            known = {key: json.loads(value) for key, value in rows if key.startswith(_OURS)}
            since, until = known.get(_WATCHED, (self._since, self._since))
            begin = until if self._noted is None else now - jump_s
            since, holes = _with_hole(since, known.get(_HOLES, []), (begin, now), now)
            held = {route: known.get(f"{_TAKES}{route}", ("", 0.0)) for route in takes}
            # Of a route that is new nothing has to be unlearnt: it was live no longer than it exists.
            changed = {
                route: (of, now if held[route][0] else 0.0) for route, of in takes.items() if held[route][0] != of
            }
            values: dict[str, Any] = {_WATCHED: (since, now), _HOLES: holes}  # Any: JSON
            values |= {f"{_TAKES}{route}": taken for route, taken in changed.items()}
            values |= {f"{_LOST}{route}": now for route in lost}
            await tx.run_many(_PUT, [{"key": key, "value": json.dumps(value)} for key, value in values.items()])
        self._since, self._holes = since, holes
        self._takes = {route: (held[route][0], held[route][1]) for route in takes} | changed
        self._lost = {key.removeprefix(_LOST): at for key, at in (known | values).items() if key.startswith(_LOST)}
        self._noted, self._ticked, self._ahead = (now, dict(takes)), (now, tick), ahead_s - jump_s

    def _ahead_of(self, now: float, tick: float) -> float:
        """Say by how much the clock ran ahead so far; what it lost before is no credit for its next jump."""
        if self._ticked is None:
            return 0.0
        return max(0.0, self._ahead + (now - self._ticked[0]) - (tick - self._ticked[1]))


def _with_hole(since: float, holes: Iterable[Hole], hole: Hole, now: float) -> tuple[float, list[Hole]]:
    """Add a hole, if it is one, and forget the oldest: the watch then begins after it.

    Shape: where the clock went back nothing lies in the future: that would never become quiet.
    """
    kept = [(begin, min(to, now)) for begin, to in (*holes, hole) if begin < min(to, now)]
    forgotten = kept[: max(0, len(kept) - KEPT_HOLES)]
    return min(now, max([since, *(to for _, to in forgotten)])), kept[len(forgotten) :]


_OURS: Final = (_WATCHED, _HOLES, _TAKES, _LOST)
_inserted: Final = upsert(evidence_meta).values(key=bindparam("key"), value=bindparam("value"))
_PUT: Final = _inserted.on_conflict_do_update(index_elements=["key"], set_={"value": _inserted.excluded.value})
