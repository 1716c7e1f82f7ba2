"""The life of a worker: start, holds before sockets, streaming without memory, drain, the end of its parent."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from config.spec import FallbackSpec, ShadowSpec
from rules.flag import Stage
from shadow import link
from tests.support.oneworker import WAIT_S, OneWorker, backend, flag, route
from tests.support.rawclient import ConnectionEndedError, MalformedResponseError, request_bytes
from tests.support.recorder import (
    Close,
    Echo,
    Gate,
    Hang,
    RecordedRequest,
    Recorder,
    Reset,
    Sliced,
    Step,
    answer,
    chunked_answer,
)

MIB = 1 << 20


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Answer as the only service."""
    with Recorder(answer(b"ok"), keep_bytes=64) as recorder:
        yield recorder


def worker_of(legacy: Recorder) -> OneWorker:
    """Start a worker with one service."""
    return OneWorker(backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()])


def test_a_download_costs_no_memory(legacy: Recorder) -> None:
    """256 MiB downwards pass through with a resident memory that grows by less than 8 MiB."""
    piece = bytes(range(256)) * 4_096
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB)
    legacy.answer = lambda request: (head if number < 0 else piece for number in range(-1, 256))
    digest = hashlib.sha256()
    with worker_of(legacy) as worker, worker.client() as client:
        before = peak = worker.rss_bytes()
        client.send(request_bytes(target="/api/a"))
        client.read_head()
        for _ in range(256):
            digest.update(client.read_exactly(MIB))
            peak = max(peak, worker.rss_bytes())

    assert digest.digest() == hashlib.sha256(piece * 256).digest()
    assert peak - before < 8 * MIB


def test_an_upload_costs_no_memory(legacy: Recorder) -> None:
    """256 MiB upwards pass through with a resident memory that grows by less than 8 MiB."""
    piece = bytes(MIB)
    with worker_of(legacy) as worker, worker.client() as client:
        before = peak = worker.rss_bytes()
        client.send(b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        for _ in range(256):
            client.send(piece)
            peak = max(peak, worker.rss_bytes())
        assert client.read_response("POST").status == 200

    assert legacy.requests[0].body_bytes == 256 * MIB
    assert peak - before < 8 * MIB


def test_drain_finishes_what_is_in_flight(legacy: Recorder) -> None:
    """A drained worker answers the request in hand, says close, sends its final tally and exits with 0."""
    gate = Gate()
    with worker_of(legacy) as worker, worker.client() as client, worker.client() as idle:
        idle.exchange(request_bytes(target="/other"))
        legacy.answer = [gate, answer(b"late")]
        client.send(request_bytes(target="/api/a"))
        legacy.wait_requests(2)
        worker.parent(link.Drain(deadline_ns=20_000_000_000))
        assert idle.ending() == "eof"
        gate.open()
        response = client.read_response()
        assert worker.process.wait(WAIT_S) == 0
        counts = worker.final().counts

    assert response.body == b"late"
    assert response.value("connection") == b"close"
    assert counts["requests|orders|legacy|legacy|2xx"] == 1


def test_a_patient_drain_hangs_up_on_nobody_who_speaks(legacy: Recorder) -> None:
    """With patience a silent connection stays open until its next answer says close; then the worker ends at once."""
    with worker_of(legacy) as worker, worker.client() as client, worker.client() as unused:
        client.exchange(request_bytes(target="/api/a"))
        worker.parent(link.Drain(deadline_ns=1_000_000_000, patience_ns=60_000_000_000))
        worker.wait(lambda: not worker.beats[-1].accepting, "the worker to leave")
        seen = len(worker.tallies)
        worker.wait(lambda: len(worker.tallies) > seen + 6, "more than a second, so that every deadline was looked at")
        late = [one.exchange(request_bytes(target="/api/a")) for one in (client, unused)]
        assert worker.process.wait(WAIT_S) == 0

    assert [(one.status, one.value("connection")) for one in late] == [(200, b"close")] * 2


def test_patience_ends(legacy: Recorder) -> None:
    """Who stays silent for longer than a drain's patience is hung up on, and a second drain ends the patience."""
    with worker_of(legacy) as worker, worker.client() as client:
        client.exchange(request_bytes(target="/api/a"))
        worker.parent(link.Drain(deadline_ns=1_000_000_000, patience_ns=60_000_000_000))
        worker.wait(lambda: not worker.beats[-1].accepting, "the worker to leave")
        worker.parent(link.Drain(deadline_ns=1_000_000_000, patience_ns=300_000_000))

        assert client.ending() == "eof"
        assert worker.process.wait(WAIT_S) == 0


@pytest.mark.alone
def test_drain_ends_at_its_deadline(legacy: Recorder) -> None:
    """A request that does not end is cut at the drain's deadline."""
    gate = Gate()
    legacy.answer = [gate, answer(b"late")]
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/a"))
        legacy.wait_requests(1)
        start = time.monotonic()
        worker.parent(link.Drain(deadline_ns=300_000_000))
        assert worker.process.wait(WAIT_S) == 0
        elapsed = time.monotonic() - start
        gate.open()

    assert elapsed < 5.0


def test_an_orphan_drains_and_exits(legacy: Recorder) -> None:
    """A worker whose supervisor is gone stops accepting and exits."""
    with worker_of(legacy) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.orphan()

        assert worker.process.wait(WAIT_S) == 0


def test_answers_never_cross(legacy: Recorder) -> None:
    """Under concurrency, with copies on, every client gets the answer to its own request."""
    legacy.answer = lambda request: answer(request.target + b"|" + request.values("x-request-id")[0])
    wrong: list[bytes] = []
    with OneWorker(
        backends={"legacy": legacy.url, "new": legacy.url}, routes=[route()], flags={"orders": flag(Stage.SHADOW)}
    ) as worker:

        def visit(who: int) -> None:
            with worker.client() as client:
                for number in range(60):
                    name = f"{who}-{number}"
                    sent = request_bytes(target=f"/api/{name}", headers=(("X-Request-Id", name),))
                    body = client.exchange(sent).body
                    if body != f"/api/{name}|{name}".encode():
                        wrong.append(body)

        threads = [threading.Thread(target=visit, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = worker.settled()

    assert wrong == []
    assert counts["identical|orders|legacy"] + counts.get("skipped|orders|in_flight", 0) == 480


def law(tally: link.Tally) -> tuple[int, int]:
    """Give both sides of the counting law: what was sent, and what became of it."""

    def total(counts: dict[str, int], *families: str) -> int:
        return sum(value for key, value in counts.items() if key.split("|")[0] in families)

    return total(tally.counts, "sent"), total(tally.counts, "identical", "unequal", "errored")


def test_the_final_tally_leaves_nothing_in_flight(legacy: Recorder) -> None:
    """A worker that ends has decided every copy: the counting law holds without a rest that nobody will ever count."""
    with (
        Recorder([Hang()]) as stuck,
        OneWorker(
            backends={"legacy": legacy.url, "new": stuck.url},
            routes=[route()],
            flags={"orders": flag(Stage.SHADOW)},
        ) as worker,
        worker.client() as client,
    ):
        worker.ask(request_bytes(target="/api/a"))
        stuck.wait_requests(1)
        legacy.answer = [Hang()]
        client.send(request_bytes(target="/api/b"))
        stuck.wait_requests(2)
        worker.parent(link.Drain(deadline_ns=300_000_000))
        assert worker.process.wait(WAIT_S) == 0
        final = worker.final()

    assert [key for key in final.gauges if key.startswith(("in_flight", "queued"))] == []
    assert law(final) == (2, 2)


@pytest.mark.parametrize(
    ("at_rest", "answered", "said"),
    [
        (
            msgspec.json.encode(link.Holds(revision=3, holds=[link.HoldItem(route="orders")])),
            b"legacy",
            "serving with those on the disk",
        ),
        (b"garbage", b"new", "cannot be read; serving without"),
    ],
)
def test_a_supervisor_too_busy_to_speak_is_read(legacy: Recorder, at_rest: bytes, answered: bytes, said: str) -> None:
    """A worker that hears nothing about holds respects those on the disk, and leaves the file to its owner."""
    legacy.answer = answer(b"legacy")
    with (
        Recorder(answer(b"new")) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url},
            routes=[route()],
            flags={"orders": flag(Stage.LIVE)},
            holds_at_rest=at_rest,
        ) as worker,
    ):
        response = worker.ask(request_bytes(target="/api/a"))

        assert response.body == answered
        worker.wait(lambda: said in worker.errors(), "the line about it")
        assert Path(worker.state_dir, "holds").read_bytes() == at_rest


def test_a_hold_needs_no_secret(legacy: Recorder, tmp_path: Path) -> None:
    """A rollback takes effect although a secret that the configuration refers to can no longer be read."""
    secret = tmp_path / "token"
    secret.write_text("Bearer shadow")
    spec = route(shadow=ShadowSpec(max_per_second=None, credentials="replace", replace_authorization=f"file:{secret}"))
    with (
        Recorder(answer(b"new")) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[spec], flags={"orders": flag(Stage.LIVE)}
        ) as worker,
    ):
        assert worker.ask(request_bytes(target="/api/a")).body == b"new"
        secret.unlink()
        worker.hold(link.HoldItem(route="orders"))
        assert worker.ask(request_bytes(target="/api/a")).body == b"ok"
        worker.hold()
        assert worker.ask(request_bytes(target="/api/a")).body == b"new"


# --- whatever comes ---

IDLE_NS = 300_000_000


def whatever(request: RecordedRequest) -> Iterator[Step]:
    """Answer as the dice of one request id, side and copy fall: well, slowly, oddly, brokenly or not at all."""
    name = request.values("x-request-id")[0]
    dice = random.Random(name + b"".join(request.values("x-matapalo-shadow")) + bytes([request.connection % 2]))
    body = b"%b %b " % (name, hashlib.sha256(request.body).hexdigest().encode()) + b"." * dice.choice((0, 9, 70_000))
    if request.values("upgrade") and dice.random() < 0.5:
        yield b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        yield Echo()
        return
    kind = dice.choice(("length", "length", "chunked", "close", "reset", "cut", "hints", "sliced", "503", "hang"))
    if request.method == b"HEAD":
        yield answer(headers=(("Content-Length", str(len(body))),), length=False)
    elif kind == "chunked":
        yield chunked_answer([body[:5], body[5:]], trailers=(("X-T", "1"),))
    elif kind == "close":
        yield answer(body, length=False, headers=(("Connection", "close"),))
        yield Close()
    elif kind == "reset":
        yield Reset()
    elif kind == "cut":
        yield answer(body)[:-3]
        yield Reset()
    elif kind == "hints":
        yield b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + answer(body)
    elif kind == "sliced":
        yield Sliced(data=answer(body), size=max(1, len(body) // 7), gap_s=0.001) if len(body) < 1_000 else answer(body)
    elif kind == "503":
        yield answer(body, status=503, reason="Unavailable")
    elif kind == "hang":
        yield Hang()
    else:
        yield answer(body)


def some_request(dice: random.Random, name: str) -> tuple[str, bytes, bytes]:
    """Make one legal request: its method, its bytes and its body."""
    method = dice.choice(("GET", "GET", "HEAD", "POST", "POST", "PUT", "OPTIONS"))
    fields = [f"{method} /{dice.choice(('shadow', 'canary', 'live', 'other'))}/{name} HTTP/1.1", "Host: a"]
    fields += [f"X-Request-Id: {name}", f"X-User-Id: {dice.randrange(9)}"]
    body = dice.randbytes(dice.choice((0, 1, 300, 40_000))) if method in ("POST", "PUT") else b""
    sent = body
    if method == "GET" and dice.random() < 0.1:
        fields += ["Connection: Upgrade", "Upgrade: websocket"]
    elif body and dice.random() < 0.5:
        fields.append("Transfer-Encoding: chunked")
        sizes = [dice.randrange(1, len(body) + 1) for _ in range(3)]
        cuts = sorted({0, len(body), *sizes})
        sent = b"".join(b"%x\r\n%b\r\n" % (end - start, body[start:end]) for start, end in pairwise(cuts))
        sent += b"0\r\n\r\n"
    elif method in ("POST", "PUT"):
        fields.append(f"Content-Length: {len(body)}")
    return method, "\r\n".join(fields).encode() + b"\r\n\r\n" + sent, body


def visit(worker: OneWorker, who: int, until: float, wrong: list[str], digests: dict[bytes, bytes]) -> None:
    """Be one client after the other: send some requests ahead, cut anywhere, read all, some or no answers."""
    dice = random.Random(who)
    number = 0
    while time.monotonic() < until:
        sent = []
        for _ in range(dice.randrange(1, 5)):
            number += 1
            name = f"{who}-{number}"
            method, raw, body = some_request(dice, name)
            digests[name.encode()] = hashlib.sha256(body).hexdigest().encode()
            sent.append((name.encode(), method, raw))
        patience = dice.choice((0, 1, 9, 9, 9))
        with worker.client() as client, contextlib.suppress(ConnectionEndedError, OSError):
            stream = b"".join(raw for _, _, raw in sent)
            client.send(stream, slice_bytes=dice.choice((0, 0, 1 + len(stream) // 5)), gap_s=0.0005)
            for asked, method, _ in sent[:patience]:
                try:
                    response = client.read_response(method)
                except (MalformedResponseError, TimeoutError) as error:
                    wrong.append(f"{asked!r}: {error!r}")
                    return
                if response.status == 101:
                    break  # what follows belongs to the tunnel
                if response.value("x-request-id") != asked:
                    wrong.append(f"{asked!r} got the answer to {response.value('x-request-id')!r}")
                if response.body and response.value("content-type") == b"text/plain":
                    echoed = response.body.split(b" ")[:2]
                    if echoed != [asked, digests[asked]]:
                        wrong.append(f"{asked!r} got the body of {echoed}")
            if dice.random() < 0.3:
                client.reset()


def test_whatever_clients_and_services_do_the_rules_hold() -> None:
    """Random requests, cuts, hang-ups and broken services: no mix-up, no repeated write, no leak, and the law holds."""
    wrong: list[str] = []
    digests: dict[bytes, bytes] = {}
    fallback = FallbackSpec(connect=True, timeout=True, statuses=(503,))
    shadow = ShadowSpec(max_per_second=None, reads=("POST",), timeout_ns=700_000_000)
    names = {"shadow": Stage.SHADOW, "canary": Stage.CANARY, "live": Stage.LIVE}
    routes = [route(name, f"/{name}/**", shadow=shadow, fallback=fallback, timeout_ns=1_000_000_000) for name in names]
    with Recorder(whatever) as legacy, Recorder(whatever) as new:
        backends = {
            side.name: side
            for side in (
                backend("legacy", legacy.url, idle_timeout_ns=IDLE_NS, response_timeout_ns=500_000_000),
                backend("new", new.url, idle_timeout_ns=IDLE_NS, response_timeout_ns=500_000_000, max_connections=4),
            )
        }
        flags = {name: flag(stage, percent_bp=5_000, sample_bp=10_000) for name, stage in names.items()}
        with OneWorker(backends=backends, routes=routes, flags=flags) as worker:
            worker.settled()
            before = worker.open_fds()
            until = time.monotonic() + 6.0
            threads = [threading.Thread(target=visit, args=(worker, who, until, wrong, digests)) for who in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            counts = worker.settled()
            worker.wait(lambda: worker.open_fds() <= before, "descriptors to come back")
            errors = worker.errors()

    assert wrong == []
    assert [one.failure for side in (legacy, new) for one in side.connections if one.failure] == []
    writes = Counter(
        request.values("x-request-id")[0]
        for side in (legacy, new)
        for request in side.requests
        if request.method in (b"POST", b"PUT") and not request.values("x-matapalo-shadow")
    )
    assert [asked for asked, times in writes.items() if times > 1] == []
    for request in (*legacy.requests, *new.requests):
        if request.complete:
            asked = request.values("x-request-id")[0]
            assert hashlib.sha256(request.body).hexdigest().encode() == digests[asked]
    for event in ("callback failed", "task failed", "deadline failed"):
        assert event not in errors
    for name in names:
        mine = {key: value for key, value in counts.items() if key.split("|")[1:2] == [name]}

        def total(*families: str, counts: dict[str, int] = mine) -> int:
            return sum(value for key, value in counts.items() if key.split("|")[0] in families)

        assert total("eligible") == total("unsampled", "skipped", "sent") > 0
        assert total("sent") == total("identical", "unequal", "errored")
        assert total("unequal") == total("tolerated", "divergent", "undecided")
