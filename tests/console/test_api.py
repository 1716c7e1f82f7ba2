"""Rules of requests and problems: everything is said at once, nothing breaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from console.problem import PREFIX
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio


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
        nowhere = (await node.get("/api/v1/roots")).json()

    for answer in (get, post, share):
        assert answer.status_code == 404
        assert answer.json()["did_you_mean"] == "orders"
        assert answer.json()["known"] == ["beta", "cart", "orders", "pay"]
    assert nowhere["did_you_mean"] == "/api/v1/routes"
    assert len(nowhere["known"]) == len({*nowhere["known"]})


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
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":NaN}', 400),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":-Infinity}', 400),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"canary","percent":1e999}', 422),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"legacy","stage":"live"}', 400),
        ("POST", "/api/v1/routes/orders/flip", b'{"stage":"live","cohort":{"a":1,"a":2}}', 400),
        ("POST", "/api/v1/routes/orders/flip", b'\xef\xbb\xbf{"stage":"shadow"}', 400),
        ("POST", "/api/v1/routes/orders/flip", '{"stage":"shadow"}'.encode("utf-16"), 400),
        ("POST", "/api/v1/routes/orders/flip", '{"stage":"live","reason":"\x9b2Ja"}'.encode(), 422),
        ("POST", "/api/v1/routes/orders/flip", '{"stage":"live","reason":"a\u202eb"}'.encode(), 422),
        ("POST", "/api/v1/routes/orders/flip", '{"stage":"live","reason":"a\u2028b"}'.encode(), 422),
        ("POST", "/api/v1/rollback", b'{"routes":["\\ud800"]}', 422),
        ("POST", "/api/v1/routes/orders%2fflip", b'{"stage":"live"}', 404),
        ("GET", "/api/v1/status%0a", b"", 404),
        ("GET", "/api/v1/routes/orders%5C", b"", 404),
        ("GET", "//api/v1/status", b"", 404),
        ("GET", "/metrics/%2e%2e/api/v1/status", b"", 404),
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
