"""One connection to the admin API until it speaks TLS: it holds a place that others want, so it gets a head's time.

Rules of this file:

1. A handshake uses the certificate that is in force when its connection comes; one that was renewed needs nothing else.
2. When all places of handshakes are taken, a new connection gets the one that has been taken for longest.
3. What fails is never logged: anybody can send us garbage.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from typing import Final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # not in its stubs; asyncio.sslproto's, in C

from console.connection import Connection

MAX_GREETINGS: Final = 256
"""As many as may be connected; a handshake is over in one round trip."""

GREETING_S: Final = 10.0
"""As long as a request's head may take, and as the data plane gives a handshake."""


class Greeting(asyncio.Protocol):
    """Own one accepted socket until *then* can have it.

    Shape: *under_way* holds every greeting that is not over, the oldest first; *refusals* counts under ``slow`` and
    ``crowded`` those that were ended.
    """

    def __init__(
        self, then: Connection, context: ssl.SSLContext, under_way: dict[Greeting, None], refusals: Counter[str]
    ) -> None:
        self._then, self._context = then, context
        self._under_way, self._refusals = under_way, refusals
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; where there is no place left, make one.

        ``loop.start_tls`` would do the same from a task, but what a client has sent before that task's first step
        reaches the old protocol and is lost to the handshake.
        """
        self._transport = transport  # type: ignore[assignment]  # a server makes Transports
        if len(self._under_way) >= MAX_GREETINGS:
            self._refusals["crowded"] += 1
            next(iter(self._under_way)).end()
        self._under_way[self] = None
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        over.add_done_callback(self._is_over)
        secure = SSLProtocol(loop, self._then, self._context, over, server_side=True, ssl_handshake_timeout=GREETING_S)
        self._transport.set_protocol(secure)
        secure.connection_made(transport)

    def end(self) -> None:
        """Close at once."""
        del self._under_way[self]
        self._transport.abort()

    def _is_over(self, over: asyncio.Future[None]) -> None:
        """Give the place back; a success has told the connection already."""
        self._under_way.pop(self, None)
        if not over.cancelled() and isinstance(over.exception(), (ConnectionAbortedError, TimeoutError)):
            self._refusals["slow"] += 1
