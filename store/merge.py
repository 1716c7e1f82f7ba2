"""How pending groups join the divergences that the file has: one reading, one sum, one writing.

Rules of this file:

1. What is about to change is read inside the same transaction and the sum is written back, so counts are exact and
   every state follows from :mod:`store.triage` alone.
2. Of a group three comparisons stay: the first, the newest and the smallest one.
3. Pairs of a group that the file has forgotten, and that nobody explains again, cannot be described: they are counted
   as forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, text, update

from store.database import Row, Transaction
from store.dialect import upsert
from store.groups import MAX_CONSUMERS, Example, GroupState, Sighting
from store.schema import compared, comparisons, divergence_builds, divergence_places, divergences
from store.triage import State, after_missed, after_seen, needed

MAX_BUILDS: Final = 100
"""Builds of new that are told apart per route; the counts of an older one join the next."""

MAX_PATH: Final = 1 << 10
"""Characters of a folded pointer that are kept."""

_CHUNK: Final = 500
"""Names in one SELECT: SQLite takes 32,766 parameters, and the statement is compiled anew each time."""


class Builds:
    """Know the builds of new on one route, oldest first, and how often each was compared."""

    __slots__ = ("_position", "counts", "names", "total")

    def __init__(self, rows: Iterable[tuple[str, int]]) -> None:
        pairs = list(rows)
        self.names = [name for name, _ in pairs]
        self.counts = [count for _, count in pairs]
        self.total = sum(self.counts)
        self._position = {name: place for place, name in enumerate(self.names)}

    def position(self, build: str) -> int:
        """Say how new a build is; -1: so old that it was forgotten."""
        return self._position.get(build, -1)

    def newer_than(self, build: str) -> tuple[int, str]:
        """Count what was compared on newer builds, and name the first of them; empty: there is none."""
        start = self.position(build) + 1
        return sum(self.counts[start:]), self.names[start] if start < len(self.names) else ""


class Stored:
    """Hold one row of the table."""

    __slots__ = ("_row", "count", "id", "route", "state")

    def __init__(self, row: Row) -> None:
        self._row = dict(zip(divergences.c.keys(), row, strict=True))
        self.id: str = self._row["id"]
        self.route: str = self._row["route"]
        self.count: int = self._row["count"]
        self.state = State(self._row["state"])

    def __getitem__(self, name: str) -> Any:  # Any: a column's type is known by the reader
        return self._row[name]

    @property
    def values(self) -> dict[str, Any]:
        """Give every column."""
        return dict(self._row)

    def enough(self, total: int, missed: int) -> int:
        """Say how many comparisons without it prove it gone, of *total* on its route and *missed* on newer builds."""
        return needed(self.count, total - self["compared_before"] - missed)


async def merge(
    tx: Transaction, groups: Mapping[str, GroupState], counted: Mapping[tuple[str, str], int], at: float
) -> int:
    """Add pending groups, and what was compared per route and build of new; give the pairs that were forgotten.

    Cost: about 0.1 ms per group.
    """
    if not groups and not counted:
        return 0
    forgotten = 0
    routes = await _count_builds(tx, groups.values(), counted, at)
    grown: dict[str, int] = {}
    for (route, _), count in counted.items():
        grown[route] = grown.get(route, 0) + count
    for names in chunks(sorted(groups)):
        known = {row[0]: Stored(row) for row in await tx.rows(select(divergences).where(divergences.c.id.in_(names)))}
        found = [name for name in names if name in known or groups[name].described is not None]
        forgotten += sum(groups[name].count for name in names if name not in found)
        await tx.run_many(
            _PUT_DIVERGENCE,
            [_grown(name, groups[name], known.get(name), routes[groups[name].route], grown) for name in found],
        )
        await tx.run_many(_ADD_BUILD, [row for name in found for row in _build_rows(name, groups[name])])
        await tx.run_many(
            _ADD_PLACE, [row for name in found if name not in known for row in _place_rows(name, groups[name])]
        )
        examples = [(name, example) for name in found for example in groups[name].examples.values()]
        await tx.run_many(_ADD_COMPARISON, [_comparison_row(name, example) for name, example in examples])
        await tx.run_many(_KEEP_THREE, [{"of": name} for name in dict(examples)])
    for route in grown:
        await _settle(tx, route, routes[route])
    return forgotten


async def _count_builds(
    tx: Transaction, groups: Iterable[GroupState], counted: Mapping[tuple[str, str], int], at: float
) -> dict[str, Builds]:
    """Add what was compared, and read the builds of every route that is touched."""
    rows = {key: {"count": count, "first_seen": at, "last_seen": at} for key, count in counted.items()}
    for group in groups:
        for name, build in group.builds.items():
            row = rows.setdefault(
                (group.route, name), {"count": 0, "first_seen": build.first_seen, "last_seen": build.last_seen}
            )
            row["first_seen"] = min(row["first_seen"], build.first_seen)
            row["last_seen"] = max(row["last_seen"], build.last_seen)
    await tx.run_many(_ADD_COMPARED, [{"route": route, "build": name, **row} for (route, name), row in rows.items()])
    builds: dict[str, list[tuple[str, int]]] = {}
    for names in chunks(sorted({route for route, _ in rows})):
        for route, name, count in await tx.rows(
            select(compared.c.route, compared.c.build, compared.c.count)
            .where(compared.c.route.in_(names))
            .order_by(compared.c.first_seen, compared.c.build)
        ):
            builds.setdefault(route, []).append((name, count))
    for route, named in builds.items():
        while len(named) > MAX_BUILDS:
            oldest, count = named.pop(0)
            named[0] = (named[0][0], named[0][1] + count)
            await _fold_build(tx, route, oldest, *named[0])
    return {route: Builds(named) for route, named in builds.items()}


async def _fold_build(tx: Transaction, route: str, oldest: str, heir: str, count: int) -> None:
    of_route = select(divergences.c.id).where(divergences.c.route == route).scalar_subquery()
    table = divergence_builds.c
    await tx.run(delete(compared).where(compared.c.route == route, compared.c.build == oldest))
    await tx.run(update(compared).where(compared.c.route == route, compared.c.build == heir).values(count=count))
    await tx.run(delete(divergence_builds).where(table.build == oldest, table.divergence.in_(of_route)))


def _grown(
    name: str, group: GroupState, stored: Stored | None, builds: Builds, grown: Mapping[str, int]
) -> dict[str, object]:
    """Give the whole row of a group after its pending pairs."""
    described = group.described
    if stored is None:
        assert described is not None
        values = _first_row(name, described, compared_before=builds.total - grown.get(group.route, 0))
        state: State | None = None
    else:
        values, state = stored.values, stored.state
    if described is not None:
        values["rank"] = described.rank
    fixed_at = builds.position(values["fixed_build"])
    for build in sorted(group.builds, key=builds.position):
        state = after_seen(state, since_fix=builds.position(build) >= fixed_at)
    assert state is not None
    held = json.loads(values["consumers"])
    names = sorted({*held["names"], *group.consumers})
    seen = group.builds.values()
    return {
        **values,
        "count": values["count"] + group.count,
        "same": values["same"] + group.same,
        "different": values["different"] + group.different,
        "first_seen": min((values["first_seen"], *(build.first_seen for build in seen))),
        "last_seen": max((values["last_seen"], *(build.last_seen for build in seen))),
        "state": state.value,
        "settled": int(not state.needs_work),
        "last_build": max((values["last_build"], *group.builds), key=builds.position),
        "consumers": json.dumps({"names": names[:MAX_CONSUMERS], "more": held["more"] or len(names) > MAX_CONSUMERS}),
    }


def _first_row(name: str, described: Sighting, *, compared_before: int) -> dict[str, Any]:
    return {
        "id": name,
        "route": described.route,
        "status_legacy": described.status_legacy,
        "status_new": described.status_new,
        "rank": described.rank,
        "causes": json.dumps(described.causes),
        "count": 0,
        "same": 0,
        "different": 0,
        "compared_before": compared_before,
        "first_seen": described.at,
        "last_seen": described.at,
        "last_build": "",
        "fixed_build": "",
        "consumers": '{"names": [], "more": false}',
        "note": "",
        "ticket": "",
        "decided_by": "",
        "decided_at": 0.0,
        "noisy": 0,
    }


def _build_rows(name: str, group: GroupState) -> Iterator[dict[str, object]]:
    for build, seen in group.builds.items():
        yield {
            "divergence": name,
            "build": build,
            "count": seen.count,
            "first_seen": seen.first_seen,
            "last_seen": seen.last_seen,
        }


def _place_rows(name: str, group: GroupState) -> Iterator[dict[str, object]]:
    assert group.described is not None
    for place, (cause, path) in enumerate(group.described.places):
        yield {"divergence": name, "place": place, "cause": cause, "path": path[:MAX_PATH]}


def _comparison_row(name: str, example: Example) -> dict[str, object]:
    return {
        "id": example.id,
        "divergence": name,
        "request_id": example.request_id,
        "at": example.at,
        "bytes": example.size_bytes,
        "body": example.body,
    }


async def _settle(tx: Transaction, route: str, builds: Builds) -> None:
    """Find out which divergences of a route newer builds do not show any more."""
    if len(builds.names) < 2:
        return
    rows = await tx.rows(
        select(divergences).where(
            divergences.c.route == route,
            divergences.c.state.in_([State.OPEN.value, State.REGRESSED.value]),
            divergences.c.last_build != builds.names[-1],
        )
    )
    fixed = []
    for stored in map(Stored, rows):
        missed, first_without = builds.newer_than(stored["last_build"])
        state = after_missed(stored.state, compared=missed, enough=stored.enough(builds.total, missed))
        if state is State.FIXED:
            fixed.append({"of": stored.id, "now": state.value, "done": 1, "without": first_without})
    await tx.run_many(_FIX, fixed)


def chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list of names into parts that one SELECT takes."""
    for start in range(0, len(names), _CHUNK):
        yield names[start : start + _CHUNK]


# ---- statements ----------------------------------------------------------------------------------------------------

_inserted_compared = upsert(compared).values({name: bindparam(name) for name in compared.c.keys()})  # noqa: SIM118
_more = _inserted_compared.excluded
_ADD_COMPARED: Final = _inserted_compared.on_conflict_do_update(
    index_elements=["route", "build"],
    set_={
        "count": compared.c.count + _more["count"],
        "first_seen": func.least(compared.c.first_seen, _more["first_seen"]),
        "last_seen": func.greatest(compared.c.last_seen, _more["last_seen"]),
    },
)

_put = upsert(divergences).values({name: bindparam(name) for name in divergences.c.keys()})  # noqa: SIM118
_PUT_DIVERGENCE: Final = _put.on_conflict_do_update(
    index_elements=["id"],
    set_={name: _put.excluded[name] for name in divergences.c.keys() if name != "id"},  # noqa: SIM118
)

_inserted_build = upsert(divergence_builds).values(
    {name: bindparam(name) for name in divergence_builds.c.keys()}  # noqa: SIM118
)
_further = _inserted_build.excluded
_ADD_BUILD: Final = _inserted_build.on_conflict_do_update(
    index_elements=["divergence", "build"],
    set_={
        "count": divergence_builds.c.count + _further["count"],
        "first_seen": func.least(divergence_builds.c.first_seen, _further["first_seen"]),
        "last_seen": func.greatest(divergence_builds.c.last_seen, _further["last_seen"]),
    },
)

_ADD_PLACE: Final = (
    upsert(divergence_places)
    .values({name: bindparam(name) for name in divergence_places.c.keys()})  # noqa: SIM118
    .on_conflict_do_nothing()
)
_ADD_COMPARISON: Final = (
    upsert(comparisons)
    .values({name: bindparam(name) for name in comparisons.c.keys()})  # noqa: SIM118
    .on_conflict_do_nothing()
)


# As text: Core binds the number behind LIMIT, and rows of executemany have no place for it.
_KEEP_THREE: Final = text(
    "DELETE FROM comparisons WHERE divergence = :of AND id NOT IN ("
    "SELECT id FROM (SELECT id FROM comparisons WHERE divergence = :of ORDER BY at DESC, id LIMIT 1) AS newest "
    "UNION SELECT id FROM (SELECT id FROM comparisons WHERE divergence = :of ORDER BY at, id LIMIT 1) AS oldest "
    "UNION SELECT id FROM (SELECT id FROM comparisons WHERE divergence = :of ORDER BY bytes, at LIMIT 1) AS smallest)"
)

_FIX: Final = (
    update(divergences)
    .where(divergences.c.id == bindparam("of"))
    .values(state=bindparam("now"), settled=bindparam("done"), fixed_build=bindparam("without"))
)
