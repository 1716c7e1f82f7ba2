"""Control's own events as JSON lines on standard error."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Final

MAX_WAITING: Final = 1_000
"""Lines that wait for a slow terminal; control says a handful per minute."""


class Journal:
    """Write events without ever waiting for whoever reads them.

    Bound: :data:`MAX_WAITING` lines; a further one is dropped and counted in ``dropped``.
    Runs: :meth:`say` from any thread; one daemon thread writes.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = sys.stderr.fileno() if fd is None else fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        self.dropped = 0

    def say(self, event: str, message: str, **details: object) -> None:
        """Note one event: its name for machines, a sentence for people; control characters are escaped."""
        line = {"time": now_text(), "process": "control", "event": event, "message": message, **details}
        try:
            self._lines.put_nowait(json.dumps(line, default=str).encode() + b"\n")
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, within *timeout* seconds."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                os.write(self._fd, line)
            except OSError:  # nobody reads any more; the event is also in the audit if it mattered
                self.dropped += 1


def now_text() -> str:
    """Give the moment in RFC 3339, UTC, with milliseconds."""
    return moment_text(datetime.now(UTC).timestamp())


def moment_text(at: float) -> str:
    """Show a Unix time in RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
