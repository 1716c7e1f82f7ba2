"""What happens, as it happens: server-sent events for pages and scripts that would otherwise ask again and again.

Rules of this file:

1. Nobody waits for a listener: what one does not take within :data:`QUEUED` events is dropped, counted, and said to it
   (``missed``), so that it asks anew for what it shows.
2. Events say *that* something changed, and enough to know whether it matters; what holds now is asked by a GET.
3. A stream ends when its token does: it is asked for again before each event and with each beat.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from console.problem import ProblemError

BEAT_S: Final = 15.0
"""Between two signs of life, below the idle limits that proxies have (30 s and more)."""

QUEUED: Final = 256
RECENT: Final = 512
"""Events that a stream which broke off can still be given, by its Last-Event-ID."""

MAX_LISTENERS: Final = 64

RETRY_MS: Final = 2_000


class _Listener:
    """Hold what one stream has not been given yet."""

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.missed = 0
        self.news = asyncio.Event()

    def put(self, event: bytes) -> int:
        """Queue one event; returns how many were dropped for it."""
        dropped = 0
        if len(self.queue) >= QUEUED:
            self.queue.popleft()
            self.missed += 1
            dropped = 1
        self.queue.append(event)
        self.news.set()
        return dropped


class Events:
    """Tell everybody who listens what has changed.

    Bound: :data:`MAX_LISTENERS` streams, :data:`QUEUED` events for each, :data:`RECENT` for those that come back.
    Runs: on control's loop.
    """

    def __init__(self) -> None:
        self.dropped = 0
        """Events that some listener was too slow for."""
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT)
        self._listeners: set[_Listener] = set()
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """Say how many listen."""
        return len(self._listeners)

    def tell(self, kind: str, data: dict[str, Any]) -> None:  # Any: JSON
        """Tell every listener of one event."""
        self._number += 1
        event = _written(kind, data, f"{self._epoch}-{self._number}")
        self._recent.append((self._number, event))
        for listener in self._listeners:
            self.dropped += listener.put(event)

    def listen(self, last_event: str, may_still: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Begin a stream, or go on with one that broke off after *last_event*.

        Raises: ProblemError ``too-many``.
        """
        if len(self._listeners) >= MAX_LISTENERS or self._is_closed:
            raise ProblemError("too-many", f"{len(self._listeners)} listen already; close a stream first.")
        listener = _Listener()
        for event in self._since(last_event):
            listener.put(event)
        self._listeners.add(listener)
        return self._stream(listener, may_still)

    def close(self) -> None:
        """End every stream."""
        self._is_closed = True
        for listener in self._listeners:
            listener.news.set()

    def _since(self, last_event: str) -> list[bytes]:
        """Give what a stream has not seen since an id of ours; where nobody can tell, say so."""
        epoch, _, number = last_event.partition("-")
        if not last_event:
            return []
        oldest = self._recent[0][0] if self._recent else self._number + 1
        if epoch != self._epoch or not (number.isascii() and number.isdigit() and len(number) < 16):
            return [_written("missed", {"events": None}, "")]
        if int(number) < oldest - 1:
            return [_written("missed", {"events": oldest - 1 - int(number)}, ""), *(one for _, one in self._recent)]
        return [event for own, event in self._recent if own > int(number)]

    async def _stream(self, listener: _Listener, may_still: Callable[[], bool]) -> AsyncIterator[bytes]:
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            is_quiet = False
            # Asked anew for each piece: a slow stream may have waited for hours since the one before.
            while not self._is_closed and may_still():
                if listener.missed:
                    missed, listener.missed = listener.missed, 0
                    yield _written("missed", {"events": missed}, "")
                elif listener.queue:
                    yield listener.queue.popleft()
                elif is_quiet:
                    is_quiet = False
                    yield b": beat\n\n"
                else:
                    listener.news.clear()
                    is_quiet = not await _within(listener.news, BEAT_S)
        finally:
            self._listeners.discard(listener)


async def _within(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True


def _written(kind: str, data: dict[str, Any], name: str) -> bytes:  # Any: JSON
    """Write one event as the HTML standard, 9.2.5, says: JSON has no line feed, so one data line holds it."""
    named = f"id: {name}\n" if name else ""
    return f"{named}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
