"""Everything that control knows at one moment, and how a change becomes true: committed, pushed, kept at rest.

Rules of this file:

1. Memory changes only after the database said yes, and in the same step as the push: no await stands between.
2. Whoever changes flags, switches or configuration holds ``turn``; waiting for workers happens after it is given back.
3. Without a database nothing that it would have to remember is changed; holds are the supervisor's and always work.
4. Where several nodes share a database, a change is planned on the newest truth or not made: :class:`OvertakenError`
   says that another node was faster, and ``console.change.on_newest_truth`` plans it again (docs/decisions/0022).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from config.errors import MatapaloError
from config.spec import ConfigSpec, RouteSpec
from console.epochs import Record
from console.events import Events
from console.journal import Journal, now_text
from console.peers import Peer, Peers, Spread
from console.problem import ProblemError, unknown
from console.sealing import Sealing
from console.totals import Totals
from rules.flag import Flag, Hold
from rules.snapshot import Snapshot, SnapshotError, SnapshotSpec, build, decode, encode
from rules.stage import initial_flag
from store.chain import GENESIS
from store.database import StoreError
from store.entries import Entry
from store.evidence import EvidenceStore
from store.flags import Base, Commit, Deploy, FlagStore, Position, Remembered, StaleRevisionError, name_of_hold
from store.groups import Groups
from store.repeats import RepeatLog

if TYPE_CHECKING:
    from console.beginning import Places
    from console.gates import Gates
    from console.replicas import Replicas
    from console.supervised import Supervisor

T = TypeVar("T")

ACK_S: Final = 2.0
"""How long a change waits for workers to acknowledge."""

ABSENT_S: Final = 0.5
"""How long a change waits for a configured worker that is not linked; a living one links anew every 0.1 s."""

WRITE_S: Final = 5.0
"""How long a change waits for ``state_dir/snapshot``."""

_WITHOUT_ROUTES: Final = {"reload": "the configuration", "start": "a node", "shadow": "all routes"}
"""What a change is about that names no route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Say who asks for a change, from where, and under which Idempotency-Key."""

    actor: str
    source: str = "api"
    address: str = ""
    """The IP address that the call came from; empty: it did not come over the network."""
    key: str | None = None
    digest: str = ""
    """Of the call, so that a key cannot stand for two different ones."""
    evidence: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    """What a part of control that flips by itself rests on; stands in the audit."""
    notes: Mapping[str, str | None] = field(default_factory=dict)
    """What it wants remembered with the change (``store.flags.Commit.remember``)."""
    forced: bool = False
    """The change goes over what a gate or the ledger says; stands in the audit for ever."""


@dataclass(slots=True, kw_only=True)
class ReloadState:
    """Hold how the last reading of the configuration went."""

    ok: bool = True
    at: str = ""
    error: str | None = None
    success_at: float = 0.0


class OvertakenError(MatapaloError):
    """Another node changed the truth since this change was planned; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Say what was pushed to whom; the answer waits for :meth:`ControlState.settled`."""

    revision: int
    peers: tuple[Peer, ...]


class ControlState:
    """Hold the configuration, flags, holds and switches that are in force, and the doors to what remembers them.

    Runs: on control's loop.
    """

    def __init__(
        self,
        *,
        state_dir: str,
        config_path: str,
        journal: Journal,
        spec: SnapshotSpec,
        holds: Mapping[str, Hold],
        totals: Totals,
        places: Places,
    ) -> None:
        self.places = places
        self.state_dir, self.config_path, self.journal = state_dir, config_path, journal
        self.started_at = now_text()
        self.totals = totals
        self.groups = Groups()
        self.sealing = Sealing(lambda: (self.config.digest, self.config.evidence.keys))
        self.repeats = RepeatLog()
        self.rechecks: Counter[tuple[str, str]] = Counter()
        """(route, side) to the requests that rechecks have sent since this process began."""
        self.reload = ReloadState()
        self.turn = asyncio.Lock()
        self.flag_store: FlagStore | None = None
        self.flag_error = "the database is not open yet"
        self.evidence: EvidenceStore | None = None
        self.evidence_error = "the evidence is not open yet"
        self.snapshot_error = ""
        self.complaints: dict[str, str] = {}
        """Further reasons of ``degraded``, by topic."""
        self.flips: dict[tuple[str, str], int] = {}
        """(route, source) to flips, as the audit counts them."""
        self.renewals: Counter[str] = Counter()
        """Replaced files of TLS since this process began: ``taken`` over, or ``refused``."""
        self.events = Events()
        self.refusals: Counter[str] = Counter()
        """Kind of problem to how often the admin API did not let somebody in since this process began."""
        self.holds = dict(holds)
        self.deploys: dict[str, tuple[Deploy, ...]] = {}
        """What each backend runs and ran, the newest first."""
        self.notes: dict[str, str] = {}
        """Small JSON values that parts of control keep in the database (``store.flags.NOTES``)."""
        self.replicas: Replicas | None = None
        """Who keeps this node and the others at one truth; ``None``: nobody else shares the database."""
        self.position = -1
        """The number of the audit entry up to which all of this is true; -1: the database was not read yet."""
        self.head = ""
        """That entry's hash."""
        self.learned = asyncio.Event()
        """Set when what another node changed is known here; the keyring waits for it, and clears it."""
        self.foreign: dict[str, Flag] = {}
        """Flags of routes that only other nodes' configurations have."""
        self.written: dict[str, Hold] = {}
        """Holds as the database has them."""
        self.heard: dict[str, frozenset[str]] = {}
        """Route to the names of the holds that were ever in the database."""
        self.in_change: Counter[str] = Counter()
        """Routes whose hold somebody is changing right now; the replicas leave them alone meanwhile."""
        self.is_told = False
        """The supervisor has said which holds are in force here."""
        self.supervisor: Supervisor | None = None
        self.peers: Peers
        self.gates: Gates
        self._spec = spec
        self._raw = encode(spec)
        self._burnt = spec.revision
        self._built: Snapshot | None = None
        self._is_stale = False
        self._written = b""
        self._writing = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "snapshot")
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def spec(self) -> SnapshotSpec:
        """Give what workers are to serve."""
        return self._spec

    @property
    def config(self) -> ConfigSpec:
        """Give the configuration in force."""
        return self._spec.config

    @property
    def revision(self) -> int:
        """Give the revision that workers are to serve."""
        return self._spec.revision

    @property
    def base(self) -> Base:
        """Name the audit entry up to which all of this is true."""
        return self.position, self.head

    @property
    def is_leader(self) -> bool:
        """Say whether this node does what only one of all nodes may do."""
        return self.replicas is None or self.replicas.is_leader

    def current(self) -> tuple[int, bytes]:
        """Give the snapshot that a worker gets when it links."""
        return self._spec.revision, self._raw

    def route(self, name: str) -> RouteSpec:
        """Find a route.

        Raises: ProblemError ``unknown-route``.
        """
        for route in self.config.routes:
            if route.name == name:
                return route
        raise unknown("route", name, (route.name for route in self.config.routes))

    def flag(self, route: RouteSpec) -> Flag:
        """Give a route's flag."""
        return self._spec.flags.get(route.name) or initial_flag(route)

    def snapshot(self) -> Snapshot:
        """Build what a worker decides with, holds joined.

        Raises: SnapshotError when it cannot be built here (an override token that only workers have).
        Cost: 40 microseconds per route, once per change.
        """
        if self._built is None or self._is_stale:
            self._built = build(self._spec, self.holds.values(), self._built, clock=time.time)
            self._is_stale = False
        return self._built

    def _outdate(self) -> None:
        """Build anew when next asked; at once where clients are pinned, because a pin ends by what was until now."""
        self._is_stale = True
        if self.config.pins:
            with suppress(SnapshotError):
                self.snapshot()

    def set_holds(self, holds: Mapping[str, Hold]) -> None:
        """Take over the holds that the supervisor has."""
        if self.holds != holds:
            self.events.tell("holds", {"routes": sorted(holds)})
        self.holds = dict(holds)
        self._outdate()

    @contextmanager
    def changing(self, routes: Iterable[str]) -> Iterator[None]:
        """Keep the replicas away from the holds of some routes while these are changed here."""
        names = list(routes)
        self.in_change.update(names)
        try:
            yield
        finally:
            self.in_change.subtract(names)
            self.in_change += Counter()  # forgets what is at zero

    def learn(self, truth: Remembered) -> None:
        """Take over what the database says beside flags, switches and tolerances, which are the snapshot's."""
        self.position, self.head = truth.number, truth.head
        self.learned.set()
        self.deploys, self.notes = dict(truth.deploys), dict(truth.notes)
        self.written, self.heard = dict(truth.holds), dict(truth.heard)
        self.foreign = {name: flag for name, flag in truth.flags.items() if name not in self._spec.flags}

    def worker_revisions(self) -> tuple[dict[str, int], ...]:
        """Say which revision each linked worker serves."""
        return tuple(
            {"slot": peer.hello.slot, "pid": peer.hello.pid, "revision": peer.acked} for peer in self.peers.workers()
        )

    def builds(self) -> dict[str, str]:
        """Name the version that each backend runs, as far as somebody said."""
        return {backend: deploys[0].version for backend, deploys in sorted(self.deploys.items()) if deploys}

    def next_revision(self) -> int:
        """Give a revision that no worker has ever seen."""
        return max(self._spec.revision, self._burnt) + 1

    def burn(self, revision: int) -> None:
        """Note that a revision was shown to a worker and then not taken."""
        self._burnt = max(self._burnt, revision)

    def degraded(self) -> list[str]:
        """Say in sentences what is not as it should be; empty: all is well."""
        reasons = [self.complaints[topic] for topic in sorted(self.complaints)]
        if (why := self.database_error()) is not None:
            reasons.append(f"flags cannot be changed: {why}")
        if self.evidence is None:
            reasons.append(f"evidence is not kept: {self.evidence_error}")
        if self.sealing.complaint:
            reasons.append(self.sealing.complaint)
        if self.snapshot_error:
            reasons.append(self.snapshot_error)
        if not self.reload.ok:
            reasons.append(f"the last configuration was not taken over: {self.reload.error}")
        workers = self.peers.workers()
        if (linked := len({peer.hello.slot for peer in workers})) < self.config.workers:
            reasons.append(f"{linked} of {self.config.workers} workers are linked to control")
        reasons += [
            f"worker {peer.hello.slot} refused revision {peer.refusal[0]}: {peer.refusal[1]}"
            for peer in workers
            if peer.refusal is not None and peer.refusal[0] >= self.revision
        ]
        return reasons + _copying_less(self.totals.records())

    def database_error(self) -> str | None:
        """Say why flags cannot be changed; ``None``: they can, as far as is known."""
        if self.flag_store is None:
            return self.flag_error
        if self.replicas is not None and self.replicas.away:
            return self.replicas.away
        try:
            self.flag_store.database.check()
        except StoreError as error:
            return str(error)
        return None

    async def commit(self, change: Commit, spec: SnapshotSpec) -> tuple[int, Pushed]:
        """Write one change durably, then make it true here and push it; returns its audit number.

        Shape: without a new revision (a hold) nothing is pushed.
        Raises: ProblemError ``database``, OvertakenError; nothing has changed then.
        Runs: under ``turn``; a caller that is cancelled leaves it whole.
        """
        return await asyncio.shield(self.start(self._commit(change, spec)))

    async def _commit(self, change: Commit, spec: SnapshotSpec) -> tuple[int, Pushed]:
        if self.flag_store is None:
            raise ProblemError("database", f"Flags cannot be changed: {self.flag_error}.")
        if self.replicas is not None and self.replicas.away:
            raise ProblemError("database", f"Flags cannot be changed: {self.replicas.away}.")
        if self.replicas is not None and _is_planned(change):
            change = replace(change, base=self.base)
        try:
            written = await self.flag_store.commit(change)
        except StaleRevisionError as error:
            raise OvertakenError(str(error)) from error
        except StoreError as error:
            self.journal.say("database.failed", str(error))
            raise ProblemError(
                "database", f"Nothing was changed: {error}. A rollback works without the database."
            ) from error
        self._note(change, written)
        for entry in written:
            self.events.tell("change", told(entry))
        self.say(written)
        return written[0].id, self.adopt(spec)

    def say(self, written: Iterable[Entry]) -> None:
        """Note changes in the log, each with its entry's hash: who keeps the log elsewhere can verify the audit by it.

        Shape: a change that could not be written has neither number nor hash.
        """
        for entry in written:
            what = ", ".join(entry.routes) or _WITHOUT_ROUTES.get(entry.kind) or ", ".join(entry.after) or "all"
            self.journal.say(
                f"change.{entry.kind}",
                f"{entry.kind} of {what} by {entry.actor}",
                audit_id=f"a-{entry.id}" if entry.id else None,
                hash=entry.hash or None,
                routes=entry.routes,
                reason=entry.reason,
            )

    def count_flips(self, entry: Entry) -> None:
        """Count what an entry did to each of its routes, by who did it, for ``flips_total``."""
        for name in entry.routes:
            self.flips[name, entry.source] = self.flips.get((name, entry.source), 0) + 1

    def _note(self, change: Commit, written: Sequence[Entry]) -> None:
        """Remember what the database knows now."""
        # Otherwise somebody else's entries stand between, or in place of those that we know: the replicas read them,
        # and ours again.
        if (written[0].id, written[0].previous) == (self.position + 1, self.head or GENESIS):
            self.position, self.head = written[-1].id, written[-1].hash
        for note, value in change.remember.items():
            if value is None:
                self.notes.pop(note, None)
            else:
                self.notes[note] = value
        for hold in change.hold:
            self.written[hold.route] = hold
            self.heard[hold.route] = self.heard.get(hold.route, frozenset()) | {name_of_hold(hold)}
        for route in change.release:
            self.written.pop(route, None)

    def knows(self, position: Position) -> bool:
        """Say whether all of this is true at a position of the database."""
        return position.base == self.base

    async def confirm(self) -> None:
        """Make sure that what an answer says without changing anything is true on every node.

        Raises: OvertakenError when another node changed something, ProblemError ``database``.
        """
        if self.replicas is None:
            return
        try:
            if self.flag_store is None:
                raise StoreError(self.flag_error)
            position = await self.flag_store.position()
        except StoreError as error:
            raise ProblemError("database", f"Whether that is so on every node is not known: {error}.") from error
        if not self.knows(position):
            raise OvertakenError("another node changed something since")

    async def catch_up(self) -> None:
        """Take over what other nodes changed.

        Raises: ProblemError ``database``.
        """
        assert self.replicas is not None, "who is alone is never overtaken"
        try:
            await self.replicas.catch_up()
        except StoreError as error:
            raise ProblemError("database", f"Nothing was changed: {error}.") from error

    def adopt(self, spec: SnapshotSpec) -> Pushed:
        """Make a snapshot the current one and push it to every worker."""
        if spec != self._spec:
            known = {**self.foreign, **self._spec.flags}
            self.foreign = {} if self.replicas is None else {n: f for n, f in known.items() if n not in spec.flags}
            self._spec, self._raw = spec, encode(spec)
            self._outdate()
            self.peers.push(spec.revision, self._raw)
            self.start(self.write_snapshot(), "snapshot")
            self.events.tell("revision", {"revision": spec.revision})
        return Pushed(revision=self.revision, peers=tuple(self.peers.workers()))

    async def settled(self, pushed: Pushed) -> Spread:
        """Wait until what was pushed is acknowledged and at rest on the disk, each within its deadline.

        A configured worker that is not linked, because control or it has just started, may be serving already:
        it is waited for, too. One that stays away begins with what lies on the disk.
        """
        spread, _ = await asyncio.gather(self._spread(pushed), self.write_snapshot())
        return spread

    async def _spread(self, pushed: Pushed) -> Spread:
        absent = set(range(self._spec.config.workers)) - {peer.hello.slot for peer in pushed.peers}
        late = await self.peers.joined(absent, ABSENT_S) if absent else []
        return await self.peers.spread(pushed.revision, (*pushed.peers, *late), ACK_S)

    async def write_snapshot(self) -> None:
        """Keep the current snapshot in ``state_dir/snapshot``, where a start finds it without control.

        A disk that refuses is noted in ``degraded``: the flags themselves are safe in the database.
        """
        try:
            async with asyncio.timeout(WRITE_S), self._writing:
                raw = self._raw
                if raw is self._written:
                    return
                path = os.path.join(self.state_dir, "snapshot")
                await asyncio.get_running_loop().run_in_executor(self._writer, _write_whole, path, raw)
                self._written = raw
                self.snapshot_error = ""
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or f"no answer within {WRITE_S:g} s"
            self.snapshot_error = (
                f"{self.state_dir}/snapshot cannot be written ({reason}); "
                "a start without control would serve an older one"
            )
            self.journal.say("snapshot.failed", self.snapshot_error)

    def start(self, work: Coroutine[Any, Any, T], name: str = "change") -> asyncio.Task[T]:
        """Run something beside the caller; :meth:`close` waits for it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        """Wait for what is under way, then close both files."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=WRITE_S)
        for store in (self.flag_store, self.evidence):
            if store is not None:
                await store.close()
        self.flag_store = self.evidence = None
        self.flag_error = self.evidence_error = "Matapalo is shutting down"
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, MatapaloError):
            self.journal.say("task.failed", f"{task.get_name()} failed: {error!r}")


def _is_planned(change: Commit) -> bool:
    """Say whether a change replaces something whole, and so rests on what was there; holds and entries only add."""
    return bool(
        change.set_flags
        or change.drop_flags
        or change.deploys
        or change.copying_off is not None
        or change.tolerate is not None
        or change.remember
    )


def told(entry: Entry) -> dict[str, object]:
    """Say of an audit entry what a listener needs to know whether it matters."""
    return {
        "id": f"a-{entry.id}",
        "kind": entry.kind,
        "routes": list(entry.routes),
        "actor": entry.actor,
        "source": entry.source,
        "reason": entry.reason,
        "forced": entry.forced,
        "at": entry.at,
    }


def read_snapshot(state_dir: str) -> SnapshotSpec | None:
    """Read ``state_dir/snapshot``; ``None``: there is none.

    Raises: SnapshotError when it cannot be read.
    """
    try:
        with open(os.path.join(state_dir, "snapshot"), "rb") as file:
            return decode(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"{state_dir}/snapshot cannot be read: {error.strerror or error}") from error


def _write_whole(path: str, raw: bytes) -> None:
    """Replace a file so that a reader, or a crash, finds the old or the new one, whole.

    Runs: in a thread; two fsyncs.
    """
    temporary = f"{path}.control.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _copying_less(records: Iterable[Record]) -> list[str]:
    """Say in sentences why workers copy less than they are asked to."""
    gauges = [record.gauges for record in records if not record.ended]
    sick = sorted({key.partition("|")[2] for held in gauges for key in held if key.startswith("circuit_open|")})
    reasons = [
        f"copies to {backend} pause: most of them got no answer; single ones find out when it is back"
        for backend in sick
    ]
    if busy := sum("shedding" in held for held in gauges):
        reasons.append(f"{busy} of {len(gauges)} workers copy less than asked: they have too much to do")
    return reasons
