"""The autopilot's whole walk: real gates over real traffic, a control that dies, a person who interferes."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.recorder import Recorder, answer

ORDERS = "/api/v1/routes/orders"
JSON = (("Content-Type", "application/json"),)
WAIT_S = 60.0


def config(legacy: Recorder, new: Recorder) -> dict[str, Any]:  # Any: YAML
    """Write one route that walks fast, and whose gate asks for little."""
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
                "shadow": {"max_per_second": "off"},
                "gate": {
                    "comparisons": 300,
                    "distinct_requests": 1,
                    "divergent_max": "5%",
                    "error_delta_max": "50%",
                    "p95_ratio_max": 10,
                },
                "autopilot": {"steps": ["20%", "60%"], "bake": ["1s", "3s"]},
            }
        ],
    }


def place(product: Product) -> str:
    """Say where the route is."""
    flag = product.admin("GET", ORDERS)["flag"]
    return f"{flag['stage']} {flag['percent']:g}"


def said(product: Product) -> str:
    """Give the autopilot's sentence."""
    return str(product.admin("GET", ORDERS)["autopilot"]["sentence"])


def gate(product: Product) -> str:
    """Say what the gate says."""
    return str(product.admin("GET", f"{ORDERS}/gate")["result"])


def test_a_route_walks_to_live_on_evidence_and_back_when_it_differs() -> None:
    """It waits while its gate is inconclusive, takes each step when it passes, goes on where it was when control has
    died, pauses when a person flips, and goes back to shadow when new begins to differ."""
    fine, other = answer(b'{"id":1}', headers=JSON), answer(b'{"id":2}', headers=JSON)
    with (
        Recorder(fine, keep_bytes=0) as legacy,
        Recorder(fine, keep_bytes=0) as new,
        Product(config(legacy, new)) as product,
    ):
        product.admin("POST", f"{ORDERS}/flip", {"stage": "canary", "percent": 20, "force": True, "reason": "go"})
        wait_until(lambda: "the gate is inconclusive" in said(product), "it waits for evidence", WAIT_S)
        waited_at = place(product)
        with Load(product.port, clients=8, gap_s=0.03):
            wait_until(lambda: place(product) == "canary 60", "the first step", WAIT_S)
            control = product.pids()["control"]
            os.kill(control[0], signal.SIGKILL)
            product.wait_replaced("control", control, WAIT_S)
            wait_until(lambda: place(product) == "live 0", "it arrives, over a new control", WAIT_S)
            product.admin("POST", f"{ORDERS}/flip", {"stage": "canary", "percent": 60})
            wait_until(lambda: said(product).startswith("paused: somebody flipped it"), "it stands aside", WAIT_S)
            new.answer = other
            # Among all that was fine since the flip a few differences are no reason to go back, but to go on.
            wait_until(lambda: gate(product) == "fail", "the gate fails", WAIT_S)
            product.admin("POST", f"{ORDERS}/autopilot", {"on": True})
            wait_until(lambda: place(product).startswith("shadow"), "it goes back", WAIT_S)
        entries = product.admin("GET", "/api/v1/audit")["entries"]

    flips = [(entry["actor"], entry["after"]["orders"]) for entry in reversed(entries) if entry["kind"] == "flip"]
    walked = [f"{flag['stage']} {flag['percent']:g}" for actor, flag in flips if actor == "autopilot"]
    assert waited_at == "canary 20"
    assert walked[:2] == ["canary 60", "live 0"]
    assert walked[-1] == "shadow 0"
    gates = [entry["reason"] for entry in entries if (entry["actor"], entry["kind"]) == ("autopilot", "flip")]
    assert gates[0].startswith("back to shadow: the gate fails: ")
    assert gates[-1].startswith("canary 60 %: the gate passes: 0 divergent of ")
