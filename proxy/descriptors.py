"""Keep descriptors free for what is in hand: first copies stop, then new clients.

A process that runs out of descriptors cannot open the connection that a request
needs, which it has accepted already. The kernel always gives the lowest free
number, so the number of a new descriptor tells how many are open, at no cost.
"""

from __future__ import annotations

import os
import resource
from typing import Final

ENOUGH: Final = 1 << 20
"""More than any worker can use; an unlimited number is counted as this."""

COPIES: Final = 0.4
"""Share of the limit above which no copies are sent."""
CLIENTS: Final = 0.5
"""Share of the limit above which new clients are refused: each that is in may need another one for its backend."""


def raise_limit() -> None:
    """Raise this process's soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, ENOUGH), hard))


class Descriptors:
    """Tell who may still have a descriptor of this process."""

    def __init__(self) -> None:
        """Read the limit that stands now."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.limit = ENOUGH if soft == resource.RLIM_INFINITY else soft
        self.for_clients = int(self.limit * CLIENTS)

    def has_room_for_client(self, descriptor: int) -> bool:
        """Tell whether a client that was accepted as *descriptor* may stay."""
        return descriptor < self.for_clients

    def has_room_for_copy(self, connecting: int) -> bool:
        """Tell whether a copy may open a connection while *connecting* others are about to have theirs.

        Cost: two system calls, about 3 microseconds.
        """
        try:
            lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        os.close(lowest)
        return lowest + connecting < self.limit * COPIES
