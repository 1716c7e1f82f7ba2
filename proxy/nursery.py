"""Keep every slot filled: start, judge, reap and restart children.

Rules of this file:

1. Nothing here may block the loop: a supervisor that waits cannot tell a hung worker from its own pause.
2. A place is filled by :meth:`Nursery.start` and refilled by the reaping of its process, by nobody else:
   there are never two processes in one :class:`ChildState`. While a worker is replaced (``proxy/rotation.py``)
   its slot has two of those for a while; the one that is not kept disappears with its process.
3. A process id is signalled only while its process is not reaped: it cannot mean a stranger.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Final

from proxy.children import SECOND, ChildLink, ChildState, Launch, restart_pause_ns, why_to_kill
from proxy.events import EventLog
from shadow import link

TICK_S: Final = 0.25
LAG_NS: Final = SECOND
"""A tick that comes this much late means that we stood still, so silence proves nothing."""

MARGIN_S: Final = 1.0
"""A child ends itself at its deadline; killed is who has not by then."""


class Nursery:
    """Own the processes in all slots.

    Runs: on one asyncio loop; methods return at once unless they are coroutines.
    """

    def __init__(
        self,
        children: Sequence[ChildState],
        log: EventLog,
        *,
        launch: Callable[[ChildState], Launch],
        hear: Callable[[ChildState, link.Any], None],
        changed: Callable[[ChildState], None],
    ) -> None:
        """Take the slots; nothing is started yet.

        Shape: ``launch`` says how a slot is filled; ``hear`` gets every message of a living child; ``changed`` is told
        when a slot was filled or emptied.
        """
        self.children = list(children)
        self.killed = 0
        """Children that did not end when they were asked to."""
        self.restarting = True
        self._log = log
        self._launch = launch
        self._hear = hear
        self._changed = changed
        self._by_pid: dict[int, ChildState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()

    def now_ns(self) -> int:
        """Read the clock that all signs of life are measured with."""
        return int(self._loop.time() * SECOND)

    # --- start -----------------------------------------------------------------------------------------------------

    def start(self, child: ChildState) -> None:
        """Start a process in an empty place; what cannot be started counts as dead on arrival."""
        assert child.process is None, "a place holds one process"
        child.restart = None
        try:
            ours = child.begin(self._launch(child), self.now_ns())
        except OSError as error:
            child.count_death(0)
            child.fate = f"{child.name} cannot be started: {error}"
            self._tell(child, "start_failed", child.fate)
            self._refill(child)
            return
        pid = child.pid
        assert pid is not None
        self._by_pid[pid] = child
        child.link = opened = ChildLink(partial(self._heard, child, pid), partial(self.distrust, child))
        self.beside(f"link of {child.name}", self._loop.create_unix_connection(lambda: opened, sock=ours))
        self._tell(child, "started", f"{child.name} started as {pid}", pid=pid)
        self._changed(child)

    def start_beside(self, child: ChildState, other: ChildState) -> None:
        """Start one more process in the slot of *other*; it is not started again unless it becomes a kept one."""
        child.is_kept = False
        self.children.insert(self.children.index(other) + 1, child)
        self.start(child)

    def let_go(self, child: ChildState) -> None:
        """Do not start a child again when it ends; an empty place disappears at once."""
        child.is_kept = False
        if child.restart is not None:
            child.restart.cancel()
        if child.process is None:
            self.children.remove(child)

    def _heard(self, child: ChildState, pid: int, message: link.Any) -> None:
        if child.pid == pid:  # last words of a predecessor must not be taken for its successor's
            child.heard_ns = self.now_ns()
            try:
                self._hear(child, message)
            except Exception as error:  # the border of one message: an error of ours must not cost the child its link
                self._log.say("task_failed", f"{type(message).__name__} of {child.name} failed: {error!r}")

    # --- judge -----------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Judge everybody four times a second, for ever."""
        last_ns = self.now_ns()
        while True:
            await asyncio.sleep(TICK_S)
            self.reap()  # many SIGCHLD at once arrive as one
            now_ns = self.now_ns()
            late_ns, last_ns = now_ns - last_ns - int(TICK_S * SECOND), now_ns
            if late_ns > LAG_NS:
                self._log.say(
                    "stood_still", f"the supervisor stood still for {late_ns / SECOND:.1f} s; nobody is blamed"
                )
                for child in self.children:
                    child.heard_ns = now_ns
            for child in self.children:
                if child.process is not None and not child.sentence and (why := why_to_kill(child.signs(now_ns))):
                    self.kill(child, why)

    def distrust(self, child: ChildState, what: str) -> None:
        """Replace a child that does not speak our protocol: another version was installed beneath us."""
        if child.process is not None and not child.sentence:
            self.kill(child, f"speaks another protocol ({what})")

    def kill(self, child: ChildState, why: str) -> None:
        """End a child at once, and say why; reaping it refills the slot."""
        child.sentence = f"killed because it {why}"
        self._tell(child, "killed", f"{child.name} ({child.pid}) {why}; killing it", pid=child.pid)
        child.signal(signal.SIGKILL)

    # --- reap ------------------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Collect every ended process: ours are replaced, strangers (we may be PID 1) just disappear."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._by_pid.pop(pid, None)
            if child is not None:
                self._ended(child, pid, os.waitstatus_to_exitcode(status))

    def _ended(self, child: ChildState, pid: int, code: int) -> None:
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        why = child.sentence or (child.ready.detail if child.ready is not None and not child.ready.ok else "")
        child.fate = f"{child.name} ({pid}) ended with {how}" + (f": {why}" if why else "")
        child.end(code, self.now_ns())
        is_loss = code != 0 or (self.restarting and child.is_kept)
        self._tell(child, "died" if is_loss else "ended", child.fate, pid=pid, code=code)
        self._refill(child)
        self._changed(child)
        self.stir()

    def _refill(self, child: ChildState) -> None:
        """Start a child again, at once or after a pause; one that is not kept disappears."""
        if not child.is_kept:
            self.children.remove(child)
            return
        if not self.restarting:
            return
        pause_ns = restart_pause_ns(child.quick_deaths)
        if pause_ns:
            sentence = f"{child.name} died {child.quick_deaths} times in a row; next start in {pause_ns / SECOND:g} s"
            self._tell(child, "crash_loop", sentence)
        child.restart = self._loop.call_later(pause_ns / SECOND, self.start, child)

    # --- end -------------------------------------------------------------------------------------------------------

    def stop_restarting(self) -> None:
        """Leave empty slots empty from here on."""
        self.restarting = False
        for child in self.children:
            if child.restart is not None:
                child.restart.cancel()

    async def end(
        self, children: Iterable[ChildState], deadline_ns: int, hurry: asyncio.Event, *, patience_ns: int = 0
    ) -> None:
        """Ask children to end; kill who has not at the deadline, or as soon as the operator is in a hurry."""
        living = [child for child in children if child.process is not None]
        for child in living:
            if not hurry.is_set() and not child.send(link.Drain(deadline_ns=deadline_ns, patience_ns=patience_ns)):
                child.signal(signal.SIGTERM)  # it has not introduced itself: nothing is in flight
        gone = partial(_are_gone, living)
        await self.until(lambda: gone() or hurry.is_set(), (patience_ns + deadline_ns) / SECOND + MARGIN_S)
        for child in living:
            if child.process is not None:
                self.killed += 1
                self.kill(child, "was told to stop now" if hurry.is_set() else "did not end within its deadline")
        await self.until(gone, MARGIN_S)

    def close(self) -> None:
        """Kill whoever is left, and forget what runs beside."""
        for child in self.children:
            if child.process is not None:
                self.killed += 1
                child.signal(signal.SIGKILL)
                child.end(child.process.wait(), self.now_ns())
        for task in self._tasks:
            task.cancel()

    # --- wait and work -----------------------------------------------------------------------------------------------

    async def until(self, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition over the children; return anyway after so many seconds."""
        deadline = self._loop.time() + seconds
        while not is_so() and (left := deadline - self._loop.time()) > 0:
            self._stirred.clear()
            try:
                await asyncio.wait_for(self._stirred.wait(), left)
            except TimeoutError:
                return

    def stir(self) -> None:
        """Let whoever waits in :meth:`until` look again."""
        self._stirred.set()

    def beside(self, name: str, work: Coroutine[object, object, object]) -> None:
        """Run something as a named task; its failure is logged and ends nothing else."""
        task = self._loop.create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, name: str, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except Exception as error:
            self._log.say("task_failed", f"{name} failed: {error!r}")

    def _tell(self, child: ChildState, event: str, sentence: str, **details: object) -> None:
        self._log.say(event, sentence, role=child.role.value, slot=child.slot, **details)


def _are_gone(children: Iterable[ChildState]) -> bool:
    return all(child.process is None for child in children)
