"""``GET /api/v1/routes/{name}/encoding``: advice from what a comparer reported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from shadow import link
from tests.console.made import finding, item
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio

SEPARATOR = item("whitespace.separator", "", detail="', ' -> ',', ': ' -> ':'", legacy="", new="")
NEWLINE = item("whitespace.trailing_newline", "", detail=r"'' -> '\n'", legacy="", new=r"\n")


async def advice(node: ControlNode, pairs: int, query: str = "") -> dict[str, Any]:  # Any: JSON
    """Wait until so many pairs are planned with."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = (await node.get(f"/api/v1/routes/orders/encoding{query}")).json()
        if found["pairs"] >= pairs:
            return found
        assert time.monotonic() < deadline, found


async def test_recorded_divergences_become_a_plan_and_code(tmp_path: Path) -> None:
    """Counts come from the groups, known pairs included; what an encoder cannot change is left with its place."""
    both = finding(SEPARATOR, NEWLINE, same_meaning=True)
    async with running(tmp_path) as node:
        comparer = await node.comparer()
        comparer.send(both)
        comparer.send(link.Seen(route="orders", counts={both.divergence: 87}, at=time.time()))
        comparer.send(finding(NEWLINE, item(), request_id="r2"))
        found = await advice(node, 89)
        like = await advice(node, 89, "?like=django")
        unknown = await node.get("/api/v1/routes/nothing/encoding")
        wrong = await node.get("/api/v1/routes/orders/encoding?like=cobol")

    assert [(step["cause"], step["identical"]) for step in found["plan"]] == [
        ("whitespace.trailing_newline", 0),
        ("whitespace.separator", 88),
    ]
    assert found["left"] == [{"cause": "value.changed", "pairs": 1, "places": ["/items/*/price"]}]
    assert "jsontext.SpaceAfterComma(true), jsontext.SpaceAfterColon(true)" in found["code"]["go"]
    assert "append(b, '\\n')" not in found["code"]["go"]
    assert "django" in found["fits"]
    assert "writeFloat" in like["code"]["go"]
    assert (unknown.status_code, wrong.status_code) == (404, 422)


async def test_a_route_without_evidence_has_no_code(tmp_path: Path) -> None:
    """Nothing recorded is said so, with an empty plan."""
    async with running(tmp_path) as node:
        found = await advice(node, 0)

    assert (found["pairs"], found["plan"], found["left"], found["code"]) == (0, [], [], {})
