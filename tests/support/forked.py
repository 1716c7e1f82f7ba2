"""A process of the product that begins where its imports end: forked from one that has done them.

Imports are two thirds of the CPU that a start of control costs and nine tenths of a worker's, and the same each time;
over hundreds of starts they were minutes of this suite. Everything after the imports is a process of its own, with its
own arguments, environment, output and end. What is about the start itself runs ``python -m matapalo`` instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import matapalo

FORKS: Final = multiprocessing.get_context("forkserver")
# pytest: each child imports what stands as __main__ here.
FORKS.set_forkserver_preload(["console.control", "proxy.worker", "pytest"])


class Forked:
    """Be to a forked process what ``subprocess.Popen`` is to a started one, as far as tests ask."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        sockets: Sequence[tuple[str, socket.socket]],
        environment: Mapping[str, str],
        errors: Path,
        output: Path | None = None,
    ) -> None:
        """Start ``matapalo *words*``, with ``OPTION N`` behind for each of *sockets*, where N is the socket there."""
        self._process: ForkServerProcess | None = FORKS.Process(
            target=_live,
            args=(list(words), list(sockets), dict(environment), str(errors), str(output or os.devnull)),
            daemon=True,
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: Final = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Say how it ended, as ``Popen.returncode`` does; ``None``: it lives."""
        if self._process is not None and self._process.exitcode is not None:
            self.returncode = self._process.exitcode
            self._process.close()
            self._process = None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; ``subprocess.TimeoutExpired`` if that does not come in time."""
        if self._process is not None:
            self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _live(
    words: list[str], sockets: list[tuple[str, socket.socket]], environment: dict[str, str], errors: str, output: str
) -> None:
    """Be the product's process; the exit code is what it answers."""
    for number, place in ((1, output), (2, errors)):
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    words = [*words, *(word for option, one in sockets for word in (option, str(one.detach())))]
    sys.argv = ["matapalo", *words]
    code = matapalo.main(words)
    atexit._run_exitfuncs()  # multiprocessing leaves without them; the product's last log lines go out there
    sys.exit(code)
