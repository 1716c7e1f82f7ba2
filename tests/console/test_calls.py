"""Rules of the table of calls: what stands in it exists, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.calls import CALLS
from console.problem import KINDS
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio


async def call(node: ControlNode, call_path: str, method: str, **more: Any) -> httpx2.Response:
    """Make one call of the table with nothing in it."""
    path = call_path.replace("{name}", "orders")
    if method == "PATCH":
        return await node.patch(path, {}, **more)
    return await (node.get(path, **more) if method == "GET" else node.post(path, {}, **more))


async def test_every_call_is_in_openapi_and_answers(tmp_path: Path) -> None:
    """The OpenAPI document holds exactly the table's calls, and each of them answers as JSON or a problem."""
    async with running(tmp_path) as node:
        document = (await node.get("/api/v1/openapi.json")).json()
        answers = {
            (one.path, one.method.lower()): await call(node, one.path, one.method)
            for one in CALLS
            if one.name not in ("reload", "events")  # a stream does not end
        }

    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert document["openapi"] == "3.1.0"
    assert described == {(one.path, one.method.lower()) for one in CALLS}
    for (path, method), answer in answers.items():
        assert answer.status_code < 500, (path, method, answer.text)
        assert answer.status_code != 405
        if path != "/metrics":
            assert isinstance(answer.json(), dict)


def test_every_call_and_every_kind_of_problem_stands_on_the_page() -> None:
    """docs/admin-api.md names every path, its role and every kind of problem."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "admin-api.md").read_text()

    for one in CALLS:
        assert f"`{one.method} {one.path}" in page, one.path
    for kind in KINDS:
        assert f"`{kind}`" in page, kind
