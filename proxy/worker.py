"""Run one worker: sockets in, sockets out, one snapshot, nothing that could make it wait.

A worker never touches the database, never parses a body and never waits for
anybody. Everything that it needs to serve lies in its memory; control and the
comparers may die and come back without a request noticing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from math import inf
from time import monotonic
from typing import Final

import msgspec
import uvloop

from config.errors import MatapaloError
from config.forms import format_address
from config.spec import AddressSpec, LimitsSpec
from proxy import forward
from proxy.again import Question, Repeats
from proxy.answers import Budget
from proxy.applied import Applied, Lane
from proxy.circuit import Circuit
from proxy.client import ClientConnection
from proxy.controllink import ControlLink
from proxy.copies import Copy, RouteState
from proxy.departures import Departures
from proxy.descriptors import Descriptors, raise_limit
from proxy.exchange import Exchange
from proxy.handshake import Handshake
from proxy.holds import holds_at_rest
from proxy.memory import MemoryLimit
from proxy.pairs import PairLink, WaitingPair
from proxy.pool import MAX_WAITERS
from proxy.refusal import head_room
from proxy.shedding import Shedder, Signs, wanted_s
from proxy.tally import AccessLog, Counts
from proxy.tunnel import Tunnel
from rules.flag import Hold, Stage
from rules.snapshot import SnapshotSpec, decode
from shadow import link
from shadow.lines import Lines, take_stderr
from shadow.parent import ParentLink

__all__ = ["Lane", "Worker", "run"]

SWEEP_S: Final = 0.05
"""Deadlines are met within this; a timer per request would cost more than the request's parsing."""

TALLY_S: Final = 0.25
MAX_CLOSER: Final = 100
"""Copies outside the sample that control may ask for at once."""

BACKLOG: Final = 4_096
ORPHAN_DRAIN_NS: Final = 5_000_000_000
"""A worker without a supervisor ends within this: the next supervisor waits 10 s for the state directory."""

MAX_FAILURE_LINES_PER_S: Final = 20


class Worker:
    """Own everything inside one worker process."""

    def __init__(
        self,
        state_dir: str,
        slot: int,
        loop: asyncio.AbstractEventLoop,
        group: asyncio.TaskGroup,
        node: str = "",
        *,
        events: Lines | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.slot = slot
        self.node = (node or os.urandom(6).hex()).encode()
        """Who we are in ``X-Matapalo-Via``: the same in every worker of one supervisor."""
        self.via_line = forward.via_line(self.node)
        self.loop = loop
        self.epoch = f"{slot}-{os.getpid()}-{os.urandom(4).hex()}"
        self.counts = Counts()
        self.clients: set[ClientConnection] = set()
        self.departures = Departures(loop)
        self.descriptors = Descriptors()
        self.handshakes: set[Handshake] = set()
        """Connections that are not clients yet."""
        self.tunnels: set[Tunnel] = set()
        self.active: set[Exchange | Copy | Question] = set()
        """Whatever has a deadline now."""
        self.tasks = 0
        self.served = 0
        self.closing = False
        """Every answer says ``Connection: close``."""
        self.hanging_up = False
        """Connections without a request are closed."""
        self.accepting = False
        self.applied: Applied
        self.access_log: AccessLog | None = None
        self.worker_count = 1
        self.budget = Budget(LimitsSpec().copy_bytes)
        self.repeats = Repeats(self)
        self.limits = LimitsSpec()
        self.head_room = head_room(self.limits)
        """A client's head of so many bytes is within every limit."""
        self.shedder = Shedder()
        self._memory = MemoryLimit()
        self._wanted_s = wanted_s()
        self.holds_known = asyncio.Event()
        self._group = group
        self._events = events
        self._holds: list[Hold] = []
        self._holds_revision = 0
        self._id_prefix = os.urandom(8).hex().encode()
        self._ids = 0
        self._pair_sequence = 0
        self._route_states: dict[str, RouteState] = {}
        self._pair_links: list[PairLink] = []
        self._failure_lines = 0
        self._servers: list[asyncio.Server] = []
        self._drain_asked = asyncio.Event()
        self._patient_until = inf
        self._end_by = inf
        self._listening: list[str] = []
        hello = link.Hello(protocol=link.PROTOCOL, role="worker", slot=slot, epoch=self.epoch, pid=os.getpid())
        self._hello = hello
        self.control = ControlLink(os.path.join(state_dir, "control.sock"), hello, self.on_push, self.look_closer)

    # --- what a request asks of its worker -----------------------------------------------------------------------

    def connections(self) -> int:
        """Count everybody who has a place here."""
        return len(self.clients) + len(self.handshakes) + len(self.tunnels)

    def next_request_id(self) -> bytes:
        """Make a request id: unique over workers and restarts, 24 hexadecimal digits."""
        self._ids += 1
        return b"%b%08x" % (self._id_prefix, self._ids)

    def next_pair(self) -> int:
        """Number the pairs of this epoch."""
        self._pair_sequence += 1
        return self._pair_sequence

    def route_state(self, route: str) -> RouteState:
        """Give what the copies of one route share; it outlives snapshots."""
        state = self._route_states.get(route)
        if state is None:
            state = self._route_states[route] = RouteState()
        return state

    def offer_pair(self, pair: WaitingPair) -> bool:
        """Hand a pair to the comparer with the fewest waiting, or count it as dropped; tell whether it was taken."""
        links = self._pair_links
        best = links[0] if len(links) == 1 else min(links, key=lambda one: (not one.is_up, one.load), default=None)
        if best is not None and best.offer(pair):
            return True
        if pair.is_counted:
            self.counts.totals["undecided", pair.route, pair.primary, "dropped"] += 1
            if pair.on_verdict is not None:
                pair.on_verdict(None)
        return False

    def log_failure(self, exchange: Exchange, phase: str, reason: str) -> None:
        """Say on stderr why a backend failed; bounded, because a dead backend fails every request."""
        self.say_bounded(
            "upstream failed",
            route=exchange.decision.route,
            backend=exchange.lane.target.name,
            phase=phase,
            reason=reason,
            request_id=exchange.request_id.decode("latin-1"),
        )

    def say_bounded(self, event: str, **details: object) -> None:
        """Write one JSON line to stderr unless this second had its share of them already."""
        self._failure_lines += 1
        if self._failure_lines <= MAX_FAILURE_LINES_PER_S:
            self.say(event, **details)

    def say(self, event: str, **details: object) -> None:
        """Write one JSON line to stderr; see :func:`shadow.lines.take_stderr` for why that takes no time."""
        line = json.dumps({"process": "worker", "slot": self.slot, "event": event, **details}, default=str)
        sys.stderr.write(line + "\n")

    def spawn(self, name: str, coroutine: object) -> None:
        """Start a named task whose failure is logged and counted, and ends nothing else."""
        assert isinstance(coroutine, Coroutine)
        self._group.create_task(self._guard(name, coroutine), name=name)

    async def _guard(self, name: str, coroutine: Coroutine[object, object, object]) -> None:
        self.tasks += 1
        try:
            await coroutine
        except Exception as error:
            self.counts.totals["refused", "internal"] += 1
            self.say("task failed", task=name, error=repr(error))
        finally:
            self.tasks -= 1

    # --- snapshots and holds ---------------------------------------------------------------------------------------

    def load(self) -> None:
        """Serve the snapshot at rest until control pushes a newer one.

        Raises: MatapaloError or OSError if there is none that can be used.
        """
        with open(os.path.join(self.state_dir, "snapshot"), "rb") as file:
            self._apply(file.read())

    def on_push(self, revision: int, raw: bytes) -> str:
        """Swap to the pushed snapshot; return why not, or nothing."""
        try:
            self._apply(raw)
        except (MatapaloError, OSError, ValueError) as error:
            self.say("snapshot refused", revision=revision, error=str(error))
            return str(error)
        except Exception as error:  # the border of one snapshot: an error of ours must not cut the link to control
            self.counts.totals["refused", "internal"] += 1
            self.say("snapshot refused", revision=revision, error=repr(error))
            return f"an error in the worker: {error!r}"
        return ""

    def look_closer(self, copies: Mapping[str, int]) -> None:
        """Copy so many of the next requests of some routes, whatever their samples; unknown routes have none."""
        for route in copies.keys() & self._route_states.keys():
            self._route_states[route].closer = min(copies[route], MAX_CLOSER)

    def _apply(self, raw: bytes) -> None:
        applied = self._compile(decode(raw))
        for state in self._route_states.values():
            state.closer = 0  # asked for under other flags, which may have wanted copies where these want none
        self._swap(applied)

    def _compile(self, spec: SnapshotSpec) -> Applied:
        return Applied(
            spec,
            self._holds,
            previous=self._previous(),
            counts=self.counts,
            states=self.route_state,
            loop=self.loop,
            spawn=self.spawn,
            circuit_changed=self._circuit_changed,
        )

    def _previous(self) -> Applied | None:
        return getattr(self, "applied", None)

    def _swap(self, applied: Applied) -> None:
        previous = self._previous()
        self.applied = applied
        config = applied.spec.config
        for name, lane in previous.lanes.items() if previous is not None else ():
            if name not in applied.lanes or applied.lanes[name].circuit is not lane.circuit:
                self.counts.gauges.pop(("circuit_open", name), None)
        if previous is not None and previous.networks != applied.networks:
            for client in self.clients:
                client.peer = client.peer.under(applied.networks)
        self.limits = config.limits
        self.head_room = head_room(config.limits)
        self.budget.limit = config.limits.copy_bytes
        self.worker_count = config.workers
        if previous is not None:
            kept = applied.pools()
            for pool in previous.pools():
                if pool not in kept:
                    pool.retire()
        while len(self._pair_links) < config.comparers:
            path = os.path.join(self.state_dir, f"pairs-{len(self._pair_links)}.sock")
            pair_link = PairLink(path, self._hello, self.counts, self.spawn)
            self._pair_links.append(pair_link)
            self.spawn(f"pairs {path}", pair_link.keep())
        if config.access_log and self.access_log is None:
            self.access_log = AccessLog(1, self.counts)
        elif not config.access_log and self.access_log is not None:
            self.access_log.close(timeout=0)  # its thread writes the rest; nobody waits for a log
            self.access_log = None
        self.close_tunnels()

    def _circuit_changed(self, circuit: Circuit) -> None:
        """Show and say that copies to a backend pause, or go on."""
        lane = self.applied.lanes.get(circuit.backend)
        if lane is None or lane.circuit is not circuit:
            return  # of a former configuration
        self.counts.gauges["circuit_open", circuit.backend] = int(circuit.is_open)
        if circuit.is_open:
            answered, failed = circuit.window()
            self.say("copies paused", backend=circuit.backend, failed=failed, of=answered + failed)
        else:
            self.say("copies resumed", backend=circuit.backend)

    def close_tunnels(self) -> None:
        """Close tunnels to new on routes that went back to legacy, unless the route keeps them."""
        if not self.tunnels:
            return
        applied = self.applied
        held = {hold.route for hold in self._holds}
        specs = {route.name: route for route in applied.spec.config.routes}
        for tunnel in list(self.tunnels):
            spec, flag = specs.get(tunnel.route), applied.spec.flags.get(tunnel.route)
            if spec is None or flag is None or spec.on_flip == "keep" or tunnel.side != "new":
                continue
            if tunnel.route in held or flag.stage in (Stage.LEGACY, Stage.SHADOW):
                tunnel.close()

    def on_parent(self, message: link.Any) -> None:
        """Hear the supervisor."""
        if type(message) is link.Holds:
            self._on_holds(message)
        elif type(message) is link.LameDuck:
            self.closing = True
        elif type(message) is link.Drain:
            self.start_drain(message.deadline_ns, message.patience_ns)

    def _on_holds(self, message: link.Holds) -> None:
        self._take_holds(message)
        self.holds_known.set()
        self.parent.send(link.HoldsAck(revision=message.revision))

    def _take_holds(self, message: link.Holds) -> None:
        self._holds = [
            Hold(route=item.route, keep_copying=item.keep_copying, reason=item.reason, actor=item.actor, at=item.at)
            for item in message.holds
        ]
        self._holds_revision = message.revision
        previous = self._previous()
        if previous is not None:
            self._swap(previous.under(self._holds))

    def _holds_without_word(self) -> None:
        """Take the holds from the disk: a supervisor that is too busy to say them has written them there first."""
        try:
            self._take_holds(holds_at_rest(os.path.join(self.state_dir, "holds")))
        except (OSError, msgspec.MsgspecError) as error:
            self.say("no word about holds within 2 s, and their file cannot be read; serving without", error=str(error))
        else:
            self.say("no word about holds within 2 s; serving with those on the disk", holds=len(self._holds))

    def start_drain(self, deadline_ns: int, patience_ns: int = 0) -> None:
        """Begin to stop; asked again, the earlier deadlines count."""
        self.closing = True
        patient_until = monotonic() + patience_ns / 1e9
        self._patient_until = min(self._patient_until, patient_until)
        self._end_by = min(self._end_by, patient_until + deadline_ns / 1e9)
        self._drain_asked.set()

    # --- life ------------------------------------------------------------------------------------------------------

    async def serve(self, parent_fd: int, listen_fds: Sequence[int]) -> None:
        """Serve until told to drain.

        Order: holds, snapshot, sockets: no request is answered by a side that an operator took away.
        """
        self.parent = ParentLink(
            parent_fd,
            "worker",
            self.slot,
            self.epoch,
            self.on_parent,
            lambda: self.start_drain(min(self.limits.drain_ns, ORPHAN_DRAIN_NS)),
            beat_state=self._beat,
        )
        await self.parent.open()
        try:
            async with asyncio.timeout(2):
                await self.holds_known.wait()
        except TimeoutError:
            self._holds_without_word()
        self.load()
        if self.descriptors.for_clients < self.limits.max_connections:
            self.say(
                "the limit of open files allows fewer clients than limits.max_connections; raise it (ulimit -n)",
                open_files=self.descriptors.limit,
                clients=self.descriptors.for_clients,
            )
        for place, (fd, identity) in enumerate(zip(listen_fds, self.applied.identities, strict=True)):
            listening = socket.socket(fileno=fd)
            listening.setblocking(False)
            protocol = partial(ClientConnection, self) if identity is None else partial(Handshake, self, place)
            self._servers.append(await self.loop.create_server(protocol, sock=listening, backlog=BACKLOG))
            host, port = listening.getsockname()[:2]
            self._listening.append(format_address(AddressSpec(host=host, port=port)))
        self.accepting = True
        # What lives now lives for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.parent.ready(ok=True)
        self.spawn("control link", self.control.keep())
        self.spawn("sweep", self._sweep())
        self.spawn("tally", self._tally())
        await self._drain_asked.wait()
        await self._drain()

    def _beat(self) -> link.Beat:
        return link.Beat(
            accepting=self.accepting and not self.closing,
            revision=self.applied.snapshot.revision if self._previous() is not None else 0,
            requests=self.served,
        )

    async def _sweep(self) -> None:
        """Enforce every deadline of this worker from one timer."""
        last_second = monotonic()
        sweeps = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            now = monotonic()
            sweeps += 1
            for item in [item for item in self.active if item.deadline < now]:
                if item in self.active:
                    self._guarded(item.expire)
            # A quiet period that would end before the next sweep ends with this one.
            quiet_s = self.limits.half_close_timeout_ns / 1e9 - SWEEP_S
            self._guarded(partial(self.departures.sweep, now, quiet_s))
            self._guarded(partial(self.repeats.sweep, now))
            if self.access_log is not None:
                self._guarded(self.access_log.flush)
            if now - last_second >= 1.0:
                self._guarded(partial(self._weigh, now - last_second, sweeps))
                last_second, sweeps = now, 0
                self._failure_lines = 0
                for client in list(self.clients):
                    self._guarded(partial(client.check, now))
                self._guarded(partial(self._tidy, now))

    def _tidy(self, now: float) -> None:
        """Do what each second asks of backends and tunnels."""
        for lane in self.applied.lanes.values():
            lane.circuit.tick()
            lane.addresses.refresh(now)
        for pool in self.applied.pools():
            pool.close_idle(now)
        idle = now - self.limits.tunnel_idle_timeout_ns / 1e9
        for tunnel in [tunnel for tunnel in self.tunnels if tunnel.last_byte < idle]:
            tunnel.close()

    def _weigh(self, elapsed_s: float, sweeps: int) -> None:
        """Look at the last second's load; copies give way first."""
        before_s, self._wanted_s = self._wanted_s, wanted_s()
        limits, shedder = self.limits, self.shedder
        waiting = max((len(lane.primary.waiters) for lane in self.applied.lanes.values()), default=0)
        signs = Signs(
            busy=(self._wanted_s - before_s) / elapsed_s,
            late_s=elapsed_s / sweeps - SWEEP_S,
            full=max(len(self.clients) / limits.max_connections, waiting / MAX_WAITERS, self._memory.used_share()),
        )
        was_whole = shedder.share == 1.0
        reason = shedder.second(signs, None if limits.shed_copies_bp is None else limits.shed_copies_bp / 10_000)
        self.counts.gauges[("shedding",)] = int(shedder.share < 1.0)
        if reason:
            self.say("copies shed", reason=reason)
        elif not was_whole and shedder.share == 1.0:
            self.say("copies made again")

    def _guarded(self, call: Callable[[], None]) -> None:
        """Run one deadline's action; a fault in one must not keep the others from being enforced."""
        try:
            call()
        except Exception as error:
            self.counts.totals["refused", "internal"] += 1
            self.say("deadline failed", error=repr(error))

    async def _tally(self) -> None:
        while True:
            await asyncio.sleep(TALLY_S)
            self.counts.gauges[("tasks",)] = self.tasks
            if self._events is not None and self._events.dropped:
                self.counts.totals["events_dropped", "worker"] = self._events.dropped
            self.counts.gauges[("connections",)] = self.connections()
            for name, identity in zip(self._listening, self.applied.identities, strict=True):
                if identity is not None:
                    self.counts.gauges["certificate_expiry", name] = identity.expires_at
            self.control.send(self.counts.tally(self.epoch))

    def _somebody_expects_more(self) -> bool:
        """Tell whether a client may still send a request that no answer has told to go elsewhere."""
        return bool(self.handshakes) or any(client.expects_more() for client in self.clients)

    async def _drain(self) -> None:
        """Stop accepting, let connections hear that they end and what is in flight finish, then cut."""
        self.accepting = False
        self.repeats.close()
        # The kernel may hold connections that are complete and not accepted yet: one more turn takes them.
        await asyncio.sleep(SWEEP_S)
        for server in self._servers:
            server.close()
        while monotonic() < self._patient_until and self._somebody_expects_more():  # noqa: ASYNC110 - as the kernel likes
            await asyncio.sleep(SWEEP_S)
        self.hanging_up = True
        while (self.clients or self.handshakes or self.tunnels or self.active) and monotonic() < self._end_by:
            now = monotonic()
            for client in list(self.clients):
                self._guarded(partial(client.check, now))
            await asyncio.sleep(SWEEP_S)
        for tunnel in list(self.tunnels):
            self._guarded(tunnel.close)
        for handshake in list(self.handshakes):
            self._guarded(handshake.transport.abort)
        for client in list(self.clients):
            self._guarded(client.abort)
        for item in list(self.active):
            self._guarded(item.expire)
        for pair_link in self._pair_links:
            pair_link.close()
        await asyncio.sleep(0)
        self.control.send(self.counts.tally(self.epoch, final=True))
        self.control.close()
        self.parent.close()
        if self.access_log is not None:
            self.access_log.close()
        for pool in self.applied.pools():
            pool.retire()
        self.departures.close()
        await asyncio.sleep(SWEEP_S)


class _Stopped(Exception):  # noqa: N818 - not an error: it ends the task group
    """The worker has drained."""


async def _main(state_dir: str, slot: int, parent_fd: int, listen_fds: Sequence[int], node: str, events: Lines) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as group:
            worker = Worker(state_dir, slot, loop, group, node, events=events)
            loop.set_exception_handler(
                lambda _, context: worker.say(
                    "callback failed", message=context.get("message"), error=repr(context.get("exception"))
                )
            )
            await worker.serve(parent_fd, listen_fds)
            raise _Stopped
    except* _Stopped:
        pass


def run(*, state_dir: str, slot: int, parent_fd: int, listen_fds: Sequence[int], node: str = "") -> int:
    """Be a worker process until the supervisor says drain; the result is the exit code.

    Shape: *node* is the name that all workers of one supervisor share; empty: this worker makes its own.
    """
    events = take_stderr()
    raise_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(state_dir, slot, parent_fd, listen_fds, node, events))
    except BaseExceptionGroup as errors:
        for error in errors.exceptions:
            sys.stderr.write(
                json.dumps({"process": "worker", "slot": slot, "event": "died", "error": repr(error)}) + "\n"
            )
        return 1
    return 0
