"""``matapalo diffs`` and ``matapalo diff``."""

from __future__ import annotations

from typing import Any

from tests.console.commands.conftest import Cli, StandIn

GROUP: dict[str, Any] = {
    "id": "d-5f0c2a91b3",
    "route": "orders",
    "statuses": [200, 200],
    "kind": "body",
    "pointer": "/items/*/price",
    "severity": "value",
    "count": 79,
    "same_meaning": {"yes": 0, "no": 79, "unknown": 0},
    "first_seen": "2026-01-31T01:00:00Z",
    "last_seen": "2026-01-31T02:00:00Z",
    "sentence": "price differs",
}


def test_divergences_are_listed_most_severe_first(cli: Cli, admin: StandIn) -> None:
    """Each group is one line; the command for the next step is printed."""
    admin.answers["*"] = (200, {"divergences": [GROUP], "next": "c1"})

    printed = cli("diffs", "orders", at=admin)

    line = next(line for line in printed.out.splitlines() if "d-5f0c2a91b3" in line)
    assert line.split()[:5] == ["d-5f0c2a91b3", "orders", "value", "79", "no"]
    assert "matapalo diffs orders --cursor c1" in printed.out
    assert "matapalo diff d-5f0c2a91b3" in printed.out


def test_nothing_seen_is_said_so(cli: Cli, admin: StandIn) -> None:
    """An empty list is a sentence, not an empty screen."""
    admin.answers["*"] = (200, {"divergences": [], "next": None})

    assert "No divergence has been seen on orders." in cli("diffs", "orders", at=admin).out


def test_one_divergence_shows_both_fragments(cli: Cli, admin: StandIn) -> None:
    """The example shows request, byte, pointer, what stands on either side, and which of the two was asked first."""
    example = {
        "request_id": "r1",
        "method": "GET",
        "target": "/api/orders/7",
        "at": "2026-01-31T02:00:00Z",
        "verdict": "divergent",
        "same_meaning": False,
        "offset": 118,
        "pointer": "/items/0/price",
        "legacy": "12.50",
        "new": "12.5",
        "copy_after_us": -1_500,
    }
    admin.answers["*"] = (200, {**GROUP, "same_meaning": {"yes": 3, "no": 79}, "example": example})

    printed = cli("diff", "d-5f0c2a91b3", at=admin)

    for part in ("GET /api/orders/7", "byte 118", "/items/0/price", "legacy  12.50", "new     12.5", "yes 3, no 79"):
        assert part in printed.out
    assert "the copy was sent 1.5 ms before the request that was answered" in printed.out
    assert cli("diff", "d-5f0c2a91b3", "--json", at=admin).json["example"] == example
