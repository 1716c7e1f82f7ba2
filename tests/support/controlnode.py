"""One real control process with a supervisor and workers that speak the real protocol over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import httpx2
from msgspec.structs import replace

from rules.snapshot import SnapshotSpec, decode
from shadow import link
from tests.support.emptystate import lay_empty_files
from tests.support.forked import Forked

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0

CONFIG = """\
listen: 127.0.0.1:0
admin: {{listen: "127.0.0.1:0"{admin}}}
health: {{listen: "127.0.0.1:0"}}
state_dir: {state_dir}
workers: {workers}
{top}
backends:
  old: {{url: "http://127.0.0.1:{old_port}"}}
  fresh: {fresh}
defaults: {{legacy: old, new: fresh, sticky: ["header:X-User-Id"], gate: {gate}}}
routes:
{routes}
"""

ROUTES = """\
  - name: orders
    match: {path: "/orders/{id:int}"}
  - name: cart
    match: {path: /cart}
    journey: checkout
  - name: pay
    match: {path: /pay}
    journey: checkout
  - name: beta
    match: {path: /beta}
    legacy: none
"""


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so, at most :data:`DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        await asyncio.sleep(0.005)


class FakeWorker:
    """Link to control as a worker does: take pushes, acknowledge or refuse them, tally."""

    def __init__(self, path: str, slot: int, *, epoch: str = "", answers: bool = True) -> None:
        self.path, self.slot, self.epoch = path, slot, epoch or f"w{slot}-{os.urandom(4).hex()}"
        self.answers = answers
        self.refuse = ""
        self.dies_on_push = False
        self.pushes: list[tuple[int, bytes, float]] = []
        """Revision, snapshot bytes, monotonic time of arrival."""
        self.closer: list[dict[str, int]] = []
        self.sequence = 0
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def revision(self) -> int:
        """Give the newest revision that was pushed."""
        return self.pushes[-1][0] if self.pushes else 0

    @property
    def spec(self) -> SnapshotSpec:
        """Read the newest snapshot that was pushed."""
        return decode(self.pushes[-1][1])

    async def open(self, *, role: str = "worker") -> Self:
        """Connect, also while control is still starting."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self.path)
                break
            except OSError:
                assert time.monotonic() < deadline, f"{self.path} does not listen"
                await asyncio.sleep(0.01)
        hello = link.Hello(protocol=link.PROTOCOL, role=role, slot=self.slot, epoch=self.epoch, pid=os.getpid())
        self.send(hello)
        self._task = asyncio.create_task(self._read(reader, self._writer), name=f"fake worker {self.slot}")
        return self

    def send(self, message: link.Message) -> None:
        """Send one message."""
        assert self._writer is not None
        self._writer.write(link.frame(message))

    def tally(self, counts: dict[str, int], *, final: bool = False, **more: Any) -> None:
        """Send cumulative totals."""
        self.sequence += 1
        told: dict[str, Any] = {"gauges": {}, "histograms": {}, "last_legacy": {}, **more}
        self.send(link.Tally(epoch=self.epoch, sequence=self.sequence, counts=counts, final=final, **told))

    async def close(self) -> None:
        """Close the link."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = link.FrameReader()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 18):
                for message, rest in frames.feed(data):
                    if isinstance(message, link.Closer):
                        self.closer.append(message.copies)
                        continue
                    assert isinstance(message, link.Push)
                    self.pushes.append((message.revision, rest, time.monotonic()))
                    if self.dies_on_push:
                        writer.transport.abort()
                    elif self.refuse:
                        self.send(link.Nack(revision=message.revision, reason=self.refuse))
                    elif self.answers:
                        self.send(link.Ack(revision=message.revision))


class ControlNode:
    """Run one control process on a state directory, as often as wanted, and call its admin API.

    Shape: with *as_shipped* it starts as ``python -m matapalo`` and finds an empty directory; without, it costs a
    third: the schemas are there (:mod:`tests.support.emptystate`) and so are the imports (:mod:`tests.support.forked`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        routes: str = ROUTES,
        admin: str = "",
        top: str = "",
        old_port: int = 9,
        fresh: str = '{url: "http://127.0.0.1:7"}',
        workers: int = 1,
        gate: str = "off",
        as_shipped: bool = False,
    ) -> None:
        self.gate = gate
        """Of every route, as YAML; flips of tests that are about something else ask for no evidence."""
        self.state_dir = directory / "state"
        if as_shipped:
            self.state_dir.mkdir(exist_ok=True)
        elif not self.state_dir.exists():  # it may be there of a node before this one
            lay_empty_files(self.state_dir)
        self._as_shipped = as_shipped
        self.config = directory / "matapalo.yaml"
        self._admin, self._top, self._old_port, self._workers = admin, top, old_port, workers
        self._fresh = fresh
        """The new backend, as YAML."""
        self.write(routes)
        self.holds: dict[str, link.HoldItem] = {}
        self.supervisor_answers = True
        self.ready: link.Ready | None = None
        self.heard: list[link.Any] = []
        self.log = directory / "control.log"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self._parent: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._linked: list[FakeWorker] = []

    def write(self, routes: str, **changed: str) -> None:
        """Write the configuration anew."""
        values = {"admin": self._admin, "top": self._top, "gate": self.gate, "fresh": self._fresh, **changed}
        text = CONFIG.format(
            state_dir=self.state_dir, routes=routes, old_port=self._old_port, workers=self._workers, **values
        )
        self.config.write_text(text)

    async def start(self) -> Self:
        """Start control and wait until it says Ready."""
        await self.spawn()
        await until(lambda: self.ready is not None, "control is ready")
        return self

    async def spawn(self) -> None:
        """Start control without waiting."""
        ours, theirs = socket.socketpair()
        self.ready = None
        words = ["_control", "--state-dir", str(self.state_dir), "--config", str(self.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        with theirs, self.log.open("ab") as log:
            if self._as_shipped:
                self.process = subprocess.Popen(  # noqa: ASYNC220 - a killed child must be waitable from any loop
                    [sys.executable, "-P", "-m", "matapalo", *words, "--parent-fd", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            else:
                self.process = Forked(
                    words, sockets=[("--parent-fd", theirs)], environment=environment, errors=self.log
                )
        reader, self._parent = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._hear(reader), name="fake supervisor")

    @property
    def url(self) -> str:
        """Name the admin API."""
        assert self.ready is not None
        assert self.ready.ok, self.ready.detail
        return f"http://{self.ready.detail}"

    async def worker(self, slot: int = 0, **more: Any) -> FakeWorker:
        """Link a worker and wait for its first snapshot."""
        worker = await FakeWorker(str(self.state_dir / "control.sock"), slot, **more).open()
        self._linked.append(worker)
        if worker.answers and not worker.refuse:
            await until(lambda: bool(worker.pushes), "the first snapshot")
        return worker

    async def comparer(self) -> FakeWorker:
        """Link a comparer."""
        comparer = await FakeWorker(str(self.state_dir / "control.sock"), 0, epoch="c0").open(role="comparer")
        self._linked.append(comparer)
        return comparer

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        """Call GET."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=DEADLINE_S, trust_env=False, verify=False) as client:
            return await client.get(path, **more)

    async def post(self, path: str, body: object = None, **more: Any) -> httpx2.Response:
        """Call POST with a JSON body."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=DEADLINE_S, trust_env=False, verify=False) as client:
            return await client.post(path, json={} if body is None else body, **more)

    async def patch(self, path: str, body: object, **more: Any) -> httpx2.Response:
        """Call PATCH with a JSON body."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=DEADLINE_S, trust_env=False, verify=False) as client:
            return await client.patch(path, json=body, **more)

    def tell(self, message: link.Message) -> None:
        """Say something as the supervisor."""
        assert self._parent is not None
        self._parent.write(link.frame(message))

    def tell_holds(self) -> None:
        """Say the whole set of holds, as the supervisor does when it changes."""
        self.tell(link.Holds(revision=1, holds=list(self.holds.values())))

    def kill(self) -> None:
        """Kill control at once, as the kernel would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait for the process and let go of its link; returns the exit code."""
        assert self.process is not None
        process = self.process
        await until(lambda: process.poll() is not None, "control has ended")
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._parent is not None:
            self._parent.close()
            with contextlib.suppress(OSError):
                await self._parent.wait_closed()
        self.process = None
        assert process.returncode is not None
        return process.returncode

    async def unlink(self) -> None:
        """Close the links of all workers and comparers."""
        while self._linked:
            await self._linked.pop().close()

    async def close(self) -> None:
        """End everything."""
        await self.unlink()
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.tell(link.Drain(deadline_ns=10**9))
            if self.process.poll() is None and self.ready is None:
                self.kill()
            await self.ended()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        frames = link.FrameReader()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                for message, _ in frames.feed(data):
                    self.heard.append(message)
                    self._answer(message)

    def _answer(self, message: link.Any) -> None:
        match message:
            case link.Hello():
                self.tell_holds()
            case link.Ready():
                self.ready = message
            case link.ChangeHolds() if self.supervisor_answers:
                for item in message.add:
                    self.holds[item.route] = replace(item)
                for name in message.remove:
                    self.holds.pop(name, None)
                self.tell_holds()
                routes = [*(item.route for item in message.add), *message.remove]
                self.tell(link.HoldsChanged(request=message.request, ok=True, revision=1, routes=routes, acked=[0]))
            case _:
                return


@contextlib.asynccontextmanager
async def running(directory: Path, **more: Any) -> AsyncIterator[ControlNode]:
    """Run one control process for the length of a test."""
    node = ControlNode(directory, **more)
    try:
        yield await node.start()
    finally:
        await node.close()
