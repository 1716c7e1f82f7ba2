"""Clients that leave, or half-close and wait, while their request is in hand."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator

import pytest

from config.spec import LimitsSpec
from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import (
    Hang,
    Pause,
    RecordedRequest,
    Recorder,
    Sliced,
    Step,
    StopReading,
    answer,
    chunked_answer,
)

BAR_NS = 250_000_000
"""A client's departure ends its request at the backend within this."""
IDLE_NS = 1_000_000_000
"""So that a connection which opened for somebody who has left is gone when the test is looked over."""
TRIES = 9
"""The first in time counts: the machine may be busy with something else."""

PATIENCE_NS = 3_000_000_000
"""For half-closed clients; an answer that is to outlast it drips for longer."""

EVENTS = (("Content-Type", "text/event-stream"),)


def script(request: RecordedRequest) -> list[Step]:
    """Answer as the target says."""
    match request.target.partition(b"?")[0].rpartition(b"/")[2]:
        case b"hang":
            return [Hang()]
        case b"interim":
            return [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Hang()]
        case b"part":
            return [answer(b"x" * 1000)[:-10], Hang()]
        case b"events":
            return [chunked_answer([b"data: 1\n\n"], headers=EVENTS)[:-5], Hang()]
        case b"drip":
            return [answer(b"d" * 14)[:-14], Sliced(data=b"d" * 14, gap_s=0.25)]
        case b"soon":
            return [answer(b"s" * 14)[:-14], Sliced(data=b"s" * 14, gap_s=0.02)]
        case b"deaf":
            return [StopReading(), Hang()]
    return [answer(request.target)]


@pytest.fixture(scope="module")
def service() -> Iterator[Recorder]:
    """Answer as the only service, from the head on."""
    with Recorder(script, early=True, keep_bytes=1 << 16) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def full() -> Iterator[socket.socket]:
    """Listen with a full queue: a connect is neither answered nor refused."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening


@pytest.fixture(scope="module")
def shared(service: Recorder, full: socket.socket) -> Iterator[OneWorker]:
    """Run one worker for every test that needs nothing special."""
    names = {
        "legacy": backend("legacy", service.url, idle_timeout_ns=IDLE_NS),
        "narrow": backend("narrow", service.url, idle_timeout_ns=IDLE_NS, max_connections=1),
        "unreachable": backend("unreachable", f"http://127.0.0.1:{full.getsockname()[1]}"),
    }
    routes = [route(name, f"/{name}/**", legacy=name, new="legacy" if name != "legacy" else "narrow") for name in names]
    with OneWorker(backends=names, routes=routes) as worker:
        worker.settled()  # its links are up
        yield worker


@pytest.fixture(scope="module")
def shared_patient(service: Recorder) -> Iterator[OneWorker]:
    """Run one whose half-closed clients wait longer than the machine is likely to keep the service from its answers."""
    with OneWorker(
        backends={"legacy": service.url},
        routes=[route("legacy", "/legacy/**", new=None)],
        limits=LimitsSpec(half_close_timeout_ns=PATIENCE_NS),
    ) as worker:
        worker.settled()  # its links are up
        yield worker


@pytest.fixture
def worker(shared: OneWorker, service: Recorder) -> Iterator[OneWorker]:
    """Lend the shared worker and leave no connection behind."""
    yield shared
    service.drop_connections()


@pytest.fixture
def patient(shared_patient: OneWorker, service: Recorder) -> Iterator[OneWorker]:
    """Lend the patient worker and leave no connection behind."""
    yield shared_patient
    service.drop_connections()


_NUMBERS = itertools.count()


def target(path: str) -> str:
    """Make a target that no other request of this module has."""
    return f"{path}?{next(_NUMBERS)}"


def leave(client: RawClient, way: str) -> int:
    """Leave and give the moment."""
    at = time.monotonic_ns()
    client.reset() if way == "reset" else client.close()
    return at


def logged(worker: OneWorker, path: str) -> dict[str, object]:
    """Wait for the access line of one target."""
    found: list[dict[str, object]] = []

    def there() -> bool:
        found.extend(line for line in worker.access_lines(0) if line["target"] == path)
        return bool(found)

    worker.wait(there, f"the access line of {path}")
    return found[0]


PHASES = {
    "before the head": ("hang", b"", b""),
    "behind an interim answer": ("interim", b"", b"HTTP/1.1 103"),
    "inside the body": ("part", b"", b"xxx"),
    "in the silence of a stream": ("events", b"", b"data: 1"),
    "with the next request sent ahead": ("hang", request_bytes(target="/legacy/never"), b""),
}


@pytest.mark.alone
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves_cancels_its_request(worker: OneWorker, service: Recorder, phase: str, way: str) -> None:
    """Whenever a client leaves, its request at the backend is closed within 250 ms and logged as 499."""
    name, ahead, expected = PHASES[phase]
    took = []
    for _ in range(TRIES):
        path, connection = target(f"/legacy/{name}"), len(service.connections)
        with worker.client() as client:
            client.send(request_bytes(target=path))
            service.wait_connections(connection + 1)
            service.wait_until(lambda at=connection: bool(service.connections[at].requests), "the request")  # type: ignore[misc]  # bound now
            seen = b""
            while expected not in seen:
                seen += client.read_some()
            if ahead:
                client.send(ahead)
                worker.ask(request_bytes(target="/legacy/a"))
            at = leave(client, way)
            ended = service.wait_ended(connection).ended_ns
        assert ended is not None
        took.append(ended - at)
        assert logged(worker, path)["status"] == 499
        if min(took) < BAR_NS:
            break

    assert min(took) < BAR_NS
    assert b"/legacy/never" not in [request.target for request in service.requests]


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_client_that_leaves_inside_its_body_cancels_it(
    worker: OneWorker, service: Recorder, framing: str, way: str
) -> None:
    """An upload that breaks off is broken off at the backend at once, and never made to look whole."""
    path, connection = target("/legacy/hang"), len(service.connections)
    with worker.client() as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n".encode())
        service.wait_until(
            lambda: len(service.connections) > connection and b"hello" in service.connections[connection].raw,
            "the part",
        )
        leave(client, way)
        service.wait_ended(connection)

    assert not service.requests[-1].complete
    assert logged(worker, path)["status"] == 499


def test_a_client_that_resets_a_stopped_upload_cancels_it(worker: OneWorker) -> None:
    """A client whose upload waits for a slow backend is noticed when it goes, although nothing is read from it."""
    path = target("/legacy/deaf")
    with worker.client() as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n".encode())
        while client.send_some(b"x" * 1_000_000, 0.3):
            pass
        client.reset()

    assert logged(worker, path)["status"] == 499


def test_a_client_that_leaves_the_queue_frees_its_place(worker: OneWorker, service: Recorder) -> None:
    """A request that waits for a connection is forgotten with its client; who waits behind it is served."""
    with worker.client() as first, worker.client() as third:
        first.send(request_bytes(target=target("/narrow/hang")))
        service.wait_until(lambda: service.requests and service.requests[-1].target.startswith(b"/narrow"), "the first")  # type: ignore[arg-type,return-value]  # a truth
        waiting, behind = target("/narrow/waiting"), target("/narrow/behind")
        with worker.client() as second:
            second.send(request_bytes(target=waiting))
            worker.ask(request_bytes(target="/legacy/a"))
            third.send(request_bytes(target=behind))
            second.close()
        assert logged(worker, waiting)["status"] == 499
        first.close()
        assert third.read_response().body == behind.encode()

    assert waiting.encode() not in [request.target for request in service.requests]


def test_a_client_that_leaves_during_the_connect_is_forgotten(worker: OneWorker) -> None:
    """A request whose backend does not accept ends with its client, not with the connect timeout."""
    path = target("/unreachable/a")
    with worker.client() as client:
        client.send(request_bytes(target=path))
        worker.ask(request_bytes(target="/legacy/a"))
        client.close()

    assert logged(worker, path)["status"] == 499


def test_clients_that_leave_are_counted_and_are_no_errors(worker: OneWorker, service: Recorder) -> None:
    """A departure counts as one, and neither as an answer nor as a failure of the backend."""
    before = dict(worker.settled())
    connection = len(service.connections)
    with worker.client() as client:
        client.send(request_bytes(target="/legacy/hang"))
        service.wait_connections(connection + 1)
        client.reset()
    counts = worker.totals(
        lambda now: now.get("client_aborts|legacy|legacy", 0) > before.get("client_aborts|legacy|legacy", 0)
    )

    grown = {key: value - before.get(key, 0) for key, value in counts.items() if value != before.get(key, 0)}
    assert grown == {"client_aborts|legacy|legacy": 1}


# --- half-close ---


def test_a_half_closed_client_gets_an_answer_that_makes_progress(patient: OneWorker) -> None:
    """A FIN behind the request ends nothing while bytes of the answer come, however long that takes."""
    with patient.client() as client:
        client.send(request_bytes(target="/legacy/drip"))
        client.half_close()

        assert client.read_response().body == b"d" * 14
        assert client.ending() == "eof"


def test_a_half_closed_client_gets_all_that_it_asked_for(patient: OneWorker) -> None:
    """Requests sent ahead of a FIN are answered in order, then the connection is closed."""
    with patient.client() as client:
        paths = [target("/legacy/a") for _ in range(5)]
        post = request_bytes("POST", paths[3], body=b"b" * 100_000)
        asked = [request_bytes(target=path) for path in paths]
        client.send(b"".join([*asked[:3], post, asked[4]]))
        client.half_close()

        assert [client.read_response().body.decode() for _ in paths] == paths
        assert client.ending() == "eof"


@pytest.mark.parametrize(
    "rest", [b"GET /legacy/never HT", b"POST /legacy/cut HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_what_is_cut_by_a_fin_ends_the_connection(patient: OneWorker, rest: bytes) -> None:
    """A request that its client's FIN has cut short is dropped; those before it are answered."""
    with patient.client() as client:
        client.send(request_bytes(target="/legacy/soon"))
        client.send(rest)
        client.half_close()

        assert client.read_response().body == b"s" * 14
        assert client.ending() in ("eof", "reset")


def test_an_operator_can_let_half_closed_clients_wait() -> None:
    """With a longer ``half_close_timeout`` a silent backend has that long to answer a half-closed client."""
    with (
        Recorder([Pause(seconds=0.5), answer(b"late")]) as slow,
        OneWorker(
            backends={"legacy": slow.url},
            limits=LimitsSpec(half_close_timeout_ns=5_000_000_000),
        ) as worker,
        worker.client() as client,
    ):
        client.send(request_bytes(target="/api/a"))
        client.half_close()

        assert client.read_response().body == b"late"
