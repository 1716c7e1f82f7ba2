"""Hear from control what to serve, and tell it what was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, cast

from shadow import link

RECONNECT_S: Final = 0.1
MAX_UNSENT: Final = 4 << 20
"""A control that does not read gets no further tallies: they are cumulative, the next one says all."""


class ControlLink(asyncio.Protocol):
    """Keep one worker's link to ``control.sock``, through every restart of control."""

    def __init__(
        self,
        path: str,
        hello: link.Hello,
        on_push: Callable[[int, bytes], str],
        on_closer: Callable[[Mapping[str, int]], None],
    ) -> None:
        """Make a closed link; *on_push* applies a snapshot and returns why not, or nothing."""
        self._path = path
        self._hello = hello
        self._on_push, self._on_closer = on_push, on_closer
        self._transport: asyncio.Transport | None = None
        self._reader = link.FrameReader()
        self._closing = False

    async def keep(self) -> None:
        """Connect again whenever the link is down.

        Runs: as one task, until cancelled.
        """
        loop = asyncio.get_running_loop()
        while not self._closing:
            if self._transport is None:
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(2):
                        await loop.create_unix_connection(lambda: self, self._path)
            await asyncio.sleep(RECONNECT_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello; control answers with the snapshot."""
        self._transport = cast(asyncio.Transport, transport)
        self._reader = link.FrameReader()
        self._transport.write(link.frame(self._hello))

    def data_received(self, data: bytes) -> None:
        """Apply what is pushed and acknowledge it."""
        try:
            for message, rest in self._reader.feed(data):
                if type(message) is link.Push:
                    refusal = self._on_push(message.revision, rest)
                    if refusal:
                        self.send(link.Nack(revision=message.revision, reason=refusal))
                    else:
                        self.send(link.Ack(revision=message.revision))
                elif type(message) is link.Closer:
                    self._on_closer(message.copies)
        except link.LinkError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for the next control."""
        self._transport = None

    def send(self, message: link.Message) -> bool:
        """Send if the link is up and control reads; tell whether."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT:
            return False
        transport.write(link.frame(message))
        return True

    def close(self) -> None:
        """Close after what was sent."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()
