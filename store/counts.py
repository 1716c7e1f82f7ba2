"""What each node counts now, for the others to read: one row per node, written over again and again.

Rules of this file:

1. A row is as old as the database's clock says, so no node's clock decides what still counts.
2. What stands in a row is its node's business; whoever cannot read it does without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from store.database import Database
from store.dialect import upsert
from store.nodes import unix_now
from store.schema import node_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Hold what one node told."""

    node: str
    body: bytes
    age_s: float
    """How long ago that was."""


class CountStore:
    """Keep the rows, in the database of the flags: its transactions are short, those of the evidence are not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tell(self, node: str, body: bytes) -> None:
        """Write what a node counts now over what it counted before.

        Raises: StoreError.
        Cost: one transaction of one statement.
        """
        async with self._database.transaction() as tx:
            await tx.run_many(_PUT, [{"name": node, "told": body}])

    async def others(self, node: str, fresh_s: float) -> list[Told]:
        """Read what the other nodes told within the last seconds.

        Raises: StoreError.
        """
        rows: list[tuple[Any, ...]] = await self._database.rows(  # Any: columns
            select(node_counts.c.node, node_counts.c.body, unix_now() - node_counts.c.at)
            .where(node_counts.c.node != node)
            .where(node_counts.c.at > unix_now() - fresh_s)
        )
        return [Told(node=name, body=bytes(body), age_s=max(0.0, age_s)) for name, body, age_s in rows]


_inserted: Final = upsert(node_counts).values(node=bindparam("name"), at=unix_now(), body=bindparam("told"))
_PUT: Final = _inserted.on_conflict_do_update(
    index_elements=["node"], set_={"at": _inserted.excluded.at, "body": _inserted.excluded.body}
)
