"""Ports for programs that cannot be given port 0, or whose port has to be known before they start."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LOWEST: Final = 10_240
"""Below it stand the services that a machine may run."""

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_CHANCE: Final = random.SystemRandom()  # of nobody's seed: two processes must not choose alike


def free_port() -> int:
    """Find a port of loopback that nobody has, and that the kernel gives to nobody who asks for any port.

    Shape: between the choice and the start of a program seconds may pass, in which other tests open hundreds of
    sockets; where the kernel's own range leaves no room below it, the port is one of that range.
    """
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _CHANCE.randrange(LOWEST, first) if first > LOWEST + 1_000 else 0))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
