"""Control's own events as JSON lines on standard error."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from shadow.lines import Lines


class Journal:
    """Write events without ever waiting for whoever reads them.

    Bound: 1 MiB waits for a slow reader; a further line is dropped and counted in ``dropped``.
    Runs: :meth:`say` from any thread.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @property
    def dropped(self) -> int:
        """How many lines nobody took."""
        return self._lines.dropped

    def say(self, event: str, message: str, **details: object) -> None:
        """Note one event: its name for machines, a sentence for people; control characters are escaped."""
        line = {"time": now_text(), "process": "control", "event": event, "message": message, **details}
        self._lines.write(json.dumps(line, default=str).encode() + b"\n")

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, within *timeout* seconds."""
        self._lines.close(timeout)


def now_text() -> str:
    """Give the moment in RFC 3339, UTC, with milliseconds."""
    return moment_text(datetime.now(UTC).timestamp())


def moment_text(at: float) -> str:
    """Show a Unix time in RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
