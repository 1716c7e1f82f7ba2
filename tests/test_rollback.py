"""The bar of the automatic rollback: real processes, 200 requests a second to new, which begins to fail by half."""

from __future__ import annotations

import time
from itertools import count
from random import Random
from typing import Any, Self

import pytest

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.recorder import RecordedRequest, Recorder, answer

ORDERS = "/api/v1/routes/orders"
BAR_S = 5.0
FAILED = answer(b"broken", status=500, reason="Internal Server Error")
FINE = answer(b'{"id":1}', headers=(("Content-Type", "application/json"),))


class Service(Recorder):
    """Answer well, until told to fail every second request."""

    def __init__(self, seed: int) -> None:
        super().__init__(FINE, keep_bytes=0)
        self._random = Random(seed)

    def __enter__(self) -> Self:
        """Be the service itself."""
        return self

    def fail(self) -> None:
        """Fail by half from now on, each request by its own chance."""
        self.answer = self._chance

    def mend(self) -> None:
        """Answer well again."""
        self.answer = FINE

    def _chance(self, _: RecordedRequest) -> bytes:
        return FAILED if self._random.random() < 0.5 else FINE


def config(legacy: Service, new: Service, **shadow: Any) -> dict[str, Any]:  # Any: YAML
    """Write one route between the two."""
    return {
        "access_log": False,
        "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
        "routes": [
            {
                "name": "orders",
                "match": {"path": "/api/orders/{id}"},
                "legacy": "old",
                "new": "shop",
                "sticky": ["header:X-User-Id"],
                "shadow": shadow,
                "gate": "off",
                # Both sides failing by half differ all the time, and that is no divergence.
                "watchdog": {"divergent_max": "5%"},
            }
        ],
    }


def flip(product: Product, stage: str, **more: Any) -> None:  # Any: JSON
    """Flip the route."""
    product.admin("POST", f"{ORDERS}/flip", {"stage": stage, **more})


def is_held(product: Product) -> bool:
    """Tell whether the watchdog holds the route."""
    hold = product.admin("GET", ORDERS, status=None).get("hold")
    return hold is not None and hold["actor"] == "watchdog"


def seconds_to_rollback(product: Product, *failing: Service) -> float:
    """Fail by half, and measure until no request reaches new any more: the hold is in force in every worker."""
    new = failing[-1]
    for service in failing:
        service.fail()
    began = time.monotonic_ns()
    wait_until(lambda: is_held(product), "the route is taken back", 30)
    last = max(request.at_ns for request in new.requests[-200:])
    for service in failing:
        service.mend()
    return (last - began) / 1e9


def release(product: Product) -> None:
    """Let the route go again."""
    product.admin("POST", f"{ORDERS}/release", {})


def await_answers(product: Product, side: str, wanted: int, what: str) -> None:
    """Wait until a side has answered so many requests from now on."""

    def so_far() -> int:
        counts = product.totals()["counts"]
        return sum(number for key, number in counts.items() if key.startswith(f"requests|orders|{side}|"))

    before = so_far()
    wait_until(lambda: so_far() - before >= wanted, what)


@pytest.mark.parametrize(
    ("stage", "more"), [("canary", {"percent": 50}), ("live", {})], ids=["canary", "live, 1 % copied"]
)
def test_new_that_fails_by_half_is_taken_back_within_five_seconds_and_equal_failure_never(
    stage: str, more: dict[str, int]
) -> None:
    """In canary and in live, new that begins to fail by half at 200 requests a second is taken back within 5 s, with
    the value in the audit; when both sides fail by half, nothing is taken back, but an alert."""
    with Service(1) as legacy, Service(2) as new, Product(config(legacy, new)) as product:
        flip(product, "canary", percent=50)
        # In canary half of them are legacy's.
        with Load(product.port, clients=16 if stage == "canary" else 8, gap_s=0.035):
            await_answers(product, "legacy", 600, "traffic, and a past of legacy")
            if stage != "canary":
                flip(product, stage, **more)
                await_answers(product, "new", 1_400, "more than the seconds in which legacy still answered clients")

            legacy.fail()
            new.fail()
            said = wait_until(lambda: _alerts(product), "both sides failing is an alert")
            await_answers(product, "new", 1_500, "both go on failing")
            held_alike = is_held(product)
            legacy.mend()
            new.mend()
            # The window has to forget that legacy failed: a new one begins with a hold's release.
            product.admin("POST", f"{ORDERS}/hold", {})
            wait_until(lambda: product.admin("GET", ORDERS)["watchdog"]["state"] == "idle", "the hold is seen")
            release(product)
            await_answers(product, "new", 1_200, "healthy traffic")
            tries = count(1)
            best = seconds_to_rollback(product, new)
            while best > BAR_S and next(tries) < 3:
                release(product)
                flip(product, stage, **more)
                await_answers(product, "new", 1_200, "healthy traffic")
                best = min(best, seconds_to_rollback(product, new))
        # The hold is in force before its entry is written.
        entry = wait_until(lambda: _newest(product, "rollback"), "the entry of the rollback")
        assert entry is not None

    assert not held_alike
    assert said.startswith("both sides fail: new failed ")
    assert best <= BAR_S
    assert entry["actor"] == "watchdog"
    assert "requests (5xx or no answer) within" in entry["reason"]
    assert entry["reason"].endswith("limit 1 % more")


def _newest(product: Product, kind: str) -> dict[str, Any] | None:  # Any: JSON
    entries = product.admin("GET", "/api/v1/audit")["entries"]
    return next((entry for entry in entries if entry["kind"] == kind), None)


def _alerts(product: Product) -> str:
    watched = product.admin("GET", ORDERS)["watchdog"]
    return str(watched["sentence"]) if watched["state"] == "alert" else ""
