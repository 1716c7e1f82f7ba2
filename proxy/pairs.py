"""Carry unequal pairs to the comparers and bring their verdicts home.

Rules of this file:

1. Every pair offered is counted exactly once: when its verdict comes, or as
   ``undecided`` with a reason. Nobody else counts pairs.
2. A comparer answers in order. If its link breaks, the oldest pair without a
   verdict is the one that broke it (``killed``); the others are sent once more.
   What a pair's route wants travels before it, once per link.
3. Waiting pairs are bounded; beyond the bound they are ``dropped``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from proxy.tally import Counts
from shadow import link

MAX_WAITING_PAIRS: Final = 1_024
MAX_WAITING_BYTES: Final = 16 << 20
"""Per comparer: pairs that have been sent, or wait for its link, and have no verdict yet."""

RECONNECT_S: Final = 0.2


@dataclass(slots=True, eq=False)
class WaitingPair:
    """Be one unequal pair on its way to a verdict."""

    sequence: int
    route: str
    primary: str
    policy: tuple[int, bytes]
    """The number and the frame of what the route wants."""
    frame: bytes
    is_counted: bool = True
    """Its verdict counts; false for pairs beside the counting law, which nobody sent for a client's request."""
    sent_before: bool = False
    on_verdict: Callable[[link.Verdict | None], None] | None = None
    """Hears the verdict, once; ``None``: there is none."""


class PairLink(asyncio.Protocol):
    """Hold the link to one comparer."""

    def __init__(self, path: str, hello: link.Hello, counts: Counts, spawn: Callable[[str, object], None]) -> None:
        self._path = path
        self._hello = hello
        self._counts = counts
        self._spawn = spawn
        self._transport: asyncio.Transport | None = None
        self._reader = link.FrameReader()
        self._waiting: deque[WaitingPair] = deque()
        self._unsent: deque[WaitingPair] = deque()
        self._told: dict[str, int] = {}
        """Route to the number of the policy that this connection knows."""
        self._bytes = 0
        self._writable = True
        self.closing = False

    @property
    def load(self) -> int:
        """How many pairs wait for a verdict."""
        return len(self._waiting) + len(self._unsent)

    @property
    def is_up(self) -> bool:
        """Tell whether a comparer is at the other end."""
        return self._transport is not None

    async def keep(self) -> None:
        """Connect, and connect again whenever the comparer was restarted.

        Runs: as one task of the worker, until it is cancelled.
        """
        loop = asyncio.get_running_loop()
        while not self.closing:
            if self._transport is None:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(2):
                        await loop.create_unix_connection(lambda: self, self._path)
            await asyncio.sleep(RECONNECT_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello and send what waits."""
        self._transport = transport  # type: ignore[assignment]  # create_unix_connection makes a Transport
        self._reader = link.FrameReader()
        self._writable = True
        self._told.clear()
        assert self._transport is not None
        self._transport.write(link.frame(self._hello))
        self._send_unsent()

    def offer(self, pair: WaitingPair) -> bool:
        """Take one pair; false if the bound is reached (the caller counts it as dropped)."""
        if self.load >= MAX_WAITING_PAIRS or self._bytes + len(pair.frame) > MAX_WAITING_BYTES:
            return False
        self._bytes += len(pair.frame)
        if pair.is_counted:
            self._counts.gauges["queued", pair.route, pair.primary] += 1
        if self._transport is not None and self._writable and not self._unsent:
            self._send(pair, self._transport)
        else:
            self._unsent.append(pair)
        return True

    def _send_unsent(self) -> None:
        while self._unsent and self._transport is not None and self._writable:
            self._send(self._unsent.popleft(), self._transport)

    def _send(self, pair: WaitingPair, transport: asyncio.Transport) -> None:
        number, policy = pair.policy
        if self._told.get(pair.route) != number:
            self._told[pair.route] = number
            transport.write(policy)
        self._waiting.append(pair)
        transport.write(pair.frame)

    def data_received(self, data: bytes) -> None:
        """Count verdicts."""
        try:
            for message, _ in self._reader.feed(data):
                if type(message) is link.Verdict:
                    self._decide(message)
        except link.LinkError:
            assert self._transport is not None
            self._transport.abort()

    def _decide(self, verdict: link.Verdict) -> None:
        waiting = self._waiting
        if not waiting or waiting[0].sequence != verdict.sequence:
            raise link.LinkError(f"a verdict for pair {verdict.sequence}, which is not the oldest one")
        pair = waiting.popleft()
        if pair.is_counted:
            totals = self._counts.totals
            if verdict.verdict in ("tolerated", "divergent"):
                totals[verdict.verdict, pair.route, pair.primary] += 1
            else:
                totals["undecided", pair.route, pair.primary, verdict.reason or "limit"] += 1
            for cause in verdict.causes:
                totals["divergences", pair.route, cause] += 1
            for tolerance in verdict.tolerated:
                totals["tolerance_hits", pair.route, tolerance] += 1
        self._settle(pair, verdict)

    def _settle(self, pair: WaitingPair, verdict: link.Verdict | None) -> None:
        self._bytes -= len(pair.frame)
        if pair.is_counted:
            self._counts.gauges["queued", pair.route, pair.primary] -= 1
        if pair.on_verdict is not None:
            pair.on_verdict(verdict)

    def _give_up(self, pair: WaitingPair, reason: str) -> None:
        if pair.is_counted:
            self._counts.totals["undecided", pair.route, pair.primary, reason] += 1
        self._settle(pair, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Blame the oldest pair, keep the others for the next link."""
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        if waiting:
            self._give_up(waiting.popleft(), "killed")
        for pair in waiting:
            if pair.sent_before:
                self._give_up(pair, "lost")
            else:
                pair.sent_before = True
                self._unsent.append(pair)
        # Sent pairs are older than unsent ones: they go first.
        self._unsent = deque(sorted(self._unsent, key=lambda pair: pair.sequence))

    def pause_writing(self) -> None:
        """Let pairs wait here, where they are bounded."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._send_unsent()

    def close(self) -> None:
        """Count what has no verdict as lost and close."""
        self.closing = True
        for pair in (*self._waiting, *self._unsent):
            self._give_up(pair, "lost")
        self._waiting.clear()
        self._unsent.clear()
        if self._transport is not None:
            self._transport.abort()
