"""Sightings as a recorder makes them, and a file to keep them in, for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.evidence import CAP_BYTES, EvidenceStore
from store.groups import Example, Sighting


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
