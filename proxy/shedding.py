"""Give copies up first when a worker has too much to do, and take them up again by and by.

Once per second a worker looks at what it would refuse clients for; long before it does, it copies less. The share of
copies that is still made falls quickly (to a quarter each second) and rises slowly (a tenth each second), so a worker
under steady load settles at the share that it can carry, and one under flood copies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import random
from time import thread_time
from typing import Final

CALM: Final = 0.8
"""Of each bound: above this nothing is taken up again (hysteresis)."""

MAX_FULL: Final = 0.9
"""Of the connections, waiting places and memory beyond which clients are refused."""

MAX_LATE_S: Final = 0.025
"""How late timers fire on average over a second: a loop that is saturated with some 500 connections in hand."""

FALL: Final = 4
RISE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Hold what one second told about a worker's load."""

    busy: float
    """Share of the second in which the event loop had something to do (:func:`wanted_s`)."""
    late_s: float
    """How late the worker's timers fired, on average."""
    full: float
    """The fullest of what clients are refused for: connections, waiting places, memory; 1: full."""


def wanted_s() -> float:
    """Give for how long this thread has run or has waited for a processor, in seconds.

    Shape: on a crowded machine, or under a container's quota, a saturated loop runs a part of the time only, and waits
    for the rest; only the two together tell that it never sleeps. Where the kernel does not tell, what it ran.
    Cost: one read of a file that the kernel makes up, about 10 microseconds.
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            ran_ns, waited_ns, _ = file.read().split()
        return (int(ran_ns) + int(waited_ns)) / 1e9
    except (OSError, ValueError):
        return thread_time()


@dataclass(slots=True, eq=False)
class Shedder:
    """Know how many of the copies a worker may make now."""

    share: float = 1.0
    """Of the copies that sample and limits allow; 1: all of them."""

    def sheds(self) -> bool:
        """Tell whether this copy is given up, while the share is below 1; chance decides, never every n-th."""
        return random() >= self.share  # noqa: S311 - nothing secret hangs on it

    def second(self, signs: Signs, busy_limit: float | None) -> str:
        """Adapt the share to the last second; return why it began to fall, or nothing.

        Shape: with ``None`` nothing is ever given up.
        """
        if busy_limit is None:
            self.share = 1.0
            return ""
        bounds = (("busy", signs.busy, busy_limit), ("late", signs.late_s, MAX_LATE_S), ("full", signs.full, MAX_FULL))
        name, found, bound = max(bounds, key=lambda one: one[1] / one[2])
        if found >= bound:
            began = self.share == 1.0
            self.share = self.share / FALL if self.share > 0.02 else 0.0
            return f"{name} {found:.3g} of at most {bound:.3g}" if began else ""
        if found <= CALM * bound:
            self.share = min(1.0, self.share + RISE)
        return ""
