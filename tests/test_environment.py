"""Rules of a hostile machine, on the whole product: the clock jumps, the disk is slow or full, the database is locked.

One product runs for all of them, with two libraries in front of libc: libfaketime reads the time of day from a file of
the test, and a few lines of C make ``fsync`` take half a second while another file exists, and write there who called.
"""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.product import Product, wait_until
from tests.support.rawclient import ask, request_bytes
from tests.support.recorder import Recorder, answer

pytestmark = [
    pytest.mark.needs("faketime", "gcc"),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and prlimit are Linux's"),
]

SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int slow(const char *name, int fd) {
    int callers = open(getenv("SLOW_DISK"), O_WRONLY | O_APPEND);
    if (callers >= 0) {
        dprintf(callers, "%d\n", getpid());
        close(callers);
        usleep(500000);
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return slow("fsync", fd); }
int fdatasync(int fd) { return slow("fdatasync", fd); }
"""

FLIP = "/api/v1/routes/orders/flip"
# A kept connection to a backend would outlive the test that made it.
CLOSE = (("Connection", "close"),)
GET = request_bytes(target="/api/orders/1")
GAP_S = 0.02
"""Between a client's requests: each look at a clock that is turned costs the product a file that it reads."""


class Machine:
    """Hold the product and the knobs of its machine."""

    def __init__(self, product: Product, directory: Path) -> None:
        self.product = product
        self._directory = directory

    def set_clock(self, offset: str) -> None:
        """Move the time of day of every process, for example ``+1h``."""
        whole = self._directory / "clock.new"
        whole.write_text(offset + "\n")
        whole.rename(self._directory / "clock")

    @contextmanager
    def slow_disk(self) -> Iterator[set[int]]:
        """Let each fsync take half a second; when that is over, the processes that called it are in the set."""
        callers, file = set[int](), self._directory / "slow"
        file.touch()
        try:
            yield callers
        finally:
            callers.update(map(int, file.read_text().split()))
            file.unlink()

    def flip(self, stage: str) -> dict[str, Any]:  # Any: JSON
        """Flip the route; again where a busy machine let the database's deadline pass, which changes nothing."""

        def flipped() -> dict[str, Any]:
            answered = self.product.admin("POST", FLIP, {"stage": stage}, status=None)
            return answered if "changed" in answered else {}

        return wait_until(flipped, f"a flip to {stage}")

    def release(self) -> None:
        """Release the route; a worker that has no turn for a second answers 202 instead of 200, and both will do."""
        assert "changed" in self.product.admin("POST", "/api/v1/routes/orders/release", {}, status=None)

    def ask(self) -> bytes:
        """Ask the route once."""
        return ask(("127.0.0.1", self.product.port), GET).body


@pytest.fixture(scope="module")
def machine(part_path: Callable[[str], Path]) -> Iterator[Machine]:
    """Run the product on a machine with knobs."""
    directory = Path(tempfile.mkdtemp(prefix="mp-env-"))
    (directory / "slow.c").write_text(SLOW)
    library = directory / "slow.so"
    gcc = str(part_path("gcc"))
    subprocess.run([gcc, "-shared", "-fPIC", "-o", library, directory / "slow.c", "-ldl"], check=True)
    said = subprocess.run(
        [part_path("faketime"), "-m", "-f", "+0d", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    (directory / "clock").write_text("+0d\n")
    environment = {
        "LD_PRELOAD": f"{said.stdout.strip()}:{library}",
        "FAKETIME_TIMESTAMP_FILE": str(directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "SLOW_DISK": str(directory / "slow"),
    }
    with Recorder(answer(b"legacy", headers=CLOSE)) as legacy, Recorder(answer(b"new", headers=CLOSE)) as new:
        config = {
            "backends": {"old": {"url": legacy.url}, "shop": {"url": new.url}},
            "defaults": {"legacy": "old", "new": "shop"},
            "routes": [
                {"name": "orders", "match": {"path": "/api/**"}, "initial_stage": "shadow"},
                {"name": "cart", "match": {"path": "/cart"}, "initial_stage": "live", "quiet": "10m"},
            ],
        }
        with Product(config, environment=environment) as product:
            yield Machine(product, directory)
    shutil.rmtree(directory)


def years_of(product: Product) -> set[int]:
    """Read the years of the access lines, when there are several."""
    years = {int(line["time"][:4]) for line in product.access_log()}
    return years if len(years) > 1 else set()


def test_a_clock_that_jumps_costs_nothing(machine: Machine) -> None:
    """An hour ahead, an hour back, ten years ahead: no request fails, nobody is killed, nothing is forgotten, and a
    route without traffic is not taken for quiet: time that only the clock knows was not watched."""
    product = machine.product
    pids, flips, quiet = product.pids(), [], []
    with Load(product.port, clients=2, gap_s=GAP_S) as load:
        for number, offset in enumerate(("+1h", "-1h", "+3650d", "+0d")):
            machine.set_clock(offset)
            flips.append(machine.flip(("legacy", "shadow")[number % 2])["audit_id"])
            load.wait(20)
            quiet.append(product.admin("POST", "/api/v1/routes/cart/flip", {"stage": "complete"}, status=409))
        years = wait_until(lambda: years_of(product), "lines of both decades")
    wait_until(
        lambda: (
            sum(n for key, n in product.totals()["counts"].items() if key.startswith("requests|orders|"))
            >= load.requests
        ),
        "every request in the totals",
    )
    audit = [entry["id"] for entry in product.admin("GET", "/api/v1/audit?limit=4")["entries"]]
    # A worker says in its next beat which revision it serves.
    wait_until(lambda: product.ready()[1]["degraded"] == [], "everybody on the newest revision, and no complaint")

    assert load.failures == []
    assert product.pids() == pids
    assert max(years) - min(years) in (9, 10, 11), "ten years ahead, and back"
    assert audit == list(reversed(flips))
    assert max(one["evidence"]["quiet_for_s"] or 0 for one in quiet) < 600  # None: nothing was watched yet


def test_a_slow_disk_delays_operators_only(machine: Machine) -> None:
    """While each fsync takes half a second, flips and local rollbacks wait for theirs; no worker ever calls it, so no
    request waits."""
    product = machine.product
    assert product.process is not None
    with machine.slow_disk() as waited, Load(product.port, clients=2, gap_s=GAP_S) as load:
        began, before = time.monotonic(), load.requests
        machine.flip("live")
        flip_s, meanwhile = time.monotonic() - began, load.requests - before
        held = product.run("rollback", "--all", "--local", "--state-dir", str(product.state_dir), "--json")
        load.wait(20)
    machine.release()
    pids = product.pids()

    assert load.failures == []
    assert flip_s >= 0.5
    assert meanwhile > 0
    assert json.loads(held.stdout)["holds"] == {"acked": [0], "missing": []}
    assert waited == {product.process.pid, *pids["control"]}


def test_a_locked_database_refuses_flips_and_nothing_else(machine: Machine) -> None:
    """While somebody holds the database's lock a flip is 503, a rollback works by its hold, and traffic goes on."""
    product = machine.product
    machine.flip("live")
    with sqlite3.connect(product.state_dir / "flags.db", isolation_level=None) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        with Load(product.port, clients=2, gap_s=GAP_S) as load:
            refused = product.admin("POST", FLIP, {"stage": "shadow"}, status=503)
            rolled = product.admin("POST", "/api/v1/routes/orders/rollback", {}, status=None)
            answered = machine.ask()
            load.wait(20)
        locking.execute("ROLLBACK")
    locking.close()
    machine.release()
    machine.flip("shadow")

    assert "locked" in refused["detail"]
    assert not rolled["flags_written"]
    assert answered == b"legacy"
    assert load.failures == []


def test_a_hold_that_cannot_be_written_is_in_force_and_said(machine: Machine) -> None:
    """With the supervisor's disk full a local rollback takes effect, ends with 1 and says that a restart forgets it."""
    product = machine.product
    machine.flip("live")
    assert machine.ask() == b"new"
    words = ("rollback", "--all", "--local", "--state-dir", str(product.state_dir))
    assert product.process is not None
    resource.prlimit(product.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        refused = product.run(*words)
        answered, degraded = machine.ask(), product.ready()[1]["degraded"]
        release = product.admin("POST", "/api/v1/routes/orders/release", {}, status=None)
        still = machine.ask()
    finally:
        resource.prlimit(product.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    repeated = product.run(*words)
    at_rest = json.loads((product.state_dir / "holds").read_bytes())

    assert refused.returncode == 1
    assert "the routes are held now" in refused.stderr
    assert answered == still == b"legacy"
    assert any("a restart would forget it" in sentence for sentence in degraded)
    assert "nothing was released" in release["detail"]
    assert repeated.returncode == 0
    assert [item["route"] for item in at_rest["holds"]] == ["cart", "orders"]
    wait_until(lambda: product.ready()[1]["degraded"] == [], "nothing to complain about")
