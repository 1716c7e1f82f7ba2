"""Divergences in ``evidence.db``: read worst first, decided about, forgotten in time.

Rules of this file:

1. What needs work stands before what is settled (accepted, fixed), then the worst rank, then what legacy does not show
   by itself, then the most frequent. Noise never moves a divergence behind one of a lesser rank.
2. Nobody says *fixed*: people accept and open again, :mod:`store.merge` finds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, func, or_, select, tuple_, update
from sqlalchemy.sql.elements import ColumnElement

from store.database import Database, Transaction
from store.merge import Builds, Stored, chunks
from store.repeats import Noise
from store.schema import (
    compared,
    comparisons,
    divergence_builds,
    divergence_places,
    divergences,
    rechecks,
    repeated,
)
from store.triage import BuildSeen, State

MAX_WEIGHED: Final = 1_000
"""Divergences per route whose noise is weighed, the worst ones: more than anybody pages through."""

Standing = tuple[int, int, int, int, str]
"""Where a divergence stands in the list: settled or not, rank, noisy or not, count, id."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Describe one group of differing pairs."""

    id: str
    route: str
    status_legacy: int
    status_new: int
    rank: int
    causes: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    """(cause, folded pointer), worst first."""
    count: int
    same: int
    different: int
    compared: int
    """Pairs of the route that were compared since the divergence was first seen, at least ``count``."""
    first_seen: float
    last_seen: float
    state: State
    last_build: str
    """The newest build of new that showed it."""
    fixed_build: str
    """The first build without it, when it was last found to be fixed; empty: it never was."""
    builds: tuple[BuildSeen, ...]
    """Of new on this route since the divergence was first seen, oldest first."""
    missed: int
    """Comparisons of newer builds than the last one that showed it."""
    enough: int
    """So many of them prove it gone."""
    consumers: tuple[str, ...]
    more_consumers: bool
    note: str
    ticket: str
    decided_by: str
    """Who accepted it or opened it again; empty: nobody."""
    decided_at: float
    noisy: bool
    """When this was last weighed, legacy differed from itself there about as often as new differed from it."""

    def is_noisy(self, noise: Noise) -> bool:
        """Tell whether legacy differs from itself here at least half as often as new differs from it."""
        rate = noise.rate_of(self.places)
        return rate is not None and rate > 0 and 2 * rate * self.compared >= self.count

    @property
    def standing(self) -> Standing:
        """Say where it stands in the list."""
        return int(not self.state.needs_work), self.rank, int(self.noisy), self.count, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Say which divergences a reader wants; what is ``None`` does not matter."""

    route: str | None = None
    cause: str | None = None
    """A cause, or a family of them: ``escape``."""
    state: State | None = None
    paths: tuple[str, ...] | None = None
    """Folded pointers, any of them; what stands above or below one counts too."""
    request: str | None = None
    """The id of a request that is kept as an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Describe one example of a divergence without its content."""

    id: str
    divergence: str
    request_id: str
    at: float
    size_bytes: int
    roles: tuple[str, ...]
    """``first``, ``newest``, ``smallest``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Say what somebody decided about a divergence; what is ``None`` stays as it is."""

    state: State | None
    """``open`` or ``accepted``."""
    note: str | None
    ticket: str | None
    by: str
    at: float


class DivergenceStore:
    """Read and grow the divergences of one open ``evidence.db``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- write -----------------------------------------------------------------------------------------------------

    async def decide(
        self, name: str, decision: Decision, note_down: Callable[[Divergence, Divergence], Awaitable[T]]
    ) -> T | None:
        """Write a decision, and take it back unless *note_down* could put it into the audit; ``None``: no such group.

        Raises: StoreError, and whatever *note_down* raises; nothing is then written.
        """
        before = await self.one(name)
        if before is None:
            return None
        state = decision.state or before.state
        values: dict[str, object] = {
            "state": state.value,
            "settled": int(not state.needs_work),
            "note": before.note if decision.note is None else decision.note,
            "ticket": before.ticket if decision.ticket is None else decision.ticket,
            "decided_by": decision.by,
            "decided_at": decision.at,
        }
        async with self._database.transaction() as tx:
            await tx.run(update(divergences).where(divergences.c.id == name).values(**values))
            rows = await tx.rows(select(divergences).where(divergences.c.id == name))
            if not rows:
                return None
            after = (await self._whole([Stored(row) for row in rows]))[0]
            return await note_down(before, after)

    async def weigh_noise(self, noise: Mapping[str, Noise]) -> None:
        """Note which divergences of these routes are as noisy as legacy itself.

        Bound: :data:`MAX_WEIGHED` divergences per route.
        Raises: StoreError.
        """
        changed = [
            {"of": one.id, "is_noisy": int(not one.noisy)}
            for route, heard in noise.items()
            for one in await self.page(Wanted(route=route), after=None, limit=MAX_WEIGHED)
            if one.is_noisy(heard) != one.noisy
        ]
        if changed:
            async with self._database.transaction() as tx:
                await tx.run_many(_MARK_NOISY, changed)

    async def forget(self, tx: Transaction, before: float) -> None:
        """Forget what was last seen before that moment; what somebody accepted stays, without its examples."""
        old = select(divergences.c.id).where(divergences.c.last_seen < before)
        await tx.run(delete(comparisons).where(comparisons.c.divergence.in_(old)))
        await self._remove(tx, old.where(divergences.c.state != State.ACCEPTED.value))

    async def thin_out(self, tx: Transaction) -> bool:
        """Drop every example but the newest of each group; false: there was none to drop."""
        other = comparisons.alias()
        newer = select(other.c.id).where(other.c.divergence == comparisons.c.divergence, other.c.at > comparisons.c.at)
        surplus = select(func.count()).select_from(comparisons).where(newer.exists())
        if not (await tx.rows(surplus))[0][0]:
            return False
        await tx.run(delete(comparisons).where(newer.exists()))
        return True

    async def forget_oldest(self, tx: Transaction, share: float) -> None:
        """Forget this share of the groups, those that were not seen for longest."""
        held = (await tx.rows(select(func.count()).select_from(divergences)))[0][0]
        oldest = select(divergences.c.id).order_by(divergences.c.last_seen).limit(max(1, int(held * share)))
        await tx.run(delete(comparisons).where(comparisons.c.divergence.in_(oldest.scalar_subquery())))
        await self._remove(tx, oldest)

    async def _remove(self, tx: Transaction, names: Any) -> None:  # Any: a SELECT of ids
        for table in (divergence_places, divergence_builds, repeated, rechecks):
            await tx.run(delete(table).where(table.c.divergence.in_(names.scalar_subquery())))
        await tx.run(delete(divergences).where(divergences.c.id.in_(names.scalar_subquery())))

    # ---- read ------------------------------------------------------------------------------------------------------

    async def page(self, wanted: Wanted, *, after: Standing | None, limit: int) -> list[Divergence]:
        """List divergences, behind the place *after* if that is given.

        Order: what needs work first, then worst first, then what legacy does not show by itself, then most frequent.
        Raises: StoreError.
        """
        table = divergences.c
        query = (
            select(divergences)
            .where(*_conditions(wanted))
            .order_by(table.settled, table.rank, table.noisy, table.count.desc(), table.id)
            .limit(limit)
        )
        if after is not None:
            *place, count, name = after
            columns = (table.settled, table.rank, table.noisy, -table.count)
            here = tuple_(*columns) == (*place, -count)
            query = query.where(or_(tuple_(*columns) > (*place, -count), here & (table.id > name)))
        return await self._whole([Stored(row) for row in await self._database.rows(query)])

    async def one(self, name: str) -> Divergence | None:
        """Find one divergence.

        Raises: StoreError.
        """
        rows = await self._database.rows(select(divergences).where(divergences.c.id == name))
        return (await self._whole([Stored(row) for row in rows]))[0] if rows else None

    async def examples(self, name: str) -> list[Kept]:
        """List the examples of one divergence, newest first.

        Raises: StoreError.
        """
        table = comparisons.c
        rows = await self._database.rows(
            select(table.id, table.divergence, table.request_id, table.at, table.bytes)
            .where(table.divergence == name)
            .order_by(table.at.desc(), table.id)
        )
        if not rows:
            return []
        smallest = min(rows, key=lambda row: (row[4], row[3]))
        roles = {"newest": rows[0][0], "smallest": smallest[0], "first": rows[-1][0]}
        return [
            Kept(
                id=row[0],
                divergence=row[1],
                request_id=row[2],
                at=row[3],
                size_bytes=row[4],
                roles=tuple(role for role, name in roles.items() if name == row[0]),
            )
            for row in rows
        ]

    async def comparison(self, name: str) -> tuple[str, bytes] | None:
        """Find one example: its divergence, and the description as it was handed in.

        Raises: StoreError.
        """
        rows = await self._database.rows(
            select(comparisons.c.divergence, comparisons.c.body).where(comparisons.c.id == name)
        )
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    async def in_work(self) -> dict[tuple[str, int], int]:
        """Count what needs work per (route, rank).

        Raises: StoreError.
        """
        rows = await self._database.rows(
            select(divergences.c.route, divergences.c.rank, func.count())
            .where(divergences.c.settled == 0)
            .group_by(divergences.c.route, divergences.c.rank)
        )
        return {(route, rank): count for route, rank, count in rows}

    async def _whole(self, found: Sequence[Stored]) -> list[Divergence]:
        """Add places and builds to rows."""
        places: dict[str, list[tuple[str, str]]] = {}
        seen: dict[str, dict[str, tuple[int, float, float]]] = {}
        builds: dict[str, list[tuple[str, int, float, float]]] = {}
        rows = self._database.rows
        for names in chunks([one.id for one in found]):
            table = divergence_places.c
            for name, cause, path in await rows(
                select(table.divergence, table.cause, table.path)
                .where(table.divergence.in_(names))
                .order_by(table.divergence, table.place)
            ):
                places.setdefault(name, []).append((cause, path))
            for name, build, count, first, last in await rows(
                select(divergence_builds).where(divergence_builds.c.divergence.in_(names))
            ):
                seen.setdefault(name, {})[build] = (count, first, last)
        for names in chunks(sorted({one.route for one in found})):
            for route, build, count, first, last in await rows(
                select(compared).where(compared.c.route.in_(names)).order_by(compared.c.first_seen, compared.c.build)
            ):
                builds.setdefault(route, []).append((build, count, first, last))
        return [
            _whole(one, tuple(places.get(one.id, ())), seen.get(one.id, {}), builds.get(one.route, [])) for one in found
        ]


def _whole(
    stored: Stored,
    places: tuple[tuple[str, str], ...],
    seen: Mapping[str, tuple[int, float, float]],
    builds: Sequence[tuple[str, int, float, float]],
) -> Divergence:
    """Join the row with its places and builds."""
    consumers = json.loads(stored["consumers"])
    known = Builds((name, count) for name, count, _, _ in builds)
    missed, _ = known.newer_than(stored["last_build"])
    return Divergence(
        id=stored.id,
        route=stored.route,
        status_legacy=stored["status_legacy"],
        status_new=stored["status_new"],
        rank=stored["rank"],
        causes=tuple(json.loads(stored["causes"])),
        places=places,
        count=stored.count,
        same=stored["same"],
        different=stored["different"],
        compared=max(stored.count, known.total - stored["compared_before"]),
        first_seen=stored["first_seen"],
        last_seen=stored["last_seen"],
        state=stored.state,
        last_build=stored["last_build"],
        fixed_build=stored["fixed_build"],
        builds=tuple(_builds_since(stored["first_seen"], seen, builds)),
        missed=missed,
        enough=stored.enough(known.total, missed),
        consumers=tuple(consumers["names"]),
        more_consumers=consumers["more"],
        note=stored["note"],
        ticket=stored["ticket"],
        decided_by=stored["decided_by"],
        decided_at=stored["decided_at"],
        noisy=bool(stored["noisy"]),
    )


def _builds_since(
    first_seen: float, seen: Mapping[str, tuple[int, float, float]], builds: Sequence[tuple[str, int, float, float]]
) -> Iterator[BuildSeen]:
    """Give every build that showed a divergence or was compared since its first time."""
    for name, count, _, last_compared in builds:
        shown, first, last = seen.get(name, (0, 0.0, 0.0))
        if shown or last_compared >= first_seen:
            yield BuildSeen(build=name, compared=max(count, shown), count=shown, first_seen=first, last_seen=last)


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    """Say in SQL which divergences are wanted."""
    table, places = divergences.c, divergence_places.c
    if wanted.route is not None:
        yield table.route == wanted.route
    if wanted.state is not None:
        yield table.state == wanted.state.value
    if wanted.cause is not None:
        of_family = places.cause.startswith(wanted.cause + ".", autoescape=True)
        yield table.id.in_(select(places.divergence).where(or_(places.cause == wanted.cause, of_family)))
    if wanted.paths is not None:
        near: list[ColumnElement[bool]] = []
        for path in wanted.paths:
            steps = path.split("/")
            near.append(places.path.in_(["/".join(steps[:size]) for size in range(min(2, len(steps)), len(steps) + 1)]))
            if path:
                near.append(places.path.startswith(path + "/", autoescape=True))
        yield table.id.in_(select(places.divergence).where(or_(*near)))
    if wanted.request is not None:
        yield table.id.in_(select(comparisons.c.divergence).where(comparisons.c.request_id == wanted.request))


_MARK_NOISY: Final = update(divergences).where(divergences.c.id == bindparam("of")).values(noisy=bindparam("is_noisy"))
