"""Matapalo as an operator has it: built into a wheel and installed in an environment of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 300.0
"""pip on a slow network; uv needs two seconds."""
START_TIMEOUT_S = 60.0
"""The bar is 1.5 s; this bound only keeps a broken start from hanging a busy machine."""
STOP_TIMEOUT_S = 40.0


def build_wheel(into: Path) -> Path:
    """Build the wheel of this checkout with the locked hatchling."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)], cwd=ROOT)
    (wheel,) = into.glob("*.whl")
    return wheel


def run(command: list[str], cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; a failure shows what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean_environ(), **environ},
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
    return done


def clean_environ() -> dict[str, str]:
    """Leave out what would make this checkout importable by accident."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Be one virtual environment."""

    home: Path

    @property
    def python(self) -> Path:
        """Name its interpreter."""
        return self.home / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Name the directory that its packages stand in."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.home)}))

    def install(self, *what: str) -> None:
        """Install with uv where it is there, else with pip, wheels only."""
        if uv := shutil.which("uv"):
            run([uv, "pip", "install", "--quiet", "--python", str(self.python), "--only-binary", ":all:", *what])
        else:
            run([str(self.python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *what])

    def see(self, packages: str) -> None:
        """Let it import from another directory too, behind its own."""
        (self.site_packages / "locked.pth").write_text(packages + "\n")


def new_environment(home: Path) -> Environment:
    """Make an empty virtual environment of this very Python."""
    if uv := shutil.which("uv"):
        run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    else:
        run([sys.executable, "-m", "venv", str(home)])
    return Environment(home=home)


@contextlib.contextmanager
def serving(command: list[str], cwd: Path, health: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``serve`` until *health* answers 200, and end it by SIGTERM afterwards; a clean drain is exit code 0."""
    log = cwd / "serve.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            command, cwd=cwd, env={**clean_environ(), **environ}, stdout=sink, stderr=subprocess.STDOUT, text=True
        )
        try:
            wait_ready(process, health, log)
            yield process
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        assert code == 0, log.read_text()


def wait_ready(process: subprocess.Popen[str], health: str, log: Path) -> None:
    """Poll the health listener until it says ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError), opener().open(health, timeout=10) as answer:
            if answer.status == 200:
                return
        assert process.poll() is None, f"serve ended with exit code {process.returncode}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"not ready after {START_TIMEOUT_S} s:\n{log.read_text()}"
        time.sleep(0.05)


def opener() -> urllib.request.OpenerDirector:
    """Open URLs without the environment's proxies."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Ask once; give status and body, of an error too."""
    try:
        with opener().open(urllib.request.Request(url, headers=dict(headers or {})), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
