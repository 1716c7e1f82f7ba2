"""Rules of OFREP: services hear the side that a worker would choose, from a real OpenFeature client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, InvalidContextError

from console import call
from console.auth import Visitor
from console.commits import Caller
from console.ofrep import Ofrep, read_context
from console.problem import ProblemError
from rules.flag import Hold, Side
from rules.snapshot import Snapshot, SnapshotSpec, build
from rules.sticky import FieldList
from tests.rules.made import config, flag, route, snapshot
from tests.support.controlnode import running

pytestmark = pytest.mark.anyio

Asked = tuple[bytes, FieldList, str]
STICKY: dict[str, Callable[[bytes], Asked]] = {
    "header:x-user": lambda key: (b"/x", FieldList([(b"x-user", key)]), "9.9.9.9"),
    "cookie:sid": lambda key: (b"/x", FieldList([(b"cookie", b"a=b; sid=" + key)]), "9.9.9.9"),
    "query:user": lambda key: (b"/x?user=" + key, FieldList(), "9.9.9.9"),
    "issued_cookie": lambda key: (b"/x", FieldList([(b"cookie", b"matapalo_client=" + key)]), "9.9.9.9"),
    "ip": lambda key: (b"/x", FieldList(), key.decode()),
}


def evaluate(one: Snapshot, key: str, **context: object) -> dict[str, Any]:
    """Evaluate one flag without a server."""
    # Only the snapshot is looked at; a whole state needs a process.
    state: Any = SimpleNamespace(snapshot=lambda: one)
    return Ofrep(state)._evaluate(one, key, read_context(key, context))


@pytest.mark.parametrize("sticky", STICKY)
def test_a_service_hears_what_a_worker_decides(sticky: str) -> None:
    """For 1,000 clients the value is the side, and the bucket the bucket, that the client's request gets."""
    one = snapshot(route("x", sticky=(sticky,)), flags={"x": flag("canary", 3_000)})

    for number in range(1_000):
        target, fields, client_ip = STICKY[sticky](b"user-%d" % number)
        decision, bucket = one.decide(b"GET", target, fields, client_ip, b"")
        found = evaluate(one, "x", targetingKey=f"user-{number}")

        assert found["value"] is (decision.side == "new")
        assert (found["variant"], found["metadata"]["bucket"]) == (decision.side, bucket)


def test_reasons_are_openfeatures() -> None:
    """Stages and holds are STATIC, a bucket SPLIT, a missing key DEFAULT, gone DISABLED."""
    routes = [route(name) for name in ("live", "canary", "held", "gone")]
    flags = {"live": flag("live"), "canary": flag("canary", 10_000), "held": flag("live"), "gone": flag("gone")}
    one = snapshot(*routes, flags=flags, holds=[Hold(route="held")])

    told = {name: evaluate(one, name, targetingKey="7") for name in flags}
    keyless = evaluate(one, "canary")

    assert {name: (found["value"], found["reason"]) for name, found in told.items()} == {
        "live": (True, "STATIC"),
        "canary": (True, "SPLIT"),
        "held": (False, "STATIC"),
        "gone": (False, "DISABLED"),
    }
    assert told["held"]["metadata"] == {"revision": 7, "stage": "live", "held": True}
    assert (keyless["value"], keyless["reason"]) == (False, "DEFAULT")


def test_a_pin_is_a_target_that_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that hands on the cookie of a pinned client hears the side that the client is kept on, and why."""
    monkeypatch.setenv("TEST_PIN", "pinned")
    made = config(route("x", pin_ns=30 * 10**9), pins=("env:TEST_PIN",))
    one = build(SnapshotSpec(revision=7, config=made, flags={"x": flag("canary", 1)}), clock=lambda: 1_795_000_000.0)
    pin = one.routes["x"].pin
    assert pin is not None

    cookie = {f"cookie:{pin.cookie.decode()}": pin.value(Side.NEW, 1_795_000_000.0).decode()}
    found = evaluate(one, "x", targetingKey="7", **cookie)

    assert (found["value"], found["variant"], found["reason"]) == (True, "new", "TARGETING_MATCH")


def test_a_journey_is_on_new_where_all_its_routes_are() -> None:
    """One held route takes the journey's answer to legacy."""
    routes = [route("cart", journey="checkout"), route("pay", journey="checkout")]
    flags = {"cart": flag("live"), "pay": flag("live")}

    assert evaluate(snapshot(*routes, flags=flags), "checkout")["value"] is True
    assert evaluate(snapshot(*routes, flags=flags, holds=[Hold(route="pay")]), "checkout")["value"] is False


@pytest.mark.parametrize("key", ["a;b", "a b", "", "a\r\nX: y", "\ud800"])
def test_a_value_that_no_request_carries_is_refused(key: str) -> None:
    """A key that would become another cookie or header is INVALID_CONTEXT, never a guess."""
    one = snapshot(route("x", sticky=("cookie:sid",)), flags={"x": flag("canary", 3_000)})

    with pytest.raises(ProblemError) as caught:
        evaluate(one, "x", targetingKey=key)

    assert caught.value.extra["errorCode"] == "INVALID_CONTEXT"


async def test_a_real_client_asks_the_running_server(tmp_path: Path) -> None:
    """OpenFeature's own OFREP provider gets values, variants and each error; the bulk answer has an ETag."""
    async with running(tmp_path) as node:
        await node.post("/api/v1/routes/orders/flip", {"stage": "canary", "percent": 100})
        provider = OFREPProvider(node.url)
        provider.session.trust_env = False

        def ask(key: str, *more: Any) -> Any:  # Any: the provider's details
            return provider.resolve_boolean_details(key, False, EvaluationContext(*more))

        orders = await anyio.to_thread.run_sync(ask, "orders", "42")
        journey = await anyio.to_thread.run_sync(ask, "checkout", "42")
        with pytest.raises(FlagNotFoundError, match="no route and no journey"):
            await anyio.to_thread.run_sync(ask, "nobody")
        with pytest.raises(InvalidContextError, match="no request can carry"):
            await anyio.to_thread.run_sync(ask, "orders", "4\n2")
        provider.session.close()
        bulk = await node.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "42"}})
        same = await node.post(
            "/ofrep/v1/evaluate/flags",
            {"context": {"targetingKey": "42"}},
            headers={"if-none-match": bulk.headers["etag"]},
        )

    assert (orders.value, orders.variant, orders.reason.value) == (True, "new", "SPLIT")
    assert (journey.value, journey.variant) == (False, "legacy")
    assert [one["key"] for one in bulk.json()["flags"]] == ["orders", "cart", "pay", "beta", "checkout"]
    assert (same.status_code, same.content) == (304, b"")


def test_a_canary_with_an_issued_cookie_needs_a_key() -> None:
    """Who has no key yet would be placed by chance: that is no answer, but TARGETING_KEY_MISSING."""
    one = snapshot(route("x", sticky=("issued_cookie",)), flags={"x": flag("canary", 3_000)})

    with pytest.raises(ProblemError) as caught:
        evaluate(one, "x")

    assert caught.value.extra["errorCode"] == "TARGETING_KEY_MISSING"


@pytest.mark.parametrize(
    "context",
    [{"x-team": "\ud800"}, {"\ud800": "x"}, {"cookie:\ud800": "x"}, {"cookie:a=1; sid": "x"}, {"ip": "\ud800"}],
    ids=ascii,
)
def test_what_no_request_carries_is_left_out(context: dict[str, str]) -> None:
    """An attribute beside the key that no header could carry decides nothing, and breaks nothing."""
    one = snapshot(route("x", sticky=("cookie:sid",)), flags={"x": flag("canary", 3_000)})

    assert evaluate(one, "x", targetingKey="u", **context) == evaluate(one, "x", targetingKey="u")


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({f"a{number}": "x" for number in range(101)}, "101 attributes"),
        ({"a": "x" * 20_000}, "20001 characters"),
        ({f"a{number}": 10**4_000 for number in range(5)}, "20015 characters"),
    ],
    ids=["many", "long", "numbers"],
)
def test_a_context_is_no_larger_than_the_head_of_a_request(context: dict[str, object], said: str) -> None:
    """A context with more than 100 attributes or 16 KiB of text is refused before any route has read it."""
    with pytest.raises(ProblemError, match=said):
        read_context("x", context)


async def test_asking_for_all_flags_lets_others_have_their_turn() -> None:
    """Between two flags of many, whatever else waits in control gets its turn: no question stops a rollback."""
    routes = [route(f"r{number}") for number in range(100)]
    state: Any = SimpleNamespace(snapshot=lambda: snapshot(*routes, flags={}))
    asked = call.Asked(visitor=Visitor(name="eye", role="viewer"), caller=Caller(actor="eye"), values={"context": {}})
    turns = 0

    async def wait() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(wait())
    reply = await Ofrep(state).ofrep_flags(asked)
    waiting.cancel()

    assert isinstance(reply.body, bytes)
    assert reply.body.count(b'"key"') == 100
    assert turns >= 3
