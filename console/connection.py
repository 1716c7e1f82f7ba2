"""One connection to the admin API, which owes us a request: who holds one open without asking holds nobody else up.

Rules of this file:

1. A request's head is there within :data:`HEAD_S` of the connection, or of the head's first byte; so is what a client
   goes on sending after its answer. Bodies and calls have their own time (:mod:`console.api`).
2. When all places are taken, a new connection gets the one of the connection that has been waiting longest without a
   request. What is being answered is never cut off: then whoever comes is told so (503).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 256
"""People, scripts and one scraper."""

HEAD_S: Final = 10.0
"""A head is one packet or two; a browser that connects in advance connects again."""


class Connection(H11Protocol):
    """Keep to the rules of this file; everything else is uvicorn's.

    Shape: *refusals* counts under ``slow`` and ``crowded`` the connections that were closed.
    """

    def __init__(self, refusals: Counter[str], **given: Any) -> None:  # Any: uvicorn's own
        super().__init__(**given)
        self._refusals = refusals
        self._deadline: asyncio.TimerHandle | None = None
        self._since = 0.0

    @property
    def is_answering(self) -> bool:
        """Say whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request; where there is no place left, make one."""
        super().connection_made(transport)
        self._since = time.monotonic()
        self._begin_waiting()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Read; a request that has begun stops the clock, everything else starts it."""
        super().data_received(data)
        if self.is_answering:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._begin_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request: uvicorn's keep-alive time until its first byte."""
        self._since = time.monotonic()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def dismiss(self, why: str) -> None:
        """Close at once."""
        self._stop_waiting()
        self._refusals[why] += 1
        self.connections.discard(self)  # its place is free now, not when the loop comes round to it
        self.transport.abort()

    def _begin_waiting(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self.dismiss, "slow")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self) -> None:
        others = (one for one in self.connections if isinstance(one, Connection) and one is not self)
        waiting = [one for one in others if not one.is_answering and not one.transport.is_closing()]
        if waiting:
            min(waiting, key=lambda one: one._since).dismiss("crowded")
