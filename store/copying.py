"""Copy everything from one place to another that is empty, table by table, and count it there.

Rules of this file:

1. All of a half is read at one moment and written in one transaction: it is there whole, or not at all.
2. The audit is copied as it is, numbers and hashes too, and its chain is verified before and after.
3. Columns that only one side has are left out or take their default: both sides have the schema of this version.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Final

from sqlalchemy import Table, bindparam, delete, func, insert, select

from store import chain
from store.database import Database, File, StoreError, Transaction, is_elsewhere, open_database
from store.entries import entry_as_json, entry_from_row
from store.schema import EVIDENCE, FLAGS, audit

OWN: Final = ("schema_floor", "leader")
"""Keys of ``meta`` that belong to a database, not to what is kept in it."""

DEADLINE_S: Final = 600.0
"""For one half: 256 MiB of evidence over a slow network."""

LEFT: Final = ("nodes", "node_counts")
"""Tables that say what is now."""


async def copy_all(source: str, target: str) -> dict[str, int]:
    """Copy both halves and give the rows per table.

    Shape: a place is a PostgreSQL or the directory of the SQLite files.
    Raises: StoreError; nothing is copied then, or of the evidence nothing.
    """
    if not is_elsewhere(source) and not await asyncio.to_thread(os.path.exists, _place(source, "flags")):
        raise StoreError(f"{source} has no flags.db; expected the `state_dir` of a Matapalo that has run")
    halves: tuple[File, ...] = ("flags", "evidence")
    counted: dict[str, int] = {}
    async with AsyncExitStack() as opened:
        pairs = []
        for file in halves:
            from_ = await _open(source, file, opened)
            to = await _open(target, file, opened)
            async with to.reading() as reading:
                await _refuse_full(reading, to.name, _tables(file))
            pairs.append((file, from_, to))
        for file, from_, to in pairs:
            counted |= await _copy(from_, to, file)
    return counted


async def _open(place: str, file: File, opened: AsyncExitStack) -> Database:
    database = await open_database(_place(place, file), file, DEADLINE_S)
    opened.push_async_callback(database.close)
    return database


def _tables(file: File) -> list[Table]:
    return [table for table in (FLAGS if file == "flags" else EVIDENCE).sorted_tables if table.name not in LEFT]


async def _refuse_full(tx: Transaction, name: str, tables: list[Table]) -> None:
    for table in tables:
        if held := await _held(tx, table, but=(*OWN, "began_at")):
            raise StoreError(
                f"{name} is not empty: {table.name} has {held} rows; copy into a new database "
                "(`matapalo db migrate` makes its tables)"
            )


async def _copy(from_: Database, to: Database, file: File) -> dict[str, int]:
    counted, tables = {}, _tables(file)
    async with from_.reading() as reading, to.transaction() as writing:
        await _refuse_full(writing, to.name, tables)
        if file == "flags":
            await _verify(reading, from_.name)
        else:
            await writing.run(delete(EVIDENCE.tables["evidence_meta"]))  # when an empty one began says nothing
        for table in tables:
            columns = table.c.keys()
            rows = [dict(zip(columns, row, strict=True)) for row in await reading.rows(select(table))]
            rows = [row for row in rows if table.name != "meta" or row["key"] not in OWN]
            await writing.run_many(insert(table).values({name: bindparam(name) for name in columns}), rows)
            if (found := await _held(writing, table, but=OWN)) != len(rows):
                raise StoreError(f"{to.name} took {found} of {len(rows)} rows of {table.name}; nothing was kept")
            counted[table.name] = len(rows)
        if file == "flags":
            await _verify(writing, to.name)
    return counted


async def _held(tx: Transaction, table: Table, *, but: tuple[str, ...]) -> int:
    """Count the rows of a table, but for some keys."""
    query = select(func.count()).select_from(table)
    if table.name in ("meta", "evidence_meta"):
        query = query.where(table.c.key.not_in(but))
    return int((await tx.rows(query))[0][0])


async def _verify(tx: Transaction, name: str) -> None:
    """Follow the chain of the audit.

    Raises: StoreError naming the first entry that does not fit.
    """
    previous = chain.GENESIS
    for row in await tx.rows(select(audit).order_by(audit.c.id)):
        shown = entry_as_json(entry_from_row(row))
        if shown["previous"] != previous or chain.digest(shown) != shown["hash"]:
            raise StoreError(f"the audit of {name} is broken at a-{shown['id']}; `matapalo audit --verify` says more")
        previous = str(shown["hash"])


def _place(place: str, file: File) -> str:
    return place if is_elsewhere(place) else os.path.join(place, f"{file}.db")
