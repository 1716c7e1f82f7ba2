"""The life of a worker: start, holds before sockets, streaming without memory, drain, the end of its parent."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.spec import ShadowSpec
from rules.flag import Stage
from shadow import link
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Gate, Hang, Recorder, answer

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
        worker.parent(link.Drain(deadline_ns=5_000_000_000))
        assert idle.ending() == "eof"
        gate.open()
        response = client.read_response()
        assert worker.process.wait(5) == 0

    assert response.body == b"late"
    assert response.value("connection") == b"close"
    assert worker.tallies[-1].final
    assert worker.tallies[-1].counts["requests|orders|legacy|legacy|2xx"] == 1


def test_drain_ends_at_its_deadline(legacy: Recorder) -> None:
    """A request that does not end is cut at the drain's deadline."""
    gate = Gate()
    legacy.answer = [gate, answer(b"late")]
    with worker_of(legacy) as worker, worker.client() as client:
        client.send(request_bytes(target="/api/a"))
        legacy.wait_requests(1)
        start = time.monotonic()
        worker.parent(link.Drain(deadline_ns=300_000_000))
        assert worker.process.wait(5) == 0
        elapsed = time.monotonic() - start
        gate.open()

    assert elapsed < 2.0


def test_an_orphan_drains_and_exits(legacy: Recorder) -> None:
    """A worker whose supervisor is gone stops accepting and exits."""
    with worker_of(legacy) as worker:
        worker.ask(request_bytes(target="/api/a"))
        worker.orphan()

        assert worker.process.wait(5) == 0


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
        assert worker.process.wait(5) == 0
        worker.wait(lambda: worker.tallies[-1].final, "the final tally")
        final = worker.tallies[-1]

    assert [key for key in final.gauges if key.startswith(("in_flight", "queued"))] == []
    assert law(final) == (2, 2)


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
