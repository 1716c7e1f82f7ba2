"""Drive Matapalo as its users do: ``serve`` as a process, flips by the command line, numbers from the admin API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from demo import services
from demo.services import DemoError

READY_TIMEOUT_S = 40.0
COMMAND_TIMEOUT_S = 30.0
ADMIN_TIMEOUT_S = 15.0

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

# -P: whatever stands in the directory where the demo is started must not be imported.
COMMAND = (sys.executable, "-P", "-m", "matapalo")


class RefusedError(DemoError):
    """Matapalo refused what a command asked for."""


class Product:
    """Hold one running Matapalo and the way to its admin API."""

    __slots__ = ("_admin", "admin_url", "port", "service", "url")

    def __init__(self, service: services.Service, admin: httpx2.AsyncClient, *, port: int, admin_url: str) -> None:
        self.service = service
        self._admin = admin
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.admin_url = admin_url

    @classmethod
    async def start(cls, legacy: services.Service, new: services.Service, scratch: Path) -> Product:
        """Serve ``demo/matapalo.yaml`` in front of the two shops and wait until it is ready.

        Raises: DemoError with what Matapalo wrote, when it does not get ready.
        """
        port, admin_port, health_port = _free_ports(3)
        environment = {
            **os.environ,
            "DEMO_PORT": str(port),
            "DEMO_ADMIN_PORT": str(admin_port),
            "DEMO_HEALTH_PORT": str(health_port),
            "DEMO_STATE_DIR": str(scratch / "state"),
            "DEMO_LEGACY_PORT": str(legacy.port),
            "DEMO_NEW_PORT": str(new.port),
        }
        command = [*COMMAND, "serve", "-c", str(services.DEMO / "matapalo.yaml")]
        service = await services.start("matapalo", command, scratch, announces=False, environment=environment)
        admin_url = f"http://127.0.0.1:{admin_port}"
        # trust_env: a proxy in the environment must not come between the demo and its own loopback.
        admin = httpx2.AsyncClient(base_url=admin_url, timeout=ADMIN_TIMEOUT_S, trust_env=False)
        product = cls(service, admin, port=port, admin_url=admin_url)
        try:
            await product._until_up(f"http://127.0.0.1:{health_port}/readyz")
            await product._until_up("/api/v1/routes")
        except BaseException:
            await product.stop()
            raise
        return product

    async def stop(self) -> None:
        """Close the way to the admin API and end Matapalo."""
        await self._admin.aclose()
        await services.stop(self.service)

    async def _until_up(self, url: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if (await self._admin.get(url)).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.05)
        raise DemoError(
            f"matapalo did not answer 200 on {url} within {READY_TIMEOUT_S:.0f} s; "
            f"it wrote: {services.tail(self.service)}"
        )

    def check_alive(self) -> None:
        """Raise DemoError when the process has ended."""
        if (code := self.service.process.returncode) is not None:
            raise DemoError(f"matapalo ended with {code}; it wrote: {services.tail(self.service)}")

    async def get(self, path: str) -> dict[str, Any]:
        """Ask the admin API.

        Raises: DemoError for a refusal as well as for silence.
        """
        self.check_alive()
        try:
            answer: dict[str, Any] = (await self._admin.get(path)).raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise DemoError(f"GET {self.admin_url}{path} failed: {type(error).__name__} {error}") from error
        return answer

    async def command(self, *words: str) -> None:
        """Run one command of the real command line against this Matapalo.

        Raises: DemoError with what the command wrote, when it does not end well; RefusedError when Matapalo said no.
        """
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *words,
            env={**os.environ, "MATAPALO_URL": self.admin_url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        told = "matapalo " + " ".join(words)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
        except TimeoutError as error:
            raise DemoError(f"{told!r} did not end within {COMMAND_TIMEOUT_S:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            failed = RefusedError if process.returncode == 1 else DemoError
            raise failed(f"{told!r} failed with {process.returncode}: {output.decode(errors='replace').strip()}")


def _free_ports(count: int) -> list[int]:
    """Find free ports of loopback.

    Shape: none that the kernel gives to whoever asks for any: it takes seconds until Matapalo listens there.
    """
    first = int(_PORT_RANGE.read_text().split()[0]) if _PORT_RANGE.exists() else 32_768
    found: set[int] = set()
    while len(found) < count:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10_240, first) if first > 11_240 else 0))
            found.add(probe.getsockname()[1])
    return list(found)
