"""A process of the product that begins where its imports end: forked from one that has done them.

Importing control costs 1.0 s of CPU, two thirds of its start, and is the same each time; over a hundred starts of it
were two minutes of this suite. Everything after the imports is a process of its own, with its own arguments,
environment, standard error and end. What is about the start itself runs ``python -m matapalo`` instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import matapalo

FORKS: Final = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["console.control", "pytest"])  # each child imports what stands as __main__ here


class Forked:
    """Be to a forked process what ``subprocess.Popen`` is to a started one, as far as tests ask."""

    def __init__(self, words: Sequence[str], *, link: socket.socket, environment: Mapping[str, str], log: Path) -> None:
        """Start ``matapalo *words* --parent-fd N``, where N is *link* there."""
        self._process: ForkServerProcess | None = FORKS.Process(
            target=_live, args=(list(words), link, dict(environment), str(log)), daemon=True
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

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _live(words: list[str], link: socket.socket, environment: dict[str, str], log: str) -> None:
    """Be the product's process; the exit code is what it answers."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    words = [*words, "--parent-fd", str(link.detach())]
    sys.argv = ["matapalo", *words]
    code = matapalo.main(words)
    atexit._run_exitfuncs()  # multiprocessing leaves without them; the product's last log lines go out there
    sys.exit(code)
