"""Keep the connections to one backend: lend them, take them back, open new ones within a bound.

Rules of this file:

1. Pools never share: a sick shadow cannot take a primary's connection.
2. A socket is opened for the pool, not for a sink: whoever waits longest gets
   it, and a sink that has cancelled is never called again.
3. Every connection is counted in exactly one place: ``connecting`` until it is
   open, ``open`` until it is closed or becomes a tunnel.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import monotonic
from typing import Final

from config.spec import BackendSpec, BackendTlsSpec
from config.tls import client_context
from proxy.addresses import Addresses
from proxy.backend import BackendConnection, Sink

MAX_WAITERS: Final = 1_024
"""Requests waiting for a connection of one pool; more are refused at once."""

RETRY_SHARE: Final = 0.1
"""Requests that may be sent again, of all: a dying backend gets a tenth more, not twice as much."""

RETRIES_AT_FIRST: Final = 10.0
RETRIES_SAVED: Final = 100.0
"""A restarted backend closes all its idle connections at once; so many requests may meet one."""

PROMPT_S: Final = 0.01
"""A backend that closes within this of its answer keeps no connections, though it did not say so."""

SETTLED_S: Final = 0.001
"""What such a backend would do it has done by now: as it sends, not as it waits."""

UNKEPT_LIMIT: Final = 3
DISTRUST_S: Final = 1.0
"""After so many prompt closes in a row nothing is reused for so long; each further one begins it anew."""


FRESH: Final = -1.0
"""As the longest idle time of a connection: none will do, it must be a new one."""


class Pool:
    """Hold the connections of one worker to one backend for one purpose.

    Bound: ``spec.max_connections`` sockets, 1,024 waiters.
    """

    def __init__(
        self,
        spec: BackendSpec,
        addresses: Addresses,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[str, object], None],
    ) -> None:
        """Make an empty pool; *spawn* starts a named task in the worker's task group."""
        self.spec = spec
        self.addresses = addresses
        self.idle: list[BackendConnection] = []
        self.open: set[BackendConnection] = set()
        self.connecting = 0
        self.waiters: deque[Sink] = deque()
        self.retired = False
        self._unkept = 1
        """Prompt closes since a connection was last used twice; to begin with nothing is known, which counts as one."""
        self._distrust_until = 0.0
        self._leased = 0
        self._leased_before = 0
        self._retries = RETRIES_AT_FIRST
        self._loop = loop
        self._spawn = spawn
        self._tls = client_context(spec.tls or BackendTlsSpec()) if spec.scheme == "https" else None
        addresses.listeners.append(self._on_addresses)

    def lease(self, sink: Sink, *, idle_s: float = inf) -> BackendConnection | None:
        """Take an idle connection now, or be called back with ``on_connection`` or ``on_failure``.

        Order: last in, first out, so that a quiet pool shrinks.
        Bound: *idle_s* is the longest that the connection may have been idle; :data:`FRESH` asks for a new socket.
        A connection that is asked for with a bound is looked at, too: its end may be there already.
        Cost: one list pop when a connection is idle.
        Source: docs/decisions/0010-stale-connections.md.
        """
        self._leased += 1
        while self.idle:
            connection = self.idle[-1]
            if (idle_s is not inf or self._unkept) and not self._trusts(connection, idle_s):
                # The others are older. The oldest goes for the new one: the pool does not grow by such requests.
                self.idle[0].close()
                break
            self.idle.pop()
            if not connection.closed:
                connection.sink = sink
                connection.reused = True
                return connection
        if len(self.waiters) - self.connecting >= MAX_WAITERS:
            self._loop.call_soon(sink.on_failure, "pool", f"{MAX_WAITERS} requests already wait for a connection")
            return None
        self.waiters.append(sink)
        self._connect()
        return None

    def _trusts(self, connection: BackendConnection, idle_s: float) -> bool:
        """Tell whether an idle connection will do for a request; one with a bound cannot be sent again."""
        now = monotonic()
        age = now - connection.idle_since
        if age > idle_s or (self._unkept >= UNKEPT_LIMIT and now < self._distrust_until):
            return False
        return idle_s is inf or ((not self._unkept or age > SETTLED_S) and connection.is_quiet())

    def on_unasked_close(self, connection: BackendConnection) -> None:
        """Learn from a backend that has closed a connection between two answers."""
        now = monotonic()
        if now - connection.idle_since < PROMPT_S:
            self._unkept += 1
            self._distrust_until = now + DISTRUST_S

    def cancel(self, sink: Sink) -> str:
        """Forget a sink that waits: it is not called any more. Say what it waited for: ``connect`` or ``pool``."""
        try:
            place = self.waiters.index(sink)
        except ValueError:
            return "connect"
        del self.waiters[place]
        return "connect" if place < self.connecting else "pool"

    def take_retry(self) -> bool:
        """Take one retry out of the budget, if there is one left.

        Bound: a tenth of the requests, at most 100 saved up.
        """
        earned = RETRY_SHARE * (self._leased - self._leased_before)
        self._leased_before = self._leased
        self._retries = min(RETRIES_SAVED, self._retries + earned)
        if self._retries < 1.0:
            return False
        self._retries -= 1.0
        return True

    def give_back(self, connection: BackendConnection) -> None:
        """Take a clean connection back, or hand it to whoever waits."""
        if connection.retired:
            connection.close()
            return
        if self._unkept and connection.reused:
            self._unkept = 0
        connection.idle_since = monotonic()
        self.idle.append(connection)
        if self.waiters:
            # Not from inside the old exchange's last event: that one ends first.
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Lend idle connections to those who wait; a backend that may keep none has time to show it first."""
        while self.waiters and self.idle:
            connection = self.idle[-1]
            if self._unkept:
                if monotonic() - connection.idle_since <= SETTLED_S:
                    self._loop.call_later(SETTLED_S, self._hand_over)
                    return
                if not self._trusts(connection, DISTRUST_S):
                    connection.close()  # its place goes to a new one
                    continue
            self.idle.pop()
            sink = self.waiters.popleft()
            connection.sink = sink
            connection.reused = True
            sink.on_connection(connection)

    def forget(self, connection: BackendConnection) -> None:
        """Strike a connection off; its place may go to a waiter."""
        if connection in self.open:
            self.open.discard(connection)
            if connection in self.idle:
                self.idle.remove(connection)
            self._connect()

    def close_idle(self, now: float) -> None:
        """Close what has been idle for longer than the backend's idle timeout."""
        limit = now - self.spec.idle_timeout_ns / 1e9
        while self.idle and self.idle[0].idle_since < limit:
            self.idle[0].close()

    def retire(self) -> None:
        """Close idle connections now and the others after their exchange: the configuration no longer wants them.

        Whoever waits already is served: one request uses one snapshot from start to end.
        """
        self.retired = True
        self._retire(list(self.open))

    def _on_addresses(self, known: frozenset[str]) -> None:
        """Leave the addresses that the backend's name no longer has: idle now, in use after the exchange."""
        self._retire([connection for connection in self.open if connection.address not in known])

    def _retire(self, connections: Iterable[BackendConnection]) -> None:
        for connection in connections:
            connection.retired = True
            if connection.sink is None:
                connection.close()

    def _connect(self) -> None:
        """Open one more socket, if somebody waits for whom none is being opened and there is room."""
        if len(self.waiters) > self.connecting and len(self.open) + self.connecting < self.spec.max_connections:
            self.connecting += 1
            self._spawn(f"connect {self.spec.name}", self._open())

    async def _open(self) -> None:
        """Open one socket and give it to whoever waits longest.

        Runs: in its own task. Bound: the backend's connect timeout.
        """
        connection: BackendConnection | None = None
        phase, reason, late = "connect", "the backend closed the connection as soon as it was open", False
        reached: set[str] = set()
        try:
            async with asyncio.timeout(self.spec.connect_timeout_ns / 1e9):
                connection = await self.addresses.first_of(partial(self._connect_to, reached))
        except TimeoutError:
            late = True
            phase, what = ("tls", "TLS handshake") if reached else ("connect", "connection")
            reason = f"no {what} within {self.spec.connect_timeout_ns / 1e9:g} s"
        except ssl.SSLError as error:
            phase, reason = "tls", f"TLS handshake failed: {error}"
        except (socket.gaierror, UnicodeError) as error:
            # A name that IDNA does not know is a UnicodeError.
            phase, reason = "resolve", str(error)
        except OSError as error:
            # Without a descriptor it is we who are full, not the backend that is down.
            phase = "pool" if error.errno in (errno.EMFILE, errno.ENFILE) else "connect"
            reason = str(error)
        finally:
            self.connecting -= 1
        if connection is not None and not connection.closed:
            self._take(connection)
            return
        # Who has cancelled leaves its socket to the others: nobody is failed for whom another one is being opened.
        failed = self.waiters.popleft() if len(self.waiters) > self.connecting else None
        self._connect()
        if failed is not None:
            failed.on_failure(phase, reason, late=late)

    async def _connect_to(self, reached: set[str], address: str) -> BackendConnection:
        """Connect to one address; with TLS, note it in *reached* once the handshake begins."""
        _, connection = await self._loop.create_connection(
            lambda: BackendConnection(self, address=address), address, self.spec.port
        )
        if self._tls is not None:
            reached.add(address)
            await self._secure(connection, self._tls)
        return connection

    async def _secure(self, connection: BackendConnection, context: ssl.SSLContext) -> None:
        """Speak TLS on a socket that is open, and verify who answers.

        Raises: ssl.SSLError.
        """
        beneath = connection.transport
        name = (self.spec.tls and self.spec.tls.server_name) or self.spec.host
        if beneath.is_closing():
            # A handshake on it would fail inside the loop, which would log each one.
            raise ssl.SSLError("the backend closed the connection")
        try:
            # The loop does not read in between: from here on the handshake sees whatever comes.
            secured = await self._loop.start_tls(beneath, connection, context, server_hostname=name)
        except BaseException as error:
            beneath.abort()
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
                raise ssl.SSLError("the backend closed the connection") from error
            raise
        if secured is None or secured.is_closing():
            raise ssl.SSLError("the backend closed the connection")
        connection.transport = secured

    def _take(self, connection: BackendConnection) -> None:
        """Give a new connection to whoever waits longest, or keep it for the next one."""
        self.open.add(connection)
        connection.retired = self.retired or connection.address not in self.addresses.known
        if not self.waiters:
            self.give_back(connection)
            return
        sink = self.waiters.popleft()
        connection.sink = sink
        sink.on_connection(connection)
