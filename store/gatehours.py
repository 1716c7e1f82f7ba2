"""What gates judge, per node, route, build of new and hour.

Rules of this file:

1. A row belongs to one node, which replaces it whole: writing it twice counts nothing twice.
2. Inside its hour a row has a part for each stretch in which nothing changed that evidence begins anew after: a flip,
   a reset, another basis. Evidence since a moment is the sum of the parts that began at or after it, so nothing older
   is in it.
3. Rows end with their age, or by twentieths from the oldest on when the file has reached its cap.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, select

from rules.distinct import packed, unpacked
from rules.latency import added
from store.database import Database, Transaction
from store.dialect import upsert
from store.schema import gate_hours

HOUR_S: Final = 3_600


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """Count what was compared, and what clients were answered, in one stretch of time."""

    began: float
    """Unix time: everything counted here happened after it."""
    first: float = 0.0
    """Unix time at which the first comparison was counted; 0.0: there is none."""
    last: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    """A family and its labels (:func:`console.gatehours.cell_of`) to what grew."""
    bins: dict[str, list[int]] = field(default_factory=dict)
    """``legacy`` and ``new`` to pairs per bin of :mod:`rules.latency`."""
    bits: int = 0
    """The bitmap of :mod:`rules.distinct`."""
    basis: str = ""
    """What was compared with what (:mod:`rules.basis`)."""

    def add(self, other: Part) -> None:
        """Add what another part has counted, on this or another node."""
        if other.first:
            self.first = min(self.first, other.first) if self.first else other.first
            self.last = max(self.last, other.last)
        self.grow(other.counts)
        for side, bins in other.bins.items():
            self.bins[side] = added(self.bins.get(side, ()), bins)
        self.bits |= other.bits

    def grow(self, counts: Mapping[str, int]) -> None:
        """Add counts."""
        mine = self.counts
        for cell, count in counts.items():
            mine[cell] = mine.get(cell, 0) + count


class _PartBody(msgspec.Struct, array_like=True):
    """Be one part as it lies in the file."""

    began: float
    first: float
    last: float
    counts: dict[str, int]
    bins: dict[str, list[int]]
    bits: bytes
    basis: str = ""


Key = tuple[str, str, int]
"""Route, build of new, hour since 1970."""


def this_hour() -> int:
    """Name the hour that it is now."""
    return int(time.time() // HOUR_S)


def encode_parts(parts: Iterable[Part]) -> bytes:
    """Write the parts of one row."""
    return _encoder.encode(
        [_PartBody(one.began, one.first, one.last, one.counts, one.bins, packed(one.bits), one.basis) for one in parts]
    )


def decode_parts(body: bytes) -> list[Part]:
    """Read the parts of one row.

    Raises: ValueError for a row that this version cannot read.
    """
    return [
        Part(
            began=one.began,
            first=one.first,
            last=one.last,
            counts=one.counts,
            bins=one.bins,
            bits=unpacked(one.bits),
            basis=one.basis,
        )
        for one in _decoder.decode(body)
    ]


class GateHourStore:
    """Read and write the rows."""

    def __init__(self, database: Database, node: str = "") -> None:
        self._database = database
        self.node = node
        """Whose rows this process writes."""

    async def write(self, tx: Transaction, rows: Mapping[Key, bytes]) -> None:
        """Replace rows of this node inside the transaction that writes the totals they were counted from."""
        await tx.run_many(
            _REPLACE,
            [
                {"node": self.node, "route": route, "build": build, "hour": hour, "body": body}
                for (route, build, hour), body in rows.items()
            ],
        )

    async def mine(self, since_hour: int) -> dict[Key, list[Part]]:
        """Read this node's rows since an hour, to go on with them.

        Raises: StoreError; ValueError for a row that this version cannot read.
        """
        rows = await self._database.rows(
            select(gate_hours.c.route, gate_hours.c.build, gate_hours.c.hour, gate_hours.c.body).where(
                gate_hours.c.node == self.node, gate_hours.c.hour >= since_hour
            )
        )
        return {(route, build, hour): decode_parts(bytes(body)) for route, build, hour, body in rows}

    async def parts(self, route: str, build: str | None, basis: str, hours: tuple[int, int]) -> list[Part]:
        """Read what all nodes counted of a route on one basis within some hours, of one build or of all.

        Shape: *hours* is the first one and the one behind the last.
        Raises: StoreError; ValueError for a row that this version cannot read.
        """
        query = select(gate_hours.c.body).where(
            gate_hours.c.route == route, gate_hours.c.hour >= hours[0], gate_hours.c.hour < hours[1]
        )
        if build is not None:
            query = query.where(gate_hours.c.build == build)
        rows = await self._database.rows(query)
        return [part for (body,) in rows for part in decode_parts(bytes(body)) if part.basis == basis]

    async def newest_builds(self) -> dict[str, tuple[float, str]]:
        """Name the build of new that each route was compared with last, and the beginning of that hour in Unix time.

        Shape: where an hour has two builds, which one came last is not told: the empty build.
        Raises: StoreError.
        """
        rows = await self._database.rows(
            select(gate_hours.c.route, gate_hours.c.build, func.max(gate_hours.c.hour)).group_by(
                gate_hours.c.route, gate_hours.c.build
            )
        )
        newest: dict[str, tuple[float, str]] = {}
        for route, build, hour in rows:
            began, known = float(hour * HOUR_S), newest.get(route, (-1.0, ""))[0]
            if began >= known:
                newest[route] = (began, build if began > known else "")
        return newest

    async def forget(self, tx: Transaction, before: float) -> None:
        """Forget the hours that ended before a moment, of every node."""
        await tx.run(delete(gate_hours).where(gate_hours.c.hour < int(before // HOUR_S)))

    async def forget_oldest(self, tx: Transaction, share: float) -> None:
        """Forget a share of the time that the rows span, from the oldest on."""
        first, last = (await tx.rows(select(func.min(gate_hours.c.hour), func.max(gate_hours.c.hour))))[0]
        if first is not None and last > first:
            await tx.run(delete(gate_hours).where(gate_hours.c.hour < first + max(1, int((last - first) * share))))


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[_PartBody])

_inserted: Final = upsert(gate_hours).values({name: bindparam(name) for name in gate_hours.c.keys()})  # noqa: SIM118
_REPLACE: Final = _inserted.on_conflict_do_update(
    index_elements=["node", "route", "build", "hour"], set_={"body": _inserted.excluded.body}
)
