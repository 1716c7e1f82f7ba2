"""Everything that control knows at one moment, and how the workers and the disk come to have it.

Rules of this file:

1. Whoever changes flags, switches or configuration holds ``turn``; waiting for workers happens after it is given back.
2. Flags, switches, tolerances and configuration are one snapshot: it is replaced whole, by :meth:`ControlState.adopt`,
   after the database said yes (:mod:`console.commits`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from config.errors import MatapaloError
from config.spec import ConfigSpec, RouteSpec
from console.atrest import AtRest
from console.events import Events
from console.journal import Journal, now_text
from console.peers import Peer, Peers, Spread
from console.problem import unknown
from console.sealing import Sealing
from console.totals import Totals
from rules.flag import Flag, Hold
from rules.rename import followed, formers_in
from rules.snapshot import Snapshot, SnapshotError, SnapshotSpec, build, encode
from rules.stage import initial_flag
from store.database import StoreError
from store.evidence import EvidenceStore
from store.flags import Base, Deploy, FlagStore, Position, Remembered
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

CLOSE_S: Final = 5.0
"""How long an end waits for changes that are under way."""


@dataclass(slots=True, kw_only=True)
class ReloadState:
    """Hold how the last reading of the configuration went."""

    ok: bool = True
    at: str = ""
    error: str | None = None
    success_at: float = 0.0


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
        self.build_questions: Counter[tuple[str, str]] = Counter()
        """(route, outcome) to how often new was asked which build it is since this process began."""
        self.reload = ReloadState()
        self.turn = asyncio.Lock()
        self.flag_store: FlagStore | None = None
        self.flag_error = "the database is not open yet"
        self.evidence: EvidenceStore | None = None
        self.evidence_error = "the evidence is not open yet"
        self.complaints: dict[str, str] = {}
        """Further reasons of ``degraded``, by topic."""
        self.flips: dict[tuple[str, str], int] = {}
        """(route, source) to flips, as the audit counts them."""
        self.renewals: Counter[str] = Counter()
        """Replaced files of TLS since this process began: ``taken`` over, or ``refused``."""
        self.events = Events()
        self.refusals: Counter[str] = Counter()
        """Kind of problem to how often the admin API did not let somebody in since this process began."""
        self.holds = followed(holds, spec.config)
        self.formers: dict[str, str] = {}
        """Former to present name of routes that the supervisor holds by the former one (:mod:`console.renames`)."""
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
        """Set when another node or a reload changed something; the keyring waits for it, and clears it."""
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
        self.at_rest = AtRest(state_dir, journal, lambda: self._raw)
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
        """Take over the holds that the supervisor has, under the names that routes have now."""
        holds = followed(holds, self.config)
        if self.holds != holds:
            self.events.tell("holds", {"routes": sorted(holds)})
        self.holds = holds
        self._outdate()

    def remembered(self) -> Remembered:
        """Say in the database's form what is in force here."""
        shared = self.replicas is not None
        return Remembered(
            revision=self.revision,
            flags={**self.foreign, **self._spec.flags},
            holds={**self.written, **self.holds} if shared else self.holds,
            copying_off=frozenset(self._spec.copying_off),
            tolerate=self._spec.tolerate,
            notes=dict(self.notes),
        )

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

    def knows(self, position: Position) -> bool:
        """Say whether all of this is true at a position of the database."""
        return position.base == self.base

    def adopt(self, spec: SnapshotSpec) -> Pushed:
        """Make a snapshot the current one and push it to every worker."""
        if spec != self._spec:
            known = {**self.foreign, **self._spec.flags}
            self.foreign = {} if self.replicas is None else {n: f for n, f in known.items() if n not in spec.flags}
            if spec.config.admin != self._spec.config.admin:
                self.learned.set()
            self._spec, self._raw = spec, encode(spec)
            self.formers |= formers_in(self.holds, spec.config)
            self.set_holds(self.holds)
            self._outdate()
            self.peers.push(spec.revision, self._raw)
            self.start(self.at_rest.write(), "snapshot")
            self.events.tell("revision", {"revision": spec.revision})
        return Pushed(revision=self.revision, peers=tuple(self.peers.workers()))

    async def settled(self, pushed: Pushed) -> Spread:
        """Wait until what was pushed is acknowledged and at rest on the disk, each within its deadline.

        A configured worker that is not linked, because control or it has just started, may be serving already:
        it is waited for, too. One that stays away begins with what lies on the disk.
        """
        spread, _ = await asyncio.gather(self._spread(pushed), self.at_rest.write())
        return spread

    async def _spread(self, pushed: Pushed) -> Spread:
        absent = set(range(self._spec.config.workers)) - {peer.hello.slot for peer in pushed.peers}
        late = await self.peers.joined(absent, ABSENT_S) if absent else []
        return await self.peers.spread(pushed.revision, (*pushed.peers, *late), ACK_S)

    def start(self, work: Coroutine[Any, Any, T], name: str = "change") -> asyncio.Task[T]:
        """Run something beside the caller; :meth:`close` waits for it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        """Wait for what is under way, then close both files."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for store in (self.flag_store, self.evidence):
            if store is not None:
                await store.close()
        self.flag_store = self.evidence = None
        self.flag_error = self.evidence_error = "Matapalo is shutting down"
        self.at_rest.close()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, MatapaloError):
            self.journal.say("task.failed", f"{task.get_name()} failed: {error!r}")
