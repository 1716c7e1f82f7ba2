"""Say on stderr what happens to processes: one line per event, never waiting for whoever reads it."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Final

from shadow.lines import Lines

MAX_LINE: Final = 4_000
"""Below PIPE_BUF (4,096): a line is written whole or not at all, and does not mix with the children's."""


class EventLog:
    """Write the supervisor's log lines: JSON, or plain text where a person looks on.

    Bound: 1 MiB waits for a full pipe or a stopped terminal; a further line is dropped, and the next one that is
    taken says how many. A supervisor that waits for a log reader no longer watches its children.
    """

    def __init__(self, process: str, fd: int = 2) -> None:
        self._process = process
        self._lines = Lines(fd, name="events")
        self._plain = os.isatty(fd)
        self._dropped_told = 0

    def say(self, event: str, message: str, **details: object) -> None:
        """Write one event: its name for machines, a sentence for people, details for both."""
        dropped = self._lines.dropped
        if dropped != self._dropped_told:
            details["dropped_lines"] = dropped - self._dropped_told
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._plain:
            line = f"{now} {self._process}: {message}"
        else:
            fields = {"time": now, "process": self._process, "event": event, "message": message, **details}
            line = json.dumps(fields, default=str)
            if len(line) > MAX_LINE:
                line = json.dumps({"time": now, "process": self._process, "event": event, "message": message[:1_000]})
        if self._lines.write(line.encode(errors="replace")[:MAX_LINE] + b"\n"):
            self._dropped_told = dropped

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, within *timeout* seconds."""
        self._lines.close(timeout)


def complain(sentence: str) -> None:
    """Tell whoever started this process why it does not start."""
    sys.stderr.write(f"matapalo: {sentence}\n")
