"""Tunnels: opened only behind a validated 101, bytes both ways, closed on rollback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from config.spec import LimitsSpec, RouteSpec
from rules.flag import Flag, Stage
from shadow import link
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Close, Echo, Gate, Hang, Recorder, Step, answer

UPGRADE = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x"))
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)
ECHO: list[Step] = [SWITCH, Echo()]


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Upgrade and echo."""
    with Recorder(ECHO) as recorder:
        yield recorder


@pytest.fixture
def new() -> Iterator[Recorder]:
    """Upgrade and echo."""
    with Recorder(ECHO) as recorder:
        yield recorder


def worker_of(
    legacy: Recorder,
    new: Recorder,
    stage: Stage = Stage.LEGACY,
    spec: RouteSpec | None = None,
    limits: LimitsSpec | None = None,
) -> OneWorker:
    """Start a worker whose one route stands in *stage*."""
    flags: dict[str, Flag] = {"orders": flag(stage)}
    backends = {"legacy": legacy.url, "new": new.url}
    return OneWorker(backends=backends, routes=[spec or route()], flags=flags, limits=limits)


def test_a_tunnel_carries_bytes_both_ways(legacy: Recorder, new: Recorder) -> None:
    """Behind a validated 101 every byte passes unchanged, in both directions."""
    payload = bytes(range(256)) * 2_000
    with worker_of(legacy, new) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/ws", headers=UPGRADE))
        head = client.read_head()
        assert head.status == 101
        assert head.value("upgrade") == b"websocket"
        assert head.value("sec-websocket-accept") == b"y"
        client.send(payload)
        assert client.read_exactly(len(payload)) == payload
        counts = worker.settled()

    assert legacy.requests[0].values("upgrade") == [b"websocket"]
    assert legacy.requests[0].values("connection") == [b"Upgrade"]
    assert counts["requests|orders|legacy|legacy|1xx"] == 1


def test_bytes_right_behind_both_heads_are_not_lost(legacy: Recorder, new: Recorder) -> None:
    """What a side sends in one piece with its head reaches the other side first."""
    legacy.answer = [SWITCH + b"welcome", Echo()]
    with worker_of(legacy, new) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/ws", headers=UPGRADE) + b"early")
        assert client.read_head().status == 101
        assert client.read_exactly(12) == b"welcomeearly"


def test_a_refused_upgrade_is_an_ordinary_answer(legacy: Recorder, new: Recorder) -> None:
    """A backend that does not switch answers as usual and the connection goes on."""
    legacy.answer = answer(b"no", status=403, reason="Forbidden")
    with worker_of(legacy, new) as worker, worker.client() as client:
        for _ in range(2):
            response = client.exchange(request_bytes(target="/api/ws", headers=UPGRADE))
            assert (response.status, response.body) == (403, b"no")


@pytest.mark.parametrize("token", [b"h2c", b"other"])
def test_a_101_for_another_protocol_is_502(legacy: Recorder, new: Recorder, token: bytes) -> None:
    """A 101 that does not name the protocol that was asked for opens nothing."""
    legacy.answer = [SWITCH.replace(b"websocket", token), Hang()]
    with worker_of(legacy, new) as worker:
        response = worker.ask(request_bytes(target="/api/ws", headers=UPGRADE))
        legacy.wait_ended(0)

    assert response.status == 502


def test_only_websocket_is_offered_to_a_backend(legacy: Recorder, new: Recorder) -> None:
    """An upgrade to anything else, h2c above all, is forwarded as a plain request."""
    legacy.answer = answer(b"plain")
    headers = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "x"))
    with worker_of(legacy, new) as worker:
        assert worker.ask(request_bytes(target="/api/a", headers=headers)).body == b"plain"

    for name in ("upgrade", "connection", "http2-settings"):
        assert legacy.requests[0].values(name) == []


def test_either_end_closes_the_tunnel(legacy: Recorder, new: Recorder) -> None:
    """When the client leaves, the backend's connection ends, too."""
    with worker_of(legacy, new) as worker:
        with worker.client() as client:
            client.send(request_bytes(target="/api/ws", headers=UPGRADE))
            client.read_head()
        legacy.wait_ended(0)
        worker.settled()
        assert "connections" not in worker.tallies[-1].gauges


def test_rollback_closes_tunnels_to_new(legacy: Recorder, new: Recorder) -> None:
    """A hold closes open tunnels to new, so that no client keeps talking to a service that was taken away."""
    with worker_of(legacy, new, Stage.LIVE) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/ws", headers=UPGRADE))
        client.read_head()
        worker.hold(link.HoldItem(route="orders"))

        assert client.ending() == "eof"


def test_a_flip_forward_keeps_tunnels(legacy: Recorder, new: Recorder) -> None:
    """A flip that does not go back to legacy leaves tunnels alone, and so does ``on_flip: keep``."""
    with worker_of(legacy, new, Stage.LIVE, route(on_flip="keep")) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/ws", headers=UPGRADE))
        client.read_head()
        worker.push({"orders": flag(Stage.COMPLETE)})
        worker.hold(link.HoldItem(route="orders"))
        client.send(b"still here")

        assert client.read_exactly(10) == b"still here"


def test_a_silent_tunnel_is_closed(legacy: Recorder, new: Recorder) -> None:
    """A tunnel without a byte for the idle time is closed."""
    limits = LimitsSpec(tunnel_idle_timeout_ns=300_000_000)
    with worker_of(legacy, new, limits=limits) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/ws", headers=UPGRADE))
        client.read_head()

        assert client.ending() == "eof"


def test_a_refused_upgrade_does_not_repeat_what_came_behind_it(legacy: Recorder, new: Recorder) -> None:
    """A request sent behind an upgrade that the backend declines is forwarded exactly once."""
    legacy.answer = lambda request: answer(request.method)
    with worker_of(legacy, new) as worker, worker.client() as client:
        client.send(
            request_bytes(target="/api/ws", headers=UPGRADE)
            + request_bytes("POST", "/api/order", body=b"1")
            + request_bytes(target="/api/end")
        )
        assert [client.read_response().body for _ in range(3)] == [b"GET", b"POST", b"GET"]
        assert client.exchange(request_bytes("DELETE", "/api/last")).body == b"DELETE"

    assert [request.method for request in legacy.requests] == [b"GET", b"POST", b"GET", b"DELETE"]


def test_an_upgrade_whose_head_is_cut_anywhere_keeps_its_tail(legacy: Recorder, new: Recorder) -> None:
    """Bytes behind an upgrade's head reach the backend whole, however head and reads were cut."""
    legacy.answer = lambda request: ECHO if request.target == b"/api/ws" else answer(b"first")
    upgrade = request_bytes(target="/api/ws", headers=UPGRADE)
    for missing in (1, 2, 3, 4, 5):
        with worker_of(legacy, new) as worker, worker.client() as client:
            client.send(request_bytes(target="/api/a") + upgrade[:-missing])
            assert client.read_response().body == b"first"
            client.send(upgrade[-missing:] + b"abc")
            head = client.read_head()
            if head.status == 101:
                assert client.read_exactly(3) == b"abc"
    assert {bytes(one.raw).rpartition(b"\r\n\r\n")[2] for one in legacy.connections} <= {b"", b"abc"}


def test_a_tunnel_that_opens_after_a_rollback_is_closed(legacy: Recorder) -> None:
    """An upgrade that new grants only after the route went back to legacy ends like every other tunnel to new."""
    gate = Gate()
    with (
        Recorder([gate, SWITCH, Echo()]) as new,
        worker_of(legacy, new, Stage.LIVE) as worker,
        worker.client() as client,
    ):
        client.send(request_bytes(target="/api/ws", headers=UPGRADE))
        new.wait_requests(1)
        worker.hold(link.HoldItem(route="orders"))
        gate.open()
        assert client.read_head().status == 101
        assert client.ending() == "eof"


def test_a_tunnel_end_that_nobody_reads_frees_its_descriptor(legacy: Recorder, new: Recorder) -> None:
    """A client that takes nothing of a tunnel that the backend has closed loses its connection in the end."""
    legacy.answer = lambda request: [SWITCH, b"x" * int(request.target.rpartition(b"/")[2]), Close()]
    limits = LimitsSpec(write_timeout_ns=500_000_000, tunnel_idle_timeout_ns=1_000_000_000)
    with worker_of(legacy, new, limits=limits) as worker, contextlib.ExitStack() as stack:
        worker.settled()  # its own links are up
        before = worker.open_fds()
        for size in range(100_000, 4_000_000, 200_000):
            client = stack.enter_context(worker.client(receive_buffer=4_096))
            client.send(request_bytes(target=f"/api/{size}", headers=UPGRADE))
            client.read_head()

        legacy.wait_until(lambda: len(legacy.requests) == 20, "20 upgrades")
        worker.wait(lambda: worker.open_fds() <= before + 1, "descriptors to come back")


def test_tunnels_count_against_the_limit_of_connections(legacy: Recorder, new: Recorder) -> None:
    """A client that has switched still holds a place: no number of tunnels gets around ``limits.max_connections``."""
    limits = LimitsSpec(max_connections=2)
    with worker_of(legacy, new, limits=limits) as worker, worker.client() as one, worker.client() as two:
        for client in (one, two):
            client.send(request_bytes(target="/api/ws", headers=UPGRADE))
            assert client.read_head().status == 101
        with worker.client() as three:
            assert three.read_response().status == 503
        one.send(b"still here")
        assert one.read_exactly(10) == b"still here"
