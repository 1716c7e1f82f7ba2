"""Pools: reuse, bounds, fairness to waiters, retirement, TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import BackendTlsSpec
from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Gate, Hang, Recorder, answer

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

        assert legacy.wait_ended(0, 4.0).ending == "eof"


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


def test_a_wait_for_a_connection_ends(legacy: Recorder) -> None:
    """A request that gets no connection in time is a 504, and the one that holds it is not disturbed."""
    gate = Gate()
    legacy.answer = [gate, OK]
    with worker_of(legacy, max_connections=1, connect_timeout_ns=200_000_000) as worker, worker.client() as first:
        first.send(request_bytes(target="/api/a"))
        legacy.wait_requests(1)
        second = worker.ask(request_bytes(target="/api/a"))
        gate.open()
        assert first.read_response().body == b"ok"

    assert second.status == 504


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
