"""What the watchdog judges, made of what workers count: windows, what was ever known of legacy, and paired times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from config.spec import RouteSpec
from console.epochs import Record
from console.shapes import Json
from console.windows import Window as Counted
from rules.latency import added
from rules.window import FAILED, Known, Window


def window_of(counted: Counted, latency: Mapping[str, Sequence[int]]) -> Window:
    """Turn what was counted into what is judged."""
    compared = sum(counted.total(family) for family in ("identical", "tolerated", "divergent", "undecided"))
    return Window(
        seconds=counted.seconds,
        covers_s=counted.covers_s,
        new=counted.answered("new"),
        # An answer that was a 5xx and broke off, too, would count twice.
        new_failed=min(counted.failed("new"), counted.answered("new")),
        fallbacks=counted.total("fallbacks"),
        legacy=counted.answered("legacy"),
        legacy_failed=min(counted.failed("legacy"), counted.answered("legacy")),
        pairs=counted.pairs(),
        compared=compared,
        divergent=counted.total("divergent"),
        latency=latency,
    )


def past_of(records: Iterable[Record]) -> dict[str, Known]:
    """Sum up how often legacy ever failed each route, towards clients and in copies.

    Runs: in a thread; pure.
    Cost: 0.1 microseconds per key and epoch.
    """
    requests: dict[str, list[int]] = {}
    for record in records:
        for key, count in record.counts.items():
            if key.startswith("requests|"):
                _, route, side, _, code = key.split("|")
                if side != "legacy":
                    continue
            elif key.startswith("paired|"):
                _, route, _, code, _ = key.split("|")
            else:
                continue
            held = requests.setdefault(route, [0, 0])
            held[0] += count
            held[1] += count if code in FAILED else 0
    return {route: Known(requests=total, failed=failed) for route, (total, failed) in requests.items()}


class Latencies:
    """Keep how the paired times of both sides grew, for routes whose watchdog wants to know.

    Bound: :data:`KEPT` snapshots per route and side, one a second at most.
    """

    KEPT: Final = 600

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[float, Mapping[str, Sequence[int]]]]] = {}

    def tick(self, records: Sequence[Record], routes: Iterable[RouteSpec], now: float) -> None:
        """Take a snapshot of each watched route once per second."""
        wanted = {route.name for route in routes if route.watchdog is not None and route.watchdog.p95_ratio_max}
        self._kept = {name: kept for name, kept in self._kept.items() if name in wanted}
        for name in wanted:
            kept = self._kept.setdefault(name, [])
            if kept and now - kept[-1][0] < 1.0:
                continue
            sums: dict[str, Sequence[int]] = {}
            for side in ("legacy", "new"):
                sums[side] = []
                for record in records:
                    sums[side] = added(sums[side], record.histograms.get(f"paired_head|{name}|{side}", ()))
            kept.append((now, sums))
            del kept[: -self.KEPT]

    def within(self, name: str, seconds: float, now: float) -> Mapping[str, Sequence[int]]:
        """Give what came within the last *seconds*; empty: this route's times are not wanted."""
        kept = self._kept.get(name)
        if not kept:
            return {}
        first = next((sums for at, sums in kept if at >= now - seconds), kept[-1][1])
        return {side: _grown(kept[-1][1][side], first[side]) for side in ("legacy", "new")}

    def begin_anew(self, name: str) -> None:
        """Forget what a route did until now."""
        self._kept.pop(name, None)


def _grown(now: Sequence[int], before: Sequence[int]) -> list[int]:
    return [max(0, count - (before[at] if at < len(before) else 0)) for at, count in enumerate(now)]


def window_as_json(seen: Window) -> Json:
    """Show what was counted in a window, as it was judged."""
    return {
        "seconds": seen.seconds,
        "covers_s": round(seen.covers_s, 1),
        "nodes": len(seen.parts) or 1,
        "new": seen.new,
        "new_failed": seen.new_failed,
        "fallbacks": seen.fallbacks,
        "legacy": seen.legacy,
        "legacy_failed": seen.legacy_failed,
        "compared": seen.compared,
        "divergent": seen.divergent,
        "pairs": {f"{legacy} {new}": count for (legacy, new), count in sorted(seen.pairs.items())},
    }
