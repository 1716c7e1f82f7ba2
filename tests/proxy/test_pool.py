"""Pools: reuse, bounds, fairness to waiters, retirement, TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import BackendTlsSpec, FallbackSpec
from rules.flag import Stage
from tests.support.edge import EdgeBackend, drive
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Echo, Gate, Hang, Recorder, Reset, answer

OK = answer(b"ok")


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(OK) as recorder:
        yield recorder


def worker_of(legacy: Recorder, **policy: object) -> OneWorker:
    """Start a worker whose one backend has *policy*."""
    spec = backend("legacy", legacy.url, **policy)
    return OneWorker(backends={"legacy": spec, "new": replace(spec, name="new")}, routes=[route()])


def test_idle_connections_are_closed_before_the_backend_would(legacy: Recorder) -> None:
    """A pooled connection is closed after the backend's idle timeout."""
    with worker_of(legacy, idle_timeout_ns=300_000_000) as worker:
        worker.ask(request_bytes(target="/api/a"))

        assert legacy.wait_ended(0).ending == "eof"


def test_a_pool_waits_within_its_bound(legacy: Recorder) -> None:
    """Beyond the connection limit requests wait for a free connection and are served by it."""
    gate = Gate()
    legacy.answer = [gate, OK]
    with worker_of(legacy, max_connections=2) as worker:
        clients: list[RawClient] = [worker.client() for _ in range(6)]
        for client in clients:
            client.send(request_bytes(target="/api/a"))
        legacy.wait_requests(2)
        assert len(legacy.connections) == 2
        gate.open()
        bodies = [client.read_response().body for client in clients]
        for client in clients:
            client.close()

    assert bodies == [b"ok"] * 6
    assert len(legacy.connections) == 2


def test_a_full_pool_is_503_after_the_connect_timeout(legacy: Recorder) -> None:
    """A request that finds no place in the pool in time is a 503, the one that holds it and other backends go on."""
    gate = Gate()
    legacy.answer = [gate, OK]
    spec = backend("legacy", legacy.url, max_connections=1, connect_timeout_ns=1_000_000_000)
    with (
        Recorder(OK) as other,
        OneWorker(
            backends={"legacy": spec, "new": other.url},
            routes=[route(), route("live", "/live/**")],
            flags={"live": flag(Stage.LIVE, sample_bp=0)},
        ) as worker,
        worker.client() as first,
    ):
        first.send(request_bytes(target="/api/a"))
        legacy.wait_requests(1)
        with worker.client() as waiting:
            waiting.send(request_bytes(target="/api/a"))
            assert worker.ask(request_bytes(target="/live/a")).status == 200
            assert waiting.read_response().status == 503
        gate.open()
        assert first.read_response().body == b"ok"
        counts = worker.settled()

    assert counts["upstream_errors|legacy|pool"] == 1
    assert "upstream_errors|legacy|connect" not in counts


def test_a_black_hole_is_504_at_the_connect_timeout(legacy: Recorder) -> None:
    """A backend that does not complete the handshake is a 504 after the connect timeout."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            spec = backend("legacy", url, connect_timeout_ns=300_000_000)
            with OneWorker(backends={"legacy": spec, "new": legacy.url}, routes=[route()]) as worker:
                clients = [worker.client() for _ in range(4)]
                for client in clients:
                    client.send(request_bytes(target="/api/a"))
                # The backlog of one may take one more; the others find the hole.
                statuses = {client.read_response().status for client in clients[1:]}
                for client in clients:
                    client.close()

    assert statuses <= {504}


def test_an_unknown_host_is_502(legacy: Recorder) -> None:
    """A name that does not resolve is a 502 counted in phase resolve."""
    spec = backend("legacy", "http://no-such-host.invalid:80")
    with OneWorker(backends={"legacy": spec, "new": legacy.url}, routes=[route()]) as worker:
        assert worker.ask(request_bytes(target="/api/a")).status == 502
        counts = worker.settled()

    assert counts["upstream_errors|legacy|resolve"] == 1


def test_cancelled_requests_leak_no_place(legacy: Recorder) -> None:
    """After many clients that hang up while they wait, every place of the pool is free again."""
    legacy.answer = [Hang()]
    with worker_of(legacy, max_connections=4) as worker:
        for _ in range(5):
            clients = [worker.client() for _ in range(20)]
            for client in clients:
                client.send(request_bytes(target="/api/a"))
            for client in clients:
                client.reset()
        legacy.answer = OK
        for _ in range(20):
            assert worker.ask(request_bytes(target="/api/a")).body == b"ok"


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a self-signed certificate for *name*."""
    key, cert = directory / f"{name}.key", directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", f"/CN={name}"]
    command += ["-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


def test_tls_backends_are_verified(tmp_path: Path) -> None:
    """A TLS backend is spoken to if its certificate is trusted for its name, and is a 502 otherwise."""
    key, cert = certificate(tmp_path, "shop.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    trusted = BackendTlsSpec(ca=f"file:{cert}", server_name="shop.test")
    with Recorder(OK, tls=context) as secure:
        for tls, status in (
            (trusted, 200),
            (replace(trusted, server_name="other.test"), 502),
            (BackendTlsSpec(server_name="shop.test"), 502),
            (BackendTlsSpec(verify=False), 200),
        ):
            spec = backend("legacy", secure.url, tls=tls)
            with OneWorker(backends={"legacy": spec, "new": secure.url}, routes=[route()]) as worker:
                assert worker.ask(request_bytes(target="/api/a")).status == status


def test_a_socket_that_opens_too_late_serves_nobody(legacy: Recorder) -> None:
    """A request that stopped waiting for new and went to legacy hears nothing of new any more."""
    gate = Gate()
    legacy.answer = [gate, OK]
    with socket.socket() as listening, worker_in_canary(legacy, listening) as worker:
        with worker.client() as first, worker.client() as second:
            first.send(request_bytes(target="/api/1", headers=USER))
            only, _ = listening.accept()
            with socket.create_connection(listening.getsockname()):  # from now on nobody gets in
                start = time.monotonic()
                second.send(request_bytes(target="/api/2", headers=USER))
                worker.wait(lambda: time.monotonic() > start + 1.0, "a part of the wait to be over")
                only.close()
                legacy.wait_requests(2)
                worker.wait(lambda: time.monotonic() > start + 4.4, "the late socket to fail")
                gate.open()
                assert first.read_response().body == b"ok"
                assert second.read_response().body == b"ok"
                assert second.leftover == b""
        counts = worker.settled()

    assert counts["requests|orders|legacy|legacy|2xx"] == 2
    assert counts["fallbacks|orders|connect"] == 1


USER = (("X-User-Id", "7"),)


def worker_in_canary(legacy: Recorder, listening: socket.socket) -> OneWorker:
    """Start a worker whose clients are all on new, which has one connection and three seconds to open it."""
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    return OneWorker(
        backends={
            "legacy": legacy.url,
            "new": backend("new", url, max_connections=1, connect_timeout_ns=3_000_000_000),
        },
        routes=[route(fallback=FallbackSpec(connect=True, timeout=True))],
        flags={"orders": flag(Stage.CANARY, percent_bp=10_000, sample_bp=0)},
    )


def test_an_upgrade_finds_a_place_among_idle_connections(legacy: Recorder) -> None:
    """A request that needs a new socket gets one although the pool is full, if some of it is idle."""
    with worker_of(legacy, max_connections=1) as worker:
        assert worker.ask(request_bytes(target="/api/a")).body == b"ok"
        legacy.answer = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", Echo()]
        upgrade = request_bytes(target="/api/ws", headers=(("Connection", "Upgrade"), ("Upgrade", "websocket")))
        with worker.client() as client:
            assert client.exchange(upgrade).status == 101


def test_a_reload_fails_nobody_who_waits_for_a_connection(legacy: Recorder) -> None:
    """Requests that wait for a connection of a backend whose settings change are served all the same."""
    gate = Gate()
    legacy.answer = [gate, OK]
    with worker_of(legacy, max_connections=1) as worker, worker.client() as first, worker.client() as second:
        first.send(request_bytes(target="/api/1"))
        legacy.wait_requests(1)
        second.send(request_bytes(target="/api/2"))
        worker.ask(request_bytes("OPTIONS", "*"))
        changed = tuple(replace(one, max_connections=8) for one in worker.config.backends)
        worker.push(config=replace(worker.config, backends=changed))
        gate.open()
        assert first.read_response().body == b"ok"
        assert second.read_response().body == b"ok"


# --- connections that the backend may be closing ---


def let_pass(worker: OneWorker, seconds: float) -> None:
    """Wait until something has been idle for so long."""
    until = time.monotonic() + seconds
    worker.wait(lambda: time.monotonic() > until, f"{seconds} s to pass")


def test_an_order_takes_no_connection_that_was_idle(legacy: Recorder) -> None:
    """What cannot be sent again gets a new connection unless one was in use just now; the pool does not grow by it."""
    with worker_of(legacy) as worker, worker.client() as client:
        for _ in range(5):
            assert client.exchange(request_bytes("POST", "/api/a", body=b"1")).status == 200
            let_pass(worker, 0.05)
        assert client.exchange(request_bytes(target="/api/a")).status == 200

        assert len(legacy.connections) == 5
        assert [legacy.wait_ended(number).ending for number in range(4)] == ["eof"] * 4
        assert legacy.connections[4].ending == "open"
        assert legacy.requests[-1].connection == 4


def test_nothing_is_lost_or_done_twice_at_the_idle_edge() -> None:
    """Where a backend closes idle connections as the next request comes, each is answered and each order done once."""
    with EdgeBackend(idle_s=0.02) as edge:
        spec = backend("legacy", edge.url)
        with OneWorker(backends={"legacy": spec, "new": replace(spec, name="new")}, routes=[route()]) as worker:
            gets = drive(worker.address, edge, method="GET", count=300, clients=10)
            posts = drive(worker.address, edge, method="POST", count=300, clients=10)
            counts = worker.settled()

    assert posts.twice == 0
    assert posts.broken == gets.broken == 0
    assert gets.errors == counts.get("retries|legacy|refused", 0)
    assert set(posts.statuses) <= {200, 502}
    assert posts.errors <= 15  # 0 unless the machine is so busy that an answer of 20 ms ago looks new


def test_retries_are_a_tenth_of_the_traffic(legacy: Recorder) -> None:
    """A backend that closes each connection at its second request is not asked twice for every request."""
    legacy.answer = lambda request: OK if len(legacy.connections[request.connection].requests) == 1 else [Reset()]
    with worker_of(legacy) as worker, worker.client() as client:
        statuses = []
        for _ in range(40):
            statuses.append(client.exchange(request_bytes(target="/api/a")).status)
            let_pass(worker, 0.015)  # a backend that closes sooner than this is not asked over a used connection at all
        counts = worker.settled()

    sent, refused = counts["retries|legacy|sent"], counts["retries|legacy|refused"]
    assert statuses.count(502) == refused > 5
    assert 10 <= sent <= 10 + 60 // 10
    assert len(legacy.requests) == 40 + sent
