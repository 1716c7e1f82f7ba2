"""Read what Matapalo counted, and hold it against what the clients saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

VERDICTS = ("identical", "tolerated", "divergent", "errored", "undecided")

Totals = Mapping[str, Any]
"""The answer of ``GET /api/v1/totals``; keys as in docs/architecture.md, "Counting"."""


def by_route(totals: Totals) -> dict[str, Counter[str]]:
    """Add each family up per route: ``{"orders": {"sent": 7, "identical": 6, …}}``.

    ``requests`` stays apart by side: ``requests.legacy``, ``requests.new``.
    """
    added: dict[str, Counter[str]] = defaultdict(Counter)
    for key, count in (*totals["counts"].items(), *totals["gauges"].items()):
        family, *labels = key.split("|")
        if labels:
            name = f"requests.{labels[1]}" if family == "requests" else family
            added[labels[0]][name] += count
    return added


def law_holds(totals: Totals) -> bool:
    """Check the law of counting on every route (docs/architecture.md).

    ``eligible = unsampled + skipped + sent``, ``sent = identical + unequal + errored + in flight``,
    ``unequal = tolerated + divergent + undecided``, where what still waits counts as queued.
    """
    return all(
        counts["eligible"] == counts["unsampled"] + counts["skipped"] + counts["sent"]
        and counts["sent"] == counts["identical"] + counts["unequal"] + counts["errored"] + counts["in_flight"]
        and counts["unequal"] == counts["tolerated"] + counts["divergent"] + counts["undecided"] + counts["queued"]
        for counts in by_route(totals).values()
    )


def is_settled(totals: Totals) -> bool:
    """Say whether no copy is under way and no pair waits for its verdict."""
    return not any(counts["in_flight"] or counts["queued"] for counts in by_route(totals).values())


def mismatches(totals: Totals, answered: Mapping[tuple[str, str], int]) -> list[str]:
    """Name every (route, side) that Matapalo and the clients counted differently.

    Shape: the clients see no route matched as route ``-`` answered by ``legacy``;
    Matapalo counts it as side ``undeclared``.
    """
    counted = {
        (route, name.removeprefix("requests.")): count
        for route, counts in by_route(totals).items()
        for name, count in counts.items()
        if name.startswith("requests.") and count
    }
    seen = {(route, "undeclared" if route == "-" else side): count for (route, side), count in answered.items()}
    return [
        f"route {route!r}, side {side}: Matapalo counted {counted.get((route, side), 0)} requests, "
        f"the clients {seen.get((route, side), 0)}"
        for route, side in sorted(counted.keys() | seen.keys())
        if counted.get((route, side), 0) != seen.get((route, side), 0)
    ]
