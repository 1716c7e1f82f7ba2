"""Rules of what the admin API says about nodes, where a node is alone; tests/test_replicas.py has three of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.auth import Visitor
from console.call import Asked
from console.flips import FlipAsk
from console.nodes import Nodes
from tests.console.pair import OPS, pair
from tests.rules.made import config, route
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio


async def test_a_node_that_is_alone_lists_itself(tmp_path: Path) -> None:
    """Without a shared database there is one node, which leads, and nobody to forget."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        found = (await node.get("/api/v1/nodes")).json()
        forgotten = await node.post("/api/v1/nodes/b/forget")

    assert found["shared"] is False
    (shown,) = found["nodes"]
    assert (shown["self"], shown["leader"], shown["away"], shown["lag"]) == (True, True, False, 0)
    assert [one["revision"] for one in shown["workers"]] == [worker.revision]
    assert (forgotten.status_code, forgotten.json()["type"]) == (404, "urn:matapalo:problem:unknown-node")
    assert "is not among the other nodes" in forgotten.json()["detail"]


async def test_what_a_node_serves_itself_it_knows_without_the_database(tmp_path: Path) -> None:
    """Right after a flip the node that made it is not behind, though the database has it as of its last beat."""
    asked = Asked(visitor=Visitor(name="eye", role="viewer"), caller=OPS, values={})
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        nodes = Nodes(one.state, "1", lambda: "")

        await one.flips.flip("orders", FlipAsk(stage="shadow"), OPS)
        body = (await nodes.nodes(asked)).body

    assert isinstance(body, dict)
    shown = {node["name"]: node["lag"] for node in body["nodes"]}
    assert shown == {"a": 0, "b": 1}
