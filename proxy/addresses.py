"""Know where one backend lives: ask the name service now and then, and try what it said in turn.

Rules of this file:

1. A literal address is never looked up.
2. The last good answer serves until there is a newer one, however old it is: a dead
   name service costs nobody a connection.
3. One look-up at a time, every 30 s, and a second after no address took a connection.
4. Addresses take turns. One that failed is tried behind the others for 30 s, so that
   a dead half of a service is met once and not by every second connection.
5. A silent address holds nobody up: the next one is tried beside it after 250 ms (RFC 8305 section 5).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Final, Protocol, TypeVar

REFRESH_S: Final = 30.0
"""Common lower bound of what operators set as TTL in front of a change; the system's resolver does not tell the TTL."""

DOUBT_S: Final = 1.0
STAGGER_S: Final = 0.25

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to addresses, the preferred first. Raises OSError or UnicodeError."""


class Closable(Protocol):
    """Be a connection, as far as this room cares."""

    def close(self) -> None:
        """End it."""


Made = TypeVar("Made", bound=Closable)


def system_lookup(loop: asyncio.AbstractEventLoop) -> Lookup:
    """Make the look-up that asks as every program of this machine does: hosts file, then name service.

    Runs: in the loop's threads.
    """

    async def look_up(host: str, port: int) -> Sequence[str]:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(sockaddr[0]) for *_, sockaddr in found]

    return look_up


class Addresses:
    """Hold the addresses of one backend for all its pools.

    Bound: one look-up at a time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        lookup: Lookup,
        spawn: Callable[[str, object], None],
        on_failure: Callable[[], None],
    ) -> None:
        """Know nothing yet; *on_failure* counts a look-up in the background that failed."""
        self.host = host
        self.listeners: list[Callable[[frozenset[str]], None]] = []
        """Told about every answer that differs from the one before."""
        self.known: tuple[str, ...] = ()
        self._port = port
        self._lookup = lookup
        self._spawn = spawn
        self._on_failure = on_failure
        self._due = 0.0
        self._turn = 0
        self._failed: dict[str, float] = {}
        self._looking: asyncio.Future[None] | None = None
        self._error: Exception = OSError("no address")
        try:
            self.known = (str(ipaddress.ip_address(host)),)
            self._literal = True
        except ValueError:
            self._literal = False

    async def in_turn(self) -> list[str]:
        """Give every address once, in the order in which to try them.

        Raises: OSError or UnicodeError if the name was never resolved and cannot be now.
        """
        if not self.known:
            await asyncio.shield(self._look_up())
            if not self.known:
                raise self._error
        self._turn += 1
        start = self._turn % len(self.known)
        late = monotonic() - REFRESH_S
        return sorted(self.known[start:] + self.known[:start], key=lambda one: self._failed.get(one, 0.0) > late)

    async def first_of(self, connect: Callable[[str], Coroutine[object, object, Made]]) -> Made:
        """Connect to the first address that takes it.

        Raises: the last error if none does.
        """
        waiting = deque(await self.in_turn())
        if len(waiting) == 1:
            return await self._noted(waiting[0], connect)
        tried: set[asyncio.Task[Made]] = set()
        error: BaseException = self._error
        try:
            while waiting or tried:
                if waiting:
                    address = waiting.popleft()
                    tried.add(asyncio.create_task(self._noted(address, connect), name=f"connect {self.host} {address}"))
                done, tried = await asyncio.wait(
                    tried, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    failure = task.exception()
                    if failure is None:
                        tried |= done - {task}
                        return task.result()
                    error = failure
                if not done:
                    self._failed[address] = monotonic()  # silent: not first again soon
        finally:
            for task in tried:
                if not task.cancel() and task.exception() is None:
                    task.result().close()  # two were through in the same instant
        self._doubt()
        raise error

    async def _noted(self, address: str, connect: Callable[[str], Coroutine[object, object, Made]]) -> Made:
        try:
            found = await connect(address)
        except OSError:
            self._failed[address] = monotonic()
            if len(self.known) == 1:
                self._doubt()
            raise
        self._failed.pop(address, None)
        return found

    def _doubt(self) -> None:
        self._due = min(self._due, monotonic() + DOUBT_S)

    def refresh(self, now: float) -> None:
        """Look up again in the background if the answer is old; called about once per second."""
        if self.known and not self._literal and now >= self._due:
            self._look_up()

    def _look_up(self) -> asyncio.Future[None]:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_future()
            self._spawn(f"look up {self.host}", self._ask())
        return self._looking

    async def _ask(self) -> None:
        try:
            found = tuple(dict.fromkeys(await self._lookup(self.host, self._port)))
        except (OSError, UnicodeError) as error:
            # A name that IDNA does not know is a UnicodeError.
            self._error = error
            if self.known:
                self._on_failure()
        else:
            self._take(found)
        finally:
            self._due = monotonic() + REFRESH_S
            looking, self._looking = self._looking, None
            if looking is not None and not looking.done():
                looking.set_result(None)

    def _take(self, found: tuple[str, ...]) -> None:
        changed = set(found) != set(self.known)
        self.known = found
        self._failed = {address: at for address, at in self._failed.items() if address in found}
        if changed:
            for listener in self.listeners:
                listener(frozenset(found))
