"""Rules of filling slots, on real processes (what the whole supervisor does with them: test_supervisor.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from proxy.children import SECOND, ChildState, Launch, Role
from proxy.events import EventLog
from proxy.nursery import Nursery

STAYS = "import sys; sys.stdin = open(int(sys.argv[-1])); sys.stdin.read()"


def run(words: list[str], body: Callable[[Nursery, ChildState], Coroutine[Any, Any, None]]) -> None:
    """Run a test body beside a nursery with one slot."""

    async def main() -> None:
        child, log = ChildState(Role.COMPARER, 0), EventLog("t")
        nursery = Nursery(
            [child],
            log,
            launch=lambda _: Launch(words=words, fds=()),
            hear=lambda *_: None,
            changed=lambda _: None,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, nursery.reap)
        try:
            await asyncio.wait_for(body(nursery, child), 60)
        finally:
            await asyncio.sleep(0.05)  # a child that was started just now gets its link
            nursery.stop_restarting()
            nursery.close()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
            await asyncio.sleep(0.05)
            log.close()

    asyncio.run(main())


def test_a_dead_childs_slot_is_refilled_at_once() -> None:
    """The first death is followed by a start without a pause."""

    async def body(nursery: Nursery, child: ChildState) -> None:
        nursery.start(child)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        began = asyncio.get_running_loop().time()
        while child.pid in (None, first):  # noqa: ASYNC110 - a start tells nobody
            await asyncio.sleep(0.01)

        assert asyncio.get_running_loop().time() - began < 5

    run([sys.executable, "-c", STAYS], body)


def test_what_cannot_be_started_is_tried_again_with_pauses() -> None:
    """A missing program is neither fatal nor retried in a tight loop."""

    async def body(nursery: Nursery, child: ChildState) -> None:
        nursery.start(child)
        while child.quick_deaths < 3:  # noqa: ASYNC110 - an attempt tells nobody
            await asyncio.sleep(0)

        assert child.process is None
        assert child.restart is not None, "the third attempt is followed by a pause"

    run(["/nonexistent/program"], body)


def test_who_ends_in_time_is_not_killed_and_who_does_not_is(tmp_path: Path) -> None:
    """A child is asked first; at its deadline it is killed and counted."""
    deaf = tmp_path / "deaf"

    async def body(nursery: Nursery, child: ChildState) -> None:
        nursery.start(child)
        nursery.stop_restarting()
        await nursery.end([child], 30 * SECOND, asyncio.Event())
        asked = (child.process, nursery.killed)
        words[-1] = script
        nursery.start(child)
        while not deaf.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
        await nursery.end([child], 0, asyncio.Event())

        assert asked == (None, 0)
        assert (child.process, nursery.killed) == (None, 1)

    script = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(deaf)!r}, 'w'); time.sleep(60)"
    words = [sys.executable, "-c", STAYS]
    run(words, body)
