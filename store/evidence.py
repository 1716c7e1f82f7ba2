"""``evidence.db``: who answered how much and when, the last legacy request, totals of epochs, what differed, and what
gates judge.

Rules of this file:

1. ``synchronous=NORMAL``: a crash of the machine may cost the last seconds of evidence, never the file. Nothing here
   decides a request.
2. One :class:`Batch` is one transaction. Totals and the hours computed from them are written together, so a restart
   of control counts nothing twice and loses nothing of a worker that lives on.
3. The file is bounded in size and age, oldest out first; memory by :mod:`store.groups`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from store.database import Database, open_database
from store.dialect import upsert
from store.divergences import DivergenceStore
from store.gatehours import GateHourStore, Key
from store.groups import Groups, GroupState
from store.merge import merge
from store.repeats import Observed, RepeatLog, RepeatStore
from store.schema import answered, epochs, evidence_meta, last_legacy
from store.watched import WatchStore

CAP_BYTES: Final = 256 << 20
"""Of the file: about 4 million route hours, or 100,000 divergences without bodies."""

MAX_AGE_S: Final = 30 * 24 * 3_600.0
CAP_CHECK_S: Final = 60.0
CAP_SHARE: Final = 0.05
"""The share of the oldest rows that goes at once when the file has reached its cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Say what one transaction adds."""

    epochs: Mapping[str, bytes] = field(default_factory=dict)
    """Whole new state per epoch."""
    gone: tuple[str, ...] = ()
    """Epochs whose totals now stand in another one."""
    answered: Mapping[tuple[int, str, str], int] = field(default_factory=dict)
    """(hour, route, side) to the requests answered since the last batch; the hour counts from 1970."""
    last_legacy: Mapping[str, float] = field(default_factory=dict)
    compared: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(route, build of new) to the pairs compared since the last batch."""
    gate_hours: Mapping[Key, bytes] = field(default_factory=dict)
    """Whole rows of what gates judge."""
    at: float = 0.0
    """Unix time at which the batch was made."""

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.epochs or self.gone or self.answered or self.last_legacy or self.compared or self.gate_hours)


class EvidenceStore:
    """Read and grow ``evidence.db``."""

    def __init__(self, database: Database, began_at: float, cap_bytes: int, node: str = "") -> None:
        self.database = database
        self.node = node
        """Whose epochs and hours are written here; empty: nobody else writes."""
        self.began_at = began_at
        """Unix time at which this file began: before it, nothing is known."""
        self.watched = WatchStore(database, began_at)
        self.divergences = DivergenceStore(database)
        self.repeats = RepeatStore(database)
        self.gate_hours = GateHourStore(database, node)
        self._cap_bytes, self._max_age_s = cap_bytes, MAX_AGE_S
        self._cap_checked = 0.0

    @classmethod
    async def open(cls, where: str, cap_bytes: int = CAP_BYTES, *, node: str = "") -> EvidenceStore:
        """Open a file, made if there is none, or a PostgreSQL.

        Raises: StoreError.
        """
        database = await open_database(where, "evidence")
        try:
            async with database.transaction() as tx:
                await tx.run(
                    upsert(evidence_meta).values(key="began_at", value=repr(time.time())).on_conflict_do_nothing()
                )
            rows = await database.rows(select(evidence_meta.c.value).where(evidence_meta.c.key == "began_at"))
        except BaseException:
            await database.close()
            raise
        return cls(database, float(rows[0][0]), cap_bytes, node)

    async def load_epochs(self) -> dict[str, bytes]:
        """Read the state of every epoch that this node wrote.

        Raises: StoreError.
        """
        query = select(epochs.c.epoch, epochs.c.body).where(epochs.c.node == self.node)
        return {epoch: bytes(body) for epoch, body in await self.database.rows(query)}

    async def load_others(self) -> list[tuple[str, bytes]]:
        """Read every epoch of the other nodes, each with its node's name.

        Raises: StoreError.
        """
        query = select(epochs.c.node, epochs.c.body).where(epochs.c.node != self.node)
        return [(other, bytes(body)) for other, body in await self.database.rows(query)]

    async def nodes(self) -> set[str]:
        """Name the nodes that have epochs.

        Raises: StoreError.
        """
        return {name for (name,) in await self.database.rows(select(epochs.c.node).distinct())}

    async def fold(self, node: str, into: str, join: Callable[[list[bytes]], bytes]) -> None:
        """Join all epochs of a node that is gone into one that belongs to nobody.

        Raises: StoreError.
        """
        async with self.database.transaction() as tx:
            query = select(epochs.c.body).where(epochs.c.node.in_([node, into]))
            body = join([bytes(found) for (found,) in await tx.rows(query)])
            await tx.run(delete(epochs).where(epochs.c.node.in_([node, into])))
            await tx.run(insert(epochs).values(epoch=_row_name("", into), body=body, node=into))

    async def load_last_legacy(self) -> dict[str, float]:
        """Read when legacy last answered each route, in Unix time.

        Raises: StoreError.
        """
        return dict(await self.database.rows(select(last_legacy.c.route, last_legacy.c.at)))

    def bound(self, *, max_age_s: float, cap_bytes: int) -> None:
        """Set how much is remembered; the next look at the file, within a minute, acts on it."""
        self._max_age_s, self._cap_bytes = max_age_s, cap_bytes

    async def write(self, batch: Batch, groups: Groups, repeats: RepeatLog | None = None) -> None:
        """Add one batch, the pending groups and repeats in one transaction, then keep the file within its bounds.

        Raises: StoreError; nothing is then written, and the caller keeps all three.
        """
        repeats = RepeatLog() if repeats is None else repeats
        taken, observed = groups.take(), repeats.take()
        try:
            groups.dropped += await self._write(batch, taken, observed)
        except BaseException:
            groups.put_back(taken)
            repeats.put_back(observed)
            raise
        await self._keep_in_bounds()

    async def _write(self, batch: Batch, pending: Mapping[str, GroupState], observed: Observed) -> int:
        forgotten = 0
        if batch or pending or observed:
            async with self.database.transaction() as tx:
                await tx.run_many(
                    _UPSERT_EPOCH,
                    [
                        {"epoch": _row_name(epoch, self.node), "body": body, "node": self.node}
                        for epoch, body in batch.epochs.items()
                    ],
                )
                await tx.run_many(_DELETE_EPOCH, [{"gone": epoch} for epoch in batch.gone])
                await tx.run_many(
                    _ADD_ANSWERED,
                    [
                        {"hour": hour, "route": route, "side": side, "count": count}
                        for (hour, route, side), count in batch.answered.items()
                    ],
                )
                await tx.run_many(
                    _RAISE_LAST_LEGACY, [{"route": route, "at": at} for route, at in batch.last_legacy.items()]
                )
                await self.gate_hours.write(tx, batch.gate_hours)
                forgotten = await merge(tx, pending, batch.compared, batch.at or time.time())
                await self.repeats.write(tx, observed)
        return forgotten

    async def share(self, route: str | None, since_hour: int) -> dict[int, dict[str, int]]:
        """Sum what was answered per hour and side, for one route or all.

        Shape: an hour without requests is missing.
        Raises: StoreError.
        """
        total = func.sum(answered.c.count)
        query = (
            select(answered.c.hour, answered.c.side, total)
            .where(answered.c.hour >= since_hour)
            .group_by(answered.c.hour, answered.c.side)
        )
        if route is not None:
            query = query.where(answered.c.route == route)
        steps: dict[int, dict[str, int]] = {}
        for hour, side, count in await self.database.rows(query):
            steps.setdefault(hour, {})[side] = count
        return steps

    async def route_shares(self, since_hour: int) -> dict[str, dict[str, int]]:
        """Sum what was answered per route and side since an hour.

        Raises: StoreError.
        """
        rows = await self.database.rows(
            select(answered.c.route, answered.c.side, func.sum(answered.c.count))
            .where(answered.c.hour >= since_hour)
            .group_by(answered.c.route, answered.c.side)
        )
        sides: dict[str, dict[str, int]] = {}
        for route, side, count in rows:
            sides.setdefault(route, {})[side] = count
        return sides

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()

    async def _keep_in_bounds(self) -> None:
        now = time.monotonic()
        if now - self._cap_checked < CAP_CHECK_S and self._cap_checked:
            return
        self._cap_checked = now
        await self.forget(time.time())
        await self.weigh_noise(time.time())
        await self.shrink()

    async def forget(self, now: float) -> None:
        """Forget divergences that were not seen for too long, noise of days that say nothing any more, and old hours.

        Raises: StoreError.
        """
        async with self.database.transaction() as tx:
            await self.divergences.forget(tx, now - self._max_age_s)
            await self.repeats.forget(tx, now)
            await self.gate_hours.forget(tx, now - self._max_age_s)

    async def weigh_noise(self, now: float) -> None:
        """Let noise rank the divergences of every route that legacy is asked twice about.

        Raises: StoreError.
        """
        await self.divergences.weigh_noise(await self.repeats.noise(None, now))

    async def shrink(self) -> None:
        """Bring the file below its cap: surplus examples first, then the oldest divergences and hours by twentieths.

        Raises: StoreError.
        """
        for _ in range(100):
            if await self.database.used_bytes() <= self._cap_bytes:
                return
            async with self.database.transaction() as tx:
                if await self.divergences.thin_out(tx):
                    continue
                await self.divergences.forget_oldest(tx, CAP_SHARE)
                first, last = (await tx.rows(select(func.min(answered.c.hour), func.max(answered.c.hour))))[0]
                if first is not None and last > first:
                    span = max(1, int((last - first) * CAP_SHARE))
                    await tx.run(delete(answered).where(answered.c.hour < first + span))
                await self.gate_hours.forget_oldest(tx, CAP_SHARE)


def _row_name(epoch: str, node: str) -> str:
    """Name the row of an epoch; the one without a name, in which a node folds its old ones, is each node's own."""
    return epoch or (f"folded {node}" if node else "")


_inserted_epoch = upsert(epochs).values(epoch=bindparam("epoch"), body=bindparam("body"), node=bindparam("node"))
_UPSERT_EPOCH: Final = _inserted_epoch.on_conflict_do_update(
    index_elements=["epoch"], set_={"body": _inserted_epoch.excluded.body}
)
_DELETE_EPOCH: Final = delete(epochs).where(epochs.c.epoch == bindparam("gone"))

_inserted_answered = upsert(answered).values({name: bindparam(name) for name in answered.c.keys()})  # noqa: SIM118
_ADD_ANSWERED: Final = _inserted_answered.on_conflict_do_update(
    index_elements=["hour", "route", "side"], set_={"count": answered.c.count + _inserted_answered.excluded["count"]}
)

_inserted_legacy = upsert(last_legacy).values(route=bindparam("route"), at=bindparam("at"))
_RAISE_LAST_LEGACY: Final = _inserted_legacy.on_conflict_do_update(
    index_elements=["route"], set_={"at": func.greatest(last_legacy.c.at, _inserted_legacy.excluded["at"])}
)
