"""What becomes of a backend connection after its answer, over a live worker that has two of them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Close, Hang, RecordedRequest, Recorder, Step, StopReading, answer

MIB = 1 << 20


def behave(request: RecordedRequest) -> Iterator[Step]:
    """Do to a request what its target names."""
    if request.target == b"/api/hints":
        # More than the transport takes without complaint, and the answer in the same read.
        yield b"HTTP/1.1 103 Early Hints\r\nLink: %b\r\n\r\n" % (b"x" * 15_000) * 6 + answer(b"ok")
    elif request.target == b"/api/refused":
        yield answer(b"too large", status=413, headers=(("Connection", "close"),))
        yield Close()
    elif request.target == b"/api/deaf":
        yield StopReading()
        yield answer(b"too large", status=413)
        yield Hang()
    else:
        yield answer(b"ok")
        if request.target == b"/api/once":
            yield Close()


@pytest.fixture(scope="module")
def service() -> Iterator[Recorder]:
    """Serve as told, and answer before the upload is read."""
    with Recorder(lambda request: behave(request), early=True, keep_bytes=64) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def worker(service: Recorder) -> Iterator[OneWorker]:
    """Run a worker that has two places for the service, and little room for what its clients do not read."""
    legacy = backend("legacy", service.url, max_connections=2, response_timeout_ns=5_000_000_000)
    with OneWorker(backends={"legacy": legacy, "new": service.url}, routes=[route()], send_buffer=4_096) as worker:
        worker.settled("every link of the worker to be up")
        yield worker


@pytest.fixture(autouse=True)
def dropped(service: Recorder) -> Iterator[None]:
    """Leave no connection to the next case."""
    yield
    service.drop_connections()


def test_interim_heads_that_fill_a_client_stop_nobody_else(service: Recorder, worker: OneWorker) -> None:
    """A connection on which a slow client's interim answers came serves the next client as any other."""
    with worker.client(receive_buffer=4_096) as slow:
        slow.send(request_bytes(target="/api/hints"))
        service.wait_until(lambda: service.requests[-1:] != [] and service.requests[-1].complete, "the slow request")
        worker.access_lines(1)
        status = worker.ask(request_bytes(target="/api/a")).status
        body = slow.read_response().body

    assert (status, body) == (200, b"ok")
    assert service.requests[-1].connection == service.requests[-2].connection


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_who_waits_gets_no_connection_that_is_closing(worker: OneWorker, method: str) -> None:
    """A service that begins to close after each answer, unannounced, costs a few writes at most, however many wait."""
    statuses: list[int] = []

    def visit() -> None:
        with worker.client() as client:
            for _ in range(20):
                body = b"hello" if method == "POST" else None
                statuses.append(client.exchange(request_bytes(method, "/api/once", body=body), method).status)

    clients = [threading.Thread(target=visit) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert Counter(statuses)[200] >= 160 - 10


def test_a_refusal_is_heard_however_much_of_the_upload_was_sent(worker: OneWorker) -> None:
    """A service that refuses an upload and closes is heard, though the worker has the whole upload in hand already."""
    statuses = []
    for _ in range(20):
        with worker.client() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(request_bytes("POST", "/api/refused", body=b"x" * MIB))
            statuses.append(client.read_response("POST").status)

    assert set(statuses) == {413}


def test_a_service_that_stops_reading_keeps_no_descriptor(worker: OneWorker) -> None:
    """The connection of an upload that was answered and is not read any more is closed at once, whatever it held."""
    worker.settled()
    before = worker.open_fds()
    for _ in range(3):
        with worker.client() as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(request_bytes("POST", "/api/deaf", body=b"x" * (20 * MIB)))
            assert client.read_response("POST").status == 413

    worker.wait(lambda: worker.open_fds() <= before, "the descriptors to come back")
