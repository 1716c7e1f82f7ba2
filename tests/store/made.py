"""What the tests of this room share: sightings as a recorder makes them, files for them, keys, short deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from rules.flag import Flag, Hold, Stage
from store.database import Database, StoreError
from store.entries import Entry
from store.evidence import CAP_BYTES, Batch, EvidenceStore
from store.flags import Commit, FlagStore
from store.groups import Example, Groups, Sighting
from store.schema import meta

HOLD = Hold(route="orders", keep_copying=True, reason="night", actor="ops", at="2026-01-01T00:00:00Z")
FLAG = Flag(stage=Stage.CANARY, percent_bp=1_250, sample_bp=10_000, salt="orders")
ENTRY = Entry(kind="flip", source="api", actor="é\0", routes=("orders",), reason="%s", at="", before={"ü": 1}, after={})


async def opened(place: Path | str, cap_bytes: int = CAP_BYTES) -> EvidenceStore:
    """Open a file that forgets nothing by age: the moments of these tests lie in 1970."""
    store = await EvidenceStore.open(str(place), cap_bytes)
    store.bound(max_age_s=1e12, cap_bytes=cap_bytes)
    return store


def sighting(divergence: str = "d-1", **changed: Any) -> Sighting:
    """Make one sighting; ``body`` and ``size_bytes`` go to its example."""
    at = changed.setdefault("at", 100.0)
    body = changed.pop("body", b"{}")
    example = Example(
        id=changed.pop("example", f"c-{divergence}-{at:g}"),
        request_id=changed.pop("request_id", f"r-{at:g}"),
        at=at,
        size_bytes=changed.pop("size_bytes", len(body)),
        body=body,
    )
    values: dict[str, Any] = {
        "route": "orders",
        "status_legacy": 200,
        "status_new": 200,
        "rank": 6,
        "causes": ("value.changed",),
        "places": (("value.changed", "/price"),),
        "same_meaning": False,
        "build": "",
        "consumer": "",
        "example": example,
    }
    return Sighting(divergence=divergence, **{**values, **changed})


async def fill(directory: Path) -> None:
    """Let a node of its own have worked for a while."""
    flags = await FlagStore.open(str(directory / "flags.db"))
    await flags.commit(Commit(revision=3, entry=ENTRY, set_flags={"orders": FLAG}, copying_off=frozenset({"cart"})))
    await flags.commit(Commit(revision=4, entry=replace(ENTRY, kind="hold"), hold=(HOLD,)))
    await flags.close()
    evidence = await opened(directory / "evidence.db")
    groups = Groups()
    groups.add(sighting(body=bytes(range(256))))
    await evidence.write(Batch(epochs={"e": b"\0\xff"}, answered={(1, "orders", "new"): 3_000_000_000}), groups)
    await evidence.close()


async def put(database: Database, key: str) -> None:
    """Write one key."""
    async with database.transaction() as tx:
        await tx.run(insert(meta).values(key=key, value="1"))


async def keys_of(database: Database) -> list[str]:
    """Read the keys that these tests write."""
    found = await database.rows(select(meta.c.key).where(meta.c.key != "schema_floor").order_by(meta.c.key))
    return [key for (key,) in found]


async def soon(database: Database) -> list[str]:
    """Read once the database is back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await keys_of(database)
        except StoreError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@contextmanager
def short(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """Shorten every deadline, so that a test of silence need not wait five seconds."""
    with monkeypatch.context() as patch:
        patch.setattr("store.postgres.DEADLINE_S", seconds)
        patch.setattr("store.driver.DEADLINE_S", seconds)
        patch.setattr("store.connecting.CONNECT_S", seconds)
        yield
