"""The suite's own promises: leftovers fail the test that left them, missing parts say so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_inner(tmp_path: Path, body: str, **environ: str) -> str:
    """Run *body* as a test file under the house's conftest in a fresh pytest and give what it printed."""
    house = (ROOT / "tests" / "conftest.py").read_text().replace("GRACE_S = 10.0", "GRACE_S = 0.1")
    (tmp_path / "conftest.py").write_text(house)
    (tmp_path / "test_inner.py").write_text(textwrap.dedent(body))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs(part): x\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rsfE", "test_inner.py"],
        cwd=tmp_path,
        env={**os.environ, "CI": "", "COLUMNS": "1000", **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.stdout + done.stderr


LEFTOVERS = """
    import asyncio, socket, subprocess, threading, time
    kept = []

    def test_thread():
        threading.Thread(target=time.sleep, args=(9,), daemon=True, name="lazy").start()

    def test_socket():
        kept.append(socket.socket())

    def test_child():
        kept.append(subprocess.Popen(["sleep", "2"]))

    def test_task():
        loop = asyncio.new_event_loop()
        kept.append((loop, loop.create_task(asyncio.sleep(9), name="forgotten")))

    async def nothing(): await asyncio.to_thread(int)

    def test_clean():
        asyncio.run(nothing())
        subprocess.run(["true"])
        thread = threading.Thread(target=int); thread.start(); thread.join()
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run tests that leave one thing each behind, and one that does not, in one pytest."""
    return run_inner(tmp_path_factory.mktemp("leftovers"), LEFTOVERS)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("thread", "thread lazy"), ("socket", "-> socket:"), ("child", "child process"), ("task", "forgotten")],
    ids=["thread", "socket", "child", "task"],
)
def test_a_test_that_leaves_something_behind_fails(printed: str, name: str, complaint: str) -> None:
    """A test that leaves a thread, socket, child process or task behind fails itself and names it."""
    line = next(line for line in printed.splitlines() if line.startswith(f"ERROR test_inner.py::test_{name} "))

    assert "the test left behind" in line
    assert complaint in line


def test_a_clean_test_passes(printed: str) -> None:
    """A test that cleans up after itself is not disturbed, also by what was left before it."""
    assert "5 passed, 4 errors" in printed
    assert "::test_clean" not in printed


NEEDY = """
    import pytest

    @pytest.mark.needs("no-such-part")
    def test_x(): ...
"""


def test_a_missing_part_skips_with_one_line(tmp_path: Path) -> None:
    """A test whose real part is missing is skipped with one line that says how to get it."""
    printed = run_inner(tmp_path, NEEDY)

    assert "1 skipped" in printed
    assert "needs no-such-part: not found (scripts/parts installs it)" in printed


def test_a_missing_part_fails_in_ci(tmp_path: Path) -> None:
    """With CI=true a missing part is a failure."""
    printed = run_inner(tmp_path, NEEDY, CI="true")

    assert "1 failed" in printed or "1 error" in printed
