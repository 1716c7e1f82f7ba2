"""Since when every answer of legacy was seen: before that moment nobody knows, so it was not quiet.

Rules of this file:

1. Who watches says so each minute. A silence of more than :data:`GAP_S` breaks the watch: Matapalo was off and clients
   may have been elsewhere. It begins again with the first word after it, as it does when the clock jumps.
2. A route that takes other requests than before was not watched before: what it takes now came from somewhere else.
3. Nodes that share a database watch together: one that is off has answered nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import bindparam, select

from store.database import Database
from store.dialect import upsert
from store.schema import evidence_meta

NOTE_S: Final = 60.0
"""How often it is written that somebody watches."""

GAP_S: Final = 3_600.0
"""An upgrade, a reboot and a rescheduled container take less; whoever takes a service out for a day takes more."""

JUMP_S: Final = 60.0
"""By so much the clock may run ahead of the time that really passed between two words of one process."""

_WATCHED: Final = "watched"
_TAKES: Final = "takes:"
"""Before a route's name: the digest of its matches, and since when it has them."""


class WatchStore:
    """Note that somebody watches, and say since when."""

    def __init__(self, database: Database, began_at: float) -> None:
        self._database = database
        self._since = began_at
        self._takes: dict[str, tuple[str, float]] = {}
        self._noted: tuple[float, Mapping[str, str]] | None = None
        self._ticked: tuple[float, float] | None = None
        """Unix time and monotonic time of the last word."""

    def since(self, route: str) -> float:
        """Give the Unix time since which every answer of legacy on a route was seen, as it was noted last."""
        return max(self._since, self._takes.get(route, ("", 0.0))[1])

    async def note(self, now: float, takes: Mapping[str, str], tick: float) -> None:
        """Say that somebody watches, and what each route takes; at most one write a minute.

        Unit: *now* is Unix time, *tick* monotonic time, both in seconds.
        Raises: StoreError.
        """
        jumped = self._ticked is not None and (now - self._ticked[0]) - (tick - self._ticked[1]) > JUMP_S
        if not jumped and self._noted is not None and 0 <= now - self._noted[0] < NOTE_S and self._noted[1] == takes:
            self._ticked = now, tick
            return
        async with self._database.transaction() as tx:
            rows = await tx.rows(select(evidence_meta.c.key, evidence_meta.c.value))
            known = {key: json.loads(value) for key, value in rows if key.startswith((_WATCHED, _TAKES))}
            since, until = known.get(_WATCHED, (self._since, now))
            since = now if jumped or now - until > GAP_S else since
            held = {route: known.get(f"{_TAKES}{route}", ("", 0.0)) for route in takes}
            # Of a route that is new nothing has to be unlearnt: it was live no longer than it exists.
            changed = {
                route: (of, now if held[route][0] else 0.0) for route, of in takes.items() if held[route][0] != of
            }
            values = {_WATCHED: (since, now)} | {f"{_TAKES}{route}": taken for route, taken in changed.items()}
            await tx.run_many(_PUT, [{"key": key, "value": json.dumps(value)} for key, value in values.items()])
        self._since = since
        self._takes = {route: (held[route][0], held[route][1]) for route in takes} | changed
        self._noted, self._ticked = (now, dict(takes)), (now, tick)


_inserted: Final = upsert(evidence_meta).values(key=bindparam("key"), value=bindparam("value"))
_PUT: Final = _inserted.on_conflict_do_update(index_elements=["key"], set_={"value": _inserted.excluded.value})
