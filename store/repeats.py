"""What asking again has shown: how often legacy differs from itself, how often a difference was gone, last rechecks.

Rules of this file:

1. Noise is counted per route, day and place: how often legacy was asked twice, and how often it differed there.
   A place is a folded pointer into the body, or the name of a cause where no pointer leads (status, headers).
   A rate is that of the last :data:`WINDOW_DAYS`; older days are forgotten.
2. A divergence is as noisy as its quietest place: one place that legacy never changes by itself makes it worth reading.
   Cosmetic causes beside others do not count: how a value is written never changes by itself.
3. Repeats of a divergent pair are counted per divergence and attempt; of rechecks the last one is remembered.
4. Memory is bounded: what does not fit between two batches is dropped and counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select

from config.causes import COSMETIC
from store.database import Database, Transaction
from store.dialect import upsert
from store.schema import noise_asked, noise_places, rechecks, repeated

MAX_PENDING: Final = 5_000
"""Places and divergences between two batches; a route asks about one request in a second by default."""

MAX_PLACE: Final = 1 << 10
"""Characters of a place."""

DAY_S: Final = 86_400

WINDOW_DAYS: Final = 7
"""Legacy changes little, but its data and load do: last month's noise says little about today's."""

ENOUGH_ASKED: Final = 20
"""Fewer second questions say nothing about how noisy a place is."""


def place_of(cause: str, folded: str) -> str:
    """Name the place of one difference: a folded pointer into the body, or the cause where it is not in the body."""
    return cause if cause.startswith("http.") else folded


@dataclass(slots=True, kw_only=True)
class Observed:
    """Hold what one batch adds."""

    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(route, day since 1970) to how often legacy was asked twice."""
    noisy: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(route, day, place) to how often it differed there."""
    again: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(divergence, attempt, outcome) to how often that was so."""

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.asked or self.noisy or self.again)


class RepeatLog:
    """Collect what repeats have shown between two batches.

    Bound: :data:`MAX_PENDING` places and divergences.
    """

    __slots__ = ("_pending", "dropped")

    def __init__(self) -> None:
        self._pending = Observed()
        self.dropped = 0
        """Counts that did not fit."""

    def ask(self, route: str, places: Iterable[str], at: float) -> None:
        """Count one second question to legacy, and the places at which its answer differed from the first one's."""
        pending, day = self._pending, int(at // DAY_S)
        pending.asked[route, day] += 1
        for place in {place[:MAX_PLACE] for place in places}:
            self._count(pending.noisy, (route, day, place))

    def repeat(self, divergence: str, attempt: int, outcome: str) -> None:
        """Count one repeat of a divergent pair."""
        self._count(self._pending.again, (divergence, attempt, outcome))

    def take(self) -> Observed:
        """Hand over what is pending, and begin anew."""
        taken, self._pending = self._pending, Observed()
        return taken

    def put_back(self, taken: Observed) -> None:
        """Take back what could not be written."""
        pending = self._pending
        pending.asked.update(taken.asked)
        for mine, theirs in ((pending.noisy, taken.noisy), (pending.again, taken.again)):
            for key, count in theirs.items():
                self._count(mine, key, count)

    def _count(self, counter: Counter[tuple[str, int, str]], key: tuple[str, int, str], count: int = 1) -> None:
        if key not in counter and len(self._pending.noisy) + len(self._pending.again) >= MAX_PENDING:
            self.dropped += count
        else:
            counter[key] += count


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Say how often legacy differs from itself on one route."""

    asked: int = 0
    """How often it was asked twice."""
    places: Mapping[str, int] = field(default_factory=dict)
    """Place to how often it differed there."""

    def rate_of(self, places: Iterable[tuple[str, str]]) -> float | None:
        """Give the share of second answers that differ at the quietest of these (cause, folded pointer).

        Cosmetic causes are left out beside others: a separator would make every clock beside it look silent.
        Shape: 0 to 1; ``None``: legacy was asked too rarely, or there is no place.
        """
        found = list(places)
        weighed = [one for one in found if one[0] not in COSMETIC] or found
        names = {place_of(cause, folded)[:MAX_PLACE] for cause, folded in weighed}
        if self.asked < ENOUGH_ASKED or not names:
            return None
        return min(self.places.get(name, 0) for name in names) / self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """Remember the last recheck of one divergence."""

    divergence: str
    comparison: str
    at: float
    outcome: str
    sentence: str
    actor: str
    build_legacy: str
    build_new: str


class RepeatStore:
    """Read and grow what repeats have shown, in one open ``evidence.db``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, tx: Transaction, observed: Observed) -> None:
        """Add one batch."""
        await tx.run_many(
            _ADD_ASKED,
            [{"route": route, "day": day, "count": count} for (route, day), count in observed.asked.items()],
        )
        await tx.run_many(
            _ADD_PLACE,
            [
                {"route": route, "day": day, "place": place, "count": count}
                for (route, day, place), count in observed.noisy.items()
            ],
        )
        await tx.run_many(
            _ADD_REPEATED,
            [
                {"divergence": name, "attempt": attempt, "outcome": outcome, "count": count}
                for (name, attempt, outcome), count in observed.again.items()
            ],
        )

    async def remember(self, recheck: Recheck) -> None:
        """Remember a recheck in place of the one before.

        Raises: StoreError.
        """
        inserted = upsert(rechecks).values(**asdict(recheck))
        rest = {name: inserted.excluded[name] for name in asdict(recheck) if name != "divergence"}
        async with self._database.transaction() as tx:
            await tx.run(inserted.on_conflict_do_update(index_elements=["divergence"], set_=rest))

    async def forget(self, tx: Transaction, now: float) -> None:
        """Forget the days before the window."""
        first = int(now // DAY_S) - WINDOW_DAYS
        for table in (noise_asked, noise_places):
            await tx.run(delete(table).where(table.c.day < first))

    async def noise(self, routes: Iterable[str] | None, now: float | None = None) -> dict[str, Noise]:
        """Sum up the noise of these routes, or of all (``None``); one that was never asked twice is missing.

        Raises: StoreError.
        """
        first = int((time.time() if now is None else now) // DAY_S) - WINDOW_DAYS + 1
        asked_since, places_since = noise_asked.c.day >= first, noise_places.c.day >= first
        if routes is not None:
            names = list(dict.fromkeys(routes))
            asked_since &= noise_asked.c.route.in_(names)
            places_since &= noise_places.c.route.in_(names)
        asked = await self._database.rows(
            select(noise_asked.c.route, func.sum(noise_asked.c.count)).where(asked_since).group_by(noise_asked.c.route)
        )
        places: dict[str, dict[str, int]] = {}
        for route, place, count in await self._database.rows(
            select(noise_places.c.route, noise_places.c.place, func.sum(noise_places.c.count))
            .where(places_since)
            .group_by(noise_places.c.route, noise_places.c.place)
        ):
            places.setdefault(route, {})[place] = count
        return {route: Noise(asked=count, places=places.get(route, {})) for route, count in asked}

    async def repeated(self, divergences: Sequence[str]) -> dict[str, dict[int, dict[str, int]]]:
        """Give per divergence and attempt how often each outcome was seen.

        Raises: StoreError.
        """
        found: dict[str, dict[int, dict[str, int]]] = {}
        table = repeated.c
        for name, attempt, outcome, count in await self._database.rows(
            select(table.divergence, table.attempt, table.outcome, table.count)
            .where(table.divergence.in_(divergences))
            .order_by(table.divergence, table.attempt)
        ):
            found.setdefault(name, {}).setdefault(attempt, {})[outcome] = count
        return found

    async def rechecks(self, divergences: Sequence[str]) -> dict[str, Recheck]:
        """Give the last recheck of each of these divergences.

        Raises: StoreError.
        """
        rows = await self._database.rows(select(rechecks).where(rechecks.c.divergence.in_(divergences)))
        names = rechecks.c.keys()
        return {row[0]: Recheck(**dict(zip(names, row, strict=True))) for row in rows}


def _adding(table: Any, *keys: str) -> Any:  # Any: SQLAlchemy's table and its statement
    """Make the statement that adds a count to a row, or begins one."""
    inserted = upsert(table).values({name: bindparam(name) for name in table.c.keys()})  # noqa: SIM118
    return inserted.on_conflict_do_update(
        index_elements=list(keys), set_={"count": table.c["count"] + inserted.excluded["count"]}
    )


_ADD_ASKED: Final = _adding(noise_asked, "route", "day")
_ADD_PLACE: Final = _adding(noise_places, "route", "day", "place")
_ADD_REPEATED: Final = _adding(repeated, "divergence", "attempt", "outcome")
