"""Run the product as an operator does, and end it whatever happens.

::

    with Product({"backends": {...}, "routes": [...]}) as product:
        product.admin("POST", "/api/v1/routes/orders/flip", {"stage": "live"})
        assert product.totals()["counts"]["requests|orders|new|shop|2xx"] == 1

Rules of this file:

1. Every port is 0: what the product listens on stands in ``addresses.json`` and is read again for each use,
   because a restarted control has another port.
2. Processes are ended by the ids that this product wrote down, never by name; children of a killed
   supervisor end by themselves and are waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx2
import yaml

from tests.support.emptystate import lay_empty_files

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 60.0
"""Two cores that a dozen others keep busy may take this long to start a product; no rule is measured with it."""
PLAIN: Final[Mapping[str, Any]] = {"timeout": WAIT_S, "trust_env": False, "verify": False}  # Any: arguments of httpx2
"""How to ask over plain HTTP: a client that could verify certificates loads them, 24 ms of CPU for each question."""

T = TypeVar("T")


class Node:
    """Run one supervisor with its children over a temporary state directory.

    Shape: as a context manager it starts, waits until it is ready, and ends; :meth:`start` and :meth:`stop` do the
    same by hand. The directory is short because socket paths are limited, and is removed at the end.
    """

    def __init__(self, *, wait_for_control: bool = True, environment: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mp-"))
        self.state_dir = self.directory / "state"
        self.process: subprocess.Popen[bytes] | None = None
        self._wait_for_control = wait_for_control
        self._environment = dict(environment or {})

    def command(self) -> Sequence[str]:
        """Name the words that start the supervisor."""
        raise NotImplementedError

    # --- life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, and wait until requests are answered."""
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that was started; a failed test shows the product's last lines."""
        if error is not None:
            print(self.stderr()[-6_000:], file=sys.stderr)
        self.close()

    def start(self) -> None:
        """Start the supervisor without waiting for anything."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with (self.directory / "stdout").open("ab") as out, (self.directory / "stderr").open("ab") as err:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONPATH": path, **self._environment},
                start_new_session=True,
            )

    def wait_ready(self, *, control: bool | None = None) -> None:
        """Wait until every worker serves, and control listens (unless it is not waited for).

        ``/readyz`` itself is content with one worker: a test that then kills that one would find nobody.
        """
        wanted = self._wait_for_control if control is None else control

        def is_ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it did not start: {self.stderr()}"
            addresses = self.addresses()
            if not addresses or (wanted and not addresses["admin"]):
                return False
            status, body = self.ready()
            return status == 200 and all(worker["serving"] for worker in body["workers"])

        wait_until(is_ready, "the product is ready")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """End it at once if it still runs, wait for its children, and remove the directory; idempotent."""
        children = self._everybody()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT_S)
            children |= self._everybody()
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        for pid in children:
            if self._is_ours(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _everybody(self) -> set[int]:
        return {pid for pids in self.pids().values() for pid in pids}

    def _is_ours(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return str(self.state_dir).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    # --- what it says ------------------------------------------------------------------------------------------------

    def addresses(self) -> dict[str, Any]:  # Any: JSON
        """Read where it listens now; empty: it has not said yet."""
        return self._note("addresses.json")

    @property
    def url(self) -> str:
        """Name the proxy's first address."""
        return f"http://{self.addresses()['listen'][0]}"

    @property
    def port(self) -> int:
        """Name the proxy's first port."""
        return int(self.addresses()["listen"][0].rpartition(":")[2])

    @property
    def admin_url(self) -> str:
        """Name the admin API's address now."""
        return f"http://{self.addresses()['admin']}"

    def pids(self) -> dict[str, list[int]]:
        """Read the living children's process ids by role, in the order of their slots."""
        found: dict[str, list[int]] = {"worker": [], "comparer": [], "control": []}
        for child in self._note("children.json").get("children", ()):
            found[child["role"]].append(child["pid"])
        return found

    def ready(self) -> tuple[int, dict[str, Any]]:  # Any: JSON
        """Ask ``/readyz`` once; status 0: nobody answers."""
        try:
            answer = httpx2.get(f"http://{self.addresses()['health']}/readyz", **PLAIN)
        except (httpx2.TransportError, KeyError):
            return 0, {}
        return answer.status_code, answer.json()

    def stderr(self) -> str:
        """Read everything it and its children wrote to stderr."""
        return (self.directory / "stderr").read_text(errors="replace")

    def logs(self, event: str | None = None) -> list[dict[str, Any]]:  # Any: JSON
        """Read the JSON lines of stderr, or only those of one event."""
        lines = []
        for line in self.stderr().splitlines():
            with contextlib.suppress(ValueError):
                if isinstance(parsed := json.loads(line), dict):
                    lines.append(parsed)
        return [line for line in lines if event is None or line.get("event") == event]

    def access_log(self) -> list[dict[str, Any]]:  # Any: JSON
        """Read the access lines."""
        whole = (self.directory / "stdout").read_text().rpartition("\n")[0]  # of a line that is being written: nothing
        return [json.loads(line) for line in whole.splitlines()]

    def wait_log(self, event: str, count: int = 1) -> list[dict[str, Any]]:  # Any: JSON
        """Wait until an event was logged so many times."""
        wait_until(lambda: len(self.logs(event)) >= count, f"{event}, {count} times")
        return self.logs(event)

    def wait_replaced(self, role: str, former: Sequence[int], seconds: float = WAIT_S) -> list[int]:
        """Wait until each slot of *role* is filled by a living process other than *former*, and all is well again."""

        def successors() -> list[int] | None:
            now = self.pids()[role]
            changed = len(now) == len(former) and now != list(former)
            return now if changed and self.ready()[1].get("degraded") == [] else None

        found = wait_until(successors, f"a new {role} beside {former}", seconds)
        assert found is not None
        return found

    def _note(self, name: str) -> dict[str, Any]:  # Any: JSON
        try:
            content: dict[str, Any] = json.loads((self.state_dir / name).read_bytes())
        except FileNotFoundError:
            return {}
        return content


class Product(Node):
    """Run ``matapalo serve`` with a configuration of the test.

    Shape: *config* is merged over listeners on port 0, one worker and one comparer; ``configure`` writes it anew.
    With *as_shipped* it finds no state directory; without, one whose files have their tables already
    (:mod:`tests.support.emptystate`), which spares control's first start a third.
    """

    def __init__(
        self,
        config: Mapping[str, Any],  # Any: YAML
        *,
        wait_for_control: bool = True,
        environment: Mapping[str, str] | None = None,
        as_shipped: bool = False,
    ) -> None:
        super().__init__(wait_for_control=wait_for_control, environment=environment)
        if not as_shipped:
            lay_empty_files(self.state_dir)
        self.config_path = self.directory / "matapalo.yaml"
        self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:  # Any: YAML
        """Write the configuration file; a running product reads it on reload."""
        listener = "127.0.0.1:0"
        whole: dict[str, Any] = {
            "listen": listener,
            "admin": {"listen": listener},
            "health": {"listen": listener},
            "state_dir": str(self.state_dir),
            "workers": 1,
            "comparers": 1,
            **config,
        }
        # Flips of tests that are about something else ask for no evidence.
        whole["defaults"] = {"gate": "off", **whole.get("defaults", {})}
        # A crowded machine would make a worker give copies up; a test of that asks for it.
        whole["limits"] = {"shed_copies": "off", **whole.get("limits", {})}
        self.config_path.write_text(yaml.safe_dump(whole, sort_keys=False))

    def command(self) -> Sequence[str]:
        """Start as the documentation says."""
        return sys.executable, "-P", "-m", "matapalo", "serve", "-c", str(self.config_path)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the product against this node, and return what it said."""
        url = self.admin_url if self.addresses() else ""
        return subprocess.run(
            [sys.executable, "-P", "-m", "matapalo", *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MATAPALO_URL": url, **self._environment},
        )

    def admin(self, method: str, path: str, json: object | None = None, *, status: int | None = 200) -> dict[str, Any]:
        """Call the admin API, and check the status unless it is ``None``."""
        with httpx2.Client(**PLAIN) as client:
            answer = client.request(method, self.admin_url + path, json=json)
        assert status is None or answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        content: dict[str, Any] = answer.json()  # Any: JSON
        return content

    def text(self, path: str) -> str:
        """Read what is not JSON from the admin API."""
        with httpx2.Client(**PLAIN) as client:
            return client.get(self.admin_url + path).raise_for_status().text

    def totals(self) -> dict[str, Any]:  # Any: JSON
        """Read the totals over all workers and epochs."""
        return self.admin("GET", "/api/v1/totals")

    def wait_counts(self, expected: Mapping[str, int]) -> dict[str, int]:
        """Wait until each of these counts is reached, check that none was passed, and return all of them.

        Workers tell control four times a second, so what is stored, logged or answered may be ahead of the counts.
        """
        counts: dict[str, int] = {}

        def are_reached() -> bool:
            counts.update(self.totals()["counts"])
            return all(counts.get(name, 0) >= number for name, number in expected.items())

        wait_until(are_reached, f"the counts {dict(expected)}")
        assert {name: counts[name] for name in expected} == dict(expected)
        return counts


def wait_until(question: Callable[[], T], what: str, seconds: float = WAIT_S) -> T:
    """Ask until the answer is true, and return it; fail the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.01)
    return answer
