"""The share of a canary through real workers: as asked, the same on every node and after a restart."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from rules.bucket import bucket_of, is_new
from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Recorder, answer

CLIENTS = 400
SHARES_BP = (100, 1_000, 5_000)


@pytest.fixture
def backends() -> Iterator[dict[str, str]]:
    """Answer with the name of the side."""
    with Recorder(answer(b"legacy")) as legacy, Recorder(answer(b"new")) as new:
        yield {"legacy": legacy.url, "new": new.url}


def node(backends: dict[str, str]) -> OneWorker:
    """Start a node of its own with the same route and flag."""
    return OneWorker(
        backends=backends,
        routes=[route()],
        flags={"orders": flag(Stage.CANARY, percent_bp=SHARES_BP[0], sample_bp=0)},
        access_log=False,
    )


def sides(worker: OneWorker) -> list[bytes]:
    """Ask as each client once, over one connection, and read who answered."""
    with worker.client() as client:
        return [
            client.exchange(request_bytes(target="/api/orders/1", headers=(("X-User-Id", f"user-{number}"),))).body
            for number in range(CLIENTS)
        ]


def test_the_share_is_as_asked_on_every_node_and_after_a_restart(backends: dict[str, str]) -> None:
    """1, 10 and 50 % of the clients are on new, within 3 sigma, the same ones on two nodes and on a third process."""
    found = []
    with node(backends) as one, node(backends) as other:
        for percent_bp in SHARES_BP:
            for worker in (one, other):
                worker.push({"orders": flag(Stage.CANARY, percent_bp=percent_bp, sample_bp=0)})
            found.append(sides(one))
            assert sides(other) == found[-1]
    with node(backends) as restarted:
        assert sides(restarted) == found[0]

    keys = [b"user-%d" % number for number in range(CLIENTS)]
    before: set[int] = set()
    for percent_bp, seen in zip(SHARES_BP, found, strict=True):
        assert seen == [b"new" if is_new(bucket_of("orders", key), percent_bp) else b"legacy" for key in keys]
        on_new = {number for number, side in enumerate(seen) if side == b"new"}
        share = percent_bp / 10_000
        assert abs(len(on_new) - CLIENTS * share) <= 3 * math.sqrt(CLIENTS * share * (1 - share))
        assert before < on_new
        before = on_new
