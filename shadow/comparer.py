"""The comparer process: takes unequal pairs from workers and answers verdicts.

Rules of this file:

1. One pair at a time, first come first served over all workers; verdicts leave in
   the order of the pairs. When this process dies, the oldest pair without a verdict
   is the one that killed it: so verdicts are sent before anything heavy begins.
2. A pair may cost this process, never more: wall clock by SIGALRM's default action,
   which also ends C code, and memory by a cap on the address space.
3. Nothing here waits for control or for a worker that does not read.
4. Light to start: a killed comparer is back in 0.2 s (no SQLAlchemy, no pydantic, no deepdiff).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import signal
import socket
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import Final

from shadow import coding, link
from shadow.judge import Judge, body_sizes
from shadow.parent import ParentLink
from shadow.reports import ControlLink

NICENESS: Final = 19
"""Answering clients goes before comparing, on a busy machine too: a verdict may wait, a client may not."""

MAX_LINE: Final = 4_000
"""Below PIPE_BUF: a pipe that can take anything can take this much at once."""

MEMORY_BYTES: Final = 1 << 30
"""Cap on the address space: two bodies of 16 MiB, their text at four bytes a character, 250,000 values each and
the interpreter come to about 500 MiB. The address space is capped because Linux enforces no cap on resident memory."""

WALL_CLOCK_S: Final = 10.0
"""The dearest pair that the limits allow takes about 3 s on an idle core."""

HEAVY_BYTES: Final = 64 << 10
"""Verdicts are sent before a pair of this size, or with a coding, is begun."""

FLUSH_PAIRS: Final = 64
"""Verdicts sent at once at most: about 3 KB."""

SLICE_NS: Final = 20_000_000
"""Work between two looks at the sockets and the beat."""

MAX_WAITING: Final = 8 << 20
"""Bytes of pairs that wait per connection before it is not read any more."""

MAX_FRAME: Final = 4 << 20
"""A pair's bodies (1 MiB), the request's (64 KiB), three heads and the target."""

COUNT_S: Final = 1.0
"""How often control hears what was only counted: what a killed comparer's counts may lack."""

ORPHAN_DRAIN_S: Final = 30.0
"""Workers drain as long by default (LimitsSpec.drain_ns), and send pairs until their end."""

_READ_BYTES: Final = 256 << 10


class WorkerLink:
    """Hold one worker's connection: pairs come in, verdicts go out in the same order.

    Runs: on the comparer's loop, over the bare socket, because a transport may keep a verdict back for a turn of
    the loop that a deadly pair never lets come.
    """

    def __init__(self, comparer: Comparer, connection: socket.socket) -> None:
        self._comparer = comparer
        self._socket = connection
        self._reader = link.FrameReader(MAX_FRAME)
        self._policies: dict[int, link.Policy] = {}
        """By number; the newest of each route."""
        self._numbers: dict[str, int] = {}
        self._verdicts: list[bytes] = []
        self._unsent = b""
        self._waiting_bytes = 0
        self._is_reading = False
        self.is_open = True
        connection.setblocking(False)
        self._steer()

    def done(self, pair_bytes: int, verdict: link.Verdict) -> None:
        """Queue the verdict of the oldest pair."""
        self._waiting_bytes -= pair_bytes
        self._verdicts.append(link.frame(verdict))

    def tell(self, finding: link.Finding) -> None:
        """Queue what was found, before its verdict: for whoever asked by hand."""
        self._verdicts.append(link.frame(finding))

    def flush(self) -> None:
        """Send every queued verdict now, as far as the socket takes them."""
        if not self.is_open:
            return
        waited = bool(self._unsent)
        if self._verdicts:
            self._unsent += b"".join(self._verdicts)
            self._verdicts.clear()
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        if bool(self._unsent) != waited:
            if self._unsent:
                self._comparer.loop.add_writer(self._socket, self.flush)
            else:
                self._comparer.loop.remove_writer(self._socket)
        self._steer()

    def close(self) -> None:
        """Part from the worker; its waiting pairs are skipped."""
        if not self.is_open:
            return
        self.is_open = False
        self._comparer.loop.remove_reader(self._socket)
        self._comparer.loop.remove_writer(self._socket)
        self._socket.close()
        self._comparer.forget(self)

    def _steer(self) -> None:
        """Read only while little waits: pairs to judge, and verdicts that the worker has not taken."""
        wants = self._waiting_bytes <= MAX_WAITING and len(self._unsent) <= _READ_BYTES
        if wants and not self._is_reading:
            self._comparer.loop.add_reader(self._socket, self._read)
        elif not wants and self._is_reading:
            self._comparer.loop.remove_reader(self._socket)
        self._is_reading = wants

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for message, rest in self._reader.feed(data):
                self._take(message, rest)
        except link.LinkError as error:
            _log(f"a worker's link is cut: {error}; expected Hello, Policy and Pair of protocol {link.PROTOCOL}")
            self.close()
            return
        self._steer()

    def _take(self, message: link.Any, rest: bytes) -> None:
        if isinstance(message, link.Pair):
            sizes = body_sizes(message)
            if min(sizes) < 0 or sum(sizes) != len(rest):
                raise link.LinkError(f"a pair with {len(rest)} bytes of bodies says {sizes}")
            policy = self._policies.get(message.policy)
            if policy is None:
                raise link.LinkError(f"a pair under policy {message.policy}, which was not sent before it")
            self._waiting_bytes += len(rest)
            self._comparer.take(Job(self, policy, message, rest))
        elif isinstance(message, link.Policy):
            self._policies.pop(self._numbers.get(message.route, 0), None)
            self._policies[message.number] = message
            self._numbers[message.route] = message.number
        elif not isinstance(message, link.Hello) or message.protocol != link.PROTOCOL:
            raise link.LinkError(f"an unexpected {type(message).__name__}")


@dataclass(slots=True, eq=False)
class Job:
    """Be one pair on its way to a verdict, with what its route wants."""

    worker: WorkerLink
    policy: link.Policy
    pair: link.Pair
    rest: bytes


class Comparer:
    """Run one comparer: listen for workers, judge pairs, report Findings, beat, drain."""

    def __init__(self, state_dir: str, slot: int, *, wall_clock_s: float = WALL_CLOCK_S) -> None:
        self.loop = asyncio.get_running_loop()
        self.path = os.path.join(state_dir, f"pairs-{slot}.sock")
        self._wall_clock_s = wall_clock_s
        self._slot = slot
        self._epoch = os.urandom(8).hex()
        self._control = ControlLink(
            os.path.join(state_dir, "control.sock"), slot, self._epoch, on_connected=self._on_control
        )
        self._judge = Judge(self._control.offer, before_heavy=self._flush)
        self._queue: deque[Job] = deque()
        self._links: set[WorkerLink] = set()
        self._answered: set[WorkerLink] = set()
        """Links with verdicts to flush."""
        self._is_working = False
        self._is_draining = False
        self._pairs = 0
        self._armed_ns = 0
        self._listener: socket.socket | None = None
        self._inode = 0
        self._finished = asyncio.Event()

    # ---- a life ----

    async def serve(self, parent_fd: int) -> int:
        """Live until drained; give the exit status."""
        parent = ParentLink(
            parent_fd, "comparer", self._slot, self._epoch, self._hear, self._orphaned, beat_state=self._beat
        )
        await parent.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._signalled, number)
        try:
            self._listen()
        except OSError as error:
            reason = (
                f"cannot listen on {self.path}: {error.strerror or error}; "
                "expected a writable state_dir and a path of at most 107 bytes"
            )
            _log(reason)
            parent.ready(ok=False, detail=reason)
            parent.close()
            await asyncio.sleep(0)
            return 1
        parent.ready(ok=True, detail=self.path)
        tasks = [
            asyncio.create_task(self._control.keep_connected(), name="control link"),
            asyncio.create_task(self._keep_counting(), name="counts"),
        ]
        await self._finished.wait()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tell_counts()
        self._stop_listening()
        for each in list(self._links):
            each.flush()
            each.close()
        self._control.close()
        parent.close()
        await asyncio.sleep(0)
        return 0

    def drain(self, deadline_s: float) -> None:
        """Take no new worker, judge for the present ones until they leave or the deadline comes, then end.

        Behind everybody else it would miss the deadline on a busy machine, and be killed: it stands in line again.
        """
        _place_session(0)
        self._stop_listening()
        self.loop.call_later(deadline_s, self._finished.set)
        self._is_draining = True
        if not self._links:
            self._finished.set()

    def _hear(self, message: link.Any) -> None:
        if isinstance(message, link.Drain):
            self.drain(message.deadline_ns / 1e9)

    def _orphaned(self) -> None:
        self.drain(ORPHAN_DRAIN_S)

    def _signalled(self, number: signal.Signals) -> None:
        # Ctrl-C reaches the whole process group: the supervisor decides, and says Drain.
        if number is signal.SIGTERM:
            if self._is_draining:
                self._finished.set()
            self.drain(ORPHAN_DRAIN_S)

    def _beat(self) -> link.Beat:
        return link.Beat(accepting=not self._is_draining, requests=self._pairs)

    # ---- workers ----

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            listener.bind(self.path)
            listener.listen(64)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(umask)
        listener.setblocking(False)
        self._listener, self._inode = listener, os.stat(self.path).st_ino
        self.loop.add_reader(listener, self._accept)

    def _stop_listening(self) -> None:
        if self._listener is None:
            return
        self.loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        # A successor may listen on the same path already.
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)

    def _accept(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._links.add(WorkerLink(self, self._listener.accept()[0]))

    def forget(self, worker: WorkerLink) -> None:
        """Drop a closed link; the last one that leaves ends a drain."""
        self._links.discard(worker)
        self._answered.discard(worker)
        if self._is_draining and not self._links:
            self._finished.set()

    # ---- pairs ----

    def take(self, job: Job) -> None:
        """Queue one pair."""
        self._queue.append(job)
        if not self._is_working:
            self._is_working = True
            self.loop.call_soon(self._work)

    def _work(self) -> None:
        """Judge what waits, for one slice; the rest follows after a look at the sockets."""
        now_ns = time.monotonic_ns()
        end_ns = now_ns + SLICE_NS
        unflushed = 0
        while self._queue and now_ns < end_ns:
            job = self._queue.popleft()
            if not job.worker.is_open:
                continue
            if unflushed >= FLUSH_PAIRS or (unflushed and _is_heavy(job.pair, job.rest)):
                self._flush()
                unflushed = 0
            self._arm(now_ns)
            verdict = self._verdict_of(job)
            job.worker.done(len(job.rest), verdict)
            self._answered.add(job.worker)
            self._pairs += 1
            unflushed += 1
            now_ns = time.monotonic_ns()
        self._disarm()
        self._flush()
        self._is_working = bool(self._queue)
        if self._is_working:
            self.loop.call_soon(self._work)

    def _verdict_of(self, job: Job) -> link.Verdict:
        try:
            judged = self._judge.judge(job.policy, job.pair, job.rest)
        except MemoryError:
            reason = "limit"
        except Exception as error:  # the border of one pair: whatever it broke, the next one is judged
            number, route = job.pair.sequence, job.policy.route
            _log(f"pair {number} of route {route!r} broke the comparer:\n{where_of(error)}")
            reason = "killed"
        else:
            if judged.finding is not None:
                job.worker.tell(judged.finding)
            return judged.verdict
        return link.Verdict(sequence=job.pair.sequence, verdict="undecided", reason=reason, causes=("unexplained",))

    def _on_control(self) -> None:
        """Control is there, maybe with another file: it gets an example of everything once more."""
        self._judge.memory.forget_examples()

    async def _keep_counting(self) -> None:
        """Tell control each second how many pairs were counted without a Finding; while it is away they add up."""
        while True:
            await asyncio.sleep(COUNT_S)
            self._tell_counts()

    def _tell_counts(self) -> None:
        if self._control.is_taking:
            for seen in self._judge.take_counts():
                self._control.offer(seen)
        memory = self._judge.memory
        if memory.lost:
            _log(f"{memory.lost} pairs stand in no divergence: control was away, and too many kinds of pairs came")
            memory.lost = 0

    def _flush(self) -> None:
        while self._answered:
            self._answered.pop().flush()

    # ---- the wall clock ----

    def _arm(self, now_ns: int) -> None:
        """Give the pair in hand the wall clock; for a run of small pairs it is set again now and then only."""
        if now_ns - self._armed_ns > self._wall_clock_s * 50_000_000:
            signal.setitimer(signal.ITIMER_REAL, self._wall_clock_s)
            self._armed_ns = now_ns

    def _disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._armed_ns = 0


def where_of(error: Exception) -> str:
    """Say which error was raised where, without its text: that may quote an answer."""
    return f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"


def _is_heavy(pair: link.Pair, rest: bytes) -> bool:
    """Say whether this pair could cost much more than a moment: it is large, or may become so when decoded."""
    return (
        len(rest) > HEAVY_BYTES
        or coding.GZIP_MAGIC in rest
        or coding.ZSTD_MAGIC in rest
        or any(name.lower() == b"content-encoding" for head in (pair.legacy, pair.new) for name, _ in head.headers)
    )


def _cap_memory(memory_bytes: int) -> None:
    # macOS refuses the cap; there the wall clock and the limits on sizes stand alone.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _log(text: str) -> None:
    """Say something on stderr, unless its reader has stopped.

    No thread as in :mod:`shadow.lines`: its arena would count against the memory cap. Should another process take the
    last room in a shared pipe between the question and the write, a comparer waits, and nobody's request with it.
    """
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if any(state & select.POLLOUT for _, state in poll.poll(0)):
        with contextlib.suppress(OSError):
            os.write(2, f"comparer: {text}\n".encode(errors="backslashreplace")[-MAX_LINE:])


def _give_way() -> None:
    """Take the place behind everybody else on this machine.

    Linux shares a processor among sessions first, and the supervisor gives each child a session of its own: a nice
    value alone would count among this process's threads only. Where sessions are not grouped (a container's cgroup,
    ``kernel.sched_autogroup_enabled=0``) the nice value does it.
    Source: sched(7), "The autogroup feature".
    """
    os.nice(NICENESS)
    _place_session(NICENESS)


def _place_session(niceness: int) -> None:
    """Say where this process's session stands among others; nobody but root may do it more than ten times a second."""
    if os.getsid(0) == os.getpid():  # else the session is somebody else's, too
        with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
            file.write(str(niceness))


def run(
    state_dir: str,
    slot: int,
    parent_fd: int,
    *,
    memory_bytes: int = MEMORY_BYTES,
    wall_clock_s: float = WALL_CLOCK_S,
) -> int:
    """Run one comparer in this process until it is drained, and give its exit status.

    Bound: ``memory_bytes`` of address space, ``wall_clock_s`` per pair; a pair over it ends the process by SIGALRM.
    """
    _give_way()
    _cap_memory(memory_bytes)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    async def live() -> int:
        return await Comparer(state_dir, slot, wall_clock_s=wall_clock_s).serve(parent_fd)

    return asyncio.run(live())
