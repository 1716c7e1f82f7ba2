"""Rules of tolerances at run time, over the admin API of a real control process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.tolerate import parse_tolerance
from tests.support.controlnode import ControlNode, running, until

pytestmark = pytest.mark.anyio

CALL = "/api/v1/tolerances"
TODAY = datetime.now(UTC).date()
SOON = (TODAY + timedelta(days=2)).isoformat()  # at midnight, too
LAST_DAY = (TODAY + timedelta(days=30)).isoformat()
SAID = {"reason": "clock", "owner": "shop", "expires": LAST_DAY}
CLOCK = {"route": "orders", "path": "$.at", **SAID}
IN_FILE_TOO = {**CLOCK, "path": "$.known"}

ROUTES = f"""\
  - name: orders
    match: {{path: "/orders/{{id:int}}"}}
    tolerate:
      - {{path: "$.known", reason: clock, owner: shop, expires: {LAST_DAY}}}
      - {{path: "$.soon", reason: clock, owner: shop, expires: {SOON}}}
      - {{path: "$.past", reason: clock, owner: shop, expires: 2026-01-31}}
  - name: cart
    match: {{path: /cart}}
  - name: pay
    match: {{path: /pay}}
"""
TOP = f"tolerate: {{cause: array.reordered, reason: maps, owner: shop, expires: {LAST_DAY}}}"


@pytest.fixture(scope="module")
async def control(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlNode]:
    """Run one control process, with tolerances in its file, for most tests of this file."""
    async with running(tmp_path_factory.mktemp("control"), routes=ROUTES, top=TOP) as node:
        yield node


@pytest.fixture
async def shared(control: ControlNode) -> AsyncIterator[ControlNode]:
    """Give the shared control without what an earlier test applied or linked."""
    for one in await applied(control):
        await control.post(f"{CALL}/{one['id']}/remove", {})
    assert await applied(control) == []
    yield control
    await control.unlink()


async def applied(node: ControlNode, route: str | None = None) -> list[dict[str, Any]]:
    """List the tolerances that do not stand in the file."""
    return [one for one in await listed(node, route) if one["source"] == "applied"]


async def listed(node: ControlNode, route: str | None = None) -> list[dict[str, Any]]:
    """List the tolerances."""
    answer = await node.get(CALL, params={"route": route} if route else {})
    assert answer.status_code == 200, answer.text
    tolerances: list[dict[str, Any]] = answer.json()["tolerances"]
    return tolerances


async def test_an_applied_tolerance_is_pushed_audited_and_survives_a_restart(tmp_path: Path) -> None:
    """What an operator applies reaches the workers, is audited, and is in force in the next life of control."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        done = (await node.post(CALL, {**CLOCK, "apply": True})).json()
        pushed = worker.spec
        again = (await node.post(CALL, {**CLOCK, "apply": True})).json()
        entry = (await node.get("/api/v1/audit")).json()["entries"][0]
    async with running(tmp_path) as node:
        held = await listed(node)
        begun = (await node.worker()).spec

    name = done["tolerance"]["id"]
    assert (done["changed"], again["changed"]) == (True, False)
    assert [spec.id for spec in pushed.tolerate] == [name]
    assert pushed.revision == done["revision"]
    assert (entry["kind"], entry["routes"], entry["before"]) == ("tolerate", ["orders"], {name: None})
    assert entry["after"][name]["path"] == "$.at"
    assert [(one["id"], one["source"], one["state"], one["hits"]) for one in held] == [(name, "applied", "in_force", 0)]
    assert begun.tolerate == pushed.tolerate


async def test_a_tolerance_is_extended_and_taken_away(shared: ControlNode) -> None:
    """Applying the same rule again changes its day; removing it leaves nothing, and both are audited."""
    later = (TODAY + timedelta(days=60)).isoformat()
    worker = await shared.worker()
    before = worker.spec.tolerate
    first = (await shared.post(CALL, {**CLOCK, "apply": True})).json()["tolerance"]["id"]
    await shared.post(CALL, {**CLOCK, "apply": True, "expires": later})
    extended = await applied(shared)
    gone = await shared.post(f"{CALL}/{first}/remove", {"reason": "fixed"})
    entries = (await shared.get("/api/v1/audit")).json()["entries"]
    left = await applied(shared)
    twice = await shared.post(f"{CALL}/{first}/remove", {})
    await until(lambda: worker.spec.tolerate == before, "the worker has it no more")

    assert [(one["id"], one["expires"]) for one in extended] == [(first, later)]
    assert (gone.status_code, gone.json()["changed"], left) == (200, True, [])
    assert [entry["kind"] for entry in entries[:3]] == ["untolerate", "tolerate", "tolerate"]
    assert (entries[0]["reason"], entries[0]["after"]) == ("fixed", {first: None})
    assert (twice.status_code, twice.json()["type"]) == (404, "urn:matapalo:problem:unknown-tolerance")


async def test_a_proposal_changes_nothing_and_gives_the_line_to_paste(shared: ControlNode) -> None:
    """Without apply nothing is written; the YAML reads back as the same tolerance, also where texts need quotes."""
    asked = {"route": "orders", "path": "$['it\\'s: {x}']", "rule": {"within": "1%"}, **SAID, "reason": 'a "b": # c'}
    audited = (await shared.get("/api/v1/audit")).json()["entries"]
    proposed = (await shared.post(CALL, asked)).json()
    bare = (await shared.post(CALL, {"cause": "key_order"})).json()
    endless = await shared.post(CALL, {"cause": "key_order", "days": 400})
    held = await applied(shared)
    audited_later = (await shared.get("/api/v1/audit")).json()["entries"]

    (pasted,) = yaml.safe_load(proposed["yaml"])
    pasted["expires"] = str(pasted["expires"])
    assert parse_tolerance(pasted, "orders").id == proposed["tolerance"]["id"]
    assert (pasted["reason"], pasted["rule"]) == ('a "b": # c', {"within": "1%"})
    assert (proposed["changed"], held) == (False, [])
    assert audited_later == audited
    assert bare["tolerance"]["owner"] == "(say who)"
    assert bare["would_hide"]["sentence"] == "Of what was seen in the last 7 days it would have hidden nothing."
    assert endless.status_code == 422


async def test_tolerances_of_the_file_are_listed_with_their_end(shared: ControlNode) -> None:
    """The list shows what is in force, what ends within a week and what has expired, also of the file; the metrics
    show when each ends."""
    held = await listed(shared)
    metrics = (await shared.get("/metrics")).text
    known = await shared.post(CALL, {**IN_FILE_TOO, "apply": True})
    removed = await shared.post(f"{CALL}/{held[0]['id']}/remove", {})

    assert [(one["path"] or one["cause"], one["state"], one["source"], one["route"]) for one in held] == [
        ("$.known", "in_force", "file", "orders"),
        ("$.soon", "ending", "file", "orders"),
        ("$.past", "expired", "file", "orders"),
        ("array.reordered", "in_force", "file", None),
    ]
    ends = dict(re.findall(r'tolerance_expiry_timestamp_seconds{route="(.+),tolerance=".+"} (\S+)', metrics))
    assert set(ends) == {'orders"', '*"'}
    assert all(float(at) % 86_400 == 0 for at in ends.values())
    passed = (datetime.now(UTC).date() - TODAY).days  # 1 if midnight has passed since the file was written
    assert [one["days_left"] for one in held] == [31 - passed, 3 - passed, 0, 31 - passed]
    assert (known.status_code, removed.status_code) == (409, 409)
    assert "stands in" in known.json()["detail"]
    assert "remove it there" in removed.json()["detail"]


async def test_where_the_file_rules_nothing_is_applied(tmp_path: Path) -> None:
    """With `flags: file` a tolerance is refused with the line for the file; proposing and listing still work."""
    async with running(tmp_path, top="flags: file") as node:
        refused = await node.post(CALL, {**CLOCK, "apply": True})
        proposed = await node.post(CALL, CLOCK)

    assert (refused.status_code, refused.json()["type"]) == (409, "urn:matapalo:problem:flags-in-file")
    assert '- {path: "$.at"' in refused.json()["detail"]
    assert proposed.status_code == 200


async def test_who_may_propose_may_not_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer reads, a developer proposes, and only an operator applies and removes."""
    for role in ("viewer", "developer", "operator"):
        monkeypatch.setenv(f"TOKEN_{role.upper()}", f"secret-{role}-0123456789")
    tokens = ", ".join(
        f"{{name: {role}, role: {role}, token: 'env:TOKEN_{role.upper()}'}}"
        for role in ("viewer", "developer", "operator")
    )
    async with running(tmp_path, admin=f", tokens: [{tokens}]") as node:

        async def status(role: str, body: dict[str, Any] | None, call: str = CALL) -> int:
            headers = {"authorization": f"Bearer secret-{role}-0123456789"}
            answer = await (node.get(call, headers=headers) if body is None else node.post(call, body, headers=headers))
            return answer.status_code

        assert [await status(role, None) for role in ("viewer", "developer", "operator")] == [200, 200, 200]
        assert [await status(role, CLOCK) for role in ("viewer", "developer", "operator")] == [403, 200, 200]
        applied = {**CLOCK, "apply": True}
        assert [await status(role, applied) for role in ("viewer", "developer", "operator")] == [403, 403, 200]
        name = parse_tolerance({"path": "$.at", **SAID}, "orders").id
        removal = f"{CALL}/{name}/remove"
        assert [await status(role, {}, removal) for role in ("viewer", "developer", "operator")] == [403, 403, 200]


async def test_what_the_file_would_refuse_is_refused(shared: ControlNode) -> None:
    """A wrong tolerance is a problem that names each wrong key, proposed or applied."""
    at = {"route": "orders", "path": "$.at"}
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"route": "ordres", "path": "$.at", **SAID}, 404, "orders"),
        ({"route": "orders", **SAID}, 422, "neither path nor cause"),
        ({"route": "orders", "path": "at", **SAID}, 422, "write $.at"),
        ({"route": "orders", "cause": "http.status", **SAID}, 422, "never hidden"),
        ({**at, "rule": {"within": 3, "guid": 1}, **SAID}, 422, "unknown key"),
        ({**at, "rule": 7, **SAID}, 422, "the name of a rule"),
        ({**at, "apply": True}, 422, "owner"),
        ({**at, **SAID, "expires": "tomorrow"}, 422, "2027-01-31"),
        ({**at, **SAID, "expires": "2026-01-31", "apply": True}, 422, "is over, so it would hide nothing"),
    ]
    answers = [await shared.post(CALL, body) for body, _, _ in wrong]

    for answer, (body, status, said) in zip(answers, wrong, strict=True):
        assert answer.status_code == status, body
        assert said in answer.text


async def test_hits_are_counted_per_tolerance_and_route(shared: ControlNode) -> None:
    """The list and the metrics show how often a tolerance hid something, and when last."""
    name = (await shared.post(CALL, {**SAID, "cause": "key_order", "apply": True})).json()["tolerance"]["id"]
    worker = await shared.worker()
    worker.tally({"identical|orders|legacy": 5, "unequal|orders|legacy": 4, f"tolerance_hits|orders|{name}": 3})
    worker.tally({f"tolerance_hits|orders|{name}": 3, f"tolerance_hits|cart|{name}": 2, "unequal|cart|legacy": 2})
    async with asyncio.timeout(60):
        (held,) = await applied(shared)
        while held["hits"] < 5:
            (held,) = await applied(shared)
    (cart,) = await applied(shared, "cart")
    (pay,) = await applied(shared, "pay")
    metrics = (await shared.get("/metrics")).text

    assert held["last_hit"] is not None
    assert (cart["hits"], cart["compared"], pay["hits"], pay["last_hit"]) == (2, 2, 0, None)
    assert f'matapalo_tolerance_hits_total{{route="orders",tolerance="{name}"}} 3.0' in metrics
