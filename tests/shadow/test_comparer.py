"""Rules of the comparer process, held against a real one over real sockets."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from shadow import coding, comparer, link
from tests.shadow.made import JSON_TYPE, compared, pair, wishes_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from shadow.comparer import run
state_dir, slot, fd, memory, wall = sys.argv[1:]
sys.exit(run(state_dir, int(slot), int(fd), memory_bytes=int(memory), wall_clock_s=float(wall)))
"""
DEADLINE_S = 60.0
GZIPPED = (*JSON_TYPE, (b"content-encoding", b"gzip"))


@dataclass(slots=True, kw_only=True)
class End:
    """Hold one end of a link and what has arrived on it."""

    socket: socket.socket
    reader: link.FrameReader = field(default_factory=link.FrameReader)
    messages: list[link.Any] = field(default_factory=list)

    def hear(self, count: int) -> list[link.Any]:
        """Read until *count* messages have arrived or the other end closes."""
        self.socket.settimeout(DEADLINE_S)
        while len(self.messages) < count:
            try:
                data = self.socket.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            self.messages.extend(message for message, _ in self.reader.feed(data))
        return self.messages

    def verdicts(self, count: int) -> list[link.Verdict]:
        """Read until *count* verdicts have arrived or the other end closes."""
        return [message for message in self.hear(count) if isinstance(message, link.Verdict)]

    def send(self, *frames: bytes) -> None:
        """Send frames in one piece."""
        self.socket.settimeout(DEADLINE_S)
        self.socket.sendall(b"".join(frames))


class Running:
    """Run one comparer as the supervisor does, with this process as supervisor, control and workers.

    Shape: without *own_session* it shares this session's place on the machine, or its clocks would measure what
    everybody else does: in a session of its own it stands behind all of them.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        memory: int = comparer.MEMORY_BYTES,
        wall_clock_s: float = 10.0,
        own_session: bool = False,
    ) -> None:
        self.state_dir = state_dir
        self.ends: list[End] = []
        ours, theirs = socket.socketpair()
        self.parent = self._keep(ours)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(state_dir), "0", str(theirs.fileno()), str(memory), str(wall_clock_s)],
            cwd=ROOT,
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            start_new_session=own_session,
        )
        theirs.close()

    def _keep(self, ours: socket.socket) -> End:
        end = End(socket=ours)
        self.ends.append(end)
        return end

    def ready(self) -> link.Ready:
        """Wait until the comparer says whether it listens."""
        while not any(isinstance(message, link.Ready) for message in self.parent.messages):
            before = len(self.parent.messages)
            assert len(self.parent.hear(before + 1)) > before, "the comparer ended before it was ready"
        return next(message for message in self.parent.messages if isinstance(message, link.Ready))

    def worker(self) -> End:
        """Connect as a worker."""
        self.ready()
        ours = socket.socket(socket.AF_UNIX)
        ours.connect(str(self.state_dir / "pairs-0.sock"))
        end = self._keep(ours)
        end.send(link.frame(link.Hello(protocol=link.PROTOCOL, role="worker", slot=0, epoch="e", pid=os.getpid())))
        return end

    def status(self) -> int:
        """Wait for the process to end and give its status."""
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """End the process by its id and close every end."""
        for end in self.ends:
            end.socket.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Give a state_dir with a short path: a Unix socket's is at most 103 bytes on macOS."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def running(state_dir: Path) -> Iterator[Running]:
    """Give a comparer with the limits that ship."""
    one = Running(state_dir)
    yield one
    one.close()


def framed(sequence: int, legacy: bytes, new: bytes, **parts: object) -> bytes:
    """Frame one pair with its bodies, and what its route wants before it."""
    number, wishes = link.policy_frame(wishes_of(parts))
    return wishes + link.frame(pair(legacy, new, sequence=sequence, policy=number, **parts), legacy, new)  # type: ignore[arg-type]  # named parts of a pair


@functools.cache
def slow_bodies() -> tuple[bytes, bytes]:
    """Make two bodies that fit a frame, coded, and take about a second: escapes and broken bytes in turn."""
    escapes = random.Random(1).choices([b"\xff\\u%04x" % code for code in range(0xE0, 0xF0)], k=1_000_000)
    body = b'["' + b"".join(escapes) + b'"'
    return gzip.compress(body + b"]", 1), gzip.compress(body + b" ]", 1)


def slow_pair(sequence: int) -> bytes:
    """Frame the slow pair."""
    return framed(sequence, *slow_bodies(), parity="meaning", legacy_headers=GZIPPED, new_headers=GZIPPED)


def sly_pair(sequence: int) -> bytes:
    """Frame a pair that is small as it travels, within every limit, and takes half a second once decoded."""
    escapes = [b"\xff\\u%04x" % code for code in range(0xE0, 0xF0)]
    body = b'["' + b"".join(random.Random(1).choices(escapes, k=20_000)) + b"".join(escapes) * 21_000 + b'"'
    bodies = gzip.compress(body + b"]"), gzip.compress(body + b" ]")
    assert sum(map(len, bodies)) < comparer.HEAVY_BYTES
    assert len(body) < coding.MAX_RATIO * len(bodies[0])
    started = time.process_time()
    compared(*bodies, parity="meaning", legacy_headers=GZIPPED, new_headers=GZIPPED)
    assert time.process_time() - started > 0.2
    return framed(sequence, *bodies, parity="meaning", legacy_headers=GZIPPED, new_headers=GZIPPED)


# ---- verdicts ------------------------------------------------------------------------------------------------------


def test_verdicts_come_in_the_order_of_the_pairs(running: Running) -> None:
    """Every pair of a worker is answered exactly once, in order, whatever its size and parity."""
    worker = running.worker()
    large = json.dumps([{"id": index} for index in range(5_000)]).encode()
    frames = [
        framed(
            number,
            large if number % 50 == 0 else b'{"a":%d}' % number,
            (large if number % 50 == 0 else b'{"a":%d}' % number) + b"\n",
            parity="meaning" if number % 2 else "bytes",
        )
        for number in range(1, 301)
    ]

    for start in range(0, len(frames), 30):
        worker.send(*frames[start : start + 30])
    verdicts = worker.verdicts(300)

    assert [verdict.sequence for verdict in verdicts] == list(range(1, 301))
    assert [verdict.verdict for verdict in verdicts] == ["tolerated", "divergent"] * 150
    assert {verdict.causes for verdict in verdicts} <= {("whitespace.trailing_newline",), ("encoding",)}


def test_two_workers_are_served_side_by_side(running: Running) -> None:
    """Each worker gets its own verdicts in its own order."""
    one, two = running.worker(), running.worker()

    one.send(*(framed(number, b"1", b"2") for number in range(100)))
    two.send(*(framed(number, b"1", b"2") for number in range(1_000, 1_100)))

    assert [verdict.sequence for verdict in one.verdicts(100)] == list(range(100))
    assert [verdict.sequence for verdict in two.verdicts(100)] == list(range(1_000, 1_100))


def test_findings_reach_control_and_verdicts_do_not_wait_for_it(running: Running, state_dir: Path) -> None:
    """Without control verdicts flow; when it comes it gets the findings."""
    worker = running.worker()
    worker.send(*(framed(number, b'{"a":1}', b'{"a":2}') for number in range(50)))
    assert len(worker.verdicts(50)) == 50

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(state_dir / "control.sock"))
    listener.listen(1)
    listener.settimeout(DEADLINE_S)
    connection, _ = listener.accept()
    listener.close()
    control = running._keep(connection)
    control.hear(2)

    hello, first = control.messages[:2]
    assert isinstance(hello, link.Hello)
    assert isinstance(first, link.Finding)
    assert hello.role == "comparer"
    item = first.differences[0]
    assert (item.legacy_pointer, item.legacy, item.new) == ("/a", "1", "2")


def test_control_hears_how_many_pairs_were_only_counted(running: Running, state_dir: Path) -> None:
    """Findings and counts together are all unequal pairs, also those judged before control came."""
    worker = running.worker()
    worker.send(*(framed(number, b'{"a":1}', b'{"a":2}') for number in range(500)))
    assert len(worker.verdicts(500)) == 500

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state_dir / "control.sock"))
        listener.listen(1)
        listener.settimeout(DEADLINE_S)
        connection, _ = listener.accept()
    control = running._keep(connection)

    def pairs() -> dict[str, int]:
        counted: dict[str, int] = {}
        for message in control.messages:
            if isinstance(message, link.Finding):
                counted[message.divergence] = counted.get(message.divergence, 0) + 1
            elif isinstance(message, link.Seen):
                for name, count in message.counts.items():
                    counted[name] = counted.get(name, 0) + count
        return counted

    heard = 0
    while sum(pairs().values()) < 500:
        control.hear(heard + 1)
        heard = len(control.messages)

    assert list(pairs().values()) == [500]
    assert any(isinstance(message, link.Finding) for message in control.messages)


def framed_for(purpose: str, sequence: int, new: bytes) -> bytes:
    """Frame a pair that nobody sent for a client's request."""
    number, wishes = link.policy_frame(wishes_of({}))
    asked = pair(b'{"a":1}', new, sequence=sequence, policy=number)
    return wishes + link.frame(msgspec.structs.replace(asked, purpose=purpose, attempt=1), b'{"a":1}', new)


def test_a_recheck_is_answered_with_what_was_found(running: Running) -> None:
    """Who asked by hand gets the Finding before the Verdict, however much was found before, and control gets none."""
    worker = running.worker()

    worker.send(*(framed_for("recheck", number, b'{"a":2}') for number in range(1, 41)))
    heard = worker.hear(80)

    assert [type(message) for message in heard] == [link.Finding, link.Verdict] * 40
    finding = heard[0]
    assert isinstance(finding, link.Finding)
    assert (finding.purpose, finding.differences[0].legacy_pointer) == ("recheck", "/a")
    verdict = heard[1]
    assert isinstance(verdict, link.Verdict)
    assert (verdict.verdict, verdict.sequence) == ("divergent", 1)


def test_noise_is_always_reported_and_a_repeat_never(running: Running) -> None:
    """Control hears of every noisy answer, so that a rate is exact; what a repeat showed the worker says itself."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(running.state_dir / "control.sock"))
        listener.listen(1)
        listener.settimeout(DEADLINE_S)
        worker = running.worker()
        worker.send(*(framed_for("again", number, b'{"a":2}') for number in range(1, 11)))
        worker.send(*(framed_for("noise", number, b'{"a":2}') for number in range(11, 61)))
        worker.verdicts(60)
        connection, _ = listener.accept()
    control = running._keep(connection)

    findings = [message for message in control.hear(51) if isinstance(message, link.Finding)]

    assert [(finding.purpose, finding.request_id) for finding in findings] == [
        ("noise", f"r{number}") for number in range(11, 61)
    ]


def test_the_pair_socket_is_private(running: Running) -> None:
    """Only the owner may connect, and a socket left by a killed comparer is replaced."""
    running.ready()
    path = running.state_dir / "pairs-0.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    running.process.kill()
    running.status()
    assert path.exists()
    successor = Running(running.state_dir)

    try:
        assert successor.ready().ok
        worker = successor.worker()
        worker.send(framed(1, b"1", b"2"))
        assert worker.verdicts(1)[0].sequence == 1
    finally:
        successor.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        link.frame(link.Beat()),
        link.frame(link.Hello(protocol=999, role="worker", slot=0, epoch="e", pid=1)),
        link.frame(pair(b"12345", b"1"), b"123"),
        link.frame(pair(b"", b""), b"x" * (5 << 20)),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_cut_and_no_other(running: Running, garbage: bytes) -> None:
    """Garbage, another protocol or a pair that lies about its size ends that link only."""
    good, bad = running.worker(), running.worker()

    # It may be cut while it is still sending.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        bad.send(garbage)
    assert bad.hear(1) == []

    good.send(framed(1, b"1", b"2"))
    assert good.verdicts(1)[0].sequence == 1


def test_a_worker_that_reads_no_verdict_does_not_fill_the_memory(running: Running) -> None:
    """A worker that sends and never reads is not read any more after bounded bytes, and others go on."""
    greedy, other = running.worker(), running.worker()
    frame = framed(1, b"1" * 2_000, b"2" * 2_000)
    greedy.socket.settimeout(1.0)

    with pytest.raises(TimeoutError):
        greedy.socket.sendall(frame * 20_000)
    other.send(framed(7, b"1", b"2"))

    assert other.verdicts(1)[0].sequence == 7
    status = Path(f"/proc/{running.process.pid}/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 120_000


# ---- deaths --------------------------------------------------------------------------------------------------------


def test_a_killed_comparer_has_answered_everything_before_the_pair_in_hand(running: Running) -> None:
    """After kill -9 the oldest pair without a verdict is the one that was in hand: all before it were answered."""
    worker = running.worker()
    worker.send(
        *(framed(number, b"1", b"2") for number in range(1, 4)),
        slow_pair(4),
        framed(5, b"1", b"2"),
    )
    answered = [verdict.sequence for verdict in worker.verdicts(3)]

    running.process.kill()

    assert running.status() == -signal.SIGKILL
    assert answered == [1, 2, 3]
    assert [verdict.sequence for verdict in worker.verdicts(5)] == [1, 2, 3]


def test_a_pair_over_the_wall_clock_ends_the_process_and_costs_itself(state_dir: Path) -> None:
    """A pair that takes too long ends the comparer by SIGALRM, with the verdicts of all pairs before it sent."""
    frames = (*(framed(number, b"1", b"2") for number in range(1, 4)), sly_pair(4), framed(5, b"1", b"2"))
    one = Running(state_dir, wall_clock_s=1.0)

    try:
        worker = one.worker()
        worker.send(*frames)
        assert [verdict.sequence for verdict in worker.verdicts(5)] == [1, 2, 3]
        assert one.status() == -signal.SIGALRM
    finally:
        one.close()


def test_the_wall_clock_counts_pairs_and_not_their_number(state_dir: Path) -> None:
    """A stream of small pairs that lasts longer than the wall clock is never cut."""
    one = Running(state_dir, wall_clock_s=3.0)  # longer than a machine is taken away from the pair in hand

    try:
        worker = one.worker()
        until = time.monotonic() + 3.5
        sent = 0
        while time.monotonic() < until:
            worker.send(*(framed(sent + number, b"[1]", b"[2]", parity="meaning") for number in range(100)))
            sent += 100
            assert len(worker.verdicts(sent)) == sent
        assert one.process.poll() is None
    finally:
        one.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a cap on the address space")
def test_a_pair_over_the_memory_cap_is_undecided_and_the_next_one_is_judged(state_dir: Path) -> None:
    """Where memory runs out, the pair is undecided{limit} under parity meaning and the comparer lives on."""
    body = json.dumps(["".join(random.Random(1).choices("😀😁", k=3_000_000))], ensure_ascii=False).encode()
    bodies = [gzip.compress(body, 6), gzip.compress(body + b" ", 6)]
    one = Running(state_dir, memory=90 << 20)

    try:
        worker = one.worker()
        worker.send(
            framed(1, *bodies, parity="meaning", legacy_headers=GZIPPED, new_headers=GZIPPED),
            framed(2, b"[1]", b"[1 ]", parity="meaning"),
        )
        first, second = worker.verdicts(2)
        assert (first.sequence, first.verdict, first.reason) == (1, "undecided", "limit")
        assert (second.sequence, second.verdict) == (2, "tolerated")
    finally:
        one.close()


# ---- a life --------------------------------------------------------------------------------------------------------


def test_a_comparer_says_hello_and_beats(running: Running) -> None:
    """It says Hello as comparer, then Ready with its socket, and beats with the number of pairs judged."""
    worker = running.worker()
    worker.send(framed(1, b"1", b"2"))
    worker.verdicts(1)

    ready = running.ready()
    while not any(isinstance(message, link.Beat) and message.requests == 1 for message in running.parent.messages):
        running.parent.hear(len(running.parent.messages) + 1)

    hello = running.parent.messages[0]
    assert isinstance(hello, link.Hello)
    assert (hello.role, hello.pid) == ("comparer", running.process.pid)
    assert (ready.ok, ready.detail) == (True, str(running.state_dir / "pairs-0.sock"))


def test_a_comparer_steps_back_behind_the_workers(state_dir: Path) -> None:
    """It runs at the lowest priority, its whole session does where Linux groups by it, under a cap on its memory; one
    that is to end stands in line with everybody else, so that it can."""
    one = Running(state_dir, own_session=True)

    try:
        one.worker()
        assert os.getpriority(os.PRIO_PROCESS, one.process.pid) == comparer.NICENESS
        group = Path(f"/proc/{one.process.pid}/autogroup")
        if group.exists():
            assert group.read_text().split()[1:] == ["nice", str(comparer.NICENESS)]
        limits = Path(f"/proc/{one.process.pid}/limits")
        if limits.exists():
            assert f"Max address space         {comparer.MEMORY_BYTES}" in limits.read_text()
        one.parent.send(link.frame(link.Drain(deadline_ns=20_000_000_000)))
        until = time.monotonic() + DEADLINE_S
        while (state_dir / "pairs-0.sock").exists() and time.monotonic() < until:
            time.sleep(0.01)
        if group.exists():
            assert group.read_text().split()[1:] == ["nice", "0"]
    finally:
        one.close()


@pytest.mark.parametrize("how", ["drain", "orphan", "term"])
def test_a_drained_comparer_judges_what_its_workers_still_send(running: Running, how: str) -> None:
    """After Drain, SIGTERM or its supervisor's death it takes no new worker, serves the present one and ends."""
    worker = running.worker()
    if how == "drain":
        running.parent.send(link.frame(link.Drain(deadline_ns=20_000_000_000)))
    elif how == "orphan":
        running.parent.socket.close()
    else:
        running.process.terminate()
    path = running.state_dir / "pairs-0.sock"
    until = time.monotonic() + DEADLINE_S
    while path.exists() and time.monotonic() < until:
        time.sleep(0.01)

    worker.send(framed(1, b"1", b"2"))
    answered = worker.verdicts(1)
    worker.socket.close()

    assert not path.exists()
    assert answered[0].sequence == 1
    assert running.status() == 0


def test_a_drain_ends_at_its_deadline(running: Running) -> None:
    """A worker that stays does not keep a draining comparer alive beyond the deadline."""
    worker = running.worker()
    worker.send(framed(1, b"1", b"2"))
    worker.verdicts(1)

    running.parent.send(link.frame(link.Drain(deadline_ns=100_000_000)))

    assert running.status() == 0


def test_ctrl_c_leaves_the_decision_to_the_supervisor(running: Running) -> None:
    """SIGINT, which a terminal sends to every process, does not end a comparer."""
    worker = running.worker()

    running.process.send_signal(signal.SIGINT)
    worker.send(framed(1, b"1", b"2"))

    assert worker.verdicts(1)[0].sequence == 1


def test_a_comparer_that_cannot_listen_says_why(state_dir: Path) -> None:
    """A state_dir that cannot hold the socket gives Ready with the path and the reason, and status 1."""
    one = Running(state_dir / ("d" * 120))

    try:
        ready = one.ready()
        assert not ready.ok
        assert "pairs-0.sock" in ready.detail
        assert "107 bytes" in ready.detail
        assert one.status() == 1
    finally:
        one.close()


def test_a_comparer_starts_light() -> None:
    """It imports none of the heavy libraries, so a killed one is back at once."""
    heavy = {"sqlalchemy", "pydantic", "deepdiff", "starlette", "uvicorn"}
    code = f"import sys, shadow.comparer; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_what_a_pair_broke_is_logged_without_a_word_of_it() -> None:
    """The log says which error was raised in which line, but not its text, which may quote an answer."""
    try:
        int(json.loads('"hunter" "2"'[:8]))
    except ValueError as error:
        shown = comparer.where_of(error)

    assert shown.endswith("ValueError")
    assert "test_comparer.py" in shown
    assert "invalid literal" not in shown
