"""Backends that fail in every phase, behind one worker: what the client gets, what is counted, what is tried again."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from config.spec import BackendTlsSpec, FallbackSpec, RouteSpec
from rules.flag import Stage
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.oneworker import OneWorker, backend, flag, route
from tests.support.rawclient import ConnectionEndedError, RawClient, RawResponse, request_bytes
from tests.support.recorder import Close, Gate, Hang, Recorder, Reset, Step, answer, forever

OK = answer(b"ok")
SECOND_NS = 1_000_000_000
CLOSED_PORT = 1
"""Nobody listens on tcpmux."""


class Talker:
    """Answer whoever connects before it says anything, and close: no TLS, no patience with uploads."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="talker")
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(65_536)
                connection.sendall(answer(b"no", status=413, reason="Too Large", headers=(("Connection", "close"),)))

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Hold one worker with a backend for each way to fail; route and backend have the same name."""

    worker: OneWorker
    recorder: Recorder
    """What ``shop`` is, and ``hasty``, whose answers are not waited for long: the test says how it answers."""
    network: FaultProxy
    """What ``wire`` is: the recorder behind a faulty network."""

    def one_more(self, name: str, phase: str, call: Callable[[], int]) -> int:
        """Make one request and wait until its failure is counted in *phase*; give the status."""
        key = f"upstream_errors|{name}|{phase}"
        first = len(self.worker.tallies)
        self.worker.wait(lambda: len(self.worker.tallies) > first, "the next tally")
        before = self.worker.tallies[-1].counts.get(key, 0)
        status = call()
        self.worker.totals(lambda counts: counts.get(key, 0) == before + 1, f"one more failure in phase {phase}")
        return status

    def ask(self, name: str, method: str = "GET", body: bytes | None = None) -> RawResponse:
        """Send one request to one backend."""
        return self.worker.ask(request_bytes(method, f"/{name}/a", body=body))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Run one worker for every way to fail."""
    with (
        Recorder(OK, early=True) as recorder,
        FaultProxy(recorder.address) as network,
        Talker() as talker,
        socket.socket() as hole,
        socket.socket() as filler,
    ):
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filler.connect(hole.getsockname())
        half = SECOND_NS // 2
        short, patient = (
            dict.fromkeys(("connect_timeout_ns", "response_timeout_ns", "read_timeout_ns"), limit)
            for limit in (half, SECOND_NS)
        )
        backends = [
            backend("shop", recorder.url),
            backend("hasty", recorder.url, **patient),
            backend("wire", network.url, **patient),
            backend("full", recorder.url, max_connections=1, connect_timeout_ns=half),
            backend("refused", f"http://127.0.0.1:{CLOSED_PORT}"),
            backend("unreachable", "http://255.255.255.255:80"),
            backend("unknown", "http://no-such-host.invalid:80"),
            backend("hole", f"http://127.0.0.1:{hole.getsockname()[1]}", **short),
            backend("plain", talker.url.replace("http:", "https:"), tls=BackendTlsSpec(verify=False), **short),
        ]
        routes: list[RouteSpec] = [
            route(one.name, f"/{one.name}/**", legacy=one.name, new="shop" if one.name != "shop" else "wire")
            for one in backends
        ]
        routes.append(route("timed", "/timed/**", legacy="shop", new="wire", timeout_ns=SECOND_NS))
        with OneWorker(
            backends={one.name: one for one in backends}, routes=routes, undeclared=None, access_log=False
        ) as worker:
            worker.settled("every link of the worker to be up")
            yield World(worker=worker, recorder=recorder, network=network)


@pytest.fixture(autouse=True)
def leave_nothing(world: World) -> Iterator[None]:
    """Put the network and the answers back, and end what is idle."""
    yield
    world.recorder.answer = OK
    world.network.to_client = world.network.to_server = Faults()
    world.network.accept = "connect"
    world.recorder.drop_connections()
    world.network.end_all()


@pytest.mark.parametrize(
    ("name", "phase"),
    [("refused", "connect"), ("unreachable", "connect"), ("unknown", "resolve"), ("plain", "tls")],
)
def test_who_cannot_be_reached_is_502(world: World, name: str, phase: str) -> None:
    """A backend that cannot be reached is a 502; why stands in the metric and the log, not in the answer."""
    told = []

    def call() -> int:
        told.append(world.ask(name))
        return told[0].status

    assert world.one_more(name, phase, call) == 502
    line = f'"backend": "{name}", "phase": "{phase}"'
    world.worker.wait(lambda: line in world.worker.errors(), "the line about it")
    assert not re.search(rb"255|no-such|127|refused|certificate|Errno", told[0].body)


def test_a_black_hole_is_504_at_the_connect_timeout(world: World) -> None:
    """A backend whose network swallows the handshake is a 504 when the connect timeout is over, not before."""
    took = []

    def call() -> int:
        start = time.monotonic()
        status = world.ask("hole").status
        took.append(time.monotonic() - start)
        return status

    assert world.one_more("hole", "connect", call) == 504
    assert took[0] >= 0.45


def test_a_full_pool_is_503(world: World) -> None:
    """Who finds no place in a full pool within the connect timeout is a 503; other backends do not notice."""
    gate = Gate()
    world.recorder.answer = lambda request: [gate, OK] if request.target == b"/full/a" else OK

    def call() -> int:
        with world.worker.client() as second:
            second.send(request_bytes(target="/full/b"))
            assert world.ask("shop").status == 200
            return second.read_response().status

    with world.worker.client() as first:
        first.send(request_bytes(target="/full/a"))
        world.recorder.wait_until(
            lambda: any(one.target == b"/full/a" for one in world.recorder.requests), "request in the only place"
        )
        assert world.one_more("full", "pool", call) == 503
        gate.open()
        assert first.read_response().status == 200


def test_a_connection_that_ends_inside_the_request_is_phase_send(world: World) -> None:
    """A backend that resets the connection while the request is on its way is a 502, and it is asked once."""
    world.recorder.answer = [Reset()]
    before = len(world.recorder.requests)

    def call() -> int:
        with world.worker.client() as client:
            client.send(request_bytes("POST", "/shop/a", body=b"x" * 1_000)[:-500])
            return client.read_response("POST").status

    assert world.one_more("shop", "send", call) == 502
    assert len(world.recorder.requests) == before + 1


@pytest.mark.parametrize("script", [[Reset()], [Close()], [b"HTTP/1.1 200 O", Close()]], ids=["reset", "close", "half"])
def test_a_connection_that_ends_before_the_head_is_502(world: World, script: list[Step]) -> None:
    """A new connection that ends before a whole head is a 502 in phase head, and nothing is sent again."""
    world.recorder.answer = script
    sent = len(world.recorder.requests)

    assert world.one_more("shop", "head", lambda: world.ask("shop").status) == 502
    assert len(world.recorder.requests) == sent + 1


def test_a_reset_at_once_is_502(world: World) -> None:
    """A backend whose network resets each connection as soon as it is open is a 502, and keeps no place in the pool."""
    world.network.accept = "reset"

    assert {world.ask("wire").status for _ in range(30)} == {502}
    world.network.accept = "connect"
    assert world.ask("wire").status == 200


@pytest.mark.parametrize("cut", ["close", "reset", "blackhole"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_is_cut_never_ends_well(world: World, cut: str, chunked: bool) -> None:
    """When the network cuts an answer's body the client's connection ends without the rest, within the read timeout."""
    body = b"x" * 50_000
    framed = b"c350\r\n" + body + b"\r\n0\r\n\r\n"
    head = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 50000\r\n\r\n"
    world.recorder.answer = b"HTTP/1.1 200 OK\r\n" + head + (framed if chunked else body)
    world.network.to_client = Faults(cut_after=20_000, cut=cut)  # type: ignore[arg-type]  # a Cut by parametrisation

    def call() -> int:
        with world.worker.client() as client, pytest.raises((ConnectionEndedError, ConnectionResetError)) as ended:
            client.exchange(request_bytes(target="/wire/a"))
        return isinstance(ended.value, ConnectionEndedError) and b"0\r\n\r\n" in ended.value.so_far

    assert not world.one_more("wire", "timeout" if cut == "blackhole" else "body", call)


def test_silence_is_504(world: World) -> None:
    """A backend that takes the request and never answers is a 504 at its response timeout; a POST is not sent again."""
    world.recorder.answer = [Hang()]
    before = len(world.recorder.requests)

    assert world.one_more("hasty", "timeout", lambda: world.ask("hasty", "POST", b"order").status) == 504
    assert len(world.recorder.requests) == before + 1


def test_silence_on_a_used_connection_is_504_once(world: World) -> None:
    """A POST over a connection that was used before and then falls silent is a 504, and is not sent again."""
    with world.worker.client() as client:
        assert client.exchange(request_bytes("POST", "/hasty/a", body=b"1")).status == 200
        world.recorder.answer = [Hang()]
        before = len(world.recorder.requests)
        assert client.exchange(request_bytes("POST", "/hasty/a", body=b"2")).status == 504

    assert len(world.recorder.requests) == before + 1


def test_a_drip_ends_with_the_routes_timeout(world: World) -> None:
    """An answer that drips for ever ends at the route's timeout; without one it may go on: it could be a stream."""
    world.recorder.answer = forever(b"x", 0.05)
    start = time.monotonic()
    with world.worker.client() as client, pytest.raises((ConnectionEndedError, ConnectionResetError)):
        client.exchange(request_bytes(target="/timed/a"))

    assert time.monotonic() - start >= 0.9


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_backends_error_is_an_answer(world: World, status: int) -> None:
    """A 5xx of a backend reaches the client as it is."""
    world.recorder.answer = answer(b"down", status=status, reason="Down", headers=(("X-From", "backend"),))

    response = world.ask("shop")

    assert (response.status, response.body, response.value("x-from")) == (status, b"down", b"backend")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_backend_may_close_without_a_word(world: World, method: str) -> None:
    """A backend that closes after each answer without announcing it costs no request, however soon the next comes."""
    world.recorder.answer = [OK, Close()]
    request = request_bytes(method, "/shop/a", body=b"1" if method == "POST" else None)
    with world.worker.client() as client:
        assert [client.exchange(request).status for _ in range(200)] == [200] * 200


def test_a_refused_upload_is_told_so(world: World) -> None:
    """The answer of a backend that refuses a large upload and closes reaches the client that is still sending."""
    statuses = []
    with (
        Talker() as refuser,
        OneWorker(backends={"legacy": refuser.url, "new": refuser.url}, routes=[route()]) as worker,
    ):
        for _ in range(8):
            with worker.client() as client:
                sender = threading.Thread(target=_upload, args=(client,), name="upload")
                sender.start()
                statuses.append(client.read_response("POST").status)
                sender.join()

    assert statuses == [413] * 8


def _upload(client: RawClient) -> None:
    client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    try:
        for _ in range(1_600):
            client.send(b"x" * 65_536)
    except OSError:
        return  # refused, as it should be


def test_a_fallback_waits_for_its_client_too() -> None:
    """When new fails while the client does not read, legacy's answer is not piled up in memory for that client."""
    field = b"X: " + b"y" * 16_000 + b"\r\n"
    with (
        Recorder([b"HTTP/1.1 103 Early Hints\r\n" + field * 3 + b"\r\n"] * 30 + [Hang()]) as new,
        Recorder(answer(b"z" * (32 << 20)), keep_bytes=0) as legacy,
        OneWorker(
            backends={"legacy": legacy.url, "new": backend("new", new.url, response_timeout_ns=SECOND_NS)},
            routes=[route(fallback=FallbackSpec(timeout=True))],
            flags={"orders": flag(Stage.CANARY, percent_bp=10_000, sample_bp=0)},
            send_buffer=16_384,
        ) as worker,
        worker.client(receive_buffer=4_096) as client,
    ):
        before = worker.rss_bytes()
        client.send(request_bytes(target="/api/a", headers=(("X-User-Id", "7"),)))
        legacy.wait_requests(1)
        worker.settled()
        grown = worker.rss_bytes() - before
        response = client.read_response()

    assert len(response.body) == 32 << 20
    assert len(response.interim) < 30, "the client was to fall behind"
    assert grown < 16 << 20


def test_proxies_of_the_environment_are_ignored(world: World) -> None:
    """HTTP_PROXY and its relatives in the environment do not change where a request goes."""
    nowhere = f"http://127.0.0.1:{CLOSED_PORT}"
    environ = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), nowhere)
    url = world.recorder.url
    with OneWorker(backends={"legacy": url, "new": url}, routes=[route()], environ=environ) as worker:
        assert worker.ask(request_bytes(target="/api/a")).body == b"ok"
