"""Own what must outlive every other process, and lead the node from its first child to its last.

The supervisor carries no traffic and decides nothing about it. It keeps the listening sockets, the
lock, the holds and ``health.listen``; it starts workers, comparers and control, replaces whoever dies
or falls silent (``proxy/nursery.py``), and ends everybody in order: lame duck, workers, comparers,
control. Control ends last: it takes the workers' final tallies and the comparers' last findings.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from config.spec import ConfigSpec, LimitsSpec
from config.tls import TlsError, identity, pairs
from proxy.children import SECOND, ChildState, Command, Launch, Role, product_command
from proxy.events import EventLog, complain
from proxy.firststart import lay_snapshot, read_snapshot, routes_at_rest
from proxy.health import HealthServer, Standing, WorkerFacts
from proxy.holds import HoldsKeeper
from proxy.localsocket import LocalServer
from proxy.notes import Notes
from proxy.nursery import Nursery
from proxy.rotation import Rotation
from proxy.sockets import Listeners, open_health, probe, text_of
from proxy.statedir import StartError, StateDir, claim
from rules.snapshot import SnapshotError
from shadow import link
from shadow.lines import open_standard_fds

HEAD_START_S: Final = 1.0
"""Workers get the cores for themselves for so long: the first request matters more than the first scrape."""

LAST_DRAIN_NS: Final = 5 * SECOND
"""For comparers and control: the queue of pairs, the last rows."""


def run(config_path: str, spec: ConfigSpec, *, command: Command = product_command, drop: Collection[str] = ()) -> int:
    """Serve until told to stop; the result is the exit code.

    Shape: 0 after a clean drain; 1 if it could not start, or something had to be killed to end.
    ``drop`` names routes whose flags may be lost with this configuration.
    Runs: blocks; installs signal handlers, so on the main thread only.
    """
    open_standard_fds()
    log = EventLog("supervisor")
    try:
        return _serve(config_path, spec, command, drop, log)
    finally:
        log.close()


def _serve(config_path: str, spec: ConfigSpec, command: Command, drop: Collection[str], log: EventLog) -> int:
    try:
        state = claim(spec.state_dir, partial(log.say, "waiting"))
    except StartError as error:
        complain(str(error))
        return 1
    try:
        opened = Opened(os.path.abspath(config_path), spec, state, drop)
    except StartError as error:
        complain(str(error))
        state.release()
        return 1
    with asyncio.Runner() as runner:
        return runner.run(_live(opened, command, log))


async def _live(opened: Opened, command: Command, log: EventLog) -> int:
    return await Supervisor(opened, command, log).live()


class Opened:
    """Hold everything that could have been refused: sockets, the lock, the first snapshot."""

    def __init__(self, config_path: str, spec: ConfigSpec, state: StateDir, drop: Collection[str]) -> None:
        """Open it in the order in which a refusal leaves nothing behind.

        Raises: StartError; the state directory stays claimed, everything else is closed again.
        """
        self.config_path = config_path
        self.spec = spec
        self.state = state
        for where, pair in pairs(spec):
            try:
                identity(pair)
            except TlsError as error:
                raise StartError(f"{where}: {error}") from error
        self.listeners = Listeners(spec.listen, spec.workers)
        self.health: socket.socket | None = None
        try:
            self.health = open_health(spec.health)
            probe(spec.admin.listen, "admin.listen")
            self.complaint = lay_snapshot(state.place("snapshot"), spec, drop)
            """What was wrong with the former snapshot, or nothing."""
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets; idempotent."""
        self.listeners.close()
        if self.health is not None:
            self.health.close()


class Supervisor:
    """Lead one node.

    Runs: on one asyncio loop; every method but :meth:`live` returns at once.
    """

    def __init__(self, opened: Opened, command: Command, log: EventLog) -> None:
        self._opened = opened
        self._spec = opened.spec
        self._state = opened.state
        self._command = command
        self._log = log
        # Anew at each start: an id on disk is copied with it, and two nodes in a row would take each other for one.
        self._node = os.urandom(6).hex()
        self._workers = [ChildState(Role.WORKER, slot) for slot in range(self._spec.workers)]
        """Who is in charge of each slot; for a while the nursery has another process beside it."""
        self._comparers = [ChildState(Role.COMPARER, slot) for slot in range(self._spec.comparers)]
        self._control = ChildState(Role.CONTROL, 0)
        self._nursery = Nursery(
            [*self._workers, *self._comparers, self._control],
            self._log,
            launch=self._launch,
            hear=self._hear,
            changed=self._slot_changed,
        )
        self._keeper = HoldsKeeper(self._state.place("holds"), routes=self._routes, tell=self._tell_holds)
        self._notes = Notes(self._state, self._log)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._rotation = Rotation(
            self._workers,
            self._nursery,
            self._log,
            limits=self._limits,
            stopping=self._stopping,
            hurry=self._hurry,
        )
        self._skip_lame_duck = False
        self._served = False
        for complaint in filter(None, (opened.complaint, self._keeper.complaint)):
            self._log.say("degraded", complaint)

    # --- life ------------------------------------------------------------------------------------------------------

    async def live(self) -> int:
        """Run everything from the first child to the last; the result is the exit code."""
        self._take_signals()
        health, local = HealthServer(self._standing), LocalServer(self._keeper.change, self._restart_for)
        assert self._opened.health is not None
        self._health_text = text_of(self._spec.health, self._opened.health)
        await health.open(self._opened.health)
        await local.open(self._state.place("supervisor.sock"))
        self._note_addresses()
        loop = asyncio.get_running_loop()
        keeper = loop.create_task(self._keeper.run(), name="holds")
        watch = loop.create_task(self._nursery.watch(), name="watch")
        stop = loop.create_task(self._stopping.wait(), name="stop")
        try:
            await self._start()
            # The keeper and the watch run for ever: if one of them ends, it failed; we drain and say so.
            await asyncio.wait((stop, keeper, watch), return_when=asyncio.FIRST_COMPLETED)
            await self._stop()
        finally:
            self._nursery.close()
            for task in (keeper, watch, stop):
                task.cancel()
            results = await asyncio.gather(keeper, watch, return_exceptions=True)
            await local.close()
            await health.close()
            self._notes.remove()
            self._opened.close()
            self._state.release()
        failures = [one for one in results if isinstance(one, Exception)]
        for failure in failures:
            self._log.say("failed", f"the supervisor failed: {failure!r}")
        killed = self._nursery.killed
        self._log.say("stopped", f"ended; {killed} had to be killed" if killed else "everything has ended")
        return 1 if failures or killed else 0

    async def _start(self) -> None:
        """Start workers, give them a head start, then start the others."""
        for worker in self._workers:
            self._nursery.start(worker)
        stop = self._stopping.is_set
        await self._nursery.until(lambda: stop() or all(worker.ready for worker in self._workers), HEAD_START_S)
        if not stop():
            for child in (*self._comparers, self._control):
                self._nursery.start(child)

    async def _stop(self) -> None:
        """Drain in order: lame duck, workers, comparers, control; what does not end is killed."""
        self._stopping.set()
        limits = self._limits()
        if limits.lame_duck_ns and not self._skip_lame_duck:
            seconds = limits.lame_duck_ns / SECOND
            self._log.say("lame_duck", f"not ready any more; answering for {seconds:g} s, then draining")
            for worker in self._all_workers():
                worker.send(link.LameDuck())
            await self._nursery.until(self._hurry.is_set, seconds)
        self._nursery.stop_restarting()
        # The workers close theirs when they hear Drain; only then do new connections go elsewhere.
        self._opened.listeners.close()
        self._log.say("draining", f"draining; in-flight requests have {limits.drain_ns / SECOND:g} s")
        await self._nursery.end(self._all_workers(), limits.drain_ns, self._hurry)
        await self._nursery.end(self._comparers, LAST_DRAIN_NS, self._hurry)
        await self._nursery.end([self._control], LAST_DRAIN_NS, self._hurry)

    def _all_workers(self) -> list[ChildState]:
        """Name everybody who may have clients."""
        return [child for child in self._nursery.children if child.role is Role.WORKER]

    def _launch(self, child: ChildState) -> Launch:
        """Say how the process in a slot is started."""
        words = [*self._command(child.role), "--state-dir", self._state.path]
        fds: Sequence[int] = ()
        if child.role is Role.CONTROL:
            words += ["--config", self._opened.config_path]
        else:
            words += ["--slot", str(child.slot)]
        if child.role is Role.WORKER:
            fds = self._opened.listeners.fds(child.slot)
            words += [word for fd in fds for word in ("--listen-fd", str(fd))]
            words += ["--node", self._node]
        return Launch(words=words, fds=(self._state.lock_fd, *fds))

    # --- what children say -----------------------------------------------------------------------------------------

    def _hear(self, child: ChildState, message: link.Any) -> None:
        match message:
            case link.Hello():
                self._introduced(child, message)
            case link.Beat():
                child.beat = message
                self._nursery.stir()
            case link.Ready():
                self._is_ready(child, message)
            case link.HoldsAck(revision=revision) if child.role is Role.WORKER:
                self._keeper.acknowledge(child, revision)
            case link.ChangeHolds() if child.role is Role.CONTROL:
                self._nursery.beside(f"holds for {child.name}", self._change_for(child, message))
            case _:
                self._nursery.distrust(child, f"{type(message).__name__} is not for the supervisor")

    def _introduced(self, child: ChildState, hello: link.Hello) -> None:
        if (hello.protocol, hello.role, hello.slot) != (link.PROTOCOL, child.role.value, child.slot):
            self._nursery.distrust(child, f"it says {hello.role} {hello.slot}, protocol {hello.protocol}")
            return
        child.hello = hello
        if child.role is not Role.COMPARER:
            child.send(self._keeper.held.message())
        if self._stopping.is_set() and child.role is Role.WORKER:
            child.send(link.LameDuck())

    def _is_ready(self, child: ChildState, ready: link.Ready) -> None:
        child.ready = ready
        said = ("is ready" if ready.ok else "cannot work") + (f": {ready.detail}" if ready.detail else "")
        event = "ready" if ready.ok else "not_ready"
        self._log.say(event, f"{child.name} {said}", role=child.role.value, slot=child.slot)
        if child is self._control:
            self._note_addresses()
        if child.role is Role.WORKER and ready.ok and not self._served:
            self._served = True
            where = ", ".join(self._listening())
            self._log.say("serving", f"serving {where} from {self._opened.config_path}; health on {self._health_text}")
        self._nursery.stir()

    def _slot_changed(self, child: ChildState) -> None:
        if child.role is Role.WORKER and child.process is None:
            self._keeper.forget(child)
        self._notes.children(self._nursery.children)

    # --- holds -----------------------------------------------------------------------------------------------------

    async def _change_for(self, child: ChildState, change: link.ChangeHolds) -> None:
        child.send(await self._keeper.change(change))

    def _tell_holds(self, holds: link.Holds) -> Mapping[object, int]:
        """Tell everybody whom holds concern; return the workers that were told, with their slots."""
        self._control.send(holds)
        return {worker: worker.slot for worker in self._all_workers() if worker.send(holds)}

    def _routes(self) -> Mapping[str, bool]:
        return routes_at_rest(self._state.place("snapshot"), self._spec)

    # --- restarts --------------------------------------------------------------------------------------------------

    async def _restart_for(self, asked: link.RestartWorkers) -> AsyncIterator[link.RestartStep]:
        """Begin a restart; it goes on when whoever asked hangs up."""
        steps: asyncio.Queue[link.RestartStep] = asyncio.Queue()
        self._rotation.begin("restart --local", asked.request, steps.put_nowait)
        while True:
            step = await steps.get()
            yield step
            if step.done:
                return

    # --- signals ---------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        loop.add_signal_handler(signal.SIGUSR2, self._rotation.begin, "SIGUSR2")
        loop.add_signal_handler(signal.SIGCHLD, self._nursery.reap)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._log.say("hurry", f"{number.name} again: stopping now")
            self._hurry.set()
        else:
            self._log.say("stopping", f"{number.name}: stopping")
            self._skip_lame_duck = number is signal.SIGINT
            self._stopping.set()
        self._nursery.stir()

    def _asked_to_reload(self) -> None:
        if self._control.send(link.Reload()):
            self._log.say("reload", f"SIGHUP: control reads {self._opened.config_path} again")
        else:
            self._log.say("reload_lost", "SIGHUP: control is not running, nothing was reloaded; repeat it when it is")

    # --- what others read ------------------------------------------------------------------------------------------

    def _standing(self) -> Standing:
        now_ns = self._nursery.now_ns()
        workers = tuple(
            WorkerFacts(
                slot=worker.slot,
                accepting=worker.beat.accepting,
                silent_s=worker.silent_s(now_ns),
                revision=worker.beat.revision,
            )
            for worker in self._workers
        )
        others = (self._control, *self._comparers)
        complaints = (self._opened.complaint, self._keeper.complaint, *(child.complaint for child in others))
        return Standing(
            draining=self._stopping.is_set(),
            workers=workers,
            newest_revision=max(child.beat.revision for child in (*self._workers, self._control)),
            complaints=tuple(filter(None, complaints)),
        )

    def _limits(self) -> LimitsSpec:
        """Give the limits in force: a reload may have changed them since the start."""
        try:
            snapshot = read_snapshot(self._state.place("snapshot"))
        except SnapshotError:
            snapshot = None
        return (self._spec if snapshot is None else snapshot.config).limits

    def _listening(self) -> list[str]:
        return [text_of(address) for address in self._opened.listeners.addresses]

    def _note_addresses(self) -> None:
        ready = self._control.ready
        admin = ready.detail if ready is not None and ready.ok else None
        self._notes.addresses(listen=self._listening(), admin=admin, health=self._health_text)
