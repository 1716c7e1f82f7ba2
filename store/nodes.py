"""The nodes that share one database: who was seen when, with what; and which one leads.

Rules of this file:

1. Moments are the database's own, so no node's clock decides who is away or who leads.
2. The lease is renewed together with the node's row, in one transaction: whoever leads is seen.
3. A node that says goodbye has reported all that it counted; one that fell silent stays listed, because what it
   counted is missing, until somebody forgets it or :data:`FORGET_S` have passed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Float, delete, insert, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from store.database import Database, Transaction
from store.flags import remember
from store.schema import meta, node_counts, nodes

AWAY_S: Final = 5.0
"""A node silent for longer is away; it speaks every second."""

LEASE_S: Final = 5.0
"""How long a leader leads after it was last heard."""

FORGET_S: Final = 7 * 24 * 3_600.0
"""A node silent for longer is forgotten: nobody repairs a machine for more than a week."""

MAX_NODES: Final = 1_000
"""Beyond this many the longest silent ones are forgotten; new names for ever fill no table."""

SKEW_S: Final = 2.0
"""Clocks that differ more make audit and evidence of several nodes hard to read."""

_LEADER: Final = "leader"
"""The key of ``meta`` with who leads until when."""


class unix_now(FunctionElement[float]):  # noqa: N801 - it is written like a function of SQL
    """Be the database's own clock, in Unix time."""

    type = Float()
    inherit_cache = True


@compiles(unix_now, "sqlite")
def _in_sqlite(*_: object, **__: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(unix_now, "postgresql")
def _in_postgresql(*_: object, **__: object) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """Hold what one node said of itself, and how long ago."""

    name: str
    address: str
    """Of its admin API."""
    version: str
    started_at: float
    """Unix time by its own clock: it tells one start from another."""
    revision: int
    config: str
    """The digest of its configuration."""
    workers: tuple[Mapping[str, Any], ...] = ()  # Any: JSON
    """Slot, pid and revision of each."""
    reported_age_s: float | None = None
    """How old its last report to the evidence was when it spoke; ``None``: it cannot report."""
    seen_at: float = 0.0
    """Unix time by the database's clock."""
    age_s: float = 0.0
    """How long ago that was."""

    @property
    def is_away(self) -> bool:
        """Say whether it has been silent for too long."""
        return self.age_s > AWAY_S

    def serves(self, revision: int) -> bool:
        """Say whether all its workers serve a revision or a newer one."""
        return self.revision >= revision and all(worker["revision"] >= revision for worker in self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Answer one beat: who is there, who leads, and who has been forgotten."""

    nodes: tuple[NodeSeen, ...]
    """By name, the own one among them."""
    leader: str
    leads: bool
    """It is this very start of this node."""
    former: NodeSeen | None
    """What stood in our row before."""
    forgotten: tuple[str, ...] = field(default=())
    ahead_s: float = 0.0
    """How much our clock is ahead of the database's at least, negative behind it; 0: they may agree."""


class NodeStore:
    """Keep the table of nodes and the lease of the leader, in the database of the flags."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, node: NodeSeen) -> Beat:
        """Say that a node lives, take or renew the lease if it may, and read who else is there.

        Raises: StoreError.
        Cost: one transaction of five statements a second and node.
        """
        async with self._database.transaction() as tx:
            asked_at = time.time()
            now, seen = await _read(tx)
            ahead_s = _beyond(now, asked_at, time.time())
            former = next((one for one in seen if one.name == node.name), None)
            await tx.run(delete(nodes).where(nodes.c.name == node.name))
            await tx.run(insert(nodes).values(**_row(node), seen_at=now))
            others = [one for one in seen if one.name != node.name]
            silent = sorted((one for one in others if one.is_away), key=lambda one: -one.age_s)
            surplus = max(0, len(others) + 1 - MAX_NODES)
            lost = [one.name for place, one in enumerate(silent) if place < surplus or one.age_s > FORGET_S]
            for name in lost:
                await _strike(tx, name)
            leader = await _lead(tx, node, now)
        kept = [one for one in others if one.name not in lost]
        return Beat(
            nodes=tuple(sorted([*kept, node], key=lambda one: one.name)),
            leader=leader.partition("\n")[0],
            leads=leader == _one(node),
            former=former,
            forgotten=tuple(lost),
            ahead_s=ahead_s,
        )

    async def list(self) -> tuple[NodeSeen, ...]:
        """Read who is there, by name.

        Raises: StoreError.
        """
        return _seen(await self._database.rows(_NODES))

    async def forget(self, name: str, *, goodbye: bool = False) -> bool:
        """Take a node off the list, and say whether it was on it; *goodbye*: it leaves the lead with it.

        Raises: StoreError.
        """
        async with self._database.transaction() as tx:
            found = [one for one in (await _read(tx))[1] if one.name == name]
            await _strike(tx, name)
            if goodbye and (await _leads(tx))[0].partition("\n")[0] == name:
                await tx.run(delete(meta).where(meta.c.key == _LEADER))
        return bool(found)


async def _lead(tx: Transaction, node: NodeSeen, now: float) -> str:
    """Take the lease if it is free, ours, or has run out; give which start of which node has it."""
    leader, until = await _leads(tx)
    if leader and leader != _one(node) and now < until:
        return leader
    await remember(tx, {_LEADER: json.dumps([_one(node), now + LEASE_S])})
    return _one(node)


def _beyond(theirs: float, asked_at: float, answered_at: float) -> float:
    """Say how far the moment of asking lies behind *theirs*, or that of the answer before it; 0: it lies between."""
    return max(0.0, asked_at - theirs) + min(0.0, answered_at - theirs)


def _one(node: NodeSeen) -> str:
    """Name one start of a node: two processes under one name must not both lead."""
    return f"{node.name}\n{node.started_at!r}"


async def _strike(tx: Transaction, name: str) -> None:
    """Take a node off every list."""
    await tx.run(delete(nodes).where(nodes.c.name == name))
    await tx.run(delete(node_counts).where(node_counts.c.node == name))


async def _leads(tx: Transaction) -> tuple[str, float]:
    rows = await tx.rows(select(meta.c.value).where(meta.c.key == _LEADER))
    if not rows:
        return "", 0.0
    leader, until = json.loads(rows[0][0])
    return leader, until


async def _read(tx: Transaction) -> tuple[float, tuple[NodeSeen, ...]]:
    now: float = (await tx.rows(select(unix_now())))[0][0]
    return now, _seen(await tx.rows(_NODES))


def _row(node: NodeSeen) -> dict[str, object]:
    said = {"workers": list(node.workers), "reported_age_s": node.reported_age_s}
    return {
        "name": node.name,
        "address": node.address,
        "version": node.version,
        "started_at": node.started_at,
        "revision": node.revision,
        "config": node.config,
        "workers": json.dumps(said),
    }


def _seen(rows: list[tuple[Any, ...]]) -> tuple[NodeSeen, ...]:
    found = []
    for name, address, version, started_at, seen_at, revision, config, said, now in rows:
        shown = json.loads(said)
        found.append(
            NodeSeen(
                name=name,
                address=address,
                version=version,
                started_at=started_at,
                seen_at=seen_at,
                revision=revision,
                config=config,
                workers=tuple(shown["workers"]),
                reported_age_s=shown["reported_age_s"],
                age_s=max(0.0, now - seen_at),
            )
        )
    return tuple(found)


_NODES: Final = select(nodes, unix_now()).order_by(nodes.c.name)
