"""Findings as a comparer sends them, for the tests of this room."""

from __future__ import annotations

import time
from typing import Any

from shadow import link


def item(cause: str = "value.changed", folded: str = "/items/*/price", **changed: Any) -> link.DifferenceItem:
    """Make one difference."""
    pointer = folded.replace("*", "0")
    values: dict[str, Any] = {
        "legacy_pointer": pointer,
        "new_pointer": pointer,
        "legacy_span": (3, 8),
        "new_span": (3, 7),
        "legacy": "12.50",
        "new": "12.5",
    }
    return link.DifferenceItem(cause=cause, folded=folded, **{**values, **changed})


def finding(*items: link.DifferenceItem, **changed: Any) -> link.Finding:
    """Make one finding; its divergence is named as a comparer names it."""
    items = items or (item(),)
    statuses = changed.setdefault("statuses", (200, 200))
    route = changed.setdefault("route", "orders")
    causes = tuple(sorted({one.cause for one in items}))
    values: dict[str, Any] = {
        "request_id": "r1",
        "method": "GET",
        "target": "/orders/7",
        "at": time.time(),
        "verdict": "divergent",
        "same_meaning": False,
        "causes": causes,
        "differences": items,
        "divergence": link.divergence_id(route, statuses, causes, (one.folded for one in items)),
        "legacy_bytes": 100,
        "new_bytes": 99,
    }
    return link.Finding(**{**values, **changed})
