"""A disk that takes nothing more: traffic goes on, flips are refused, nothing acknowledged is lost."""

from __future__ import annotations

import resource
import sys

import pytest

from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Recorder, answer

FLIP = "/api/v1/routes/orders/flip"


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_full_disk_refuses_flips_and_serves_on() -> None:
    """When control can write no byte more a flip is 503 and changes nothing; it works again once there is room."""
    with Recorder(answer(b"legacy")) as legacy, Recorder(answer(b"new")) as new:
        config = {
            "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
            "defaults": {"legacy": "old", "new": "shop"},
            "routes": [{"name": "orders", "match": {"path": "/api/**"}, "initial_stage": "shadow"}],
        }
        with Product(config) as product, RawClient(("127.0.0.1", product.port)) as client:
            control = product.pids()["control"][0]
            resource.prlimit(control, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            refused = product.admin("POST", FLIP, {"stage": "live"}, status=503)
            assert client.exchange(request_bytes(target="/api/a")).body == b"legacy"
            assert product.admin("GET", "/api/v1/routes/orders")["flag"]["stage"] == "shadow"

            resource.prlimit(control, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            wait_until(lambda: product.admin("POST", FLIP, {"stage": "live"}, status=None).get("changed"), "a flip")
            assert client.exchange(request_bytes(target="/api/a")).body == b"new"

    assert refused["detail"]
