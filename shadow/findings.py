"""Which unequal pairs get a Finding, and how Findings reach control.

Verdicts are exact for every pair; Findings are examples, so they are rationed:
per route, so that one route does not hide the others; per fingerprint, so that
a clock field does not hide a wrong price; and in time, so that a flood of large
pairs does not cost a core. What got none is counted in the next Finding of its
route (``Finding.skipped``), so control can scale what it sees.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from shadow import link

PER_ROUTE: Final = 20
"""Findings per route and second: what a live view can show, a thousandth of a busy route's pairs."""

PER_FINGERPRINT: Final = 5
"""Findings per route, fingerprint and second: four kinds of difference fit beside each other."""

SPENT_NS: Final = 100_000_000
"""Time per second for building Findings over all routes: a tenth of a core, about 800 pairs of 1 KB or 10 of 100 KB."""

MAX_ROUTES: Final = 10_000
"""Routes remembered; renamed ones would otherwise stay for ever."""

MAX_QUEUED: Final = 200
"""Findings that wait while control is away."""

_SECOND_NS: Final = 1_000_000_000


class _Ration:
    """Count what one route has had in the second in hand."""

    __slots__ = ("given", "per_fingerprint", "second", "skipped")

    def __init__(self) -> None:
        self.second = -1
        self.given = 0
        self.per_fingerprint: dict[object, int] = {}
        self.skipped = 0


class FindingBudget:
    """Decide which pairs get a Finding; count per route those that got none.

    Bound: PER_ROUTE, PER_FINGERPRINT and SPENT_NS per second of the given clock; MAX_ROUTES routes.
    Cost: about 0.5 microseconds where the answer is no.
    """

    def __init__(self) -> None:
        self._rations: dict[str, _Ration] = {}
        self._second = -1
        self._spent_ns = 0

    def admit(self, route: str, now_ns: int, fingerprint: Callable[[], object]) -> bool:
        """Say whether this pair gets a Finding, else count it; the fingerprint is only asked for where it decides."""
        second = now_ns // _SECOND_NS
        if second != self._second:
            self._second, self._spent_ns = second, 0
        ration = self._ration(route)
        if second != ration.second:
            ration.second, ration.given = second, 0
            ration.per_fingerprint.clear()
        if ration.given < PER_ROUTE and self._spent_ns < SPENT_NS:
            mark = fingerprint()
            count = ration.per_fingerprint.get(mark, 0)
            if count < PER_FINGERPRINT:
                ration.per_fingerprint[mark] = count + 1
                ration.given += 1
                return True
        ration.skipped += 1
        return False

    def spend(self, duration_ns: int) -> None:
        """Charge what building one Finding took."""
        self._spent_ns += duration_ns

    def skip(self, route: str, pairs: int) -> None:
        """Count pairs whose Finding was admitted but never left."""
        self._ration(route).skipped += pairs

    def take_skipped(self, route: str) -> int:
        """Give the route's count of pairs without a Finding and start it again."""
        ration = self._ration(route)
        skipped, ration.skipped = ration.skipped, 0
        return skipped

    def _ration(self, route: str) -> _Ration:
        ration = self._rations.get(route)
        if ration is None:
            if len(self._rations) >= MAX_ROUTES:
                self._rations.clear()
            ration = self._rations[route] = _Ration()
        return ration


class ControlLink(asyncio.Protocol):
    """Send Findings to control, and connect again for as long as the process lives.

    Bound: MAX_QUEUED Findings wait here while control is away or slow, and at most 64 KiB in the transport; those
    die with the connection, as examples may.
    Runs: on the comparer's loop; never blocks.
    """

    def __init__(self, path: str, slot: int, epoch: str) -> None:
        self._path = path
        self._hello = link.Hello(protocol=link.PROTOCOL, role="comparer", slot=slot, epoch=epoch, pid=os.getpid())
        self._queue: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._lost = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Say whether a Finding offered now would be taken."""
        return len(self._queue) < MAX_QUEUED

    def offer(self, finding: link.Finding) -> bool:
        """Send or queue one Finding; false where the queue is full."""
        if not self.has_room:
            return False
        self._queue.append(link.frame(finding))
        self._send()
        return True

    async def keep_connected(self) -> None:
        """Connect, and again whenever the connection is lost, with 0.1 s to 2 s between attempts."""
        loop = asyncio.get_running_loop()
        delay_s = 0.1
        while True:
            try:
                await loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, 2.0)
                continue
            await self._lost.wait()
            self._lost.clear()
            await asyncio.sleep(0.1)
            delay_s = 0.1

    def close(self) -> None:
        """Close the connection; what the transport holds still goes out."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say Hello and send what waited."""
        self._transport = cast(asyncio.Transport, transport)
        self._is_paused = False
        self._transport.write(link.frame(self._hello))
        self._send()

    def pause_writing(self) -> None:
        """Queue from now on: control is slow."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Send what was queued."""
        self._is_paused = False
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Queue from now on, and let :meth:`keep_connected` try again."""
        self._transport = None
        self._lost.set()

    def _send(self) -> None:
        while self._queue and self._transport is not None and not self._is_paused:
            self._transport.write(self._queue.popleft())
