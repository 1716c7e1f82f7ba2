"""``evidence.db``: who answered how much and when, the last legacy request, totals of dead and living epochs, findings.

Rules of this file:

1. ``synchronous=NORMAL``: a crash of the machine may cost the last seconds of evidence, never the file. Nothing here
   decides a request.
2. One :class:`Batch` is one transaction. Totals and the hours computed from them are written together, so a restart
   of control counts nothing twice and loses nothing of a worker that lives on.
3. Memory and file are bounded: pending groups by :data:`MAX_PENDING`, the file by its cap, oldest out first.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, or_, select, tuple_
from sqlalchemy.dialects.sqlite import insert as upsert

from store.database import Database, Row
from store.schema import answered, epochs, evidence_meta, findings, last_legacy

MAX_PENDING: Final = 5_000
"""Groups of findings between two batches: nobody reads about more ways to differ within two seconds."""

MAX_TEXT: Final = 16 << 10
"""Characters of one fragment or target that are kept; the comparers cut far earlier."""

MAX_POINTER: Final = 1 << 10
"""Characters of a folded pointer: part of a group's name."""

CAP_BYTES: Final = 256 << 20
"""Of the file: about 4 million route hours, or 100,000 groups of findings."""

CAP_CHECK_S: Final = 60.0
CAP_SHARE: Final = 0.05
"""The share of the oldest rows that goes at once when the file has reached its cap."""

HOUR_S: Final = 3_600

SEVERITIES: Final = ("new_5xx", "status", "content_type", "value", "unknown", "cosmetic", "header")
"""Most severe first; a group's place is stored as its index."""

GroupKey = tuple[str, int, int, str, str]
"""Route, legacy's status, new's status, kind, folded pointer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Describe one unequal pair as a comparer found it, already redacted."""

    route: str
    status_legacy: int
    status_new: int
    kind: str
    pointer: str
    """Folded: array indexes as ``*``."""
    same_meaning: bool | None
    at: float
    example: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Describe one group of findings."""

    id: str
    route: str
    status_legacy: int
    status_new: int
    kind: str
    pointer: str
    severity: str
    count: int
    same: int
    different: int
    first_seen: float
    last_seen: float
    example: Mapping[str, Any]  # Any: JSON


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

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.epochs or self.gone or self.answered or self.last_legacy)


class EvidenceStore:
    """Read and grow ``evidence.db``."""

    def __init__(self, database: Database, began_at: float, cap_bytes: int) -> None:
        self.database = database
        self.began_at = began_at
        """Unix time at which this file began: before it, nothing is known."""
        self._cap_bytes = cap_bytes
        self._cap_checked = 0.0

    @classmethod
    async def open(cls, path: str, cap_bytes: int = CAP_BYTES) -> EvidenceStore:
        """Open or make the file.

        Raises: StoreError.
        """
        database = await Database.open(path, "evidence")
        try:
            async with database.transaction() as tx:
                await tx.run(
                    upsert(evidence_meta).values(key="began_at", value=repr(time.time())).on_conflict_do_nothing()
                )
            rows = await database.rows(select(evidence_meta.c.value).where(evidence_meta.c.key == "began_at"))
        except BaseException:
            await database.close()
            raise
        return cls(database, float(rows[0][0]), cap_bytes)

    async def load_epochs(self) -> dict[str, bytes]:
        """Read the state of every epoch that was written.

        Raises: StoreError.
        """
        return {epoch: bytes(body) for epoch, body in await self.database.rows(select(epochs.c.epoch, epochs.c.body))}

    async def load_last_legacy(self) -> dict[str, float]:
        """Read when legacy last answered each route, in Unix time.

        Raises: StoreError.
        """
        return dict(await self.database.rows(select(last_legacy.c.route, last_legacy.c.at)))

    async def write(self, batch: Batch, groups: Groups) -> None:
        """Add one batch and the pending groups of findings in one transaction, then keep the file below its cap.

        Raises: StoreError; nothing is then written, and the caller keeps both.
        """
        taken = groups.take()
        try:
            await self._write(batch, [_finding_row(key, group) for key, group in taken.items()])
        except BaseException:
            groups.put_back(taken)
            raise
        await self._keep_below_cap()

    async def _write(self, batch: Batch, pending: list[dict[str, object]]) -> None:
        if batch or pending:
            async with self.database.transaction() as tx:
                await tx.run_many(_UPSERT_EPOCH, [{"epoch": key, "body": body} for key, body in batch.epochs.items()])
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
                await tx.run_many(_ADD_FINDING, pending)

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

    async def divergences(
        self, *, route: str | None, after: tuple[int, int, str] | None, limit: int
    ) -> list[tuple[tuple[int, int, str], Divergence]]:
        """List groups of findings with their place, behind the place *after* if that is given.

        Order: most severe first, then most frequent.
        Raises: StoreError.
        """
        query = select(findings).order_by(findings.c.severity, findings.c.count.desc(), findings.c.id).limit(limit)
        if route is not None:
            query = query.where(findings.c.route == route)
        if after is not None:
            severity, count, name = after
            query = query.where(
                or_(
                    tuple_(findings.c.severity, -findings.c.count) > (severity, -count),
                    (findings.c.severity == severity) & (findings.c.count == count) & (findings.c.id > name),
                )
            )
        return [((row[6], row[7], row[0]), _divergence(row)) for row in await self.database.rows(query)]

    async def divergence(self, name: str) -> Divergence | None:
        """Find one group of findings.

        Raises: StoreError.
        """
        rows = await self.database.rows(select(findings).where(findings.c.id == name))
        return _divergence(rows[0]) if rows else None

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()

    async def _keep_below_cap(self) -> None:
        now = time.monotonic()
        if now - self._cap_checked < CAP_CHECK_S and self._cap_checked:
            return
        self._cap_checked = now
        await self.shrink()

    async def shrink(self) -> None:
        """Remove the oldest groups and hours while the file is over its cap, a twentieth at a time.

        Raises: StoreError.
        """
        database = self.database
        page_bytes = await database.pragma("page_size")
        for _ in range(100):
            used = (await database.pragma("page_count") - await database.pragma("freelist_count")) * page_bytes
            if used <= self._cap_bytes:
                return
            seen = await database.rows(select(func.count()).select_from(findings))
            hours = await database.rows(select(func.min(answered.c.hour), func.max(answered.c.hour)))
            oldest = (
                select(findings.c.id).order_by(findings.c.last_seen).limit(max(1, int(seen[0][0] * CAP_SHARE)))
            ).scalar_subquery()
            async with database.transaction() as tx:
                await tx.run(delete(findings).where(findings.c.id.in_(oldest)))
                if hours[0][0] is not None and hours[0][1] > hours[0][0]:
                    span = max(1, int((hours[0][1] - hours[0][0]) * CAP_SHARE))
                    await tx.run(delete(answered).where(answered.c.hour < hours[0][0] + span))


class Groups:
    """Collect findings between two batches, grouped as they will be stored.

    Bound: :data:`MAX_PENDING` groups; a finding of a further group is dropped and counted.
    Cost: about 2 microseconds per finding.
    """

    __slots__ = ("_pending", "dropped", "seen")

    def __init__(self) -> None:
        self._pending: dict[GroupKey, _Pending] = {}
        self.seen = 0
        self.dropped = 0

    def add(self, sighting: Sighting) -> None:
        """Count one finding into its group; the newest one becomes the group's example."""
        self.seen += 1
        pointer = sighting.pointer[:MAX_POINTER]
        key = (sighting.route, sighting.status_legacy, sighting.status_new, sighting.kind, pointer)
        group = self._pending.get(key)
        if group is None:
            if len(self._pending) >= MAX_PENDING:
                self.dropped += 1
                return
            group = self._pending[key] = _Pending(sighting)
        group.count += 1
        group.same += sighting.same_meaning is True
        group.different += sighting.same_meaning is False
        group.newest = sighting

    def take(self) -> dict[GroupKey, _Pending]:
        """Hand the pending groups over to be written, and begin anew."""
        taken, self._pending = self._pending, {}
        return taken

    def put_back(self, taken: dict[GroupKey, _Pending]) -> None:
        """Take groups back that could not be written."""
        newer, self._pending = self._pending, taken
        for key, group in newer.items():
            older = taken.get(key)
            if older is not None:
                group.count += older.count
                group.same += older.same
                group.different += older.different
                group.first_seen = older.first_seen
            elif len(taken) >= MAX_PENDING:
                self.dropped += group.count
                continue
            taken[key] = group


class _Pending:
    """Count one group since the last batch."""

    __slots__ = ("count", "different", "first_seen", "newest", "same")

    def __init__(self, first: Sighting) -> None:
        self.count = self.same = self.different = 0
        self.first_seen = first.at
        self.newest = first


def divergence_id(route: str, status_legacy: int, status_new: int, kind: str, pointer: str) -> str:
    """Name a group by what it is, so that it keeps its name even when the file is lost."""
    text = json.dumps((route, status_legacy, status_new, kind, pointer))
    return "d-" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


def severity_of(sighting: Sighting, different: int, same: int) -> int:
    """Rank a group: an index into :data:`SEVERITIES`."""
    if sighting.status_new >= 500 and 200 <= sighting.status_legacy < 300:
        name = "new_5xx"
    elif sighting.status_legacy != sighting.status_new:
        name = "status"
    elif sighting.kind == "header:content-type":
        name = "content_type"
    elif sighting.kind.startswith("header:"):
        name = "header"
    elif different:
        name = "value"
    else:
        name = "cosmetic" if same else "unknown"
    return SEVERITIES.index(name)


def _finding_row(key: GroupKey, group: _Pending) -> dict[str, object]:
    route, status_legacy, status_new, kind, pointer = key
    example = {
        name: value[:MAX_TEXT] if isinstance(value, str) else value for name, value in group.newest.example.items()
    }
    return {
        "id": divergence_id(*key),
        "route": route,
        "status_legacy": status_legacy,
        "status_new": status_new,
        "kind": kind,
        "pointer": pointer,
        "severity": severity_of(group.newest, group.different, group.same),
        "count": group.count,
        "same": group.same,
        "different": group.different,
        "first_seen": group.first_seen,
        "last_seen": group.newest.at,
        "example": json.dumps(example),
    }


def _divergence(row: Row) -> Divergence:
    name, route, legacy, new, kind, pointer, severity, count, same, different, first, last, example = row
    return Divergence(
        id=name,
        route=route,
        status_legacy=legacy,
        status_new=new,
        kind=kind,
        pointer=pointer,
        severity=SEVERITIES[severity],
        count=count,
        same=same,
        different=different,
        first_seen=first,
        last_seen=last,
        example=json.loads(example),
    )


_inserted_epoch = upsert(epochs).values(epoch=bindparam("epoch"), body=bindparam("body"))
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
    index_elements=["route"], set_={"at": func.max(last_legacy.c.at, _inserted_legacy.excluded["at"])}
)

_inserted_finding = upsert(findings).values({name: bindparam(name) for name in findings.c.keys()})  # noqa: SIM118
_new = _inserted_finding.excluded
_ADD_FINDING: Final = _inserted_finding.on_conflict_do_update(
    index_elements=["id"],
    set_={
        "count": findings.c.count + _new["count"],
        "same": findings.c.same + _new["same"],
        "different": findings.c.different + _new["different"],
        # A group that once differed in meaning stays that severe.
        "severity": func.min(findings.c.severity, _new["severity"]),
        "last_seen": func.max(findings.c.last_seen, _new["last_seen"]),
        "example": _new["example"],
    },
)
