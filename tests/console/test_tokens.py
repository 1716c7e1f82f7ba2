"""Rules of tokens that are made at run time: shown once, rotated with an overlap, ended at once, kept as hashes."""

from __future__ import annotations

import re
import time
from pathlib import Path

import anyio
import httpx2
import pytest

from console.auth import Visitor
from console.call import Asked
from console.keyring import Keyring
from console.tokens import Tokens
from store.database import Database
from store.tokens import Token, read_tokens
from store.verify import verify
from tests.console.pair import OPS, pair
from tests.rules.made import config, route
from tests.support.controlnode import ControlNode

pytestmark = pytest.mark.anyio

ADMIN = ", tokens: [{name: boss, role: admin, token: env:BOSS}]"
BOSS = {"Authorization": "Bearer boss-token"}


async def status_with(client: httpx2.AsyncClient, value: str) -> int:
    """Ask for the status with a token."""
    return (await client.get("/api/v1/status", headers={"Authorization": f"Bearer {value}"})).status_code


async def test_the_life_of_a_token(tmp_path: Path) -> None:
    """A token is shown once, works at once with its role, is rotated with an overlap, survives a restart and the loss
    of the database, ends when revoked, is audited throughout; its value stands in no file, log or other answer."""
    node = ControlNode(tmp_path, admin=ADMIN)
    node.environment = {"BOSS": "boss-token"}
    await node.start()
    try:
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60, headers=BOSS) as client:
            made = await client.post("/api/v1/tokens", json={"name": "ci", "role": "viewer", "expires": "90d"})
            first = made.json()["value"]
            again = await client.post("/api/v1/tokens", json={"name": "ci", "role": "admin"})
            taken = await client.post("/api/v1/tokens", json={"name": "boss", "role": "admin"})
            bad_names = [
                (await client.post("/api/v1/tokens", json={"name": name, "role": "viewer"})).status_code
                for name in ("a~b", "Big", "watchdog", "")
            ]
            works = await status_with(client, first)
            too_low = await client.get("/api/v1/tokens", headers={"Authorization": f"Bearer {first}"})

            rotated = await client.post("/api/v1/tokens/ci/rotate", json={"overlap": "1h", "reason": "monthly"})
            second = rotated.json()["value"]
            listed = (await client.get("/api/v1/tokens")).json()["tokens"]
            overlap = [await status_with(client, value) for value in (first, second)]
            third = (await client.post("/api/v1/tokens/ci/rotate", json={"overlap": "0s"})).json()["value"]
            hard = [await status_with(client, value) for value in (first, second, third)]
        await node.close()
        await node.start()
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60, headers=BOSS) as client:
            restarted = [await status_with(client, value) for value in (first, second, third)]
            (node.state_dir / "flags.db").rename(tmp_path / "away.db")
            away = [await status_with(client, value) for value in (third, "boss-token", "mtp_nope")]
            cannot = await client.post("/api/v1/tokens/ci/revoke", json={})
            (tmp_path / "away.db").rename(node.state_dir / "flags.db")
            revoked = await client.post("/api/v1/tokens/ci/revoke", json={"reason": "lost laptop"})
            over = [await status_with(client, value) for value in (first, second, third)]
            unknown = await client.post("/api/v1/tokens/ci/revoke", json={})
            of_file = await client.post("/api/v1/tokens/boss/rotate", json={})
            audit = (await client.get("/api/v1/audit?limit=10")).json()["entries"]
            whole = (await client.get("/api/v1/audit?limit=500")).json()
            status = (await client.get("/api/v1/status")).json()
            answers = [(await client.get(path)).text for path in ("/api/v1/tokens", "/api/v1/audit", "/metrics")]
    finally:
        await node.close()

    assert re.fullmatch(r"mtp_[0-9A-Za-z]{43}", first)
    assert (again.status_code, taken.status_code, bad_names) == (409, 409, [422] * 4)
    assert (works, too_low.status_code, too_low.json()["needs"]) == (200, 403, "admin")
    assert (overlap, hard, restarted) == ([200, 200], [401, 401, 200], [401, 401, 200])
    assert [(one["name"], one["source"], one["state"]) for one in listed] == [
        ("boss", "file", "valid"),
        ("ci", "made", "valid"),
        ("ci", "made", "former"),
    ]
    assert listed[1]["made_by"] == "boss"
    assert listed[1]["last_used_at"] is not None
    assert listed[2]["expires_at"] < listed[1]["expires_at"]
    assert (away, cannot.status_code) == ([200, 200, 401], 503)
    assert (revoked.status_code, over) == (200, [401, 401, 401])
    assert (unknown.status_code, of_file.status_code) == (404, 409)
    assert "is not among the made tokens" in unknown.json()["detail"]
    changes = [one for one in audit if one["kind"] == "token"]
    shapes = [(one["before"]["ci"] is None, one["after"]["ci"] is None) for one in changes]
    assert shapes == [(False, True), (False, False), (False, False), (True, False)]
    assert [one["reason"] for one in changes] == ["lost laptop", "", "monthly", ""]
    chain = [{**one, "id": int(one["id"][2:])} for one in reversed(whole["entries"])]
    head = (len(chain), chain[-1]["hash"])
    assert verify(chain).broken is None
    assert verify(chain).head == head
    assert whole["head"] == status["audit"] == {"id": f"a-{head[0]}", "hash": head[1]}
    written = node.log.read_bytes() + b"".join(one.read_bytes() for one in node.state_dir.rglob("*") if one.is_file())
    for value in (first, second, third, "boss-token"):
        assert value.encode() not in written
        assert not any(value in text for text in answers)


async def test_what_one_node_revokes_no_node_lets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is made on one node is known on the other one, and one that is revoked there is refused, as soon as
    the other node has heard of any change: half a second later, and not only when it reads all tokens again."""
    monkeypatch.setattr("console.tokens.REFRESH_S", 600.0)
    async with pair(tmp_path, config(route("orders"))) as (one, two), anyio.create_task_group() as group:
        rings = (Keyring(), Keyring())
        here, there = (Tokens(node.state, ring) for node, ring in zip((one, two), rings, strict=True))
        group.start_soon(two.replicas.follow)
        group.start_soon(there.run)
        values = {"name": "ci", "role": "viewer", "reason": "", "expires": None}
        asked = Asked(visitor=Visitor(name="ops", role="admin"), caller=OPS, name="ci", values=values)
        made = await here.make_token(asked)
        assert isinstance(made.body, dict)
        value = made.body["value"]
        known, deadline = [], time.monotonic() + 60
        for is_known in (True, False):
            while (rings[1].find(value, time.time()) is not None) is not is_known:
                assert time.monotonic() < deadline, f"never known: {is_known}"
                await anyio.sleep(0.01)
            known.append(rings[0].find(value, time.time()) is not None)
            if is_known:
                await here.revoke_token(asked)
        group.cancel_scope.cancel()

    assert known == [True, False]


async def test_a_reading_from_before_a_revocation_does_not_take_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revoked token stays revoked although its node was just reading the tokens as they were before."""
    values = {"name": "ci", "role": "viewer", "reason": "", "expires": None}
    asked = Asked(visitor=Visitor(name="ops", role="admin"), caller=OPS, name="ci", values=values)
    has_read, go_on = anyio.Event(), anyio.Event()

    async def read_late(database: Database) -> tuple[Token, ...]:
        found = await read_tokens(database)
        has_read.set()
        await go_on.wait()
        return found

    async with pair(tmp_path, config(route("orders"))) as (one, _):
        ring = Keyring()
        here = Tokens(one.state, ring)
        made = await here.make_token(asked)
        assert isinstance(made.body, dict)
        async with anyio.create_task_group() as group:
            monkeypatch.setattr("console.tokens.read_tokens", read_late)
            group.start_soon(here.refresh)
            await has_read.wait()
            monkeypatch.setattr("console.tokens.read_tokens", read_tokens)
            await here.revoke_token(asked)
            go_on.set()

        assert ring.find(made.body["value"], time.time()) is None


async def test_a_token_ends_when_it_said(tmp_path: Path) -> None:
    """An expired token is refused with a sentence that names it, its end and the way to a new one."""
    node = ControlNode(tmp_path, admin=ADMIN)
    node.environment = {"BOSS": "boss-token"}
    await node.start()
    try:
        async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=60, headers=BOSS) as client:
            made = await client.post("/api/v1/tokens", json={"name": "ci", "role": "viewer", "expires": "300ms"})
            deadline = time.monotonic() + 60
            answer = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {made.json()['value']}"})
            while answer.status_code == 200 and time.monotonic() < deadline:
                answer = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {made.json()['value']}"})
            listed = (await client.get("/api/v1/tokens")).json()["tokens"]
    finally:
        await node.close()

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "'ci' was valid until" in answer.json()["detail"]
    assert "matapalo token rotate ci" in answer.json()["detail"]
    assert listed[-1]["state"] == "expired"
