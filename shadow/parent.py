"""The child's end of its link to the supervisor.

Every child inherits one end of a socket pair. It says Hello, then Beat twice a
second, and hears Holds, LameDuck, Drain and Reload. When the supervisor's end
closes, nobody watches the child any more: it drains and exits.

Light on purpose (asyncio and the messages only): workers, comparers and control
all open this link before anything else.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, cast

from shadow import link

BEAT_S: Final = 0.5
"""Four times within the 2 s after which a silent worker no longer counts as ready."""

MAX_UNREAD_BEATS: Final = 64 << 10
"""With so many bytes unread by the supervisor a further Beat says nothing new: it is left out."""

MAX_UNREAD: Final = 1 << 20
"""A supervisor that leaves this much unread is as good as gone: the link is cut."""


class ParentLink(asyncio.Protocol):
    """Talk to the supervisor over the inherited end of the socket pair.

    Bound: at most 1 MiB unsent, at most 16 MiB per received frame.
    Runs: on the loop that called :meth:`open`, asyncio's or uvloop's; both callbacks run there and must not block.
    """

    def __init__(
        self,
        fd: int,
        role: str,
        slot: int,
        epoch: str,
        on_message: Callable[[link.Any], None],
        on_close: Callable[[], None],
        *,
        beat_state: Callable[[], link.Beat] | None = None,
    ) -> None:
        self.beat_state = beat_state
        """Asked for each Beat; ``None`` says no more than alive."""
        self._fd = fd
        self._hello = link.Hello(protocol=link.PROTOCOL, role=role, slot=slot, epoch=epoch, pid=os.getpid())
        self._on_message = on_message
        self._on_close = on_close
        self._reader = link.FrameReader(16 << 20)
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Take the inherited descriptor over, say Hello and begin to beat."""
        # A grandchild that inherited this end would keep the link open after our death.
        os.set_inheritable(self._fd, False)
        self._loop = asyncio.get_running_loop()
        await self._loop.create_unix_connection(lambda: self, sock=socket.socket(fileno=self._fd))
        self.send(self._hello)
        self._send_beat()

    def send(self, message: link.Message) -> bool:
        """Hand one message over, and say whether the link still took it.

        Bound: a supervisor that leaves more than 1 MiB unread counts as gone and the link is cut.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()
            return False
        transport.write(link.frame(message))
        return True

    def ready(self, *, ok: bool, detail: str = "") -> bool:
        """Say that this child listens, and where, or that it never will, and why."""
        return self.send(link.Ready(ok=ok, detail=detail))

    def close(self) -> None:
        """Close this end without calling ``on_close``; what was sent still goes out."""
        self._stop_beating()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand every whole message on; a supervisor that breaks the framing is gone for us."""
        try:
            for message, _ in self._reader.feed(data):
                if self._transport is None:
                    return
                self._take(message)
        except link.LinkError:
            if self._transport is not None:
                self._transport.abort()

    def _take(self, message: link.Any) -> None:
        """Hand one message over; an error of the child's must not cost it the link, and with the link its life."""
        try:
            self._on_message(message)
        except Exception:  # the border of one message
            sys.stderr.write(f"{self._hello.role} {self._hello.slot}: {type(message).__name__} failed:\n")
            traceback.print_exc()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the child that its supervisor is gone, unless the child closed first."""
        self._stop_beating()
        if self._transport is not None:
            self._transport = None
            self._on_close()

    def _send_beat(self) -> None:
        transport, loop = self._transport, self._loop
        if transport is None or loop is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() <= MAX_UNREAD_BEATS:
            self.send(link.Beat() if self.beat_state is None else self.beat_state())
        self._beat = loop.call_later(BEAT_S, self._send_beat)

    def _stop_beating(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
