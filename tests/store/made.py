"""Sightings as a recorder makes them, and a file to keep them in, for the tests of this room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rules.flag import Flag, Hold, Stage
from store.entries import Entry
from store.evidence import CAP_BYTES, Batch, EvidenceStore
from store.flags import Commit, FlagStore
from store.groups import Example, Groups, Sighting

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
