"""What a proposed tolerance would have hidden is told from what was kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.tolerate import parse_tolerance
from console.foresight import MAX_EXAMPLES, foretell
from console.recorder import encode_finding
from console.sealing import Sealing
from shadow.link import Finding
from store.evidence import Batch, EvidenceStore
from store.groups import Groups
from tests.console.made import finding, item
from tests.store.made import opened, sighting

pytestmark = pytest.mark.anyio

SAID = {"reason": "clock", "owner": "shop", "expires": "2027-01-31"}
CLOCK = item("volatile.timestamp", "/at", legacy='"2026-11-21T10:00:00Z"', new='"2026-11-21T10:00:03Z"')
PRICE = item("value.changed", "/items/*/price")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EvidenceStore]:
    """Open an empty file."""
    store = await opened(tmp_path / "evidence.db")
    yield store
    await store.close()


async def keep(store: EvidenceStore, *findings: Finding, at: float | None = None) -> None:
    """Keep comparisons as control does."""
    groups = Groups()
    moment = time.time() if at is None else at
    for number, one in enumerate(findings):
        name = f"c-{one.divergence}-{number}"
        body = encode_finding(one)
        groups.add(sighting(one.divergence, route=one.route, at=moment, example=name, body=body))
    await store.write(Batch(at=moment), groups)


async def told(store: EvidenceStore, entry: dict[str, Any], days: int = 7) -> dict[str, Any]:
    """Ask what a tolerance of the route orders would have hidden."""
    return await foretell(
        store.divergences, Sealing(lambda: ("", ())), parse_tolerance({**entry, **SAID}, "orders"), days
    )


async def test_what_would_be_hidden_is_counted_and_shown(store: EvidenceStore) -> None:
    """Divergences of the clock alone would be gone, those with a wrong price beside it keep the price."""
    await keep(store, *[finding(CLOCK)] * 3, *[finding(CLOCK, PRICE)] * 2, finding(PRICE))

    found = await told(store, {"path": "$.at"})

    assert found["hidden"] == {"divergences": 1, "pairs": 3}
    assert found["partly"] == {"divergences": 1, "pairs": 2}
    assert found["unknown"] == {"divergences": 0, "pairs": 0}
    assert found["sentence"] == (
        "Of what was seen in the last 7 days it would have hidden "
        "all of 1 divergence (3 pairs), a part of 1 divergence (2 pairs)."
    )
    assert {(one["path"], one["whole"]) for one in found["examples"]} == {("/at", True), ("/at", False)}
    assert found["examples"][0]["legacy"] == '"2026-11-21T10:00:00Z"'


async def test_what_is_old_or_of_another_route_does_not_count(store: EvidenceStore) -> None:
    """Only what was seen on the route within the days is told."""
    await keep(store, finding(CLOCK, route="cart"))
    await keep(store, finding(CLOCK), at=time.time() - 9 * 86_400)

    week, month = await told(store, {"path": "$.at"}), await told(store, {"path": "$.at"}, days=30)

    assert week["sentence"] == "Of what was seen in the last 7 days it would have hidden nothing."
    assert week["examples"] == []
    assert month["hidden"] == {"divergences": 1, "pairs": 1}


async def test_what_the_reports_do_not_tell_is_said_to_be_unknown(store: EvidenceStore) -> None:
    """A rule whose values were redacted is not guessed about."""
    await keep(store, finding(item("value.changed", "/at", legacy="[redacted]", new="[redacted]")))

    found = await told(store, {"path": "$.at", "rule": "uuid"})

    assert found["unknown"] == {"divergences": 1, "pairs": 1}
    assert "perhaps something of" in found["sentence"]


async def test_ten_examples_are_enough(store: EvidenceStore) -> None:
    """However much would be hidden, ten examples are shown."""
    await keep(store, *(finding(item("value.changed", f"/a{number}/at")) for number in range(20)))

    found = await told(store, {"path": "$..at"})

    assert (len(found["examples"]), found["hidden"]["divergences"]) == (MAX_EXAMPLES, 20)
