"""Processes under measurement: start them pinned, read their CPU time and memory, end them.

Linux only: everything is read from ``/proc``.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement cannot be made; the message says which, why, and where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Keep what one plain request was answered."""

    status: int
    backend: str
    """What the backend called itself in ``X-Backend``, empty if it did not."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Say which cores the measured program and everything else run on."""

    proxy: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def text(self) -> str:
        """Describe the choice in half a sentence."""
        if self.proxy == self.load:
            return "nothing pinned (one core)"
        return f"proxy on core {_list(self.proxy)}, load generator and backends on core {_list(self.load)}"


def _list(cores: Sequence[int]) -> str:
    return ",".join(map(str, cores))


def choose_cores() -> Cores:
    """Give the proxy one core and the rest to load and backends."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return Cores(proxy=tuple(usable), load=tuple(usable))
    return Cores(proxy=(usable[0],), load=tuple(usable[1:]))


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Prefix a command so that it and all its children run on *cores*."""
    return ["taskset", "-c", _list(cores), *command] if shutil.which("taskset") else list(command)


class Program:
    """Hold one running program with all its descendants.

    Shape: what it prints goes to ``log``; :attr:`pid` is the root of its tree.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cores: Sequence[int],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        self._name = " ".join(map(os.path.basename, command[:4]))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                pinned(command, cores),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def is_running(self) -> bool:
        """Ask whether the root process is alive."""
        return self._process.poll() is None

    def require_running(self) -> None:
        """Refuse to go on with a program that has ended.

        Raises: BenchError with the end of its log.
        """
        if not self.is_running():
            raise BenchError(
                f"{self._name} ended with {self._process.returncode}: {tail(self.log, 1)}\n{tail(self.log)}"
            )

    def tree(self) -> list[int]:
        """Return the root and every living descendant."""
        return descendants(self.pid)

    def cpu_s(self) -> float:
        """Return user and system seconds of the whole tree, ended children included.

        Unit: seconds, in steps of one clock tick (10 ms).
        """
        return sum(_cpu_s(pid) for pid in self.tree())

    def rss_bytes(self) -> int:
        """Return the resident memory of the whole tree; shared pages count once per process."""
        return sum(memory(pid, "VmRSS") for pid in self.tree())

    def stop(self) -> None:
        """End the tree: SIGTERM to the root, SIGKILL to what is left after five seconds."""
        pids = self.tree()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        for pid in pids:
            if pid != self.pid and _parent(pid) is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(5)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold blanks and parentheses: everything after the last one is fixed.
    return text[text.rindex(")") + 2 :].split()


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    # utime, stime, and both again of children that were waited for: a restarted child is not forgotten.
    return 0.0 if fields is None else sum(map(int, fields[11:15])) * _TICK_S


def own_cpu_s(pid: int) -> float:
    """Return user and system seconds of one process alone, 0 if it is gone."""
    fields = _stat(pid)
    return 0.0 if fields is None else sum(map(int, fields[11:13])) * _TICK_S


def descendants(root: int) -> list[int]:
    """Return *root* and all its living descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (parent := _parent(int(name))) is not None:
            children.setdefault(parent, []).append(int(name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, ())
    return found


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def memory(pid: int, field: str) -> int:
    """Return one memory line of ``/proc/PID/status`` (``VmRSS``, ``VmHWM``) in bytes, 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def reset_peak(pid: int) -> None:
    """Let ``VmHWM`` of a process start again from its memory of now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, or that it is empty."""
    text = log.read_bytes()[-20_000:].decode(errors="replace").splitlines() if log.exists() else []
    return "\n".join(text[-lines:]) or "(its log is empty)"


def wait_until(holds: Callable[[], bool], what: str, *, timeout_s: float = 15.0, every_s: float = 0.02) -> float:
    """Ask again and again until *holds*, and return the seconds that took.

    Raises: BenchError when it does not become true in time.
    """
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > timeout_s:
            raise BenchError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(every_s)
    return time.monotonic() - started


def accepts(port: int) -> bool:
    """Ask whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answer_of(port: int, path: str, *, method: str = "GET", body: bytes | None = None) -> Answer | None:
    """Send one plain request and return the answer, ``None`` while there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(status=response.status, backend=response.headers.get("X-Backend", ""), body=response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
