"""Rules of what the watchdog judges: what legacy ever did, and how the times of both sides grew."""

from __future__ import annotations

from config.spec import WatchdogSpec
from console.epochs import Record
from console.watched import Latencies, past_of
from rules.window import Known


def test_legacy_s_past_is_what_it_answered_to_clients_and_copies() -> None:
    """All epochs count; only legacy's answers do, and what has no whole answer failed."""
    records = [
        Record(
            epoch="a",
            slot=0,
            counts={
                "requests|orders|legacy|old|2xx": 90,
                "requests|orders|legacy|old|5xx": 10,
                "requests|orders|new|fresh|5xx": 7,
                "paired|orders|GET|none|2xx": 3,
            },
        ),
        Record(epoch="b", slot=1, counts={"paired|orders|GET|2xx|5xx": 7, "eligible|orders": 4}),
    ]

    assert past_of(records) == {"orders": Known(requests=110, failed=13)}


def test_times_are_those_of_the_window() -> None:
    """Only what came within the window counts, summed over workers."""

    class Route:
        name = "orders"
        watchdog = WatchdogSpec(p95_ratio_max=2.0)

    def records(*new: int) -> list[Record]:
        return [Record(epoch="a", slot=0, histograms={"paired_head|orders|new": list(new)})]

    kept = Latencies()
    kept.tick(records(5), (Route,), 100.0)  # type: ignore[arg-type]  # all that is asked of a route
    kept.tick(records(5, 2), (Route,), 110.0)  # type: ignore[arg-type]  # as above
    kept.tick(records(9, 2), (Route,), 120.0)  # type: ignore[arg-type]  # as above

    assert kept.within("orders", 15, 120.0) == {"legacy": [], "new": [4, 0]}
    assert kept.within("orders", 60, 120.0) == {"legacy": [], "new": [4, 2]}
    assert kept.within("cart", 60, 120.0) == {}
