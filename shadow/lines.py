"""Write log lines to a descriptor without ever making the writer of a line wait.

Every process of Matapalo logs to a pipe, file or terminal that somebody else reads, or has stopped reading. A ``write``
to a full pipe blocks, and the loop that made it with it: no request, no beat, no verdict. So a thread writes, from a
bounded store; what does not fit is dropped and counted.

Light on purpose (no asyncio): the supervisor, workers and control log through this. Comparers do not: a thread's memory
would count against their cap.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import stat
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

MAX_EVENT_BYTES: Final = 1 << 20
"""Waiting lines on stderr: thousands of events, of which a healthy process says a handful per minute."""

CLOSING_POLL_MS: Final = 100


class Lines:
    """Own the thread that writes to one descriptor; the descriptor stays the caller's.

    Bound: ``max_bytes`` waiting.
    Runs: :meth:`write` from any thread; one daemon thread does the I/O.
    """

    def __init__(self, fd: int, *, max_bytes: int = MAX_EVENT_BYTES, name: str = "log") -> None:
        self._fd = fd
        self._max_bytes = max_bytes
        self._is_pipe = _is_pipe(fd)
        self._chunks: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._taken = 0
        self._refused = 0
        # The thread writes its own numbers only, so that none is ever lost between it and those who log.
        self._done = 0
        self._lost = 0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """How much was taken and is not written yet."""
        return self._taken - self._done

    @property
    def dropped(self) -> int:
        """How many lines were never written: they did not fit, or nobody takes them any more."""
        return self._refused + self._lost

    def write(self, lines: bytes) -> bool:
        """Take whole lines, all or none, and say whether there was room."""
        with self._lock:
            if self.waiting_bytes + len(lines) > self._max_bytes:
                self._refused += lines.count(b"\n")
                return False
            self._taken += len(lines)
            self._chunks.append(lines)
        self._wake.set()
        return True

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, within *timeout* seconds; idempotent."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._chunks:
                chunk = self._chunks.popleft()
                for piece in self._pieces(chunk):
                    self._put(piece)
                self._done += len(chunk)
            if self._closing and not self._chunks:
                return

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Cut whole lines for a pipe that several processes share: up to PIPE_BUF a write is atomic."""
        start = 0
        while self._is_pipe and len(chunk) - start > select.PIPE_BUF:
            end = chunk.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or chunk.find(b"\n", start) + 1
            yield chunk[start:end]
            start = end
        yield chunk[start:]

    def _put(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # somebody made the descriptor non-blocking for all who share it
                if self._becomes_writable():
                    continue
                self._lost += bytes(view).count(b"\n")
                return
            except OSError:  # the reader is gone or the disk is full: the loss is counted, and nothing else suffers
                self._lost += bytes(view).count(b"\n")
                return

    def _becomes_writable(self) -> bool:
        """Wait until something can be written, or an error can be had; false when that must end."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while not poll.poll(CLOSING_POLL_MS):
            if self._closing:
                return False
        return True


class _Stderr(io.TextIOBase):
    """Stand in for ``sys.stderr``: whole lines go to :class:`Lines`, the rest waits for its line break.

    Bound: 64 KiB without a line break are a line.
    """

    MAX_PART: Final = 64 << 10

    def __init__(self, lines: Lines, fd: int) -> None:
        self._lines = lines
        self._fd = fd
        self._part = ""

    def write(self, text: str) -> int:
        """Take text."""
        whole, found, self._part = (self._part + text).rpartition("\n")
        if len(self._part) > self.MAX_PART:
            whole, found, self._part = whole + found + self._part, "\n", ""
        if found:
            self._lines.write((whole + found).encode(errors="backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Give the descriptor, for faulthandler and the like."""
        return self._fd


def take_stderr() -> Lines:
    """Let everything that this process says on stderr, Python's own tracebacks too, go through :class:`Lines`."""
    lines = Lines(2, name="stderr")
    sys.stderr = _Stderr(lines, 2)
    atexit.register(lines.close, 0.3)  # whoever drained until its deadline has little time left
    return lines


def open_standard_fds() -> None:
    """Put ``/dev/null`` where this process was started without stdin, stdout or stderr.

    Otherwise the next socket gets that number, and log lines go to a client.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
