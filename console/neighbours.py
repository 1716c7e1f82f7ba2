"""What the watchdogs of the other nodes see now: told over the shared database, twice a second.

Rules of this file:

1. A node tells of routes on which something happened within their windows, and nothing when nothing did.
2. Only windows of the same length, under the same flag, add up: before a flip the sides answered other shares.
3. What a node told counts for :data:`FRESH_S`; whoever is silent, or behind a database that is away, counts no more.
   Nodes come and go whole, so what is left is still a fair sample of both sides.
4. Whoever is alone tells nothing and asks nothing.
5. What no node can have counted is damaged: it is left out of the sum, and said.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import xxhash

from config.errors import MatapaloError
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

SAID_S: Final = 15.0
"""How long damage is said after it was met; a route on which nothing is amiss is read every five seconds."""

TOPIC: Final = "neighbours"
"""Of the complaint about damage."""


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


class DamagedError(MatapaloError):
    """What a node told of a route is nothing that a node can have counted."""


class Row(msgspec.Struct, array_like=True, frozen=True):
    """Be what one node tells of one route; the counts are read when somebody wants them."""

    basis: str
    """Names the flag and the windows under which it was counted."""
    is_calm: bool
    counts: msgspec.Raw

    @property
    def share(self) -> Share:
        """Read the counts.

        Raises: DamagedError.
        """
        try:
            told = _counts.decode(self.counts)
        except msgspec.MsgspecError as error:
            raise DamagedError(f"its counts cannot be read: {error}") from error
        return Share(
            windows=tuple(Window(**msgspec.structs.asdict(window)) for window in told.windows),
            known=None if told.known is None else Known(requests=told.known.requests, failed=told.known.failed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """Hold what one node told, until it is too old."""

    node: str
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
        self._damaged_at: dict[str, float] = {}
        """Node to when it was last met that what it tells is damaged."""
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
            self._heard, damaged = await asyncio.to_thread(unpacked, told, asked)
            for node, why in damaged.items():
                self._leave_out(node, why)
        self._complain()

    def see(self, shares: Mapping[str, tuple[str, Share]]) -> None:
        """Take what this node sees now, with its basis, of each route; it is told with the next exchange."""
        self._shares = shares

    def of(self, route: str, basis: str) -> dict[str, Row]:
        """Give what every other node, by name, tells of a route that may be added up."""
        now = self._clock()
        rows = {heard.node: heard.routes.get(route) for heard in self._heard if heard.until > now}
        return {node: row for node, row in rows.items() if row is not None and row.basis == basis}

    def shares(self, rows: Mapping[str, Row]) -> list[Share]:
        """Read rows; a damaged one is left out, and said."""
        found = []
        for node, row in rows.items():
            try:
                found.append(row.share)
            except DamagedError as error:
                self._leave_out(node, str(error))
        return found

    def _leave_out(self, node: str, why: str) -> None:
        if node not in self._damaged_at:
            self._state.journal.say("neighbours.damaged", f"what node {node} sees is left out of all sums: {why}")
        self._damaged_at[node] = self._clock()

    def _complain(self) -> None:
        since = self._clock() - SAID_S
        self._damaged_at = {node: at for node, at in self._damaged_at.items() if at > since}
        if self._damaged_at:
            self._state.complaints[TOPIC] = (
                f"what node {', '.join(sorted(self._damaged_at))} tells of its counts is damaged, so the watchdogs of "
                "other nodes judge without it; see the log for what is wrong, and restart that node if it stays so"
            )
        else:
            self._state.complaints.pop(TOPIC, None)


# --- how it travels --------------------------------------------------------------------------------------------------

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _Window(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Be one window; :class:`rules.window.Window` says what each count is."""

    seconds: _Seconds
    covers_s: _Seconds
    new: _Count
    new_failed: _Count
    fallbacks: _Count
    legacy: _Count
    legacy_failed: _Count
    pairs: dict[tuple[str, str], _Count]
    compared: _Count
    divergent: _Count
    latency: dict[Literal["legacy", "new"], list[_Count]]

    def __post_init__(self) -> None:
        """Refuse a part that is more than its whole."""
        _refuse_more(self.covers_s, self.seconds)
        _refuse_more(self.fallbacks, self.new_failed)
        _refuse_more(self.new_failed, self.new)
        _refuse_more(self.legacy_failed, self.legacy)
        _refuse_more(self.divergent, self.compared)


class _Known(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Be what legacy's past says."""

    requests: _Count
    failed: _Count

    def __post_init__(self) -> None:
        """Refuse a part that is more than its whole."""
        _refuse_more(self.failed, self.requests)


class _Counts(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Be the counts of one route."""

    known: _Known | None
    windows: tuple[_Window, _Window, _Window]


class _Letter(msgspec.Struct, array_like=True, frozen=True):
    """Be what one node tells."""

    fields: tuple[str, ...]
    """Of a window: they travel along, so that a version that counts something else is not misread."""
    routes: dict[str, Row]


_FIELDS: Final = _Window.__struct_fields__
_encode: Final = msgspec.msgpack.Encoder().encode
_letters: Final = msgspec.msgpack.Decoder(_Letter)
_counts: Final = msgspec.msgpack.Decoder(_Counts)


def _refuse_more(part: float, whole: float) -> None:
    """Refuse a part that is more than its whole.

    Raises: ValueError.
    """
    if part > whole:
        raise ValueError(f"{part:g} of {whole:g} is more than all")


def packed(shares: Mapping[str, tuple[str, Share]]) -> bytes:
    """Write down what is seen of all routes.

    Runs: in a thread; pure.
    Cost: 5 ms of CPU and 80 bytes per route for 1,000 busy routes.
    """
    routes = {
        name: Row(basis=basis, is_calm=share.is_calm, counts=msgspec.Raw(_encode(_told(share))))
        for name, (basis, share) in shares.items()
    }
    return zlib.compress(_encode(_Letter(fields=_FIELDS, routes=routes)), 1)


def _told(share: Share) -> tuple[object, ...]:
    known = None if share.known is None else (share.known.requests, share.known.failed)
    return known, [[getattr(window, name) for name in _FIELDS] for window in share.windows]


def unpacked(told: Iterable[Told], asked: float) -> tuple[list[_Heard], dict[str, str]]:
    """Read what others have told, and say whose cannot be read, and why; what another version counts is left out.

    Runs: in a thread; pure.
    Cost: 1 ms of CPU for 1,000 routes of one node.
    """
    heard, damaged = [], {}
    for one in told:
        try:
            letter = _letters.decode(zlib.decompress(one.body))
        except (zlib.error, msgspec.MsgspecError) as error:
            damaged[one.node] = f"it cannot be read: {error}"
            continue
        if letter.fields == _FIELDS:
            heard.append(_Heard(node=one.node, until=asked + FRESH_S - one.age_s, routes=letter.routes))
    return heard, damaged


def basis_of(flag: Flag, spec: WatchdogSpec) -> str:
    """Name a flag and the windows of its watchdog, alike on every node."""
    said = json.dumps([flag_as_json(flag), looks(spec)], sort_keys=True)
    return xxhash.xxh64_hexdigest(said.encode())
