"""Rules of the admin API: one table, problems that say everything, nothing that a client sends breaks it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.calls import CALLS
from console.problem import KINDS, PREFIX
from shadow import link
from tests.support.controlnode import ControlNode, running, until

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
    return await (node.get(path, **more) if method == "GET" else node.post(path, {}, **more))


async def guarded(tmp_path: Path) -> ControlNode:
    """Start a node with tokens."""
    node = ControlNode(tmp_path, admin=TOKENS)
    node.environment = dict(VALUES)
    return await node.start()


async def test_every_call_is_in_openapi_and_answers(tmp_path: Path) -> None:
    """The OpenAPI document holds exactly the table's calls, and each of them answers as JSON or a problem."""
    async with running(tmp_path) as node:
        document = (await node.get("/api/v1/openapi.json")).json()
        answers = {
            (one.path, one.method.lower()): await call(node, one.path, one.method)
            for one in CALLS
            if one.name != "reload"
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


async def test_a_form_cannot_change_anything(tmp_path: Path) -> None:
    """A POST that is not application/json is 415, because any page can send a form."""
    async with running(tmp_path) as node, httpx2.AsyncClient(base_url=node.url, trust_env=False) as client:
        form = await client.post("/api/v1/routes/orders/flip", data={"stage": "live"})
        plain = await client.post(
            "/api/v1/routes/orders/flip", content='{"stage":"live"}', headers={"content-type": "text/plain"}
        )
        bare = await client.post("/api/v1/routes/orders/rollback")

    assert [form.status_code, plain.status_code, bare.status_code] == [415, 415, 415]


async def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """A stage that does not exist, a percent of 140 and an unknown field are three faults of one problem."""
    async with running(tmp_path) as node:
        answer = await node.post(
            "/api/v1/routes/orders/flip", {"stage": "canari", "percent": 140, "perzent": 1, "force": "yes"}
        )

    body = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == PREFIX + "invalid-request"
    assert {fault["where"] for fault in body["errors"]} == {"stage", "percent", "perzent", "force"}
    assert "legacy, shadow, canary, live, complete, gone" in body["detail"]
    assert "percent is 140; expected a share from 0 to 100" in body["detail"]


async def test_an_unknown_route_is_404_with_the_nearest_name(tmp_path: Path) -> None:
    """An unknown route answers 404 with the nearest name and all known ones, for reading and changing."""
    async with running(tmp_path) as node:
        get = await node.get("/api/v1/routes/oders")
        post = await node.post("/api/v1/routes/oders/flip", {"stage": "live"})
        share = await node.get("/api/v1/share?route=oders")

    for answer in (get, post, share):
        assert answer.status_code == 404
        assert answer.json()["did_you_mean"] == "orders"
        assert answer.json()["known"] == ["beta", "cart", "orders", "pay"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/v1/routes/orders/flip", b"{", 400),
        ("POST", "/api/v1/routes/orders/flip", b"[]", 400),
        ("POST", "/api/v1/routes/orders/flip", b"\xff\xfe", 400),
        ("POST", "/api/v1/routes/orders/flip", b"[" * 60_000, 400),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","reason":"' + b"x" * 70_000 + b'"}', 413),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","reason":"a\\u0000b"}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","reason":"\\ud800"}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":NaN}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":true}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":"1e2"}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":0.001}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary"}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","percent":5}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","if_revision":-1}', 422),
        ("POST", "/api/v1/undo", b'{"audit_id":"42"}', 422),
        ("POST", "/api/v1/status", b"{}", 405),
        ("GET", "/api/v1/routes/orders/flip", b"", 405),
        ("GET", "/api/v1/audit?cursor=x", b"", 400),
        ("GET", "/api/v1/audit?limit=0", b"", 422),
        ("GET", "/api/v1/audit?limit=9999", b"", 422),
        ("GET", "/api/v1/audit?foo=1", b"", 422),
        ("GET", "/api/v1/divergences?cursor=bm9wZQ", b"", 400),
        ("GET", "/api/v1/divergences?cursor=%00", b"", 422),
        ("GET", "/api/v1/divergences/d-0000000000", b"", 404),
        ("GET", "/api/v1/share?window=5", b"", 422),
        ("GET", "/api/v1/share?window=90d", b"", 422),
        ("GET", "/api/v1/explain", b"", 422),
        ("GET", "/api/v1/explain?path=nope", b"", 422),
        ("GET", "/api/v1/explain?path=/x&header=nope", b"", 422),
        ("GET", "/api/v1/explain?path=/x&client_ip=nope", b"", 422),
        ("GET", "/api/v1/explain?path=/x&method=G%20T", b"", 422),
        ("GET", "/api/v1/status/", b"", 404),
        ("GET", "/", b"", 404),
    ],
)
async def test_bad_input_is_a_problem_and_never_a_crash(
    bad_input_node: ControlNode, method: str, path: str, body: bytes, status: int
) -> None:
    """Whatever is wrong with a request, the answer is a problem with a sentence, and the next request is served."""
    async with httpx2.AsyncClient(base_url=bad_input_node.url, trust_env=False) as client:
        answer = await client.request(method, path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status
    assert answer.json()["detail"]
    assert answer.json()["errors"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Keep one loop for the whole file, so that one node can serve many cases."""
    return "asyncio"


@pytest.fixture(scope="module")
async def bad_input_node(tmp_path_factory: pytest.TempPathFactory) -> Any:  # Any: an async generator fixture
    """Run one node for all bad requests: it has to survive them all."""
    async with running(tmp_path_factory.mktemp("bad")) as node:
        yield node
        assert (await node.get("/api/v1/status")).status_code == 200
        assert b"api.failed" not in node.log.read_bytes()


async def test_percent_is_taken_as_number_or_text(tmp_path: Path) -> None:
    """5, 5.0, "5" and "5%" are the same share; 12.5 is exact."""
    async with running(tmp_path) as node:
        shown = []
        for percent in (5, "5%", "5", 5.0, 12.5, "12.5%"):
            await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": percent})
            shown.append((await node.get("/api/v1/routes/orders")).json()["flag"]["percent"])

    assert shown == [5.0, 5.0, 5.0, 5.0, 12.5, 12.5]


async def test_findings_become_divergences_most_severe_first(tmp_path: Path) -> None:
    """Findings are grouped by route, statuses, kind and folded pointer, ranked, paged and shown with an example."""
    async with running(tmp_path) as node:
        comparer = await node.comparer()
        for number in range(3):
            comparer.send(finding(folded="/items/*/price", pointer=f"/items/{number}/price"))
        comparer.send(finding(folded="/note", same_meaning=True))
        comparer.send(finding(statuses=(200, 500), kind="status"))
        groups = await divergences(node, 3)
        first = (await node.get("/api/v1/divergences?limit=1")).json()
        second = (await node.get(f"/api/v1/divergences?limit=5&cursor={first['next']}")).json()
        price = next(group for group in groups if group["pointer"] == "/items/*/price")
        whole = (await node.get(f"/api/v1/divergences/{price['id']}")).json()

    assert [group["severity"] for group in groups] == ["new_5xx", "value", "cosmetic"]
    assert [group["id"] for group in [*first["divergences"], *second["divergences"]]] == [g["id"] for g in groups]
    assert second["next"] is None
    assert price["count"] == 3
    assert price["same_meaning"] == {"yes": 0, "no": 3, "unknown": 0}
    assert whole["example"]["pointer"] == "/items/2/price"
    assert whole["example"]["legacy"] == "12.50"


async def test_explain_decides_as_a_worker_does(tmp_path: Path) -> None:
    """explain names route, bucket, side and the reasons, with holds respected."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 100})
        query = "/api/v1/explain?path=/orders/7&header=X-User-Id:%2042&method=GET"
        canary = (await node.get(query)).json()
        await node.post("/api/v1/routes/orders/hold")
        held = (await node.get(query)).json()
        nowhere = (await node.get("/api/v1/explain?path=/nowhere")).json()

    assert canary["primary"] == "new"
    assert canary["key"] == "header:x-user-id"
    assert isinstance(canary["bucket"], int)
    assert held["primary"] == "legacy"
    assert held["held"] is True
    assert nowhere["route"] is None
    assert nowhere["why"]


async def test_share_has_every_hour_of_the_window(tmp_path: Path) -> None:
    """share answers one step per hour, none missing, and sums them up."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        worker.tally({"requests|orders|legacy|old|2xx": 3, "requests|orders|new|fresh|5xx": 1})
        deadline = time.monotonic() + 5
        while (shown := (await node.get("/api/v1/share?window=3h")).json())["total"]["sides"]["legacy"] != 3:
            assert time.monotonic() < deadline
        route = (await node.get("/api/v1/routes/orders")).json()

    assert len(shown["steps"]) == 3
    assert shown["total"]["new_share"] == 25.0
    assert route["share"] == {"asked": 0.0, "actual": 25.0}
    assert route["counts"]["requests"] == {"legacy": 3, "new": 1, "none": 0}


async def test_status_says_what_drifted_and_who_is_behind(tmp_path: Path) -> None:
    """status names routes whose flag is not the file's, workers with their revision, and what is degraded."""
    async with running(tmp_path, workers=2) as node:
        await node.worker(0)
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 5})

        status = (await node.get("/api/v1/status")).json()

    assert status["drift"] == [
        {
            "route": "orders",
            "file": {"stage": "legacy", "percent": 0.0},
            "flag": {"stage": "canary", "percent": 5.0},
        }
    ]
    assert status["workers"][0]["current"] is True
    assert any("1 of 2 workers" in reason for reason in status["degraded"])


async def test_an_address_in_use_is_a_sentence_and_is_tried_again(tmp_path: Path) -> None:
    """When admin.listen is taken, control says so to the supervisor, serves workers, and listens once it is free."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    node = ControlNode(tmp_path)
    node.config.write_text(
        node.config.read_text().replace('admin: {listen: "127.0.0.1:0"', f'admin: {{listen: "127.0.0.1:{port}"')
    )
    try:
        await node.start()
        refused = node.ready
        worker = await node.worker()
        server.close()
        await server.wait_closed()
        await until(lambda: node.ready is not None and node.ready.ok, "the address is free")
        answer = await node.get("/api/v1/status")
    finally:
        await node.close()

    assert refused is not None
    assert not refused.ok
    assert f"127.0.0.1:{port}" in refused.detail
    assert worker.pushes
    assert answer.status_code == 200


async def test_a_slow_client_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A client that never finishes its body costs the others nothing."""
    async with running(tmp_path) as node:
        host, port = node.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/v1/routes/orders/flip HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        await writer.drain()

        began = time.monotonic()
        answer = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
        took = time.monotonic() - began
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    assert answer.status_code == 200
    assert took < 1.0


def finding(**changed: Any) -> link.Finding:
    """Make one finding."""
    values: dict[str, Any] = {
        "route": "orders",
        "request_id": "r1",
        "method": "GET",
        "target": "/orders/7",
        "at": time.time(),
        "verdict": "divergent",
        "same_meaning": False,
        "statuses": (200, 200),
        "kind": "body",
        "offset": 3,
        "pointer": "",
        "folded": "",
        "legacy": "12.50",
        "new": "12.5",
    }
    return link.Finding(**{**values, **changed})


async def divergences(node: ControlNode, count: int) -> list[dict[str, Any]]:
    """Wait until as many groups are shown."""
    deadline = time.monotonic() + 5
    while True:
        groups: list[dict[str, Any]] = (await node.get("/api/v1/divergences")).json()["divergences"]
        if len(groups) >= count and sum(group["count"] for group in groups) >= count:
            return groups
        assert time.monotonic() < deadline, groups
