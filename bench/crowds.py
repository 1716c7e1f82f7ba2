"""What many or slow or fickle clients do to a proxy: the drills that need clients of their own.

Each is one function from a :class:`Bench` to a :class:`Judgement`, as in :mod:`bench.drills`.
"""

from __future__ import annotations

import contextlib
import re
import resource
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence

from bench import load
from bench.attackers import Attackers
from bench.bulk import BulkServer
from bench.drills import API, SPARE, Judgement, open_loop, paths_of, running
from bench.openloop import OpenLoop, Outcome
from bench.process import BenchError, memory, wait_until
from bench.product import Product, Route, routes_for
from bench.rounds import Bench, settle, spread


def _capacity(bench: Bench, product: Product, paths: Sequence[str]) -> float:
    return statistics.median(
        load.drive(product.port, paths, seconds=2, folder=bench.folder, cores=bench.cores.load).rate for _ in range(3)
    )


# --- events -----------------------------------------------------------------------------------------------------------


class EventServer:
    """Write an event that says when it was written to every connection, every ten milliseconds."""

    GAP_S = 0.01

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._listeners: list[socket.socket] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._accept, self._tick)]
        for thread in self._threads:
            thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                self._listeners.append(connection)

    def _tick(self) -> None:
        while not self._ending.wait(self.GAP_S):
            for connection in list(self._listeners):
                try:
                    connection.sendall(b"data: %d\n\n" % time.monotonic_ns())
                except OSError:
                    self._listeners.remove(connection)
                    connection.close()

    def close(self) -> None:
        """Stop."""
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        for connection in self._listeners:
            connection.close()


def listen_to_events(port: int, path: str, *, listeners: int, seconds: float) -> list[float]:
    """Listen with several clients and give the milliseconds from write to read of every event, ascending."""
    found: list[float] = []
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for _ in range(listeners):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode())
            selector.register(client, selectors.EVENT_READ)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(65_536)
                now = time.monotonic_ns()
                found += [(now - int(at)) / 1e6 for at in re.findall(rb"data: (\d+)\n", data)]
    return sorted(found)


def events(bench: Bench, *, listeners: int = 20, seconds: float = 10.0, bar_ms: float = 20.0) -> Judgement:
    """Stream events to twenty clients, alone and beside half of the proxy's capacity."""
    server = EventServer()
    try:
        routes = [
            *routes_for(API, "shadow"),
            Route(name="events", path="/events/{id}", legacy="events"),
        ]
        paths = paths_of(API)
        backends = {"events": f"http://127.0.0.1:{server.port}"}
        with running(bench, "events", routes, path=paths[0], backends=backends) as product:
            direct = listen_to_events(server.port, "/", listeners=listeners, seconds=seconds)
            alone = listen_to_events(product.port, "/events/1", listeners=listeners, seconds=seconds)
            rate = _capacity(bench, product, paths) / 2
            with open_loop(bench, product, paths, rate=rate):
                time.sleep(1)
                beside = listen_to_events(product.port, "/events/1", listeners=listeners, seconds=seconds)
    finally:
        server.close()
    if min(map(len, (direct, alone, beside))) < listeners * seconds * 10:
        raise BenchError(f"only {len(direct)}, {len(alone)}, {len(beside)} events arrived: the machine is too busy")

    def text(name: str, found: list[float]) -> str:
        p99 = found[int(len(found) * 0.99)]
        return f"{name} median {statistics.median(found):.2f}, p99 {p99:.2f}, worst {found[-1]:.1f} of {len(found):,}"

    return Judgement(
        passed=alone[-1] <= bar_ms and beside[-1] <= bar_ms,
        figures=f"ms from write to read: {text('direct', direct)}; {text('through us', alone)}; "
        + text(f"beside {rate:,.0f} requests/s", beside),
    )


# --- attackers --------------------------------------------------------------------------------------------------------


def slow_attackers(bench: Bench, *, count: int = 200, seconds: float = 5.0) -> Judgement:
    """Let two hundred slow attackers loose beside honest traffic at half of capacity, in rounds with and without."""
    bulk = BulkServer()
    routes = [*routes_for(API, "legacy"), SPARE]
    routes += [Route(name="large", path="/l/{id}"), Route(name="bulk", path="/bulk/{id}", legacy="bulk")]
    paths, backends = paths_of(API), {"bulk": f"http://127.0.0.1:{bulk.port}"}
    healthy: list[Outcome] = []
    attacked: list[Outcome] = []
    with contextlib.closing(bulk), running(bench, "attackers", routes, path=paths[0], backends=backends) as product:
        rate = _capacity(bench, product, paths) / 2

        def honest() -> Outcome:
            client = OpenLoop(
                product.port, paths, rate=rate, folder=product.folder, cores=bench.cores.load, seconds=seconds
            )
            try:
                return client.wait()
            finally:
                client.abandon()

        for _ in range(bench.rounds):
            healthy.append(honest())
            with Attackers(product.port, count, path=paths[0].encode(), upload=b"/bulk/in", large=b"/l/1") as attackers:
                wait_until(lambda crowd=attackers: crowd.started >= count, "the attackers")  # type: ignore[misc]  # bound now
                attacked.append(honest())
    # Rounds side by side: whatever else disturbs the machine disturbs both.
    ratios = spread([theirs.p99_us / ours.p99_us for theirs, ours in zip(attacked, healthy, strict=True)])
    failed = sum(one.failed for one in attacked)
    p99 = (spread([one.p99_us / 1e3 for one in group]).median for group in (healthy, attacked))
    return Judgement(
        passed=ratios.median < 2 and not failed,
        figures=(
            f"honest p99 {ratios.median:.2f} x ({ratios.low:.2f} to {ratios.high:.2f}) beside {count} attackers, "
            f"median {' against '.join(f'{one:.2f}' for one in p99)} ms without and with them; {rate:,.0f} requests/s, "
            f"{failed} of {sum(one.sent for one in attacked):,} failed"
        ),
    )


# --- connections ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _many(port: int, count: int, kept: list[socket.socket]) -> Iterator[None]:
    """Open *count* connections, raising this process's own limit for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 1_000
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchError(f"{count:,} connections need an open-file limit of {needed:,}; the hard limit is {hard:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        kept.extend(socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count))
        yield
    finally:
        for one in kept:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle_connections(bench: Bench, *, count: int = 9_000, excess: int = 3_000) -> Judgement:
    """Open thousands of idle connections, then more than there is room for."""
    routes, paths = [*routes_for(API, "legacy"), SPARE], paths_of(API)
    ask = f"GET {paths[0]} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    with running(bench, "idle", routes, path=paths[0]) as product:
        load.drive(product.port, paths, seconds=1, folder=bench.folder, cores=bench.cores.load)
        settle(product.program)
        worker = product.worker()
        before = memory(worker, "VmRSS")
        kept: list[socket.socket] = []
        with _many(product.port, count, kept):
            settle(product.program)
            silent = (memory(worker, "VmRSS") - before) / count
            for one in kept:
                one.sendall(ask)
                if not one.recv(65_536).startswith(b"HTTP/1.1 200"):
                    raise BenchError("an idle connection was not answered")
            settle(product.program)
            used = (memory(worker, "VmRSS") - before) / count
            told, slowest = 0, 0.0
            more: list[socket.socket] = []
            with _many(product.port, excess, more):
                for one in more:
                    at = time.monotonic()
                    with contextlib.suppress(OSError):
                        one.sendall(ask)
                        told += one.recv(65_536).startswith(b"HTTP/1.1 503")
                    slowest = max(slowest, time.monotonic() - at)
            for one in kept:
                one.sendall(ask)
                if not one.recv(65_536).startswith(b"HTTP/1.1 200"):
                    raise BenchError("a connection that was there before the crowd was not answered after it")
    return Judgement(
        passed=used <= 32 << 10 and told > 0,
        figures=(
            f"{silent / 1024:.1f} KiB per silent connection, {used / 1024:.1f} KiB after a request each ({count:,}); "
            f"of {excess:,} more {told:,} were told 503 (slowest {slowest * 1e3:.0f} ms), all {count:,} were served on"
        ),
    )
