"""The product whole: what operators are promised, with real processes under real load."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import RecordedRequest, Recorder, answer

JSON = (("Content-Type", "application/json"),)
ORDERS = "/api/v1/routes/orders"


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the old service."""
    with Recorder(answer(b'{"side":"legacy"}', headers=JSON), keep_bytes=0) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Answer as the new service, with other bytes."""
    with Recorder(answer(b'{"side":"new"}', headers=JSON), keep_bytes=0) as recorder:
        yield recorder


def config(legacy: Recorder, new: Recorder, **changes: Any) -> dict[str, Any]:  # Any: YAML
    """Write a configuration with one route between the two."""
    return {
        "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
        "defaults": {"legacy": "old", "new": "shop", "sticky": ["header:X-User-Id"]},
        "undeclared": {"backend": "old"},
        "routes": [
            {
                "name": "orders",
                "match": {"path": "/api/orders/{id}"},
                "initial_stage": "shadow",
                "shadow": {"max_per_second": "off"},
            }
        ],
        **changes,
    }


def law(counts: dict[str, int], gauges: dict[str, int], route: str = "orders") -> None:
    """Assert the counting law (docs/architecture.md) on totals, in flight or not."""

    def total(source: dict[str, int], *prefix: str) -> int:
        start = "|".join(prefix)
        return sum(value for key, value in source.items() if key == start or key.startswith(start + "|"))

    sent, unequal = total(counts, "sent", route), total(counts, "unequal", route)
    assert (
        total(counts, "eligible", route) == total(counts, "unsampled", route) + total(counts, "skipped", route) + sent
    )
    assert sent == total(counts, "identical", route) + unequal + total(counts, "errored", route) + total(
        gauges, "in_flight", route
    )
    assert unequal == total(counts, "tolerated", route) + total(counts, "divergent", route) + total(
        counts, "undecided", route
    ) + total(gauges, "queued", route)


def flip(product: Product, stage: str, **more: object) -> dict[str, Any]:  # Any: JSON
    """Flip the route."""
    return product.admin("POST", f"{ORDERS}/flip", {"stage": stage, **more})


@pytest.mark.alone
def test_reloads_and_flips_lose_no_request(legacy: Recorder, new: Recorder) -> None:
    """Twenty reloads and twenty flips under keep-alive load fail no request, and each flip takes under 100 ms."""
    text = config(legacy, new, workers=2)
    took: list[float] = []
    with Product(text) as product, Load(product.port) as load:
        for turn in range(20):
            product.configure({**text, "x-turn": turn})
            product.admin("POST", "/-/reload", {})
            start = time.monotonic()
            flip(product, ("canary", "live", "shadow")[turn % 3], **({"percent": 50} if turn % 3 == 0 else {}))
            took.append(time.monotonic() - start)
            load.wait(20)
        routes = product.admin("GET", ORDERS)

    assert load.failures == []
    assert load.requests > 400
    assert {body for _, body in load.answered} == {b'{"side":"legacy"}', b'{"side":"new"}'}
    assert routes["flag"]["stage"] == "live"
    # 100 ms is measured on a quiet machine (scripts/bench); beside the load a flip may take a few times as long, and
    # one or two may have to wait for a core.
    assert sorted(took)[-3] < 0.5, took


def test_a_renamed_route_is_held_at_every_moment(legacy: Recorder, new: Recorder) -> None:
    """A held route that a reload, and then a start, renames is answered by legacy only, under load and in between."""
    text = config(legacy, new, workers=2)
    [orders] = text["routes"]
    with Product(text) as product:
        flip(product, "live")
        product.admin("POST", f"{ORDERS}/hold", {"reason": "broken"})
        with Load(product.port, clients=2) as load:
            product.configure({**text, "routes": [{**orders, "name": "buys", "was": "orders"}]})
            product.admin("POST", "/-/reload", {})
            load.wait(20)
        product.stop()
        product.configure({**text, "routes": [{**orders, "name": "sales", "was": "buys"}]})
        product.start()
        product.wait_ready(control=False)
        with Load(product.port, clients=2) as begun:
            product.wait_ready(control=True)
            why = wait_until(lambda: _why_held(product, "sales"), "the hold under its third name")
            begun.wait(20)
        entries = product.admin("GET", "/api/v1/audit?limit=2")["entries"]

    assert load.failures == begun.failures == []
    assert {body for _, body in (*load.answered, *begun.answered)} == {b'{"side":"legacy"}'}
    assert why == "broken"
    assert [entry["kind"] for entry in entries] == ["start", "reload"]
    assert [entry["after"]["renamed"] for entry in entries] == [{"sales": "buys"}, {"buys": "orders"}]


def _why_held(product: Product, route: str) -> str:
    return str((product.admin("GET", f"/api/v1/routes/{route}", status=None).get("hold") or {}).get("reason", ""))


@pytest.mark.alone
@pytest.mark.parametrize("role", ["control", "comparer"])
def test_a_killed_helper_process_costs_no_request(legacy: Recorder, new: Recorder, role: str) -> None:
    """``kill -9`` of control or of a comparer fails no request; it is back by itself and no count is lost."""
    with Product(config(legacy, new)) as product, Load(product.port) as load:
        former = product.pids()[role]
        start = time.monotonic()
        os.kill(former[0], signal.SIGKILL)
        load.wait(50)
        product.wait_replaced(role, former)
        took = time.monotonic() - start
        load.wait(50)
        requests = load.requests
        wait_until(lambda: answered(product.totals()) >= requests, "the totals to catch up")
        totals = product.totals()

    assert load.failures == []
    law(totals["counts"], totals["gauges"])
    assert took < 15


def answered(totals: dict[str, Any]) -> int:  # Any: JSON
    """Add up the answers to clients."""
    return sum(value for key, value in totals["counts"].items() if key.startswith("requests|"))


def test_a_killed_worker_costs_its_requests_only(legacy: Recorder, new: Recorder) -> None:
    """With one of two workers killed the other serves, the dead one is back, and the counting law still holds."""
    with Product(config(legacy, new, workers=2)) as product, Load(product.port, clients=6) as load:
        former = product.pids()["worker"]
        os.kill(former[0], signal.SIGKILL)
        wait_until(
            lambda: set(product.pids()["worker"]) != set(former) and len(product.pids()["worker"]) == 2, "two workers"
        )
        load.wait(100)
        wait_until(lambda: len([one for one in product.ready()[1]["workers"] if one["serving"]]) == 2, "both to serve")
        totals = product.totals()

    # Each client had at most one request in the killed worker.
    assert len(load.failures) <= 6
    law(totals["counts"], totals["gauges"])


def test_the_law_holds_from_end_to_end(legacy: Recorder, new: Recorder) -> None:
    """Every eligible request is in exactly one count, in the totals and on /metrics, and findings say what differs."""
    with Product(config(legacy, new)) as product:
        with RawClient(("127.0.0.1", product.port)) as client:
            for number in range(100):
                client.exchange(request_bytes(target=f"/api/orders/{number}"))
        wait_until(lambda: product.totals()["counts"].get("divergent|orders|legacy") == 100, "a hundred verdicts")
        totals = product.totals()
        metrics = product.text("/metrics")
        found = wait_until(lambda: product.admin("GET", "/api/v1/divergences?route=orders")["divergences"], "a finding")

    law(totals["counts"], totals["gauges"])
    assert 'matapalo_comparisons_total{primary="legacy",route="orders",verdict="divergent"} 100.0' in metrics
    assert 'matapalo_shadow_eligible_total{route="orders"} 100.0' in metrics
    assert {"cause": "value.changed", "path": "/side"} in found[0]["places"]


def test_an_acknowledged_flip_survives_kill_9(legacy: Recorder, new: Recorder) -> None:
    """A flip that was answered 200 is served after every process was killed at once, by the first request already."""
    with Product(config(legacy, new)) as product:
        for turn in range(3):
            stage, body = (("live", b'{"side":"new"}'), ("shadow", b'{"side":"legacy"}'))[turn % 2]
            flip(product, stage)
            for pid in [pid for pids in product.pids().values() for pid in pids]:
                os.kill(pid, signal.SIGKILL)
            assert product.process is not None
            product.process.kill()
            product.process.wait()
            product.start()
            product.wait_ready(control=False)
            with RawClient(("127.0.0.1", product.port)) as client:
                assert client.exchange(request_bytes(target="/api/orders/1")).body == body
            product.wait_ready()
            assert product.admin("GET", ORDERS)["flag"]["stage"] == stage


def test_a_flip_right_after_control_returns_reaches_the_worker(legacy: Recorder, new: Recorder) -> None:
    """A flip that is answered as soon as a restarted control listens is served by the very next request."""
    with Product(config(legacy, new)) as product, RawClient(("127.0.0.1", product.port)) as client:
        for stage, body in (("live", b'{"side":"new"}'), ("shadow", b'{"side":"legacy"}')):
            former = product.pids()["control"]
            os.kill(former[0], signal.SIGKILL)
            product.wait_replaced("control", former)
            product.wait_ready()
            flip(product, stage)
            assert client.exchange(request_bytes(target="/api/orders/1")).body == body


def test_rollback_works_without_control_and_database(legacy: Recorder, new: Recorder) -> None:
    """With flags.db deleted and control dead, ``rollback --local`` has every request on legacy within a second."""
    with Product(config(legacy, new)) as product:
        flip(product, "live")
        for name in ("flags.db", "flags.db-wal", "flags.db-shm"):
            (product.state_dir / name).unlink(missing_ok=True)
        stop_control(product)
        with RawClient(("127.0.0.1", product.port)) as client:
            assert client.exchange(request_bytes(target="/api/orders/1")).body == b'{"side":"new"}'
            outcome = product.run("rollback", "orders", "--local", "-c", str(product.config_path), "--reason", "3 am")
            assert outcome.returncode == 0, outcome.stderr
            assert client.exchange(request_bytes(target="/api/orders/1")).body == b'{"side":"legacy"}'


def stop_control(product: Product) -> None:
    """Keep control from working without letting the supervisor replace it: it is stopped, not dead."""
    os.kill(product.pids()["control"][0], signal.SIGSTOP)


def test_answers_and_last_hits_survive_restarts(legacy: Recorder, new: Recorder) -> None:
    """Answered requests per side and the last legacy hit are still known after a restart of everything."""
    with Product(config(legacy, new)) as product:
        with RawClient(("127.0.0.1", product.port)) as client:
            for _ in range(10):
                client.exchange(request_bytes(target="/api/orders/1"))
        wait_until(lambda: product.admin("GET", ORDERS)["counts"]["requests"]["legacy"] == 10, "the counts")
        before = product.admin("GET", ORDERS)
        product.stop()
        product.start()
        product.wait_ready()
        after = product.admin("GET", ORDERS)
        share = product.admin("GET", "/api/v1/share?route=orders&window=2h")

    assert before["last_legacy"] is not None
    assert after["last_legacy"] == before["last_legacy"]
    assert after["counts"]["requests"]["legacy"] == 10
    assert share["total"]["sides"]["legacy"] == 10


def test_bad_input_is_one_clear_sentence(legacy: Recorder, new: Recorder) -> None:
    """An unknown route, an unknown stage, a percent of 140 and a stale revision each name what was expected."""
    with Product(config(legacy, new)) as product:
        unknown = product.admin("POST", "/api/v1/routes/order/flip", {"stage": "live"}, status=404)
        stage = product.admin("POST", f"{ORDERS}/flip", {"stage": "lvie"}, status=422)
        percent = product.admin("POST", f"{ORDERS}/flip", {"stage": "canary", "percent": 140}, status=422)
        stale = product.admin("POST", f"{ORDERS}/flip", {"stage": "live", "if_revision": 999}, status=412)
        product.config_path.write_text(product.config_path.read_text().replace("initial_stage", "inital_stage"))
        reload = product.admin("POST", "/-/reload", {}, status=422)
        with RawClient(("127.0.0.1", product.port)) as client:
            assert client.exchange(request_bytes(target="/api/orders/1")).status == 200

    assert unknown["did_you_mean"] == "orders"
    assert "canary" in stage["detail"]
    assert "140" in percent["detail"]
    assert stale["revision"] < 999
    assert "inital_stage" in str(reload["errors"])


@pytest.mark.alone
def test_the_first_request_is_served_soon(legacy: Recorder, new: Recorder) -> None:
    """From the start of the supervisor to the first answer it takes at most 1.5 s, with control still starting."""
    with Product(config(legacy, new), wait_for_control=False, as_shipped=True) as product:
        product.stop()
        start = time.monotonic()
        product.start()
        product.wait_ready()
        with RawClient(("127.0.0.1", product.port)) as client:
            assert client.exchange(request_bytes(target="/api/orders/1")).status == 200
        took = time.monotonic() - start

    # The bar of 1.5 s is measured by scripts/bench; here both cores may be busy with other tests.
    assert took < 6


def priced(stamp: str, separators: tuple[str, str], *, wrong: int = -1) -> Callable[[RecordedRequest], bytes]:
    """Answer orders with a clock and a style of its own; the order *wrong* has another price."""

    def respond(request: RecordedRequest) -> bytes:
        number = int(request.target.rpartition(b"/")[2])
        price = 2.51 if number == wrong else 2.5
        body = {
            "at": f"2026-11-21T10:00:00.{stamp}Z",
            "items": [{"id": number, "price": 1.5}, {"id": 7, "price": price}],
        }
        return answer(json.dumps(body, separators=separators).encode(), headers=JSON)

    return respond


def test_one_wrong_price_is_explained_and_stands_first(legacy: Recorder, new: Recorder) -> None:
    """Behind a clock and a separator that always differ, one wrong price of a thousand leads `matapalo diffs`."""
    orders = 1_000
    legacy.answer, new.answer = priced("001", (", ", ": ")), priced("002", (",", ":"), wrong=777)
    with Product(config(legacy, new)) as product:
        with RawClient(("127.0.0.1", product.port)) as client:
            for number in range(orders):
                client.exchange(request_bytes(target=f"/api/orders/{number}"))

        def read() -> list[dict[str, Any]]:  # Any: JSON
            groups: list[dict[str, Any]] = product.admin("GET", "/api/v1/divergences")["divergences"]
            return groups

        wait_until(lambda: sum(group["count"] for group in read()) == orders, "all pairs are in their divergences")
        first, *others = read()
        shown = product.admin("GET", f"/api/v1/divergences/{first['id']}")["example"]["differences"][0]
        product.wait_counts({"divergences|orders|value.changed": 1, "divergences|orders|whitespace.separator": orders})
        totals = product.totals()

    assert first["severity"] == "value"
    assert (first["count"], [other["count"] for other in others]) == (1, [orders - 1])
    assert (shown["cause"], shown["legacy_pointer"], shown["legacy"], shown["new"], shown["proven"]) == (
        "value.changed",
        "/items/1/price",
        "2.5",
        "2.51",
        True,
    )
    law(totals["counts"], totals["gauges"])
