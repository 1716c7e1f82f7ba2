"""An event loop on a thread of its own, so that synchronous tests can hold real servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CALL_TIMEOUT_S = 60.0
"""No call into the loop may take longer: a hanging server is a failed test, never a hanging run."""


class LoopThread:
    """Run one event loop on a thread until closed.

    Runs: every method is called from the test's thread, none from inside the loop.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result.

        Raises: whatever it raises; TimeoutError after :data:`CALL_TIMEOUT_S`.
        """
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def soon(self, action: Callable[[], object]) -> None:
        """Run a plain function on the loop without waiting; after close it is dropped."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def close(self, last: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run *last*, cancel every task that is left, stop the loop and join the thread."""
        if self._loop.is_closed():
            return
        self.call(self._finish(last))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    async def _finish(self, last: Callable[[], Awaitable[None]] | None) -> None:
        if last is not None:
            await last()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Two turns: transports that were aborted above report connection_lost in the next one.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
