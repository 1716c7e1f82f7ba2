"""A real worker that raises an exception at one chosen line of its own code, once, when a test says so.

Run in the worker's place (:class:`tests.support.oneworker.OneWorker` with ``program=``). It listens on
``state_dir/faults.sock``; each message is one JSON object and gets one back:

* ``{"trace": [files]}`` begins to note which lines of these files run;
* ``{"file": name, "line": number}`` lets the next passage of that line raise;
* ``{"count": true}`` tells how many lines ran, or 1 if it raised; ``{"stop": true}`` ends both and names the lines.

The interpreter's own tracing raises, so the code under test has no hook for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvloop

_make_loop = uvloop.new_event_loop


class InjectedError(Exception):
    """Be what no code expects."""


class Faults:
    """Trace the loop's thread as the test asks."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.files: tuple[str, ...] = ()
        self.line = 0
        self.seen: set[tuple[str, int]] = set()

    def make_loop(self) -> asyncio.AbstractEventLoop:
        """Make the worker's loop, and remember it."""
        self.loop = _make_loop()
        return self.loop

    def ask(self, message: dict[str, Any]) -> object:  # Any: JSON
        """Do what one message says."""
        if "trace" in message:
            self.files, self.line, self.seen = tuple(message["trace"]), 0, set()
            return self._set(self._enter)
        if "file" in message:
            self.files, self.line, self.seen = (message["file"],), message["line"], set()
            return self._set(self._enter)
        if "count" in message:
            return len(self.seen)
        self._set(None)
        return sorted(self.seen)

    def _set(self, tracer: Callable[..., Any] | None) -> bool:
        done = threading.Event()

        def on_loop() -> None:
            sys.settrace(tracer)
            done.set()

        self.loop.call_soon_threadsafe(on_loop)
        return done.wait(30)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return self._step if os.path.basename(frame.f_code.co_filename) in self.files else None

    def _step(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "line" and self.line in (0, frame.f_lineno):
            self.seen.add((os.path.basename(frame.f_code.co_filename), frame.f_lineno))
            if self.line:
                raise InjectedError(f"injected at line {frame.f_lineno}")  # which also ends the tracing
        return self._step


def listen(faults: Faults, state_dir: str) -> None:
    """Answer the test's messages in a thread."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.join(state_dir, "faults.sock"))
    server.listen(1)

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("r") as lines:
                for line in lines:
                    connection.sendall(json.dumps(faults.ask(json.loads(line))).encode() + b"\n")

    threading.Thread(target=serve, name="faults", daemon=True).start()


def main(words: list[str]) -> int:
    """Be the worker."""
    faults = Faults()
    uvloop.new_event_loop = faults.make_loop  # type: ignore[assignment]  # the same, remembered
    listen(faults, words[words.index("--state-dir") + 1])
    import matapalo

    return matapalo.main(["_worker", *words])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
