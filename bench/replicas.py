"""How long a flip takes to every worker: on one node with its own files, and on three nodes over one PostgreSQL.

Black box: eight kept connections per node ask again and again, so both workers of each node are among them; a flip is
everywhere at the first moment at which every connection was answered by the new side. What the asking itself costs
(one round over all connections, and the 5 ms between two rounds) is part of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from bench.drills import Judgement
from bench.process import BenchError
from bench.rounds import Bench
from tests.conftest import find_part
from tests.support.nodes import Cluster, Follower, crowds, seconds_to_everybody
from tests.support.recorder import Recorder, answer

FLIPS: Final = 100
ONE_NODE_S: Final = 0.050
THREE_NODES_S: Final = 0.300

LEGACY, NEW = b'{"side":"legacy"}', b'{"side":"new"}'
JSON: Final = (("Content-Type", "application/json"),)


def flips_everywhere(_bench: Bench) -> Judgement:
    """Flip one route back and forth, on each node in turn, and take the 99th percentile."""
    postgres = find_part("postgres")
    if postgres is None:
        raise BenchError("PostgreSQL is not on this machine (scripts/parts installs it)")
    from tests.support.postgres import PostgresServer  # psycopg: an extra

    with ExitStack() as stack:
        legacy, new = (
            stack.enter_context(Recorder(answer(body, headers=JSON), keep_bytes=0)) for body in (LEGACY, NEW)
        )
        config = configuration(legacy.url, new.url)
        with Follower(config) as alone:
            one = measured([alone])
        server = stack.enter_context(PostgresServer(postgres.resolve().parent))
        with Cluster(server, config, 1) as cluster:
            shared = measured(cluster.nodes)
        with Cluster(server, config, 3) as cluster:
            three = measured(cluster.nodes)
    return Judgement(
        passed=p99(one) <= ONE_NODE_S and p99(shared) <= ONE_NODE_S and p99(three) <= THREE_NODES_S,
        figures=f"one node {told(one)}; one node over PostgreSQL {told(shared)}; three nodes {told(three)}; "
        f"{FLIPS} flips each, two workers per node",
    )


def configuration(legacy: str, new: str) -> dict[str, Any]:  # Any: YAML
    """Write the configuration that every node has."""
    return {
        "backends": {"old": {"url": legacy}, "shop": {"url": new}},
        "defaults": {"legacy": "old", "new": "shop", "sticky": ["header:X-User-Id"], "watchdog": "off"},
        "workers": 2,
        "routes": [{"name": "orders", "match": {"path": "/api/orders/{id}"}}],
    }


def measured(nodes: Sequence[Follower]) -> list[float]:
    """Flip on each node in turn; the seconds until every worker of all nodes had followed."""
    with crowds(nodes, "/api/orders/7") as asking:
        return [
            seconds_to_everybody(
                nodes[turn % len(nodes)], asking, *(("live", NEW) if turn % 2 == 0 else ("legacy", LEGACY))
            )
            for turn in range(FLIPS)
        ]


def p99(seconds: Sequence[float]) -> float:
    """Give the value that 99 of 100 do not exceed."""
    return sorted(seconds)[max(0, -(-len(seconds) * 99 // 100) - 1)]


def told(seconds: Sequence[float]) -> str:
    """Say median and p99."""
    return f"median {sorted(seconds)[len(seconds) // 2] * 1e3:.0f} ms, p99 {p99(seconds) * 1e3:.0f} ms"
