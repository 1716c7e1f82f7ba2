"""Open the sockets that outlive every child: one per worker slot and address, and the health listener.

Rules of this file:

1. The supervisor opens a listening socket once and keeps it until it drains: a connection that
   arrives while a worker is being replaced waits in the kernel and is lost to nobody.
2. Where the kernel spreads connections fairly over SO_REUSEPORT sockets (Linux) each slot has its
   own; elsewhere all slots share one.
3. SO_REUSEPORT lets any process of the same user join silently. A socket without it holds the address
   first, so that a second Matapalo on the same port is told instead of getting half of the traffic.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from config.spec import AddressSpec
from proxy.statedir import StartError

BACKLOG: Final = 4_096
"""Asked for; the kernel cuts it to net.core.somaxconn. Holds a burst while a worker restarts."""

FAIR_REUSEPORT: Final = sys.platform == "linux"


class Listeners:
    """Keep the listening sockets of all worker slots."""

    def __init__(self, addresses: Sequence[AddressSpec], workers: int, *, fair: bool = FAIR_REUSEPORT) -> None:
        """Bind everything, in the order of the configuration.

        Raises: StartError for the first address that cannot be had; nothing stays open then.
        """
        self.addresses: tuple[AddressSpec, ...] = ()
        """What is really listened on: port 0 has become the kernel's choice, the same for every slot."""
        self._slots: list[list[socket.socket]] = [[] for _ in range(workers)]
        try:
            for address in addresses:
                self._bind(address, fair=fair and workers > 1)
        except BaseException:
            self.close()
            raise

    def _bind(self, address: AddressSpec, *, fair: bool) -> None:
        with _bound(address, "listen") as probe:
            actual = replace(address, port=probe.getsockname()[1])
            if not fair:
                probe.listen(BACKLOG)
                # Each slot gets a descriptor of its own, so that closing them is the same in both cases.
                for slot in self._slots:
                    slot.append(probe.dup())
            else:
                # The probe does not listen: on Linux it holds the address and yet lets our own sockets in.
                for slot in self._slots:
                    slot.append(_bound(actual, "listen", shared=True))
                    slot[-1].listen(BACKLOG)
        self.addresses = (*self.addresses, actual)

    def fds(self, slot: int) -> list[int]:
        """Name the descriptors that a worker in *slot* inherits."""
        return [one.fileno() for one in self._slots[slot]]

    def close(self) -> None:
        """Give up this process's share; an address is free when the workers have closed theirs."""
        for slot in self._slots:
            for one in slot:
                one.close()
            slot.clear()


def open_health(address: AddressSpec) -> socket.socket:
    """Listen for health checks.

    Raises: StartError if the address cannot be had.
    """
    opened = _bound(address, "health.listen")
    opened.listen(128)
    return opened


def probe(address: AddressSpec, setting: str) -> None:
    """Check that a child will be able to listen on *address*; port 0 is always free.

    Raises: StartError if the address cannot be had.
    """
    if address.port:
        _bound(address, setting).close()


def text_of(address: AddressSpec, opened: socket.socket | None = None) -> str:
    """Write an address as ``host:port``, an IPv6 host in brackets, with the port of the socket *opened* for it."""
    port = address.port if opened is None else opened.getsockname()[1]
    return f"[{address.host}]:{port}" if ":" in address.host else f"{address.host}:{port}"


def _bound(address: AddressSpec, setting: str, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(address.host).version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it, connections of the previous process in TIME_WAIT keep the address for a minute.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # `::` does not take IPv4 clients as ::ffff:1.2.3.4, which no `trusted_proxies` block would match.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address.host, address.port))
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise StartError(_cannot_bind(address, setting, error)) from error
    return opened


def _cannot_bind(address: AddressSpec, setting: str, error: OSError) -> str:
    where = f"cannot listen on {text_of(address)} (`{setting}`): "
    if error.errno == errno.EADDRINUSE:
        return where + (
            f"the port is in use; stop what listens there (`ss -ltnp 'sport = :{address.port}'` names it) "
            "or change the setting"
        )
    if error.errno == errno.EACCES:
        return where + "ports below 1024 need a privilege; choose a higher port or grant CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return where + "this machine has no such address; use one of its own, 127.0.0.1 or 0.0.0.0"
    return where + f"{error.strerror or error}; change the setting"
