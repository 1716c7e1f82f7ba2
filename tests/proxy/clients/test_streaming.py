"""Answers that happen over time, and bodies that fit nowhere: passed on as they come, kept by nobody."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import statistics
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from bench.process import memory, reset_peak
from rules.flag import Stage
from tests.support.load import Load
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Close, Gate, Hang, Pause, RecordedRequest, Recorder, Step, answer, forever

MIB = 1 << 20
EVENTS = 15
BAR_MS = 20.0
"""An event reaches the client within this after the backend wrote it."""


def head(kind: str, *fields: tuple[str, str]) -> bytes:
    """Write the head of an answer without a length."""
    return answer(headers=(("Content-Type", kind), *fields), length=False)


def events(frame: Callable[[bytes], bytes]) -> Iterator[Step]:
    """Write events that say when they were written, ten milliseconds apart."""
    for _ in range(EVENTS):
        yield frame(b"data: %d\n\n" % time.monotonic_ns())
        yield Pause(seconds=0.01)


def chunk(data: bytes) -> bytes:
    """Frame one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(kind: str) -> Iterator[Step]:
    """Stream in chunks."""
    yield head(kind, ("Transfer-Encoding", "chunked"))
    yield from events(chunk)
    yield b"0\r\n\r\n"


def until_close(kind: str) -> Iterator[Step]:
    """Stream until the connection ends."""
    yield head(kind)
    yield from events(bytes)
    yield Close()


def compressed(kind: str) -> Iterator[Step]:
    """Stream through gzip, flushed behind every event."""
    packer = zlib.compressobj(wbits=31)
    yield head(kind, ("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip"))
    yield from events(lambda data: chunk(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)))
    yield chunk(packer.flush()) + b"0\r\n\r\n"


STREAMS: dict[str, Callable[[], Iterator[Step]]] = {
    "events, chunked": lambda: chunked("text/event-stream"),
    "events, until close": lambda: until_close("text/event-stream; charset=utf-8"),
    "events, gzip": lambda: compressed("text/event-stream"),
    "lines, chunked": lambda: chunked("application/x-ndjson"),
}

FIRST = Gate()
_SEED = random.Random(3).randbytes(MIB)


def blocks(count: int) -> Iterator[bytes]:
    """Make *count* MiB, no two of them alike."""
    for number in range(count):
        yield number.to_bytes(8, "big") + _SEED[8:]


def script(request: RecordedRequest) -> Iterator[Step] | bytes:
    """Answer as the target says."""
    name, _, argument = request.target.decode().partition("?")
    match name.rpartition("/")[2]:
        case "stream":
            return list(STREAMS.values())[int(argument)]()
        case "large":
            return (step for step in (answer(headers=(("Content-Length", str(64 * MIB)),), length=False), *blocks(64)))
        case "byte":
            return iter((answer(headers=(("Content-Length", "2"),), length=False), FIRST, b"1", Hang()))
        case "document":
            return answer(b'{"a":1}\n', headers=(("Content-Type", "application/x-ndjson"),))
        case "endless":
            return forever(_SEED[:65_536])
    return answer(b"%d" % request.body_bytes)


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Recorder, Recorder]]:
    """Answer as both services."""
    with Recorder(script, keep_bytes=1 << 16) as legacy, Recorder(script, keep_bytes=1 << 16) as new:
        yield legacy, new


@pytest.fixture(scope="module")
def shared(services: tuple[Recorder, Recorder]) -> Iterator[OneWorker]:
    """Run one worker with a route that is copied and one that is not."""
    legacy, new = services
    with OneWorker(
        backends={"legacy": legacy.url, "new": new.url},
        routes=[route("copied", "/copied/**"), route("plain", "/plain/**")],
        flags={"copied": flag(Stage.SHADOW)},
    ) as worker:
        worker.settled()
        yield worker


@pytest.fixture
def worker(shared: OneWorker, services: tuple[Recorder, Recorder]) -> Iterator[OneWorker]:
    """Lend the shared worker and leave no connection behind."""
    yield shared
    for service in services:
        service.drop_connections()


def latencies_ms(client: RawClient, number: int) -> list[float]:
    """Ask for a stream and measure each event from the backend's write to our reading it."""
    target = f"/plain/stream?{number}"
    client.send(request_bytes(target=target))
    unpack = zlib.decompressobj(wbits=31).decompress if client.read_head().value("content-encoding") else bytes
    found: list[float] = []
    raw = text = b""
    while len(found) < EVENTS:
        raw += client.read_some()
        while (match := re.match(rb"([0-9a-f]+)\r\n", raw)) and len(raw) >= match.end() + int(match[1], 16) + 2:
            end = match.end() + int(match[1], 16)
            text += unpack(raw[match.end() : end])
            raw = raw[end + 2 :]
        now = time.monotonic_ns()
        found += [(now - int(moment)) / 1e6 for moment in re.findall(rb"data: (\d+)\n\n", text)[len(found) :]]
    return found


@pytest.mark.alone
@pytest.mark.parametrize("number", range(len(STREAMS)), ids=STREAMS)
def test_an_event_is_passed_on_at_once(worker: OneWorker, number: int) -> None:
    """An event reaches its client within 20 ms of the backend's write, whatever its framing."""
    assert statistics.median(best_of_three(worker, number)) <= BAR_MS


@pytest.mark.alone
def test_an_event_is_passed_on_at_once_beside_other_traffic(worker: OneWorker) -> None:
    """Clients that ask all the time do not hold an event back beyond 20 ms."""
    with Load(worker.address[1], clients=2, target="/plain/small"):
        found = best_of_three(worker, 0)

    assert statistics.median(found) <= BAR_MS


def best_of_three(worker: OneWorker, number: int) -> list[float]:
    """Measure up to three times; a run in which every event was in time ends it."""
    found: list[float] = []
    for _ in range(3):
        with worker.client() as client:
            found = latencies_ms(client, number)
        if max(found) <= BAR_MS:
            break
    return found


def test_a_first_byte_is_passed_on_at_once(worker: OneWorker, services: tuple[Recorder, Recorder]) -> None:
    """A head without a body yet, and a single byte of a body, are not held back for more."""
    with worker.client() as client:
        client.send(request_bytes(target="/plain/byte"))
        assert client.read_head().status == 200
        FIRST.open()
        assert client.read_exactly(1) == b"1"


def test_a_stream_is_not_compared(worker: OneWorker, services: tuple[Recorder, Recorder]) -> None:
    """A stream counts as skipped, its copy is given up, and nothing of it is kept to be compared."""
    before = dict(worker.settled())
    copies = len(services[1].connections)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(worker.client()) for _ in STREAMS]
        for number, client in enumerate(clients):
            client.send(request_bytes(target=f"/copied/stream?{number}"))
        for client in clients:
            client.read_response()
    after = worker.settled()

    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert grown.pop("copies|copied|new|compare", 0) <= len(STREAMS)
    skipped = {"skipped|copied|streaming", "uncopied|copied|GET"}
    assert set(grown) == {"eligible|copied", *skipped, "requests|copied|legacy|legacy|2xx"}
    assert set(grown.values()) == {len(STREAMS)}
    for index in range(copies, len(services[1].connections)):
        services[1].wait_ended(index)


def test_a_client_that_asks_for_events_causes_no_copy(worker: OneWorker, services: tuple[Recorder, Recorder]) -> None:
    """A request that says it wants events is not even copied."""
    before = len(services[1].requests)
    with worker.client() as client:
        client.exchange(request_bytes(target="/copied/stream?0", headers=(("Accept", "text/event-stream"),)))
    worker.settled()

    assert len(services[1].requests) == before


def test_answers_with_a_length_are_compared_whatever_they_are(worker: OneWorker) -> None:
    """Records that come as a document with a length are compared like any other."""
    before = worker.settled().get("identical|copied|legacy", 0)
    with worker.client() as client:
        client.exchange(request_bytes(target="/copied/document"))

    worker.totals(lambda counts: counts.get("identical|copied|legacy", 0) == before + 1)


# --- size ---


@pytest.mark.parametrize("path", ["/plain/large", "/copied/large"])
def test_a_large_download_leaves_memory_flat(worker: OneWorker, path: str) -> None:
    """64 MiB come down byte for byte, copied or not, and the worker never holds more than 8 MiB of them."""
    expected, found = hashlib.sha256(), hashlib.sha256()
    for block in blocks(64):
        expected.update(block)
    reset_peak(worker.process.pid)
    before = memory(worker.process.pid, "VmRSS")
    with worker.client(timeout_s=30) as client:
        client.send(request_bytes(target=path))
        client.read_head()
        left = 64 * MIB
        while left:
            part = client.read_some(1 << 18)
            assert part
            left -= len(part)
            found.update(part)

    assert found.digest() == expected.digest()
    assert memory(worker.process.pid, "VmHWM") - before <= 8 * MIB


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_leaves_memory_flat(
    worker: OneWorker, services: tuple[Recorder, Recorder], framing: str
) -> None:
    """64 MiB go up byte for byte, and the worker never holds more than 8 MiB of them."""
    expected = hashlib.sha256()
    reset_peak(worker.process.pid)
    before = memory(worker.process.pid, "VmRSS")
    fields = f"Content-Length: {64 * MIB}" if framing == "length" else "Transfer-Encoding: chunked"
    with worker.client(timeout_s=30) as client:
        client.send(f"POST /plain/up HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode())
        for block in blocks(64):
            expected.update(block)
            client.send(block if framing == "length" else chunk(block))
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
        assert client.read_response("POST").body == b"%d" % (64 * MIB)

    assert services[0].requests[-1].digest.digest() == expected.digest()
    assert memory(worker.process.pid, "VmHWM") - before <= 8 * MIB


def test_many_slow_readers_stop_their_backends(worker: OneWorker, services: tuple[Recorder, Recorder]) -> None:
    """Twenty clients that hardly read cost a bounded buffer each; their backends wait."""
    legacy = services[0]
    first = len(legacy.connections)
    before = memory(worker.process.pid, "VmRSS")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(worker.client(receive_buffer=8_192)) for _ in range(20)]
        for client in clients:
            client.send(request_bytes(target="/plain/endless"))
        legacy.wait_connections(first + 20)
        sent = standing(lambda: sum(one.sent_bytes for one in legacy.connections[first:]))
        for client in clients:
            client.read_exactly(64_000)
        still = standing(lambda: sum(one.sent_bytes for one in legacy.connections[first:]))
        grown = memory(worker.process.pid, "VmRSS") - before

    assert still <= sent + 20 * 8 * MIB
    assert grown <= 20 * MIB


def standing(measure: Callable[[], int]) -> int:
    """Wait until a growing number stands still for a moment."""
    last, since = -1, time.monotonic()
    deadline = since + 60
    while time.monotonic() < deadline:
        now = measure()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.3:
            return now
        time.sleep(0.02)
    raise AssertionError(f"still growing at {last}")
