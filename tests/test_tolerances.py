"""Tolerances in the product whole: what operators are promised, with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx2
import pytest

from tests.support.product import PLAIN, Product, wait_until
from tests.support.recorder import RecordedRequest, Recorder, Step, answer

JSON = (("Content-Type", "application/json"),)
CALL = "/api/v1/tolerances"
TODAY = datetime.now(UTC).date()
SAID = {"reason": "clock", "owner": "shop", "expires": (TODAY + timedelta(days=30)).isoformat()}
CLOCK = {"path": "$.items[*].at", "rule": {"timestamp": {"within": "1h"}}, **SAID}


def service(price: str, minute: int) -> Recorder:
    """Answer orders with a clock that runs; the price is that of ``/orders/right`` or of ``/orders/wrong``."""
    seconds = count()

    def orders(request: RecordedRequest) -> list[Step]:
        shown = price if request.target.endswith(b"wrong") else "10.00"
        at = f"2026-11-21T10:{minute:02d}:{next(seconds) % 60:02d}Z"
        return [answer(f'{{"items":[{{"at":"{at}","price":{shown}}}]}}'.encode(), headers=JSON)]

    return Recorder(orders, keep_bytes=0)


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with service("10.00", 1) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service, with another clock, and with a wrong price where it is asked for that."""
    with service("12.00", 2) as recorder:
        yield recorder


def config(legacy: Recorder, new: Recorder, *tolerate: dict[str, Any]) -> dict[str, Any]:  # Any: YAML
    """Write a configuration with one copied route."""
    return {
        "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
        "defaults": {"legacy": "old", "new": "shop", "sticky": ["header:X-User-Id"]},
        "routes": [
            {
                "name": "orders",
                "match": {"path": "/orders/{id}"},
                "initial_stage": "shadow",
                "shadow": {"max_per_second": "off"},
                "tolerate": list(tolerate),
            }
        ],
    }


class Asker:
    """Ask for orders and follow the verdicts of the route."""

    def __init__(self, product: Product) -> None:
        self.product = product

    def counts(self) -> dict[str, int]:
        """Give the route's verdicts."""
        shown = self.product.admin("GET", "/api/v1/routes/orders")["counts"]
        return {name: shown[name] for name in ("tolerated", "divergent")}

    def ask(self, which: str, times: int = 1) -> dict[str, int]:
        """Ask so often, and give the verdicts that this made."""
        before = self.counts()
        for _ in range(times):
            assert httpx2.get(f"{self.product.url}/orders/{which}", **PLAIN).status_code == 200
        wait_until(lambda: sum(self.counts().values()) >= sum(before.values()) + times, "every verdict")
        return {name: value - before[name] for name, value in self.counts().items() if value != before[name]}

    def tolerances(self) -> list[dict[str, Any]]:  # Any: JSON
        """List what is tolerated."""
        listed: list[dict[str, Any]] = self.product.admin("GET", CALL)["tolerances"]
        return listed


def test_a_clock_is_tolerated_and_the_wrong_price_beside_it_is_not(legacy: Recorder, new: Recorder) -> None:
    """A tolerated clock is tolerated, counted and shown; a wrong price beside it stays divergent, every time."""
    with Product(config(legacy, new, CLOCK)) as product:
        asker = Asker(product)
        right = asker.ask("right", 5)
        wrong = asker.ask("wrong", 3)
        again = asker.ask("right", 5)
        (shown,) = asker.tolerances()
        listed = product.run("tolerate", "--list", "--url", product.admin_url)
        metrics = product.text("/metrics")

    assert (right, wrong, again) == ({"tolerated": 5}, {"divergent": 3}, {"tolerated": 5})
    # The clock was hidden beside the wrong price, too.
    assert (shown["hits"], shown["source"]) == (13, "file")
    assert shown["last_hit"] is not None
    assert shown["id"] in listed.stdout
    assert f'matapalo_tolerance_hits_total{{route="orders",tolerance="{shown["id"]}"}} 13.0' in metrics


def test_a_tolerance_is_applied_and_taken_away_while_traffic_flows(legacy: Recorder, new: Recorder) -> None:
    """What an operator applies hides from the next pair on, and what is taken away hides nothing any more."""
    expired = {**CLOCK, "expires": (TODAY - timedelta(days=1)).isoformat()}
    with Product(config(legacy, new, expired)) as product:
        asker = Asker(product)
        before = asker.ask("right", 2)
        applied = product.admin("POST", CALL, {"route": "orders", "path": "$..at", **SAID, "apply": True})
        during = asker.ask("right", 2)
        name = applied["tolerance"]["id"]
        product.admin("POST", f"{CALL}/{name}/remove", {"reason": "fixed"})
        after = asker.ask("right", 2)
        states = {one["source"]: (one["state"], one["hits"]) for one in asker.tolerances()}

    assert (before, during, after) == ({"divergent": 2}, {"tolerated": 2}, {"divergent": 2})
    assert states == {"file": ("expired", 0)}
