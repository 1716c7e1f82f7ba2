"""Matapalo as a target: its configuration, its processes, its admin API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.process import (
    BenchError,
    Cores,
    Program,
    answer_of,
    command_line,
    descendants,
    free_port,
    tail,
    wait_until,
)

COMMAND = (sys.executable, "-P", "-m", "matapalo")
"""How the command is started: the same interpreter, nothing from the working directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Ask for one route of the configuration."""

    name: str
    path: str
    """The template of :attr:`config.spec.MatchSpec.path`."""
    stage: str = "legacy"
    legacy: str = "legacy"
    new: str = "new"


def routes_for(prefixes: Sequence[str], stage: str) -> list[Route]:
    """Make one route per path prefix."""
    return [
        Route(name=prefix.strip("/").replace("/", "-"), path=f"{prefix}/{{id}}", stage=stage) for prefix in prefixes
    ]


class Product:
    """Hold one running Matapalo with everything on: metrics, access log, evidence.

    Shape: workers are pinned to the proxy core like every peer; supervisor, control and comparers may use
    all cores, and their CPU time counts.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        backends: dict[str, str],
        *,
        folder: Path,
        cores: Cores,
        workers: int = 1,
        comparers: int = 1,
        backend_keys: Mapping[str, object] = MappingProxyType({}),
        sheds: bool = False,
        more: Mapping[str, object] = MappingProxyType({}),
        route_keys: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = "matapalo"
        self.folder, self.cores = folder, cores
        self.port, self.admin_port = free_port(), free_port()
        self.config_path = folder / "matapalo.yaml"
        self._routes, self._backends, self._backend_keys = list(routes), backends, backend_keys
        self._workers, self._comparers = workers, comparers
        self._sheds = sheds
        self._more, self._route_keys = more, route_keys
        self._health_port = free_port()
        self.write_config()
        self.program: Program

    def write_config(self, *, timeout: str = "60s") -> None:
        """Write the file; another *timeout* is a change that a reload must carry to every route."""
        # JSON is YAML, and the real loader reads it.
        document = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "health": {"listen": f"127.0.0.1:{self._health_port}"},
            "state_dir": "state",
            "workers": self._workers,
            "comparers": self._comparers,
            "access_log": True,
            **self._more,
            # Rounds measure what a copy costs: a saturated worker would otherwise make fewer of them.
            "limits": {} if self._sheds else {"shed_copies": "off"},
            "backends": {name: {"url": url, **self._backend_keys} for name, url in self._backends.items()},
            "defaults": {
                "sticky": ["header:X-User-Id"],
                "timeout": timeout,
                "shadow": {"max_per_second": "off", "max_in_flight": 64},
            },
            "routes": [
                {
                    "name": route.name,
                    "match": {"path": route.path},
                    "initial_stage": route.stage,
                    "legacy": route.legacy,
                    "new": route.new,
                    **self._route_keys,
                }
                for route in self._routes
            ],
        }
        text = json.dumps(document, indent=1)
        # Renamed into place: a reload must never read half a file.
        draft = self.config_path.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(self.config_path)

    def start(self, path: str) -> float:
        """Start, wait for a 200 for *path*, pin the workers, and return the seconds from exec to that answer.

        Raises: BenchError with the end of the log.
        """
        every = tuple(sorted({*self.cores.proxy, *self.cores.load}))
        started = time.monotonic()
        self.program = Program(
            [*COMMAND, "serve", "-c", str(self.config_path)],
            log=self.folder / "output.log",
            cores=every,
            cwd=self.folder,
        )

        def serves() -> bool:
            self.program.require_running()
            answer = answer_of(self.port, path)
            return answer is not None and answer.status == 200

        try:
            wait_until(serves, f"a first answer through Matapalo for {path}", every_s=0.002)
        except BenchError as error:
            self.program.stop()
            raise BenchError(f"{error}\n{tail(self.program.log)}") from error
        took = time.monotonic() - started
        self.pin()
        return took

    def stop(self) -> None:
        """End it."""
        self.program.stop()

    # -- processes

    def pids(self, role: str) -> list[int]:
        """Return the processes of one role: ``worker``, ``control`` or ``comparer``."""
        return [pid for pid in descendants(self.program.pid) if f"_{role}" in command_line(pid)]

    def worker(self) -> int:
        """Return the one worker.

        Raises: BenchError when there is none.
        """
        workers = self.pids("worker")
        if not workers:
            raise BenchError(f"Matapalo has no worker process:\n{tail(self.program.log)}")
        return workers[0]

    def pin(self) -> None:
        """Put every worker, with all its threads, on the proxy core."""
        for pid in self.pids("worker"):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(task), self.cores.proxy)

    def kill(self, role: str) -> float:
        """Kill one process of a role with SIGKILL and return the monotonic time of it."""
        pid = self.pids(role)[0]
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return at

    @contextlib.contextmanager
    def kept_dead(self, role: str) -> Iterator[None]:
        """Kill every process of a role as soon as the supervisor starts it again."""
        ending = threading.Event()

        def hunt() -> None:
            while not ending.wait(0.02):
                for pid in self.pids(role):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        hunter = threading.Thread(target=hunt, name="hunter")
        hunter.start()
        try:
            yield
        finally:
            ending.set()
            hunter.join()

    # -- admin API

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        """Call the admin API and return its object.

        Raises: BenchError for anything but 200.
        """
        answer = answer_of(
            self.admin_port, path, method=method, body=None if body is None else json.dumps(body).encode()
        )
        if answer is None or answer.status != 200:
            found = "no answer" if answer is None else f"{answer.status} {answer.body[:500]!r}"
            raise BenchError(f"{method} {path} on the admin API: expected 200, found {found}")
        document: dict[str, Any] = json.loads(answer.body)
        return document

    def flip(self, route: str, stage: str) -> float:
        """Flip one route and return the seconds until every worker had acknowledged it."""
        started = time.monotonic()
        self.call("POST", f"/api/v1/routes/{route}/flip", {"stage": stage, "force": True, "reason": "bench"})
        return time.monotonic() - started

    def has_control(self) -> bool:
        """Ask whether the admin API answers."""
        answer = answer_of(self.admin_port, "/api/v1/status")
        return answer is not None and answer.status == 200

    def require_control(self) -> None:
        """Wait for the admin API, which may come up after the first answer of a worker.

        Raises: BenchError with the end of the log when it does not.
        """
        try:
            wait_until(self.has_control, "control's first answer")
        except BenchError as error:
            raise BenchError(f"{error}\n{tail(self.program.log)}") from error

    def totals(self, family: str) -> dict[str, int]:
        """Sum one metric family of ``/metrics`` by its ``verdict`` or ``reason`` label (empty without one).

        Raises: BenchError when control does not answer.
        """
        answer = answer_of(self.admin_port, "/metrics")
        if answer is None or answer.status != 200:
            raise BenchError("GET /metrics on the admin API did not answer 200")
        sums: dict[str, int] = {}
        for line in answer.body.decode().splitlines():
            if line.startswith((f"matapalo_{family}{{", f"matapalo_{family} ")):
                label = re.search(r'(?:verdict|reason)="([^"]*)"', line)
                key = label[1] if label else ""
                sums[key] = sums.get(key, 0) + round(float(line.rpartition(" ")[2]))
        return sums

    def gauge(self, family: str) -> int:
        """Read a gauge without labels from ``/metrics``; 0 while there is no such series.

        Raises: BenchError when control does not answer.
        """
        return self.totals(family).get("", 0)
