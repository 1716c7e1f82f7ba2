"""Bring Findings and counts to control, and connect again for as long as the process lives."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from shadow import link

MAX_QUEUED: Final = 200
"""Messages that wait while control is away."""


class ControlLink(asyncio.Protocol):
    """Send Findings and counts to control.

    Bound: MAX_QUEUED messages wait here while control is away or slow, and at most 64 KiB in the transport; those
    die with the connection, as examples may.
    Runs: on the comparer's loop; never blocks.
    """

    def __init__(self, path: str, slot: int, epoch: str, on_connected: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._hello = link.Hello(protocol=link.PROTOCOL, role="comparer", slot=slot, epoch=epoch, pid=os.getpid())
        self._on_connected = on_connected
        self._queue: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._lost = asyncio.Event()

    @property
    def is_taking(self) -> bool:
        """Say whether control is there and reads."""
        return self._transport is not None and not self._is_paused

    def offer(self, message: link.Finding | link.Seen) -> bool:
        """Send or queue one message; false where the queue is full."""
        if len(self._queue) >= MAX_QUEUED:
            return False
        self._queue.append(link.frame(message))
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
        self._on_connected()

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
