"""How many wrong credentials one address may show: a bound per address, and a bound on the addresses.

Each wrong credential moves the moment at which its address is clear again by :data:`EACH_S`; an address whose moment
lies too far ahead has to wait. One number per address is all that is kept (the "virtual scheduling" form of a leaky
bucket, ITU-T I.371).
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import Final

AT_ONCE: Final = 20
"""Wrong credentials that one address may show without a pause: a script with an old token, restarted a few times."""

EACH_S: Final = 3.0
"""Afterwards one in so many seconds; an address that stops is heard again as soon."""

MAX_ADDRESSES: Final = 1_024


class Guesses:
    """Count wrong credentials by address.

    Unit: moments are monotonic seconds.
    Bound: :data:`MAX_ADDRESSES`; the one that was wrong longest ago is forgotten first.
    """

    def __init__(self) -> None:
        self._clear_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str, now: float) -> int:
        """Say how long an address has to wait, in whole seconds; 0: it may try."""
        ahead = self._clear_at.get(network_of(address), now) - now
        return max(0, math.ceil(ahead - (AT_ONCE - 1) * EACH_S))

    def note(self, address: str, now: float) -> None:
        """Note a wrong credential."""
        network = network_of(address)
        self._clear_at[network] = max(self._clear_at.pop(network, now), now) + EACH_S
        while len(self._clear_at) > MAX_ADDRESSES:
            self._clear_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._clear_at)


def network_of(address: str) -> str:
    """Name what one machine can choose its address from: of IPv6 the /64, of IPv4 the address itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
