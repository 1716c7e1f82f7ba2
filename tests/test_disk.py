"""A disk that takes nothing more: traffic goes on, flips are refused, nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Cluster
from tests.support.postgres import PostgresServer, unprivileged
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


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a file system of 24 MiB, where the machine lets us, outside of what only we may enter."""
    place = Path(tempfile.mkdtemp(prefix="matapalo-small-"))
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    is_there = os.getuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    try:
        if not is_there:
            pytest.skip("needs root and the right to mount a tmpfs")
        place.chmod(0o755)
        os.chown(place, *unprivileged())
        yield place
    finally:
        if is_there:
            subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


@pytest.mark.needs("postgres")
def test_a_full_disk_of_a_postgresql_refuses_flips_and_comes_back(
    small_disk: Path, part_path: Callable[[str], Path]
) -> None:
    """While a PostgreSQL has no room flips are 503 and name it, rollbacks hold; nothing that was answered is lost."""
    ballast = small_disk / "ballast"
    with (
        Recorder(answer(b"legacy")) as legacy,
        Recorder(answer(b"new")) as new,
        PostgresServer(part_path("postgres").resolve().parent, default_tablespace="small") as server,
    ):
        server.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        config = {
            "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
            "defaults": {"legacy": "old", "new": "shop", "gate": "off"},
            "routes": [{"name": "orders", "match": {"path": "/api/**"}, "initial_stage": "shadow", "watchdog": "off"}],
        }
        with Cluster(server, config, count=1) as cluster, RawClient(("127.0.0.1", cluster.nodes[0].port)) as client:
            (node,) = cluster.nodes
            _fill(ballast)
            acked: list[dict[str, Any]] = [node.flip("live")]
            refused: dict[str, Any] = {}
            while refused.get("status") != 503:
                answered = node.flip(("shadow", "live")[len(acked) % 2], status=None)
                (acked.append if "revision" in answered else refused.update)(answered)
                assert len(acked) < 500
            stage = node.stage()
            served = client.exchange(request_bytes(target="/api/a")).body
            node.admin("POST", "/api/v1/routes/orders/rollback", {"reason": "whatever the disk says"})
            held = client.exchange(request_bytes(target="/api/a")).body

            ballast.unlink()
            wait_until(node.well, "the database takes writes again")
            node.admin("POST", "/api/v1/routes/orders/release", {"reason": "room again"})
            acked.append(node.flip("canary", percent=1))
            exported = node.admin("GET", "/api/v1/audit?limit=500")["entries"]

    assert "No space left on device" in refused["detail"]
    assert "postgresql://matapalo@" in refused["detail"]
    assert "free some space" in refused["detail"]
    assert served == {"live": b"new", "shadow": b"legacy"}[stage]
    assert stage == acked[-2]["routes"][0]["after"]["stage"]
    assert held == b"legacy"
    assert {one["audit_id"] for one in acked if one["changed"]} <= {entry["id"] for entry in exported}


def _fill(ballast: Path) -> None:
    """Leave no byte of a file system."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
