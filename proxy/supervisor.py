"""Start, watch and restart the other processes, and own what must outlive them.

The supervisor carries no traffic and decides nothing about it. It keeps the listening sockets, the
lock, the holds and ``health.listen``; it starts workers, comparers and control, replaces whoever dies
or falls silent, and ends everybody in order: lame duck, workers, comparers, control.

Rules of this file:

1. Nothing here may block the loop: a supervisor that waits cannot tell a hung worker from its own pause.
2. A child is replaced only by :meth:`Supervisor._reaped`: no other place starts a second process in a slot.
3. Control ends last: it takes the final tallies of the workers and the last findings of the comparers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Final

from config.spec import AddressSpec, ConfigSpec, LimitsSpec
from proxy.children import SECOND, ChildLink, ChildState, Command, Role, product_command, restart_pause_ns, why_to_kill
from proxy.events import EventLog, complain
from proxy.firststart import lay_snapshot, read_snapshot, routes_at_rest
from proxy.health import HealthServer, Standing, WorkerFacts
from proxy.holds import HoldsKeeper
from proxy.localsocket import LocalServer
from proxy.sockets import Listeners, open_health, probe, text_of
from proxy.statedir import StartError, StateDir, claim, write_whole
from rules.snapshot import SnapshotError
from shadow import link

TICK_S: Final = 0.25
LAG_NS: Final = SECOND
"""A tick that comes this much late means that we stood still, so silence proves nothing."""

HEAD_START_S: Final = 1.0
"""Workers get the cores for themselves for so long: the first request matters more than the first scrape."""

MARGIN_S: Final = 1.0
"""A child ends itself at its deadline; killed is who has not by then."""

LAST_DRAIN_NS: Final = 5 * SECOND
"""For comparers and control: the queue of pairs, the last rows."""


def run(config_path: str, spec: ConfigSpec, *, command: Command = product_command, drop: Collection[str] = ()) -> int:
    """Serve until told to stop; the result is the exit code.

    Shape: 0 after a clean drain; 1 if it could not start, or something had to be killed to end.
    Runs: blocks; installs signal handlers, so on the main thread only.
    """
    try:
        state = claim(spec.state_dir)
    except StartError as error:
        complain(str(error))
        return 1
    try:
        opened = _open(config_path, spec, state, command, drop)
    except StartError as error:
        complain(str(error))
        state.release()
        return 1
    with asyncio.Runner() as runner:
        return runner.run(opened.live())


def _open(config_path: str, spec: ConfigSpec, state: StateDir, command: Command, drop: Collection[str]) -> Supervisor:
    """Take everything that may be refused, in the order in which a refusal leaves nothing behind."""
    listeners = Listeners(spec.listen, spec.workers)
    health: socket.socket | None = None
    try:
        health = open_health(spec.health)
        probe(spec.admin.listen, "admin.listen")
        complaint = lay_snapshot(state.place("snapshot"), spec, drop)
    except BaseException:
        listeners.close()
        if health is not None:
            health.close()
        raise
    supervisor = Supervisor(os.path.abspath(config_path), spec, state, listeners, health, command)
    if complaint:
        supervisor.warn(complaint)
    return supervisor


class Supervisor:
    """Own every child of one node.

    Runs: on one asyncio loop; every method but :meth:`live` returns at once.
    """

    def __init__(
        self,
        config_path: str,
        spec: ConfigSpec,
        state: StateDir,
        listeners: Listeners,
        health: socket.socket,
        command: Command,
    ) -> None:
        self._config_path = config_path
        self._spec = spec
        self._state = state
        self._listeners = listeners
        self._health_socket = health
        self._command = command
        self._log = EventLog("supervisor")
        self._warnings: list[str] = []
        self._workers = [ChildState(Role.WORKER, slot) for slot in range(spec.workers)]
        self._comparers = [ChildState(Role.COMPARER, slot) for slot in range(spec.comparers)]
        self._control = ChildState(Role.CONTROL, 0)
        self._children = [*self._workers, *self._comparers, self._control]
        self._by_pid: dict[int, ChildState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._skip_lame_duck = False
        self._lame_duck = False
        self._draining = False
        """From here on nobody is restarted."""
        self._killed = 0
        self._served = False
        self._changed = asyncio.Event()
        """Wakes whoever waits for children to come up or to end."""
        self._keeper = HoldsKeeper(state.place("holds"), routes=self._routes, tell=self._tell_holds)
        if self._keeper.complaint:
            self._log.say("holds_unreadable", self._keeper.complaint)

    def warn(self, sentence: str) -> None:
        """Keep a sentence for ``/readyz`` and the log: something is not as it should be for this run."""
        self._warnings.append(sentence)
        self._log.say("degraded", sentence)

    # --- life ------------------------------------------------------------------------------------------------------

    async def live(self) -> int:
        """Run everything from the first child to the last; the result is the exit code."""
        self._loop = asyncio.get_running_loop()
        self._take_signals()
        health, local = HealthServer(self._standing), LocalServer(self._keeper.change)
        await health.open(self._health_socket)
        await local.open(self._state.place("supervisor.sock"))
        self._write_addresses()
        keeper = self._loop.create_task(self._keeper.run(), name="holds")
        watch = self._loop.create_task(self._watch(), name="watch")
        try:
            await self._start()
            stop = self._loop.create_task(self._stopping.wait(), name="stop")
            # The keeper and the watch run for ever: if one of them ends, it failed, and we say so and drain.
            await asyncio.wait((stop, keeper, watch), return_when=asyncio.FIRST_COMPLETED)
            await self._stop()
        finally:
            self._kill_all()
            for task in (keeper, watch, *self._tasks):
                task.cancel()
            results = await asyncio.gather(keeper, watch, *self._tasks, return_exceptions=True)
            await local.close()
            await health.close()
            self._tidy()
        failures = [one for one in results if isinstance(one, Exception)]
        for failure in failures:
            self._log.say("failed", f"the supervisor failed: {failure!r}")
        clean = not failures and not self._killed
        self._log.say("stopped", "everything has ended" if clean else "ended, but not cleanly", killed=self._killed)
        return 0 if clean else 1

    async def _start(self) -> None:
        """Start workers, give them a head start, then start the others."""
        for worker in self._workers:
            self._spawn(worker)
        stop = self._stopping.is_set
        await self._until(lambda: stop() or all(worker.ready for worker in self._workers), HEAD_START_S)
        if not stop():
            for child in (*self._comparers, self._control):
                self._spawn(child)

    async def _stop(self) -> None:
        """Drain in order: lame duck, workers, comparers, control; what does not end is killed."""
        limits = self._limits()
        self._lame_duck = True
        if limits.lame_duck_ns and not self._skip_lame_duck:
            seconds = limits.lame_duck_ns / SECOND
            self._log.say("lame_duck", f"not ready any more; answering for {seconds:g} s, then draining")
            for worker in self._workers:
                worker.send(link.LameDuck())
            await self._until(self._hurry.is_set, seconds)
        self._draining = True
        for child in self._children:
            if child.restart is not None:
                child.restart.cancel()
        # The workers close theirs when they hear Drain; only then do new connections go elsewhere.
        self._listeners.close()
        self._log.say("draining", f"draining; in-flight requests have {limits.drain_ns / SECOND:g} s")
        await self._end(self._workers, limits.drain_ns)
        await self._end(self._comparers, LAST_DRAIN_NS)
        await self._end([self._control], LAST_DRAIN_NS)

    async def _end(self, children: Iterable[ChildState], deadline_ns: int) -> None:
        """Ask children to end; kill who has not when the deadline, or the operator's patience, is over."""
        living = [child for child in children if child.process is not None]
        for child in living:
            if not self._hurry.is_set() and not child.send(link.Drain(deadline_ns=deadline_ns)):
                child.signal(signal.SIGTERM)  # it has not introduced itself: nothing is in flight
        gone = partial(_are_gone, living)
        await self._until(lambda: gone() or self._hurry.is_set(), deadline_ns / SECOND + MARGIN_S)
        for child in living:
            if child.process is not None:
                why = "was told to stop now" if self._hurry.is_set() else "did not end within its deadline"
                self._kill(child, why)
                self._killed += 1
        await self._until(gone, MARGIN_S)

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition over the children; return anyway after so many seconds."""
        deadline = self._loop.time() + seconds
        while not is_so() and (left := deadline - self._loop.time()) > 0:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    # --- children --------------------------------------------------------------------------------------------------

    def _spawn(self, child: ChildState) -> None:
        """Start a process in an empty slot; what cannot be started counts as dead on arrival."""
        child.restart = None
        arguments = ["--state-dir", self._state.path]
        fds = [self._state.lock_fd]
        if child.role is Role.CONTROL:
            arguments += ["--config", self._config_path]
        else:
            arguments += ["--slot", str(child.slot)]
        if child.role is Role.WORKER:
            listening = self._listeners.fds(child.slot)
            arguments += [word for fd in listening for word in ("--listen-fd", str(fd))]
            fds += listening
        try:
            ours = child.begin(self._command(child.role), arguments, fds, self._now_ns())
        except OSError as error:
            child.count_death(0)
            self._log.say("start_failed", f"{child.name} cannot be started: {error}", role=child.role.value)
            self._restart_later(child)
            return
        assert child.pid is not None
        self._by_pid[child.pid] = child
        child.link = ChildLink(partial(self._hear, child, child.pid), partial(self._babble, child))
        self._keep(self._loop.create_unix_connection(partial(_itself, child.link), sock=ours), f"link of {child.name}")
        self._log.say(
            "started", f"{child.name} started as {child.pid}", role=child.role.value, slot=child.slot, pid=child.pid
        )
        self._write_children()

    def _reap(self) -> None:
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
                self._reaped(child, pid, os.waitstatus_to_exitcode(status))

    def _reaped(self, child: ChildState, pid: int, code: int) -> None:
        """Note a death, and decide about the successor."""
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        why = child.sentence or (child.ready.detail if child.ready is not None and not child.ready.ok else "")
        child.end(code, self._now_ns())
        expected = self._draining and code == 0
        self._log.say(
            "ended" if expected else "died",
            f"{child.name} ({pid}) ended with {how}" + (f": {why}" if why else ""),
            role=child.role.value,
            slot=child.slot,
            pid=pid,
            code=code,
        )
        if child.role is Role.WORKER:
            self._keeper.forget(child.slot)
        if not self._draining:
            self._restart_later(child)
        self._write_children()
        self._changed.set()

    def _restart_later(self, child: ChildState) -> None:
        pause_ns = restart_pause_ns(child.quick_deaths)
        if pause_ns:
            self._log.say(
                "crash_loop",
                f"{child.name} died {child.quick_deaths} times in a row; next start in {pause_ns / SECOND:g} s",
                role=child.role.value,
                slot=child.slot,
            )
        child.restart = self._loop.call_later(pause_ns / SECOND, self._spawn, child)

    def _kill(self, child: ChildState, why: str) -> None:
        child.sentence = f"killed because it {why}"
        self._log.say(
            "killed",
            f"{child.name} ({child.pid}) {why}; killing it",
            role=child.role.value,
            slot=child.slot,
            pid=child.pid,
        )
        child.signal(signal.SIGKILL)

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.signal(signal.SIGKILL)
                self._killed += 1
                child.process.wait()
                child.end(-signal.SIGKILL, self._now_ns())

    async def _watch(self) -> None:
        """Judge everybody four times a second."""
        last_ns = self._now_ns()
        while True:
            await asyncio.sleep(TICK_S)
            self._reap()  # a SIGCHLD may be lost while many arrive
            now_ns = self._now_ns()
            late_ns, last_ns = now_ns - last_ns - int(TICK_S * SECOND), now_ns
            if late_ns > LAG_NS:
                self._log.say(
                    "stood_still", f"the supervisor stood still for {late_ns / SECOND:.1f} s; nobody is blamed"
                )
                for child in self._children:
                    child.heard_ns = now_ns
            for child in self._children:
                if child.process is not None and not child.sentence and (why := why_to_kill(child.signs(now_ns))):
                    self._kill(child, why)

    # --- what children say -----------------------------------------------------------------------------------------

    def _hear(self, child: ChildState, pid: int, message: link.Any) -> None:
        if child.pid != pid:
            return  # last words of a predecessor must not be taken for its successor's
        child.heard_ns = self._now_ns()
        match message:
            case link.Hello():
                self._introduced(child, message)
            case link.Beat():
                child.beat = message
            case link.Ready():
                self._is_ready(child, message)
            case link.HoldsAck(revision=revision) if child.role is Role.WORKER:
                self._keeper.acknowledge(child.slot, revision)
            case link.ChangeHolds() if child.role is Role.CONTROL:
                self._keep(self._change_for(child, message), f"holds for {child.name}")
            case _:
                self._babble(child, f"{type(message).__name__} is not for the supervisor")

    def _introduced(self, child: ChildState, hello: link.Hello) -> None:
        if (hello.protocol, hello.role, hello.slot) != (link.PROTOCOL, child.role.value, child.slot):
            self._babble(child, f"it introduced itself as {hello.role} {hello.slot}, protocol {hello.protocol}")
            return
        child.hello = hello
        if child.role is not Role.COMPARER:
            child.send(self._keeper.held.message())
        if self._lame_duck and child.role is Role.WORKER:
            child.send(link.LameDuck())
        self._write_children()

    def _is_ready(self, child: ChildState, ready: link.Ready) -> None:
        child.ready = ready
        event = "ready" if ready.ok else "not_ready"
        said = ("is ready" if ready.ok else "cannot work") + (f": {ready.detail}" if ready.detail else "")
        self._log.say(event, f"{child.name} {said}", role=child.role.value, slot=child.slot)
        if child.role is Role.CONTROL:
            self._write_addresses()
        if child.role is Role.WORKER and ready.ok and not self._served:
            self._served = True
            where = ", ".join(map(text_of, self._listeners.addresses))
            self._log.say("serving", f"serving {where} from {self._config_path}; health on {self._health_text()}")
        self._changed.set()

    def _babble(self, child: ChildState, what: str) -> None:
        """Replace a child that does not speak our protocol: another version was installed beneath us."""
        if child.process is not None and not child.sentence:
            self._kill(child, f"speaks another protocol ({what})")

    async def _change_for(self, child: ChildState, change: link.ChangeHolds) -> None:
        child.send(await self._keeper.change(change))

    def _tell_holds(self, holds: link.Holds) -> list[int]:
        """Tell everybody whom holds concern; return the slots of the workers that were told."""
        self._control.send(holds)
        return [worker.slot for worker in self._workers if worker.send(holds)]

    # --- signals ---------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._log.say("hurry", f"{number.name} again: stopping now")
            self._hurry.set()
        else:
            self._log.say("stopping", f"{number.name}: stopping")
            self._skip_lame_duck = number is signal.SIGINT
            self._stopping.set()
        self._changed.set()

    def _asked_to_reload(self) -> None:
        if self._control.send(link.Reload()):
            self._log.say("reload", f"SIGHUP: control reads {self._config_path} again")
        else:
            self._log.say(
                "reload_lost", "SIGHUP: control is not running, so nothing was reloaded; repeat it when it is"
            )

    # --- what others read ------------------------------------------------------------------------------------------

    def _standing(self) -> Standing:
        now_ns = self._now_ns()
        return Standing(
            draining=self._stopping.is_set(),
            workers=tuple(
                WorkerFacts(
                    slot=worker.slot,
                    accepting=worker.beat.accepting,
                    silent_s=worker.silent_s(now_ns),
                    revision=worker.beat.revision,
                )
                for worker in self._workers
            ),
            newest_revision=max(child.beat.revision for child in (*self._workers, self._control)),
            complaints=tuple(self._complaints()),
        )

    def _complaints(self) -> list[str]:
        found = [*self._warnings]
        if self._keeper.complaint:
            found.append(self._keeper.complaint)
        for child in (self._control, *self._comparers):
            if child.ready is None:
                found.append(f"{child.name} is down")
            elif not child.ready.ok:
                found.append(f"{child.name} cannot work: {child.ready.detail}")
        return found

    def _routes(self) -> Mapping[str, bool]:
        return routes_at_rest(self._state.place("snapshot"), self._spec)

    def _limits(self) -> LimitsSpec:
        """Give the limits in force: a reload may have changed them since the start."""
        try:
            snapshot = read_snapshot(self._state.place("snapshot"))
        except SnapshotError:
            snapshot = None
        return (self._spec if snapshot is None else snapshot.config).limits

    def _health_text(self) -> str:
        return text_of(AddressSpec(host=self._spec.health.host, port=self._health_socket.getsockname()[1]))

    def _write_addresses(self) -> None:
        """Say in ``state_dir/addresses.json`` where we really listen: port 0 becomes the kernel's choice."""
        ready = self._control.ready
        admin = ready.detail if ready is not None and ready.ok else None
        listen = [text_of(address) for address in self._listeners.addresses]
        self._write_note("addresses.json", {"listen": listen, "admin": admin, "health": self._health_text()})

    def _write_children(self) -> None:
        """Say in ``state_dir/children.json`` which processes live, for people and for tests."""
        children = [
            {"role": child.role.value, "slot": child.slot, "pid": child.pid}
            for child in self._children
            if child.pid is not None
        ]
        self._write_note("children.json", {"supervisor": os.getpid(), "children": children})

    def _write_note(self, name: str, content: Mapping[str, object]) -> None:
        try:
            write_whole(self._state.place(name), json.dumps(content).encode() + b"\n", durable=False)
        except OSError as error:  # a full disk must not end the supervisor
            self._log.say("note_lost", f"{name} cannot be written: {error.strerror or error}")

    def _tidy(self) -> None:
        """Leave no note that would mislead the next reader."""
        for name in ("addresses.json", "children.json"):
            try:
                os.unlink(self._state.place(name))
            except OSError:
                continue
        self._listeners.close()
        self._state.release()

    def _keep(self, work: Coroutine[object, object, object], name: str) -> None:
        """Run something beside; its failure is logged, and ends nothing else."""
        task = self._loop.create_task(self._guard(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, name: str, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except Exception as error:
            self._log.say("task_failed", f"{name} failed: {error!r}")

    def _now_ns(self) -> int:
        return int(self._loop.time() * SECOND)


def _itself(protocol: ChildLink) -> ChildLink:
    return protocol


def _are_gone(children: Iterable[ChildState]) -> bool:
    return all(child.process is None for child in children)
