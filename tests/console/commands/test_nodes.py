"""``matapalo nodes``."""

from __future__ import annotations

from typing import Any

from tests.console.commands.conftest import Cli, StandIn

NODE: dict[str, Any] = {
    "name": "a",
    "self": True,
    "leader": True,
    "address": "10.0.0.1:8081",
    "version": "0.1.0",
    "seen_at": "2026-01-31T03:00:00.000Z",
    "silent_s": 0.2,
    "away": False,
    "revision": 7,
    "lag": 0,
    "config": "9f" * 32,
    "same_config": True,
    "workers": [{"slot": 0, "pid": 1, "revision": 7}, {"slot": 1, "pid": 2, "revision": 7}],
    "reported_s": 1.0,
}
BEHIND = NODE | {"name": "b", "self": False, "leader": False, "revision": 5, "lag": 2, "same_config": False}
AWAY = NODE | {"name": "c", "self": False, "leader": False, "away": True, "silent_s": 12.0}


def answer(*nodes: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Answer with some nodes."""
    return 200, {"revision": 7, "shared": True, "database": None, "nodes": list(nodes)}


def test_nodes_are_listed_with_what_they_serve(cli: Cli, admin: StandIn) -> None:
    """Every node is one line with its revisions; one that is behind, away or different makes exit code 1."""
    admin.answers["*"] = answer(NODE, BEHIND, AWAY)

    done = cli("nodes", at=admin)

    assert done.code == 1
    assert "0:7 1:7" in done.out
    assert "2 behind" in done.out
    assert "another configuration" in done.out
    assert "away for 12 s" in done.out


def test_equal_nodes_are_exit_code_0(cli: Cli, admin: StandIn) -> None:
    """Nodes that all serve the same are exit code 0, also as JSON."""
    admin.answers["*"] = answer(NODE)

    assert cli("nodes", at=admin).code == 0
    assert cli("nodes", "--json", at=admin).code == 0


def test_a_node_is_forgotten_by_name(cli: Cli, admin: StandIn) -> None:
    """``--forget`` takes a node that is gone for good off the list, with the reason for the audit."""
    admin.answers["*"] = (200, {"changed": True, "node": "c", "audit_id": "a-9"})

    done = cli("nodes", "--forget", "c", "--reason", "scrapped", at=admin)

    assert (done.code, admin.asked[0].call, admin.asked[0].body) == (
        0,
        "POST /api/v1/nodes/c/forget",
        {"reason": "scrapped"},
    )
    assert "c is forgotten (a-9)" in done.out
