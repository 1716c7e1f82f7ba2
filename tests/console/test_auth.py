"""Rules of who may call the admin API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.calls import CALLS
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio

TOKENS = (
    ", tokens: [{name: eye, role: viewer, token: env:EYE}, {name: dev, role: developer, token: env:DEV}, "
    "{name: ops, role: operator, token: env:OPS}]"
)
VALUES = {"EYE": "viewer-token", "DEV": "developer-token", "OPS": "operator-token"}
ROLE_OF = {"viewer": "EYE", "developer": "DEV", "operator": "OPS"}
RANK = ("viewer", "developer", "operator", "admin")


def bearer(name: str) -> dict[str, str]:
    """Carry one token."""
    return {"Authorization": f"Bearer {VALUES[name]}"}


async def call(node: ControlNode, call_path: str, method: str, **more: Any) -> httpx2.Response:
    """Make one call of the table with nothing in it."""
    path = call_path.replace("{name}", "orders")
    if method == "PATCH":
        return await node.patch(path, {}, **more)
    return await (node.get(path, **more) if method == "GET" else node.post(path, {}, **more))


async def guarded(tmp_path: Path) -> ControlNode:
    """Start a node with tokens."""
    node = ControlNode(tmp_path, admin=TOKENS)
    node.environment = dict(VALUES)
    return await node.start()


async def test_every_call_needs_its_role(tmp_path: Path) -> None:
    """Without a token every call is 401, with a lower role 403, with the role itself neither."""
    node = await guarded(tmp_path)
    try:
        for one in CALLS:
            nobody = await call(node, one.path, one.method)
            stranger = await call(node, one.path, one.method, headers={"Authorization": "Bearer nope"})
            assert (nobody.status_code, stranger.status_code) == (401, 401), one.path
            assert nobody.headers["www-authenticate"] == "Bearer"
            for role, name in ROLE_OF.items():
                answer = await call(node, one.path, one.method, headers=bearer(name))
                if RANK.index(role) < RANK.index(one.role):
                    assert answer.status_code == 403, (one.path, role)
                    assert answer.json()["needs"] == one.role
                else:
                    assert answer.status_code not in (401, 403), (one.path, role)
        unknown = await node.get("/api/v1/nope")
        known = await node.get("/api/v1/nope", headers=bearer("EYE"))
    finally:
        await node.close()

    assert unknown.status_code == 401
    assert known.status_code == 404


async def test_metrics_may_be_public(tmp_path: Path) -> None:
    """metrics_public opens /metrics and nothing else."""
    node = ControlNode(tmp_path, admin=TOKENS + ", metrics_public: true")
    node.environment = dict(VALUES)
    try:
        await node.start()
        metrics = await node.get("/metrics")
        status = await node.get("/api/v1/status")
    finally:
        await node.close()

    assert metrics.status_code == 200
    assert status.status_code == 401


async def test_the_actor_of_a_change_is_the_token(tmp_path: Path) -> None:
    """The audit names the token that changed something, and its value stands nowhere."""
    node = await guarded(tmp_path)
    try:
        await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"}, headers=bearer("OPS"))
        entry = (await node.get("/api/v1/audit?limit=1", headers=bearer("EYE"))).json()["entries"][0]
    finally:
        await node.close()
    written = node.log.read_bytes() + b"".join(file.read_bytes() for file in node.state_dir.glob("*.db*"))

    assert entry["actor"] == "ops"
    assert VALUES["OPS"].encode() not in written


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8081"},
        {"Host": "127.0.0.1.evil.example"},
    ],
    ids=str,
)
async def test_a_page_of_another_site_is_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """Without tokens, what a browser sends for a page of another site is refused with 403."""
    async with running(tmp_path) as node:
        get = await node.get("/api/v1/status", headers=headers)
        post = await node.post("/api/v1/routes/orders/flip", {"stage": "live"}, headers=headers)
        stage = (await node.get("/api/v1/routes/orders")).json()["flag"]["stage"]

    assert (get.status_code, post.status_code) == (403, 403)
    assert stage == "legacy"


async def test_our_own_page_and_programs_are_let_in(tmp_path: Path) -> None:
    """Without tokens, loopback by any of its names and our own origin may call."""
    async with running(tmp_path) as node:
        port = node.url.rpartition(":")[2]
        answers = [
            await node.get("/api/v1/status", headers=headers)
            for headers in (
                {"Host": f"localhost:{port}"},
                {"Host": f"127.0.0.1:{port}", "Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
                {"Sec-Fetch-Site": "none"},
                {"Host": f"[::1]:{port}"},
            )
        ]

    assert [answer.status_code for answer in answers] == [200] * 4
