"""Replace every worker by a fresh process, one slot after the other, without losing a request.

Both processes of a slot accept from the slot's listening sockets, which the supervisor keeps: a new connection goes to
whichever is faster, and none is refused. A connection that lives goes on in the former worker until an answer has told
its client ``Connection: close``; only who stays silent for longer than that worker's patience is hung up on, as at any
keep-alive timeout (RFC 9112 sections 9.3.1 and 9.6).

Rules of this file:

1. One slot at a time. A worker stays in charge of its slot until its successor accepts, and serves at least the same
   revision: a restart never takes traffic back to an older snapshot.
2. The first successor that fails ends the restart: what is broken for one is broken for all, and those who serve stay.
3. One restart at a time; a second request is refused, because whoever sends it after an upgrade means the new code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from config.spec import LimitsSpec
from proxy.children import SECOND, START_NS, ChildState, Role
from proxy.events import EventLog
from proxy.nursery import MARGIN_S, Nursery
from shadow import link

TRIAL_S: Final = START_NS / SECOND
"""Until a successor serves: as long as any child may take for its first word."""

Tell = Callable[[link.RestartStep], None]


class Rotation:
    """Lead rolling restarts.

    Runs: on the supervisor's loop.
    """

    def __init__(
        self,
        workers: list[ChildState],
        nursery: Nursery,
        log: EventLog,
        *,
        limits: Callable[[], LimitsSpec],
        stopping: asyncio.Event,
        hurry: asyncio.Event,
    ) -> None:
        """Take the workers in charge by slot; each is replaced in this very list."""
        self._workers = workers
        self._nursery = nursery
        self._log = log
        self._limits = limits
        self._stopping = stopping
        self._hurry = hurry
        self._is_running = False

    def begin(self, why: str, request: str = "", tell: Tell = lambda _: None) -> None:
        """Start a restart beside everything else, or refuse it; either way *tell* hears how it went."""
        if refusal := self._refusal():
            self._log.say("restart_refused", f"{why}: {refusal}")
            tell(link.RestartStep(request=request, done=True, reason=refusal))
            return
        self._is_running = True
        self._log.say("restart", f"{why}: replacing {len(self._workers)} workers, one after the other")
        self._nursery.beside("restart of the workers", self._run(request, tell))

    def _refusal(self) -> str:
        if self._stopping.is_set():
            return "Matapalo is stopping"
        if self._is_running:
            return "a restart of the workers is running already; repeat it when that one is done"
        return ""

    async def _run(self, request: str, tell: Tell) -> None:
        reason = "the restart failed; see the supervisor's log"
        try:
            reason = await self._replace_all(request, tell)
        finally:
            self._is_running = False
            self._log.say("restart_failed" if reason else "restarted", reason or "every worker was replaced")
            tell(link.RestartStep(request=request, done=True, reason=reason))

    async def _replace_all(self, request: str, tell: Tell) -> str:
        """Replace slot after slot; return why not all of them, or nothing."""
        for slot in range(len(self._workers)):
            limits = self._limits()
            patience_ns = min(limits.drain_ns, limits.keep_alive_timeout_ns)
            within_s = TRIAL_S + (patience_ns + limits.drain_ns) / SECOND + 2 * MARGIN_S
            former = self._workers[slot].pid or 0
            tell(link.RestartStep(request=request, slot=slot, former=former, within_s=within_s))
            if reason := await self._try_successor(slot):
                left = f"; {len(self._workers) - slot} of {len(self._workers)} workers were not replaced"
                return reason + (left if len(self._workers) > 1 else "")
            successor = self._workers[slot]
            tell(link.RestartStep(request=request, slot=slot, former=former, pid=successor.pid or 0, within_s=within_s))
            leaving = [child for child in self._nursery.children if child.role is Role.WORKER and not child.is_kept]
            await self._nursery.end(leaving, limits.drain_ns, self._hurry, patience_ns=patience_ns)
            if self._stopping.is_set():
                return "Matapalo is stopping"
        return ""

    async def _try_successor(self, slot: int) -> str:
        """Put a fresh process in charge of a slot; return why not, or nothing."""
        former, successor = self._workers[slot], ChildState(Role.WORKER, slot)
        self._nursery.start_beside(successor, former)

        def is_decided() -> bool:
            return successor.process is None or _serves(successor, former) or self._stopping.is_set()

        await self._nursery.until(is_decided, TRIAL_S)
        if self._stopping.is_set():
            return "Matapalo is stopping"
        if not _serves(successor, former):
            why = f"the new {successor.fate}" if successor.process is None else _why_not(successor, former)
            # It may have accepted clients already: they get their answers.
            await self._nursery.end([successor], self._limits().drain_ns, self._hurry)
            return f"{why}; the former one stays"
        self._workers[slot] = successor
        successor.is_kept = True
        self._nursery.let_go(former)
        sentence = f"{successor.name} ({successor.pid}) serves; {former.pid or 'nobody'} finishes and ends"
        self._log.say("replaced", sentence, slot=slot, pid=successor.pid, former=former.pid)
        return ""


def _serves(successor: ChildState, former: ChildState) -> bool:
    is_ready = successor.ready is not None and successor.ready.ok
    return is_ready and successor.beat.accepting and successor.beat.revision >= former.beat.revision


def _why_not(successor: ChildState, former: ChildState) -> str:
    if successor.ready is None or not successor.ready.ok:
        return successor.complaint
    return (
        f"the new {successor.name} serves revision {successor.beat.revision}, older than {former.beat.revision}: "
        "control must be running, or state_dir writable, for it to get the newest"
    )
