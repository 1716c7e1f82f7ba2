"""One real worker process with the test in the places of supervisor and control.

What a worker does with bytes needs no database and no admin API: the test holds
the other ends of its links, so it decides the snapshot, sees every tally and
plays the comparer if it wants to.

::

    with Recorder(answer(b"{}")) as legacy, OneWorker(routes=[...], backends={"legacy": legacy.url}) as worker:
        response = worker.ask(request_bytes(target="/api/orders/1"))
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from config.spec import AddressSpec, AdminSpec, BackendSpec, ConfigSpec, LimitsSpec, MatchSpec, RouteSpec, ShadowSpec
from rules.flag import DEFAULT_SAMPLE_BP, Flag, Stage
from rules.snapshot import SCHEMA, SnapshotSpec, encode
from shadow import link
from tests.support.forked import Forked
from tests.support.rawclient import RawClient, RawResponse

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0
START_S = 90.0
"""The first worker of a test process waits for everything to be imported, behind whoever else wants a core."""


def route(name: str = "orders", path: str = "/api/**", **changes: object) -> RouteSpec:
    """Make a route between ``legacy`` and ``new``, without a rate limit."""
    spec = RouteSpec(
        name=name,
        match=(MatchSpec(path=path),),
        legacy="legacy",
        new="new",
        sticky=("header:x-user-id",),
        shadow=ShadowSpec(max_per_second=None),
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # the caller names fields of RouteSpec


def backend(name: str, url: str, **changes: object) -> BackendSpec:
    """Make a backend from ``http://host:port``."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    spec = BackendSpec(
        name=name, scheme="https" if parts.scheme == "https" else "http", host=parts.hostname, port=parts.port
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # the caller names fields of BackendSpec


def flag(stage: Stage, *, percent_bp: int = 0, sample_bp: int | None = None, salt: str = "orders") -> Flag:
    """Make a flag with the stage's default sample."""
    return Flag(
        stage=stage,
        percent_bp=percent_bp,
        sample_bp=DEFAULT_SAMPLE_BP[stage] if sample_bp is None else sample_bp,
        salt=salt,
    )


def holds_law(counts: dict[str, int], name: str = "orders") -> bool:
    """Check the counting law (docs/architecture.md) on settled counts."""

    def total(*prefix: str) -> int:
        start = "|".join(prefix)
        return sum(value for key, value in counts.items() if key == start or key.startswith(start + "|"))

    sent = counts.get(f"sent|{name}", 0)
    unequal = total("unequal", name)
    return (
        total("eligible", name) == total("unsampled", name) + total("skipped", name) + sent
        and sent == total("identical", name) + unequal + total("errored", name)
        and unequal == total("tolerated", name) + total("divergent", name) + total("undecided", name)
    )


class OneWorker:
    """Run one worker and hold its links."""

    def __init__(
        self,
        *,
        backends: Mapping[str, str | BackendSpec],
        routes: Iterable[RouteSpec] = (),
        flags: Mapping[str, Flag] | None = None,
        undeclared: str | None = "legacy",
        limits: LimitsSpec | None = None,
        trusted_proxies: tuple[str, ...] = (),
        holds: Iterable[link.HoldItem] = (),
        comparers: int = 1,
        access_log: bool = True,
        strict: str = "report",
        environ: Mapping[str, str] | None = None,
        send_buffer: int | None = None,
        open_files: int | None = None,
        holds_at_rest: bytes | None = None,
        program: Sequence[str] = (),
        **config_changes: object,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="matapalo-worker-")
        self.state_dir = self._directory.name
        self._program = program
        self._log = Path(self.state_dir, "stdout")
        self._errors = Path(self.state_dir, "stderr")
        loopback = AddressSpec(host="127.0.0.1", port=0)
        routes = tuple(routes)
        self.config = replace(
            ConfigSpec(
                listen=(loopback,),
                admin=AdminSpec(listen=loopback),
                health=loopback,
                state_dir=self.state_dir,
                database="sqlite",
                flags="database",
                workers=1,
                comparers=comparers,
                watch=False,
                trusted_proxies=trusted_proxies,
                backends=tuple(
                    spec if isinstance(spec, BackendSpec) else backend(name, spec) for name, spec in backends.items()
                ),
                routes=routes,
                undeclared=undeclared,
                override=None,
                strict="refuse" if strict == "refuse" else "report",
                access_log=access_log,
                # A crowded machine would make a worker give copies up; tests of that ask for it.
                limits=limits or LimitsSpec(shed_copies_bp=None),
                digest="test",
            ),
            **config_changes,  # type: ignore[arg-type]  # the caller names fields of ConfigSpec
        )
        self.flags = {spec.name: flag(Stage.LEGACY, salt=spec.name) for spec in routes} | dict(flags or {})
        self.revision = 1
        self.tallies: list[link.Tally] = []
        self.acks: list[int] = []
        self.nacks: list[link.Nack] = []
        self.repeated: list[link.Repeated] = []
        self.pairs: list[tuple[link.Pair, bytes]] = []
        self.policies: list[link.Policy] = []
        """As they came; each before the first pair that names it."""
        self.verdict: Callable[[link.Pair], link.Verdict | None] = lambda pair: link.Verdict(
            sequence=pair.sequence, verdict="divergent", causes=("unexplained",)
        )
        """What the comparer that the test plays answers; ``None`` leaves the pair without a verdict."""
        self.beats: list[link.Beat] = []
        self.holds_acks: list[int] = []
        self._holds = list(holds)
        self._holds_at_rest = holds_at_rest
        """With these in its file the supervisor says nothing about holds when the worker introduces itself."""
        self._holds_revision = 1
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._servers: list[socket.socket] = []
        self._control: socket.socket | None = None
        self._pair_connections: list[socket.socket] = []
        self._ready = False
        self.process: subprocess.Popen[bytes] | Forked
        self._start(environ or {}, open_files, send_buffer)

    # --- life ---

    def _start(self, environ: Mapping[str, str], open_files: int | None, send_buffer: int | None) -> None:
        Path(self.state_dir, "snapshot").write_bytes(self._snapshot())
        if self._holds_at_rest is not None:
            Path(self.state_dir, "holds").write_bytes(self._holds_at_rest)
        listeners = [self._listen(send_buffer) for _ in self.config.listen]
        self.addresses: list[tuple[str, int]] = [one.getsockname() for one in listeners]
        self.address = self.addresses[0]
        self._serve_unix("control.sock", self._on_control)
        for slot in range(self.config.comparers):
            self._serve_unix(f"pairs-{slot}.sock", self._on_pairs)
        mine, theirs = socket.socketpair()
        self._parent = mine
        self._sockets.append(mine)
        self._log.touch()
        self._errors.touch()
        sockets = [("--parent-fd", theirs), *(("--listen-fd", one) for one in listeners)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        words = ["--state-dir", self.state_dir, "--slot", "0"]
        if self._program or open_files is not None:
            self.process = self._spawned(words, sockets, environment, open_files)
        else:
            self.process = Forked(
                ["_worker", *words], sockets=sockets, environment=environment, errors=self._errors, output=self._log
            )
        theirs.close()
        self._spawn(self._read_parent)
        self.wait(lambda: self._ready, "the worker to be ready", START_S)

    def _spawned(
        self,
        words: Sequence[str],
        sockets: Sequence[tuple[str, socket.socket]],
        environment: Mapping[str, str],
        open_files: int | None,
    ) -> subprocess.Popen[bytes]:
        """Start what a fork cannot be: another program, or one with other limits."""
        command = [sys.executable, "-P", *(self._program or ("-m", "matapalo", "_worker")), *words]
        command += [word for option, one in sockets for word in (option, str(one.fileno()))]
        if open_files is not None:
            command = ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh", *command]
        with self._log.open("ab") as log, self._errors.open("ab") as errors:
            return subprocess.Popen(
                command,
                pass_fds=[one.fileno() for _, one in sockets],
                stdout=log,
                stderr=errors,
                env=environment,
            )

    def _listen(self, send_buffer: int | None) -> socket.socket:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if send_buffer is not None:
            # What it accepts inherits this: for a client that reads nothing the kernel would take megabytes.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        self._sockets.append(listening)
        return listening

    def __enter__(self) -> OneWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Drain with a short deadline, kill what is left, close everything."""
        if self.process.poll() is None:
            try:
                self.parent(link.Drain(deadline_ns=200_000_000))
                self.process.wait(WAIT_S)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        for server in self._servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_S)  # what the worker said last is read before the links are closed
        for one in self._sockets:
            one.close()
        self._directory.cleanup()

    def errors(self) -> str:
        """Give what the worker wrote to stderr."""
        return self._errors.read_text()

    def access_lines(self, count: int) -> list[dict[str, object]]:
        """Wait for *count* lines of the access log and give them."""

        def lines() -> list[dict[str, object]]:
            whole = self._log.read_bytes().rpartition(b"\n")[0]  # of a line that is being written: nothing
            return [json.loads(line) for line in whole.splitlines()]

        self.wait(lambda: len(lines()) >= count, f"{count} lines in the access log")
        return lines()

    # --- the client's side ---

    def client(self, **options: object) -> RawClient:
        """Open one client connection."""
        return RawClient(self.address, **options)  # type: ignore[arg-type]  # passed through

    def ask(self, request: bytes) -> RawResponse:
        """Send one request over a connection of its own."""
        with self.client() as client:
            return client.exchange(request)

    # --- supervisor's and control's side ---

    def parent(self, message: link.Message) -> None:
        """Say something as the supervisor."""
        self._parent.sendall(link.frame(message))

    def hold(self, *holds: link.HoldItem) -> None:
        """Set the holds and wait until the worker respects them."""
        self._holds_revision += 1
        self.parent(link.Holds(revision=self._holds_revision, holds=list(holds)))
        self.wait(lambda: self._holds_revision in self.holds_acks, "the holds to be acknowledged")

    def push(self, flags: Mapping[str, Flag] | None = None, config: ConfigSpec | None = None) -> None:
        """Push a snapshot and wait for its Ack or Nack."""
        self.flags |= dict(flags or {})
        self.config = config or self.config
        self.revision += 1
        self._push(self._snapshot())

    def look_closer(self, copies: dict[str, int]) -> None:
        """Ask the worker to copy requests outside its samples; it does not say when it has heard."""
        self.wait(lambda: self._control is not None, "the worker's link to control")
        assert self._control is not None
        self._control.sendall(link.frame(link.Closer(copies=copies)))

    def push_raw(self, raw: bytes) -> None:
        """Push bytes that need not be a snapshot and wait for its Ack or Nack."""
        self.revision += 1
        self._push(raw)

    def _push(self, raw: bytes) -> None:
        self.wait(lambda: self._control is not None, "the worker's link to control")
        assert self._control is not None
        self._control.sendall(link.frame(link.Push(revision=self.revision), raw))
        self.wait(
            lambda: self.revision in self.acks or any(nack.revision == self.revision for nack in self.nacks),
            f"revision {self.revision} to be acknowledged",
        )

    def break_control_link(self) -> None:
        """Cut the link to control; the worker connects anew."""
        self.wait(lambda: self._control is not None, "the worker's link to control")
        assert self._control is not None
        link_to_cut, self._control = self._control, None
        link_to_cut.shutdown(socket.SHUT_RDWR)

    def break_pair_links(self) -> None:
        """Die as a comparer: cut every link that carries pairs."""
        for connection in self._pair_connections:
            connection.shutdown(socket.SHUT_RDWR)
        self._pair_connections.clear()

    def orphan(self) -> None:
        """Die as the supervisor."""
        self._parent.shutdown(socket.SHUT_RDWR)

    def totals(self, until: Callable[[dict[str, int]], bool], what: str = "the totals") -> dict[str, int]:
        """Wait until the newest tally's counts satisfy *until* and give them."""
        found: dict[str, int] = {}

        def is_told() -> bool:
            found.update(self.tallies[-1].counts if self.tallies else {})  # a count that was told never goes away
            return bool(self.tallies) and until(found)

        self.wait(is_told, what)
        return found

    def final(self) -> link.Tally:
        """Wait for the last tally of a worker that ends, and give it."""
        self.wait(lambda: bool(self.tallies) and self.tallies[-1].final, "the final tally")
        return self.tallies[-1]

    def settled(self, what: str = "every copy and pair to settle") -> dict[str, int]:
        """Wait until two tallies in a row agree and nothing is in flight or queued; give the counts."""

        def quiet() -> bool:
            if len(self.tallies) < 2:
                return False
            last, before = self.tallies[-1], self.tallies[-2]
            busy = [key for key in last.gauges if key.startswith(("in_flight|", "queued|"))]
            return not busy and last.counts == before.counts

        def is_read() -> bool:
            return self._control is None or not select.select([self._control], [], [], 0)[0]

        self.wait(is_read, "what the worker has said before to be read: it is no news")
        start = len(self.tallies)
        self.wait(lambda: len(self.tallies) >= start + 2 and quiet(), what)
        return self.tallies[-1].counts

    def wait(self, holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        """Wait for something that the links or the log will bring."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not holds():
                if self.process.poll() is not None and not self.process.returncode == 0:
                    raise AssertionError(f"the worker died while the test waited for {what}:\n{self.errors()}")
                if time.monotonic() > deadline:
                    raise AssertionError(f"waited {timeout_s} s for {what}; stderr:\n{self.errors()}")
                self._changed.wait(0.05)

    def rss_bytes(self) -> int:
        """Give the worker's resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def open_fds(self) -> int:
        """Count the worker's open descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # --- links ---

    def _snapshot(self) -> bytes:
        return encode(SnapshotSpec(schema=SCHEMA, revision=self.revision, config=self.config, flags=dict(self.flags)))

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve_unix(self, name: str, handle: Callable[[socket.socket], None]) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.path.join(self.state_dir, name))
        server.listen(8)
        self._sockets.append(server)
        self._servers.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                self._sockets.append(connection)
                self._spawn(partial(handle, connection))

        self._spawn(accept)

    def _messages(self, connection: socket.socket) -> Iterable[tuple[link.Any, bytes]]:
        reader = link.FrameReader()
        while True:
            try:
                data = connection.recv(1 << 20)
            except OSError:
                return
            if not data:
                return
            yield from reader.feed(data)

    def _read_parent(self) -> None:
        for message, _ in self._messages(self._parent):
            with self._changed:
                if isinstance(message, link.Hello) and self._holds_at_rest is None:
                    self._parent.sendall(link.frame(link.Holds(revision=self._holds_revision, holds=self._holds)))
                elif isinstance(message, link.Ready):
                    self._ready = message.ok
                elif isinstance(message, link.Beat):
                    self.beats.append(message)
                elif isinstance(message, link.HoldsAck):
                    self.holds_acks.append(message.revision)
                self._changed.notify_all()

    def _on_control(self, connection: socket.socket) -> None:
        for message, _ in self._messages(connection):
            with self._changed:
                if isinstance(message, link.Hello):
                    self._control = connection
                elif isinstance(message, link.Tally):
                    self.tallies.append(message)
                elif isinstance(message, link.Ack):
                    self.acks.append(message.revision)
                elif isinstance(message, link.Nack):
                    self.nacks.append(message)
                elif isinstance(message, link.Repeated):
                    self.repeated.append(message)
                self._changed.notify_all()

    def _on_pairs(self, connection: socket.socket) -> None:
        self._pair_connections.append(connection)
        for message, rest in self._messages(connection):
            if isinstance(message, link.Policy):
                self.policies.append(message)
            if not isinstance(message, link.Pair):
                continue
            with self._changed:
                self.pairs.append((message, rest))
                verdict = self.verdict(message)
                self._changed.notify_all()
            if verdict is not None:
                with contextlib.suppress(OSError):
                    connection.sendall(link.frame(verdict))
