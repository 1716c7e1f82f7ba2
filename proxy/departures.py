"""Notice clients that leave while their request is in hand.

The loop tells of a reset or of a FIN only while it reads from the socket, and a
FIN does not say which of two things happened: the client has left, or it will
send nothing more and waits for its answer.

Rules of this file:

1. A client whose whole request is in hand and that has sent its FIN keeps its
   exchange as long as the answer makes progress. A quiet period of
   ``limits.half_close_timeout`` ends it (docs/decisions/0011-half-close.md).
2. A client that is not read (its next requests wait here, or its upload waits
   for the backend) is watched in the kernel instead: a FIN there begins the
   quiet period, a reset ends the exchange at once.
3. Nothing here costs a request that is answered before its client leaves.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from proxy.client import ClientConnection
    from proxy.exchange import Exchange

_FIN: Final = getattr(select, "EPOLLRDHUP", 0)
_GONE: Final = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
"""Always reported: both directions are closed."""

_Progress: TypeAlias = "tuple[Exchange | None, float, int, int]"


class Departures:
    """Watch the clients of one worker that are not read, and those that have sent their FIN.

    Shape: without epoll (outside Linux) a client that is not read is noticed once it is read again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch nobody."""
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._watched: dict[int, ClientConnection] = {}
        self._descriptors: dict[ClientConnection, int] = {}
        self._quiet: dict[ClientConnection, tuple[float, _Progress]] = {}
        """Since when an answer that somebody may wait for has stood still, and where."""
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._on_events)

    def watch(self, client: ClientConnection) -> None:
        """The loop has stopped reading from this client; idempotent."""
        if self._epoll is not None and client not in self._descriptors:
            end = client.transport.get_extra_info("socket")
            if end is None:
                return  # TLS has lost it and is about to say so
            descriptor = end.fileno()
            self._watched[descriptor] = client
            self._descriptors[client] = descriptor
            self._epoll.register(descriptor, 0 if client in self._quiet else _FIN)

    def unwatch(self, client: ClientConnection) -> None:
        """The loop reads again, or the socket is about to be closed; idempotent."""
        descriptor = self._descriptors.pop(client, -1)
        if self._epoll is not None and descriptor >= 0:
            del self._watched[descriptor]
            with suppress(OSError):  # closed already: the kernel has forgotten it, too
                self._epoll.unregister(descriptor)

    def half_closed(self, client: ClientConnection) -> None:
        """This client has sent its FIN behind a whole request; idempotent."""
        if client not in self._quiet:
            self._quiet[client] = (monotonic(), _progress_of(client))
            self.watch(client)

    def forget(self, client: ClientConnection) -> None:
        """This client is gone; idempotent."""
        self._quiet.pop(client, None)
        self.unwatch(client)

    def sweep(self, now: float, quiet_s: float) -> None:
        """End the exchanges whose answer has stood still for *quiet_s* behind the client's FIN."""
        for client, (since, before) in list(self._quiet.items()):
            progress = _progress_of(client)
            exchange = client.exchange
            if exchange is None or exchange.done or client.write_paused_since or progress != before:
                # Between two requests, or it is the client that is slow: it has a deadline of its own.
                self._quiet[client] = (now, progress)
            elif now - since > quiet_s:
                client.abort()

    def close(self) -> None:
        """Watch nobody any more."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _on_events(self) -> None:
        assert self._epoll is not None
        for descriptor, events in self._epoll.poll(0):
            client = self._watched.get(descriptor)
            if client is None:
                continue  # left by what an earlier event of this turn did
            if events & _GONE:
                client.abort()
            else:
                self._epoll.modify(descriptor, 0)  # heard: from here on only a reset is news
                self.half_closed(client)


def _progress_of(client: ClientConnection) -> _Progress:
    exchange = client.exchange
    if exchange is None:
        return None, 0.0, 0, 0
    return exchange, exchange.head_at, exchange.response_bytes, exchange.body_bytes
