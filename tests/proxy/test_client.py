"""Client connections: keep-alive, pipelining, refusals, deadlines, backpressure and the end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.spec import LimitsSpec
from proxy.client import LINGER_BYTES, LINGER_S
from shadow import link
from tests.support.oneworker import OneWorker, backend, route
from tests.support.rawclient import ConnectionEndedError, RawClient, request_bytes
from tests.support.recorder import Gate, Hang, RecordedRequest, Recorder, answer, forever


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(answer(b"ok")) as recorder:
        yield recorder


def worker_of(legacy: Recorder, limits: LimitsSpec | None = None) -> OneWorker:
    """Start a worker with one route to one service."""
    return OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()], limits=limits)


def test_requests_share_a_connection(legacy: Recorder) -> None:
    """A client keeps its connection over many requests, and so does the backend's."""
    with worker_of(legacy) as worker, worker.client() as client:
        for _ in range(20):
            assert client.exchange(request_bytes(target="/api/a")).body == b"ok"

    assert len(legacy.connections) == 1


def test_pipelined_requests_are_answered_in_order(legacy: Recorder) -> None:
    """Ten requests sent ahead are answered one after the other, each with its own answer."""
    legacy.answer = lambda request: answer(request.target)
    sent = b"".join(request_bytes(target=f"/api/{number}") for number in range(10))
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(sent)
        for number in range(10):
            assert client.read_response().body == f"/api/{number}".encode()


def test_pipelining_across_reads_and_bodies_is_in_order(legacy: Recorder) -> None:
    """Requests with and without bodies may be cut anywhere and sent ahead; order and bodies stay."""
    legacy.answer = lambda request: answer(request.target + b":" + request.body)
    sent = b"".join(
        request_bytes("POST", f"/api/{n}", body=b"b" * n) if n % 2 else request_bytes(target=f"/api/{n}")
        for n in range(12)
    )
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(sent, slice_bytes=37, gap_s=0.001)
        for n in range(12):
            assert client.read_response().body == f"/api/{n}:".encode() + b"b" * (n if n % 2 else 0)


def test_a_request_in_single_bytes_works(legacy: Recorder) -> None:
    """However slowly a head arrives, within the deadline, it is one request."""
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(request_bytes("POST", "/api/a", body=b"hello"), slice_bytes=1)

        assert client.read_response().body == b"ok"

    assert legacy.requests[0].body == b"hello"


def test_absolute_form_is_brought_to_origin_form(legacy: Recorder) -> None:
    """A target in absolute form of the named host is forwarded as a path."""
    with worker_of(legacy) as worker:
        worker.ask(b"GET http://shop.test/api/a?b HTTP/1.1\r\nHost: shop.test\r\n\r\n")

    assert legacy.requests[0].target == b"/api/a?b"


def test_a_broken_chunk_ends_the_exchange(legacy: Recorder) -> None:
    """A request body that turns out malformed aborts the upload; the backend never sees a good end."""
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        legacy.wait_until(lambda: bool(legacy.requests), "the head at the backend")
        client.send(b"zz\r\n")

        assert client.read_response("POST").status == 400
        legacy.wait_ended(0)

    assert not legacy.requests[0].complete


def test_an_idle_connection_is_closed(legacy: Recorder) -> None:
    """A silent keep-alive connection is closed after its time."""
    with worker_of(legacy, LimitsSpec(keep_alive_timeout_ns=300_000_000)) as worker, worker.client() as client:
        client.exchange(request_bytes(target="/api/a"))

        assert client.ending() == "eof"


def test_a_connection_too_many_is_503(legacy: Recorder) -> None:
    """Beyond the limit a new connection is told so; those that are there go on."""
    with worker_of(legacy, LimitsSpec(max_connections=2)) as worker, worker.client() as one, worker.client() as two:
        one.exchange(request_bytes(target="/api/a"))
        two.exchange(request_bytes(target="/api/a"))
        with worker.client() as three:
            assert three.read_response().status == 503
        assert one.exchange(request_bytes(target="/api/a")).status == 200


def test_lame_duck_answers_and_says_close(legacy: Recorder) -> None:
    """After the lame-duck message every answer still comes and ends its connection."""
    with worker_of(legacy) as worker, worker.client() as client:
        client.exchange(request_bytes(target="/api/a"))
        worker.parent(link.LameDuck())
        worker.wait(lambda: bool(worker.beats) and not worker.beats[-1].accepting, "the worker to be a lame duck")
        response = client.exchange(request_bytes(target="/api/a"))

        assert response.status == 200
        assert response.value("connection") == b"close"
        assert client.ending() == "eof"


def test_a_slow_reader_stops_the_backend(legacy: Recorder) -> None:
    """While a client does not read, the backend is not read either, and memory stays flat."""
    legacy.answer = lambda request: forever(b"x" * 65_536)
    with worker_of(legacy) as worker, worker.client() as client:
        before = worker.rss_bytes()
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        sent = settle(lambda: legacy.connections[0].sent_bytes)
        grown = worker.rss_bytes() - before

    assert sent < 32 << 20
    assert grown < 8 << 20


def test_a_slow_backend_stops_the_upload(legacy: Recorder) -> None:
    """While a backend does not read, the client is not read either, and memory stays flat."""
    with (
        Recorder([Hang()], early=True, keep_bytes=0) as stuck,
        OneWorker(backends={"legacy": stuck.url, "new": stuck.url}, routes=[route()]) as worker,
        worker.client() as client,
    ):
        before = worker.rss_bytes()
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        taken = 0
        while taken < 64 << 20:
            part = client.send_some(b"x" * 65_536, 0.5)
            if not part:
                break
            taken += part
        grown = worker.rss_bytes() - before

    assert grown < 8 << 20


def settle(measure: object) -> int:
    """Wait until a growing number stands still for a moment."""
    assert callable(measure)
    last, since = -1, time.monotonic()
    deadline = since + 60
    while time.monotonic() < deadline:
        now = int(measure())
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.4:
            return now
        time.sleep(0.02)
    raise AssertionError(f"still growing at {last}")


def test_a_client_that_never_reads_is_cut(legacy: Recorder) -> None:
    """A client that takes nothing for the write timeout loses its connection, the backend its request: one abort."""
    legacy.answer = lambda request: forever(b"x" * 65_536)
    with worker_of(legacy, LimitsSpec(write_timeout_ns=500_000_000)) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/a"))
        legacy.wait_ended(0)
        with pytest.raises((ConnectionEndedError, ConnectionResetError)):
            client.read_exactly(1 << 30)
        assert worker.totals(lambda counts: counts.get("client_aborts|orders|legacy") == 1)


def test_a_client_lost_while_sending_ahead_leaves_nothing(legacy: Recorder) -> None:
    """Clients that leave at any moment leave no connection, descriptor or request behind."""
    gate = Gate()
    spec = backend("legacy", legacy.url, idle_timeout_ns=500_000_000)
    with OneWorker(backends={"legacy": spec, "new": legacy.url}, routes=[route()]) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.settled()
        before = worker.open_fds()
        legacy.answer = [gate, answer(b"late")]
        for number in range(60):
            with worker.client() as client:
                client.send(request_bytes(target="/api/a") * (1 + number % 3))
                client.reset() if number % 2 else client.close()
        gate.open()
        worker.wait(lambda: worker.tallies[-1].gauges.get("connections", 0) == 0, "all clients to be gone")
        legacy.answer = answer(b"ok")
        assert worker.ask(request_bytes(target="/api/a")).body == b"ok"
        worker.wait(lambda: worker.open_fds() <= before + 2, "descriptors to come back")


# --- what is sent ahead ---


def barrier(worker: OneWorker) -> None:
    """Return when the worker has read whatever was sent to it before."""
    for _ in range(2):
        worker.ask(request_bytes(target="/api/barrier"))


def test_a_body_sent_ahead_of_its_turn_arrives_whole(legacy: Recorder) -> None:
    """A request whose body comes while an earlier one is being answered is forwarded with that body."""
    gate = Gate()
    legacy.answer = lambda request: [gate, answer(b"1")] if request.target == b"/api/1" else answer(request.body)
    post = request_bytes("POST", "/api/2", body=b"helloworld")
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/1") + post[:-10])
        legacy.wait_requests(1)
        client.send(post[-10:-5])
        barrier(worker)
        gate.open()
        assert client.read_response().body == b"1"
        client.send(post[-5:] + request_bytes("POST", "/api/3", body=b"next"))
        assert client.read_response("POST").body == b"helloworld"
        assert client.read_response("POST").body == b"next"


@pytest.mark.parametrize("cut", [0, 40, 93], ids=["head", "in the head", "body"])
def test_bytes_that_come_with_the_answer_before_them_keep_their_order(legacy: Recorder, cut: int) -> None:
    """What arrives in the very moment in which an earlier answer ends is read behind what was sent before it."""
    gate = Gate()
    legacy.answer = lambda request: [gate, answer(b"1")] if request.target == b"/api/1" else answer(request.body)
    second = request_bytes("POST", "/api/2", body=b"x" * 50)
    third = request_bytes("POST", "/api/3", body=b"y" * 20)
    with worker_of(legacy) as worker, worker.client() as client:
        ahead = second + third[:cut] if cut < 90 else second[:-30]
        rest = (second + third)[len(ahead) :]
        client.send(request_bytes(target="/api/1") + ahead)
        legacy.wait_requests(1)
        os.kill(worker.process.pid, signal.SIGSTOP)
        gate.open()
        worker.wait(lambda: legacy.connections[0].sent_bytes > 0, "the answer")
        client.send(rest)
        os.kill(worker.process.pid, signal.SIGCONT)

        assert client.read_response().body == b"1"
        assert client.read_response("POST").body == b"x" * 50
        assert client.read_response("POST").body == b"y" * 20


def test_a_client_that_sends_ahead_and_reads_nothing_costs_no_memory(legacy: Recorder) -> None:
    """Answers to requests sent ahead do not pile up here: the next one waits until the client takes the last."""
    body = b"x" * 60_000
    legacy.answer = lambda request: answer(body)
    with worker_of(legacy) as worker, worker.client() as client:
        worker.ask(request_bytes(target="/api/a"))
        before = worker.rss_bytes()
        client.send(request_bytes(target="/api/a") * 1_500)
        settle(lambda: len(legacy.requests))
        grown = worker.rss_bytes() - before
        for _ in range(1_500):
            assert len(client.read_response().body) == len(body)

    assert grown < 16 << 20


# --- the end ---


def unread(worker: OneWorker, stack: contextlib.ExitStack, request: str) -> list[tuple[RawClient, int]]:
    """Open clients that read nothing of answers around the size that the kernel takes off the worker's hands."""
    clients = []
    for size in range(1_000_000, 5_000_000, 40_000):
        client = stack.enter_context(worker.client(receive_buffer=4_096))
        client.send(request.format(size=size).encode())
        clients.append((client, size))
    return clients


def sized(request: RecordedRequest) -> bytes:
    """Answer with as many bytes as the target's last segment says."""
    return answer(b"x" * int(request.target.rpartition(b"/")[2]))


def test_an_answer_that_nobody_takes_frees_its_connection() -> None:
    """A client that asks for the end of its connection and never reads loses it after the write timeout."""
    limits = LimitsSpec(write_timeout_ns=500_000_000)
    with Recorder(sized) as legacy, worker_of(legacy, limits) as worker, contextlib.ExitStack() as stack:
        unread(worker, stack, "GET /api/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        legacy.wait_requests(100)
        legacy.drop_connections()

        worker.wait(lambda: sockets_to_clients(worker) == 0, "descriptors to come back")


def sockets_to_clients(worker: OneWorker) -> int:
    """Count the worker's open connections on its listening port."""
    mine = set()
    for descriptor in Path(f"/proc/{worker.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            mine.add(os.readlink(descriptor))
    port = f":{worker.address[1]:04X}"
    count = 0
    for line in Path(f"/proc/{worker.process.pid}/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1].endswith(port) and fields[3] != "0A" and f"socket:[{fields[9]}]" in mine:
            count += 1
    return count


def test_a_slow_reader_gets_an_early_answer_whole() -> None:
    """An answer that came before the request's end reaches even a slow client in full."""
    with Recorder(sized, early=True) as legacy, worker_of(legacy) as worker, contextlib.ExitStack() as stack:
        head = "POST /api/{size} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
        clients = unread(worker, stack, head)
        settle(lambda: sum(one.sent_bytes for one in legacy.connections))
        last = time.monotonic() + LINGER_S + 1.5
        while time.monotonic() < last:
            time.sleep(0.1)
        for client, size in clients:
            assert len(client.read_response("POST").body) == size


def test_a_connection_too_many_that_asks_at_once_still_reads_its_503(legacy: Recorder) -> None:
    """A request on its way to a connection that is turned away does not turn the 503 into a reset."""
    with worker_of(legacy, LimitsSpec(max_connections=1)) as worker, worker.client() as inside:
        inside.exchange(request_bytes(target="/api/a"))
        for _ in range(20):
            with worker.client() as outside:
                assert outside.exchange(request_bytes("POST", "/api/a", body=b"b" * 50_000)).status == 503
                assert outside.ending() == "eof"  # behind a reset, some systems throw away what was not read yet
        assert inside.exchange(request_bytes(target="/api/a")).status == 200
        assert worker.totals(lambda counts: counts.get("refused|connections") == 20)


def test_a_client_that_goes_on_sending_behind_a_refusal_is_cut(legacy: Recorder) -> None:
    """After an answer that ends the connection only so much more is read and thrown away."""
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 400

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(bytes(64 * LINGER_BYTES))
