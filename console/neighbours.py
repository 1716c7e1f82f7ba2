"""What the watchdogs of the other nodes see now: told over the shared database, twice a second.

Rules of this file:

1. A node tells of routes on which something happened within their windows, and nothing when nothing did.
2. Only windows of the same length, under the same flag, add up: before a flip the sides answered other shares.
3. What a node told counts for :data:`FRESH_S`; whoever is silent, or behind a database that is away, counts no more.
   Nodes come and go whole, so what is left is still a fair sample of both sides.
4. Whoever is alone tells nothing and asks nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
import xxhash

from config.spec import WatchdogSpec
from console.state import ControlState
from rules.flag import Flag, flag_as_json
from rules.window import Known, Window, looks
from store.counts import CountStore, Told
from store.database import StoreError

SHARE_S: Final = 0.5
"""Between two exchanges; with a look as often a failure that only the sum shows is seen within two seconds."""

FRESH_S: Final = 3.0
"""How long what a node told counts: five exchanges may fail before it is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Hold what one node sees of one route."""

    windows: tuple[Window, ...]
    """As :func:`rules.window.looks` names them, and the newest one of :data:`rules.sure.SURE_S`."""
    known: Known | None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing happened."""
        return not any(window.new or window.legacy or window.pairs or window.compared for window in self.windows)

    @property
    def is_calm(self) -> bool:
        """Say whether nothing happened that a watchdog could find fault with."""
        return not any(
            window.new_failed or window.divergent or window.latency or any(one != two for one, two in window.pairs)
            for window in self.windows
        )


class Row(msgspec.Struct, array_like=True, frozen=True):
    """Be what one node tells of one route; the counts are read when somebody wants them."""

    basis: str
    """Names the flag and the windows under which it was counted."""
    is_calm: bool
    counts: msgspec.Raw

    @property
    def share(self) -> Share:
        """Read the counts."""
        known, windows = msgspec.msgpack.decode(self.counts)
        return Share(
            known=None if known is None else Known(requests=known[0], failed=known[1]),
            windows=tuple(Window(**dict(zip(_FIELDS, values, strict=True))) for values in windows),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """Hold what one node told, until it is too old."""

    until: float
    routes: Mapping[str, Row]


class Neighbours:
    """Tell the other nodes what is seen here, and know what they see.

    Runs: :meth:`run` as one task on control's loop.
    """

    def __init__(self, state: ControlState, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._state, self._clock = state, clock
        self._shares: Mapping[str, tuple[str, Share]] = {}
        self._heard: list[_Heard] = []
        self._has_told = False

    async def run(self) -> None:
        """Exchange for ever."""
        while True:
            await self.exchange()
            await asyncio.sleep(SHARE_S)

    async def exchange(self) -> None:
        """Tell and ask once; where the database is away, what was heard grows old."""
        replicas, store = self._state.replicas, self._state.flag_store
        if replicas is None or store is None or all(node.is_away for node in replicas.others):
            self._heard = []
            return
        counts = CountStore(store.database)
        with contextlib.suppress(StoreError):
            if self._shares or self._has_told:
                await counts.tell(replicas.name, await asyncio.to_thread(packed, self._shares))
                self._has_told = bool(self._shares)
            asked = self._clock()
            told = await counts.others(replicas.name, FRESH_S)
            self._heard = await asyncio.to_thread(unpacked, told, asked)

    def see(self, shares: Mapping[str, tuple[str, Share]]) -> None:
        """Take what this node sees now, with its basis, of each route; it is told with the next exchange."""
        self._shares = shares

    def of(self, route: str, basis: str) -> list[Row]:
        """Give what every other node tells of a route that may be added up."""
        now = self._clock()
        rows = (heard.routes.get(route) for heard in self._heard if heard.until > now)
        return [row for row in rows if row is not None and row.basis == basis]


# --- how it travels --------------------------------------------------------------------------------------------------

_FIELDS: Final = tuple(one.name for one in fields(Window) if one.name != "parts")
"""They travel with the counts, so that a version that counts something else is not misread."""


class _Letter(msgspec.Struct, array_like=True, frozen=True):
    """Be what one node tells."""

    fields: tuple[str, ...]
    routes: dict[str, Row]


_encode: Final = msgspec.msgpack.Encoder().encode
_letters: Final = msgspec.msgpack.Decoder(_Letter)


def packed(shares: Mapping[str, tuple[str, Share]]) -> bytes:
    """Write down what is seen of all routes.

    Runs: in a thread; pure.
    Cost: 5 ms of CPU and 80 bytes per route for 1,000 busy routes.
    """
    routes = {
        name: Row(basis=basis, is_calm=share.is_calm, counts=msgspec.Raw(_encode(_counts(share))))
        for name, (basis, share) in shares.items()
    }
    return zlib.compress(_encode(_Letter(fields=_FIELDS, routes=routes)), 1)


def _counts(share: Share) -> tuple[Any, ...]:  # Any: what MessagePack holds
    known = None if share.known is None else (share.known.requests, share.known.failed)
    return known, [[getattr(window, name) for name in _FIELDS] for window in share.windows]


def unpacked(told: Iterable[Told], asked: float) -> list[_Heard]:
    """Read what others have told; what cannot be read is another version's, and is left out.

    Runs: in a thread; pure.
    Cost: 1 ms of CPU for 1,000 routes of one node.
    """
    heard = []
    for one in told:
        try:
            letter = _letters.decode(zlib.decompress(one.body))
        except (zlib.error, msgspec.MsgspecError):
            continue
        if letter.fields == _FIELDS:
            heard.append(_Heard(until=asked + FRESH_S - one.age_s, routes=letter.routes))
    return heard


def basis_of(flag: Flag, spec: WatchdogSpec) -> str:
    """Name a flag and the windows of its watchdog, alike on every node."""
    said = json.dumps([flag_as_json(flag), looks(spec)], sort_keys=True)
    return xxhash.xxh64_hexdigest(said.encode())
