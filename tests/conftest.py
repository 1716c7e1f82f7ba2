"""What every test may rely on: real parts by name, one event loop, and nothing left behind.

* ``@pytest.mark.needs("go")`` skips with one line where Go is missing and fails there when
  ``CI=true``; ``part_path("go")`` then names the executable.
* A test that leaves a task, thread, child process or descriptor behind fails itself, instead of
  the innocent test that runs into the leftovers later.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / ".cache" / "parts" / "bin"
"""Where scripts/parts puts what comes from PyPI; looked at before PATH, its versions are pinned."""

EXTRA_PLACES = {
    "postgres": sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),  # Debian keeps it off PATH
    "nginx": [Path("/usr/sbin")],
    "haproxy": [Path("/usr/sbin")],
    "pgbouncer": [Path("/usr/sbin")],
    "go-older": [ROOT / ".cache" / "parts" / "go-older" / "bin"],
}

OTHER_NAMES = {"go-older": "go"}
"""A part whose executable is called as another one is; it is looked for in its own places only."""

IN_CI = os.environ.get("CI") == "true"
GRACE_S = 10.0
"""A closed socket or ended thread is gone within microseconds; on two busy cores it may take its turn."""

settings.register_profile(
    "house",
    deadline=None,  # two shared cores: a slow example says nothing about our code
    max_examples=60,
    derandomize=IN_CI,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

# libuv opens one pipe for signals with the first loop of a process and keeps it for ever.
uvloop.new_event_loop().close()


def find_part(name: str) -> Path | None:
    """Find the executable of a real part; ``None``: this machine does not have it."""
    usual = [] if name in OTHER_NAMES else [PARTS, *map(Path, os.environ.get("PATH", "").split(os.pathsep))]
    places = [*usual, *EXTRA_PLACES.get(name, [])]
    found = shutil.which(OTHER_NAMES.get(name, name), path=os.pathsep.join(map(str, places)))
    return Path(found) if found else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that start the whole product and end with the pure rooms.

    Files are handed out whole: a long one that comes last leaves the other cores without work.
    """
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]  # from the checkout on, as pytest was told where that is
    if file.startswith(("tests/config/", "tests/rules/", "tests/shadow/")):
        return 2
    return 0 if file.count("/") == 1 else 1


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose real part is missing, with one line; in CI that is a failure."""
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            if find_part(part) is None:
                sentence = f"needs {part}: not found (scripts/parts installs it)"
                (pytest.fail if IN_CI else pytest.skip)(sentence)


@pytest.fixture(scope="session")
def part_path() -> Callable[[str], Path]:
    """Name the executable of a part that the test declared with ``needs``."""

    def path_of(name: str) -> Path:
        found = find_part(name)
        if found is None:
            pytest.fail(f"{name} is not on this machine; mark the test with @pytest.mark.needs({name!r})")
        return found

    return path_of


@pytest.fixture(scope="session")
def postgres_server(part_path: Callable[[str], Path]) -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the whole session; a test that stops it starts it again."""
    from tests.support.postgres import PostgresServer  # psycopg: only for a test that asks for a server

    with PostgresServer(part_path("postgres").resolve().parent) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """Make an empty database and give its URL."""
    return postgres_server.url(postgres_server.database())


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests once, on asyncio: the product runs on nothing else."""
    return "asyncio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """List what is alive in this process now."""

    tasks: frozenset[int]
    threads: frozenset[int]
    children: frozenset[int]
    descriptors: frozenset[tuple[int, str]]

    def names_beyond(self, before: Living) -> list[str]:
        """Describe what lives now and did not *before*; empty: nothing was left behind."""
        names = [f"asyncio task {_task_name(one)}" for one in self.tasks - before.tasks]
        threads = {thread.ident: thread.name for thread in threading.enumerate()}
        names += [f"thread {threads.get(one, one)}" for one in self.threads - before.threads]
        names += [f"child process {one} ({_command(one)})" for one in self.children - before.children]
        names += [f"descriptor {number} -> {target}" for number, target in self.descriptors - before.descriptors]
        return sorted(names)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves an asyncio task, thread, child process or descriptor behind."""
    if any("postgres" in marker.args for marker in request.node.iter_markers("needs")):
        request.getfixturevalue("postgres_server")  # it outlives the test that is the first to ask for it
    # Who shares a system that lives, and is killed and started, is looked at when the system ends.
    with contextlib.nullcontext() if request.node.get_closest_marker("shares") else nothing_left():
        yield


@pytest.fixture(scope="module")
def nothing_is_left_behind_by_the_module() -> Iterator[None]:
    """Fail the last test of a module whose shared system leaves something behind."""
    with nothing_left():
        yield


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if what is alive afterwards was not before."""
    before = _living()
    yield
    left = _living().names_beyond(before)
    deadline = time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        gc.collect()  # a transport in a reference cycle closes its socket here
        time.sleep(0.01)
        left = _living().names_beyond(before)
    if left:
        pytest.fail("the test left behind: " + "; ".join(left), pytrace=False)


def _living() -> Living:
    return Living(
        tasks=frozenset(map(id, _pending_tasks())),
        threads=frozenset(thread.ident for thread in threading.enumerate() if thread.ident is not None),
        children=_children(),
        descriptors=_descriptors(),
    )


def _pending_tasks() -> list[asyncio.Task[object]]:
    """List the unfinished tasks of every loop.

    Before 3.14 asyncio keeps them in weak sets, which cost nothing to read; since 3.14 only the
    garbage collector knows those of other loops (20 ms for a large heap).
    """
    if sys.version_info >= (3, 14):
        found = [one for one in gc.get_objects() if isinstance(one, asyncio.Task)]
    else:
        sets = (getattr(asyncio.tasks, name, ()) for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"))
        found = [one for known in sets for one in known]
    return [one for one in found if not one.done()]


def _task_name(identity: int) -> str:
    return next((repr(one) for one in _pending_tasks() if id(one) == identity), str(identity))


def _children() -> frozenset[int]:
    """List the child processes, ended but unreaped ones too; empty where the platform cannot tell."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()  # the usual case, one system call
    except (AttributeError, OSError):
        return frozenset()
    ours = str(os.getpid())
    return frozenset(
        pid
        for pid, parent in _parents()
        # multiprocessing starts its two servants once and keeps them.
        if parent == ours and "multiprocessing." not in _command(pid)
    )


def _parents() -> Iterator[tuple[int, str]]:
    """Pair every process with its parent's id, as text."""
    if os.path.isdir("/proc/self"):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):  # ended meanwhile
                    yield int(name), Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
        return
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as lister:
        rows = lister.communicate()[0].splitlines()
    yield from ((int(pid), parent) for pid, parent in map(str.split, rows) if int(pid) != lister.pid)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip() or "ended, not waited for"
    except OSError:
        return str(pid)


def _descriptors() -> frozenset[tuple[int, str]]:
    """List the open descriptors with what they point to; empty where /proc does not exist."""
    found = set()
    # What keeps multiprocessing's two servants alive; see _children.
    servants = {forkserver._forkserver._forkserver_alive_fd, resource_tracker._resource_tracker._fd}  # type: ignore[attr-defined]
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return frozenset()
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the listing's own descriptor, or closed by a thread meanwhile
        if int(number) not in servants and not target.startswith(("/dev/null", "/dev/urandom", "/proc/")):
            found.add((int(number), target))
    return frozenset(found)
