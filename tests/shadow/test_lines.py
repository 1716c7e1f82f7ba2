"""Rules of writing lines: every one whole, in order, counted if lost, and nobody ever waits."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.lines import Lines
from tests.support.product import ROOT, wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe, and close what the test leaves open."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            continue


def numbered(count: int, width: int = 100) -> list[bytes]:
    """Make lines that can be told apart."""
    return [b"%0*d\n" % (width, number) for number in range(count)]


def test_what_was_taken_is_written_before_the_end(pipe: tuple[int, int]) -> None:
    """Closing writes every line, whole and in order."""
    lines = Lines(pipe[1])
    for line in numbered(100):
        assert lines.write(line)
    lines.close(60)

    assert os.read(pipe[0], 65_536) == b"".join(numbered(100))
    assert (lines.dropped, lines.waiting_bytes) == (0, 0)


def test_a_reader_that_stops_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    """With a full pipe lines beyond the bound are dropped, all of a write or nothing, and counted; closing ends too."""
    lines = Lines(pipe[1], max_bytes=1_000)
    room = select.PIPE_BUF * 16 + 1_000
    taken = sum(lines.write(line) for line in numbered(2 * room // 100))

    assert lines.dropped == 2 * room // 100 - taken > 0
    lines.close(timeout=0.1)


def test_a_non_blocking_descriptor_tears_no_line(pipe: tuple[int, int]) -> None:
    """Where another process made the shared pipe non-blocking, the writer waits for its reader and no line is cut."""
    os.set_blocking(pipe[1], False)
    lines = Lines(pipe[1])
    expected = numbered(2_000, 150)
    for line in expected:
        assert lines.write(line)
    found = bytearray()

    def taken() -> bool:
        found.extend(os.read(pipe[0], 50_000))
        return len(found) >= 2_000 * 151

    wait_until(taken, "every line")

    assert found.splitlines(keepends=True) == expected
    assert lines.dropped == 0
    lines.close(60)


def test_a_closed_pipe_is_counted_and_ends_nothing(pipe: tuple[int, int]) -> None:
    """When the reader is gone every line counts as dropped, and the process lives."""
    os.close(pipe[0])
    lines = Lines(pipe[1])
    for line in numbered(10):
        lines.write(line)
    lines.close(60)

    assert lines.dropped == 10


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_counted() -> None:
    """A line that the disk does not take is counted, and the next one is tried again."""
    fd = os.open("/dev/full", os.O_WRONLY)
    lines = Lines(fd)
    lines.write(b"one\ntwo\n")
    lines.close(60)
    os.close(fd)

    assert lines.dropped == 2


def test_many_threads_lose_nothing() -> None:
    """Lines of several threads are all written, each whole, and the store knows that it is empty."""
    fd = os.open(os.devnull, os.O_WRONLY)
    lines = Lines(fd, max_bytes=100 << 20)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [lines.write(b"x\n") for _ in range(3_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
        lines.close(60)
        os.close(fd)

    assert (lines.waiting_bytes, lines.dropped) == (0, 0)


SAYS = """
import sys
from shadow.lines import take_stderr
take_stderr()
sys.stderr.write("half ")
print("a line", file=sys.stderr)
if sys.argv[1] == "flood":
    for _ in range(100_000):
        print("x" * 100, file=sys.stderr)
    open(sys.argv[2], "w").write("through")
raise RuntimeError("the last word")
"""


def test_tracebacks_go_through_it_too(tmp_path: Path) -> None:
    """What Python itself writes to stderr, up to the traceback that ends a process, is written as well."""
    done = subprocess.run([sys.executable, "-c", SAYS, "say"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr.startswith("half a line\nTraceback")
    assert done.stderr.endswith("RuntimeError: the last word\n")


def test_a_process_whose_stderr_is_never_read_ends(tmp_path: Path) -> None:
    """A process that says far more than its stderr takes goes on, and ends by itself."""
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SAYS, "flood", str(tmp_path / "done")], cwd=ROOT, stderr=write
    ) as process:
        code = process.wait(60)
    os.close(read)
    os.close(write)

    assert (tmp_path / "done").read_text() == "through"
    assert code == 1


def test_missing_standard_descriptors_are_filled() -> None:
    """Started without stdout, a process never uses that number for something else."""
    code = "from shadow.lines import open_standard_fds as fill; import os; os.close(1); fill(); print(os.fstat(1))"
    done = subprocess.run(
        [sys.executable, "-c", code + "; os.write(2, os.readlink('/proc/self/fd/1').encode())"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )

    assert done.stderr == b"/dev/null"
