"""An open-loop client: requests leave on schedule, whatever the answers do.

A closed loop slows down with the server and so hides what a waiting user sees
(coordinated omission). Here the latency of a request counts from the moment at
which it was due. It is also the client that counts failures: keep-alive
connections, no retry, and a connection that ends under a request is a failure,
also before the first byte of the answer.

It runs as a process of its own (``python -m bench.openloop``), prints one JSON
object and ends when its standard input closes or after ``--seconds``.

Rules of this file:

1. The wait is a ``select`` on the epoll object itself: Python rounds epoll's own timeout
   up to a millisecond, which would be the largest part of the latencies measured here,
   and a ``select`` over every connection costs more than the request.
2. A connection that is closed while idle is reopened in silence; that is HTTP.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.load import HEADERS
from bench.parts import ROOT
from bench.process import BenchError, pinned

TIMEOUT_S = 10.0
"""An answer that takes longer is a failure."""

MAX_FAILURES = 1000
"""Failures kept with their time; beyond that only the count goes on."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BACKEND = re.compile(rb"\r\nx-backend: *(\w+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Keep one failed request."""

    at_s: float
    """Monotonic clock of the machine, when the failure was seen."""
    kind: str
    """``reset`` or ``eof`` (in flight), ``connect``, ``timeout``, ``status NNN``."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Report one run."""

    sent: int = 0
    done: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    reopened: int = 0
    """Idle connections that the other end closed, or announced to close."""
    p50_us: float = 0.0
    p99_us: float = 0.0
    p999_us: float = 0.0
    max_us: float = 0.0
    late_p99_us: float = 0.0
    """How late this client itself was: due to sent, while a connection was free."""
    rate: float = 0.0
    backends: dict[str, int] = field(default_factory=dict)
    """Answers per ``X-Backend``."""
    last_s: dict[str, float] = field(default_factory=dict)
    """Monotonic time of the last answer per ``X-Backend``."""

    def failed_text(self) -> str:
        """Say how many failed and how, for a table."""
        kinds: dict[str, int] = {}
        for failure in self.failures:
            kinds[failure.kind] = kinds.get(failure.kind, 0) + 1
        detail = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"{self.failed} of {self.sent:,} failed" + (f" ({detail})" if detail else "")


class _Connection:
    """Hold one keep-alive connection and at most one request on it."""

    __slots__ = ("buffer", "descriptor", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = b""
        self.due: float | None = None
        self.descriptor = self.socket.fileno()


class _Client:
    """Send on schedule over a fixed number of connections."""

    def __init__(self, port: int, rate: float, connections: int, requests: Sequence[bytes]) -> None:
        self.outcome = Outcome()
        self._port, self._rate, self._requests = port, rate, requests
        self._wanted = connections
        self._idle: deque[_Connection] = deque()
        self._open: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._late: list[float] = []
        self._next_check = 0.0
        self._turn = 0

    def run(self, seconds: float) -> Outcome:
        for _ in range(self._wanted):
            self._connect()
        wake, clock, poll, connections = select.select, time.monotonic, self._epoll.poll, self._open
        watched, ready = [self._epoll.fileno(), sys.stdin.fileno()], [self._epoll.fileno()]
        started = clock()
        end, number, stopped = started + seconds, 0, False
        due = started
        while True:
            now = clock()
            while not stopped and due <= min(now, end):  # also what fell due while this client had no turn
                self._waiting.append(due)
                number += 1
                due = started + number / self._rate
            if not stopped and now >= end:
                stopped, end = True, now
            while self._waiting and self._idle:
                self._send(self._idle.popleft(), self._waiting.popleft())
            if stopped and (now > end + TIMEOUT_S or not self._is_busy()):
                break
            if now > self._next_check:
                self._next_check = now + 0.1
                self._check_times(now)
            wait = 0.05 if stopped else min(0.1, max(0.0, due - clock()))
            readable, _, _ = wake(ready if stopped else watched, [], [], wait)
            if len(readable) > 1 or (readable and readable != ready):
                stopped, end = True, clock()
            for descriptor, _ in poll(0):
                if one := connections.get(descriptor):
                    self._receive(one)
        return self._finish(end - started)

    def _is_busy(self) -> bool:
        return bool(self._waiting) or any(one.due is not None for one in self._open.values())

    def _finish(self, seconds: float) -> Outcome:
        outcome = self.outcome
        for one in self._open.values():
            if one.due is not None:
                self._fail("timeout")
            one.socket.close()
        # Never sent, because no connection became free in time: a user who waited for nothing.
        for _ in self._waiting:
            self._fail("timeout")
        ordered = sorted(self._latencies)
        outcome.sent = outcome.done + outcome.failed
        outcome.rate = outcome.done / seconds if seconds else 0.0
        outcome.p50_us = _percentile(ordered, 0.50) * 1e6
        outcome.p99_us = _percentile(ordered, 0.99) * 1e6
        outcome.p999_us = _percentile(ordered, 0.999) * 1e6
        outcome.max_us = _percentile(ordered, 1.0) * 1e6
        outcome.late_p99_us = _percentile(sorted(self._late), 0.99) * 1e6
        return outcome

    def _connect(self) -> None:
        try:
            one = _Connection(self._port)
        except OSError:
            # Somebody's next request would have gone here: that is a failure, not a pause.
            self._fail("connect")
            time.sleep(0.01)
            return
        self._open[one.descriptor] = one
        self._epoll.register(one.descriptor, select.EPOLLIN)
        self._idle.append(one)

    def _drop(self, one: _Connection) -> None:
        del self._open[one.descriptor]
        self._epoll.unregister(one.descriptor)
        with contextlib.suppress(ValueError):
            self._idle.remove(one)
        one.socket.close()
        self._connect()

    def _send(self, one: _Connection, due: float) -> None:
        one.due, one.buffer = due, b""
        if self._idle:
            self._late.append(time.monotonic() - due)
        try:
            one.socket.send(self._requests[self._turn])
            self._turn = (self._turn + 1) % len(self._requests)
        except OSError:
            self._fail("reset")
            self._drop(one)

    def _receive(self, one: _Connection) -> None:
        try:
            data = one.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data, kind = b"", "reset"
        else:
            kind = "eof"
        if not data:
            if one.due is not None:
                self._fail(kind)
            else:
                self.outcome.reopened += 1
            self._drop(one)
            return
        one.buffer = one.buffer + data if one.buffer else data
        end = one.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = one.buffer[: end + 2]
        body = len(one.buffer) - end - 4
        if length := _LENGTH.search(head):
            complete = body >= int(length[1])
        else:
            complete = bool(_CHUNKED.search(head)) and one.buffer.endswith(b"0\r\n\r\n")
        if complete:
            self._complete(one, head)

    def _complete(self, one: _Connection, head: bytes) -> None:
        now = time.monotonic()
        assert one.due is not None
        status = head[9:12].decode("ascii", "replace")
        if status == "200":
            self.outcome.done += 1
            self._latencies.append(now - one.due)
            backend = _BACKEND.search(head)
            name = backend[1].decode() if backend else "?"
            self.outcome.backends[name] = self.outcome.backends.get(name, 0) + 1
            self.outcome.last_s[name] = now
        else:
            self._fail(f"status {status}")
        one.due = None
        if _CLOSE.search(head):
            self.outcome.reopened += 1
            self._drop(one)
        else:
            self._idle.append(one)

    def _check_times(self, now: float) -> None:
        for one in [one for one in self._open.values() if one.due is not None and now - one.due > TIMEOUT_S]:
            self._fail("timeout")
            self._drop(one)
        while len(self._open) < self._wanted:
            before = len(self._open)
            self._connect()
            if len(self._open) == before:
                break

    def _fail(self, kind: str) -> None:
        self.outcome.failed += 1
        if len(self.outcome.failures) < MAX_FAILURES:
            self.outcome.failures.append(Failure(at_s=time.monotonic(), kind=kind))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class OpenLoop:
    """Run the client in a process of its own, on the load cores, until stopped."""

    def __init__(
        self,
        port: int,
        paths: Sequence[str],
        *,
        rate: float,
        folder: Path,
        cores: tuple[int, ...],
        connections: int = 32,
        seconds: float = 600.0,
    ) -> None:
        listed = folder / "openloop-paths.txt"
        listed.write_text("\n".join(paths) + "\n")
        words = [f"--port={port}", f"--rate={rate}", f"--connections={connections}", f"--seconds={seconds}"]
        self._process = subprocess.Popen(
            pinned([sys.executable, "-m", "bench.openloop", *words, f"--paths={listed}"], cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def stop(self) -> Outcome:
        """Let it finish what is in flight and return its report.

        Raises: BenchError when it gives none.
        """
        try:
            output, _ = self._process.communicate("", timeout=TIMEOUT_S + 20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise BenchError("the open-loop client did not end") from None
        return self._parse(output)

    def wait(self) -> Outcome:
        """Wait for the end of its ``seconds`` and return its report."""
        # Its standard input stays open while it runs: closing it would end the run.
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        self._process.communicate()
        return self._parse(output)

    def _parse(self, output: str) -> Outcome:
        try:
            fields = json.loads(output)
        except ValueError:
            raise BenchError(f"the open-loop client gave no report: {output[-500:]!r}") from None
        fields["failures"] = [Failure(**failure) for failure in fields["failures"]]
        return Outcome(**fields)

    def abandon(self) -> None:
        """End it without a report, when the drill around it has failed."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def main() -> None:
    """Read the command line, run, print the report."""
    parser = argparse.ArgumentParser(prog="bench.openloop", description="Started by the benchmark.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--paths", type=Path, required=True)
    flags = parser.parse_args()
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{flags.port}\r\n{fields}\r\n".encode()
        for path in flags.paths.read_text().split()
    ]
    # Ahead of the backends on the same core: a client that waits for its turn would measure the scheduler.
    with contextlib.suppress(PermissionError):
        os.nice(-5)
    gc.disable()  # nothing here is cyclic, and a collection over a million latencies is a pause
    client = _Client(flags.port, flags.rate, flags.connections, requests)
    print(json.dumps(asdict(client.run(flags.seconds))))


if __name__ == "__main__":
    main()
