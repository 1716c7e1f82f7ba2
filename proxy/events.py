"""Say on stderr what happens to processes: one line per event, never waiting for whoever reads it."""

from __future__ import annotations

import json
import os
import select
import sys
from datetime import UTC, datetime
from typing import Final

MAX_LINE: Final = 4_000
"""Below PIPE_BUF (4,096): a line is written whole or not at all, and does not mix with the children's."""


class EventLog:
    """Write the supervisor's log lines: JSON, or plain text where a person looks on.

    Bound: a line that a full pipe or a stopped terminal cannot take at once is dropped and counted: a supervisor
    that waits for a log reader no longer watches its children.
    """

    def __init__(self, process: str, fd: int = 2) -> None:
        self._process = process
        self._fd = fd
        self._plain = os.isatty(fd) if _is_open(fd) else False
        self._dropped = 0

    def say(self, event: str, message: str, **details: object) -> None:
        """Write one event: its name for machines, a sentence for people, details for both."""
        if not self._can_write():
            self._dropped += 1
            return
        if self._dropped:
            details["dropped_lines"], self._dropped = self._dropped, 0
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._plain:
            line = f"{now} {self._process}: {message}"
        else:
            fields = {"time": now, "process": self._process, "event": event, "message": message, **details}
            line = json.dumps(fields, default=str)
            if len(line) > MAX_LINE:
                line = json.dumps({"time": now, "process": self._process, "event": event, "message": message[:1_000]})
        try:
            os.write(self._fd, line.encode(errors="replace")[:MAX_LINE] + b"\n")
        except OSError:  # the reader is gone; there is nobody left to tell
            self._dropped += 1

    def _can_write(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            # A file always answers POLLOUT; a pipe without a reader answers POLLERR, a closed descriptor POLLNVAL.
            return any(state & select.POLLOUT for _, state in poll.poll(0))
        except OSError:
            return False


def complain(sentence: str) -> None:
    """Tell whoever started this process why it does not start."""
    sys.stderr.write(f"matapalo: {sentence}\n")


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
