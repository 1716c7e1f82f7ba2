"""Rules of the sockets that outlive every child."""

from __future__ import annotations

import errno
import socket
from collections import Counter

import pytest

from config.spec import AddressSpec
from proxy.sockets import FAIR_REUSEPORT, Listeners, probe, text_of
from proxy.statedir import StartError
from tests.support.ports import free_port

ANY = AddressSpec(host="127.0.0.1", port=0)


@pytest.mark.parametrize(
    "fair", [False, pytest.param(True, marks=pytest.mark.skipif(not FAIR_REUSEPORT, reason="Linux"))]
)
def test_every_slot_gets_its_share_of_the_connections(fair: bool) -> None:
    """All slots listen on the same chosen port, and connections reach them whichever way the platform offers."""
    listeners = Listeners((ANY, ANY), 3, fair=fair)
    first, second = listeners.addresses
    clients = [socket.create_connection(("127.0.0.1", first.port)) for _ in range(60)]

    taken: Counter[int] = Counter()
    for slot in range(3):
        listening = socket.socket(fileno=socket.dup(listeners.fds(slot)[0]))
        listening.settimeout(0)
        for _ in range(20 if not fair else 60):
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                break
            taken[slot] += 1
        listening.close()
    for client in clients:
        client.close()
    listeners.close()

    assert first.port != second.port
    assert len(listeners.addresses) == 2
    assert sum(taken.values()) == 60
    assert len(taken) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_no_stranger_shares_a_port_silently(workers: int) -> None:
    """Two sets of listeners on one port are refused in both directions, whether or not they share ports among slots."""
    listeners = Listeners((ANY,), workers)

    for others in (1, 2):
        with pytest.raises(StartError, match="the port is in use; stop what listens there"):
            Listeners(listeners.addresses, others)
    with pytest.raises(StartError, match=r"`admin\.listen`"):
        probe(listeners.addresses[0], "admin.listen")
    listeners.close()


def test_a_refusal_leaves_nothing_open() -> None:
    """When the second address cannot be had, the first is free again."""
    free = AddressSpec(host="127.0.0.1", port=free_port())
    with pytest.raises(StartError, match="no such address"):
        Listeners((free, AddressSpec(host="203.0.113.1", port=0)), 2)

    Listeners((free,), 2).close()


def test_an_address_is_free_for_a_successor_at_once() -> None:
    """Connections of the previous process in TIME_WAIT do not keep an address."""
    listeners = Listeners((ANY,), 1)
    address = listeners.addresses[0]
    client = socket.create_connection((address.host, address.port))
    listening = socket.socket(fileno=socket.dup(listeners.fds(0)[0]))
    served, _ = listening.accept()
    served.close()
    client.close()
    listening.close()
    listeners.close()

    Listeners((address,), 1).close()


def test_ipv6_is_written_in_brackets_and_takes_no_ipv4() -> None:
    """``::`` leaves IPv4 to its own address, so both can be listened on."""
    assert text_of(AddressSpec(host="::1", port=80)) == "[::1]:80"
    assert text_of(AddressSpec(host="127.0.0.1", port=80)) == "127.0.0.1:80"
    try:
        both = Listeners((AddressSpec(host="::", port=0),), 1)
    except StartError as error:
        cause = error.__cause__
        assert isinstance(cause, OSError)
        assert cause.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
        pytest.skip("this machine has no IPv6")
    Listeners((AddressSpec(host="0.0.0.0", port=both.addresses[0].port),), 1).close()
    both.close()
