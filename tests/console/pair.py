"""Two nodes over one file: control's memory twice, without processes around it and without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from config.spec import ConfigSpec, RouteSpec
from console.beginning import Places
from console.builds import Word
from console.commits import Caller
from console.flips import Flips
from console.gates import Gates
from console.holds import Holds, RollbackAsk
from console.journal import Journal
from console.peers import Peers
from console.replicas import Replicas
from console.state import ControlState
from console.totals import Totals
from rules.flag import Hold, Stage
from rules.gate import GateEvidence
from rules.snapshot import SnapshotSpec
from shadow import link
from shadow.lines import Lines
from store.database import StoreError
from store.flags import FlagStore

OPS = Caller(actor="ops")


class Supervisor:
    """Keep holds as the supervisor does, and say yes."""

    def __init__(self) -> None:
        self.held: dict[str, Hold] = {}

    async def change(self, *, add: Iterable[Hold] = (), remove: Iterable[str] = ()) -> link.HoldsChanged:
        """Add and remove holds."""
        added, removed = list(add), list(remove)
        self.held = {name: hold for name, hold in self.held.items() if name not in removed}
        self.held |= {hold.route: hold for hold in added}
        return link.HoldsChanged(request="", ok=True, routes=[*(hold.route for hold in added), *removed])


class Unread:
    """Be evidence that cannot be read: every gate that is asked is inconclusive."""

    def current_build(self, _route: str) -> str:
        """Name no build."""
        return ""

    def current_basis(self, _route: str) -> str:
        """Name no basis."""
        return ""

    async def ask_build(self, _route: RouteSpec, _heard_s: float) -> Word:
        """Ask nobody."""
        return Word()

    async def gate_evidences(self, _route: str, _build: str, _sinces: Sequence[float]) -> list[GateEvidence]:
        """Fail."""
        raise StoreError("nobody kept it")

    async def client_classes(self, _route: str, _since: float) -> Mapping[tuple[str, str], int]:
        """Fail."""
        raise StoreError("nobody kept it")

    async def requests(self, _route: str, _since: float) -> tuple[int, int]:
        """Fail."""
        raise StoreError("nobody kept it")


class Node:
    """Be control's memory on one node, without processes around it."""

    def __init__(self, name: str, directory: Path, journal: Journal, spec: ConfigSpec, *, gated: bool) -> None:
        state_dir = directory / name
        state_dir.mkdir()
        self.path = str(directory / "flags.db")
        routes = spec.routes if gated else tuple(replace(one, gate=None) for one in spec.routes)
        spec = replace(spec, workers=0, routes=routes)
        self.state = ControlState(
            state_dir=str(state_dir),
            config_path="",
            journal=journal,
            spec=SnapshotSpec(revision=1, config=spec, flags={}),
            holds={},
            totals=Totals(),
            places=Places(flags=self.path, evidence="", node=name),
        )
        self.state.gates = Gates(self.state, Unread())
        self.state.peers = Peers(
            current=self.state.current,
            on_worker=lambda _: None,
            on_lost=lambda _: None,
            on_tally=lambda _: None,
            on_finding=lambda _: None,
            on_seen=lambda _: None,
            on_repeated=lambda _: None,
            on_error=lambda _: None,
        )
        self.supervisor = Supervisor()
        self.state.supervisor = self.supervisor  # type: ignore[assignment]  # what it is asked for is one method
        self.state.is_told = True
        self.replicas = self.state.replicas = Replicas(
            self.state,
            name=name,
            version="1",
            address=lambda: f"127.0.0.1:{ord(name)}",
            open_store=self._open,
            reported_age=lambda: self.reported_age_s,
        )
        self.flips, self.holds = Flips(self.state), Holds(self.state)
        self.is_cut = False
        self.reported_age_s = 0.0
        """How old it says that its last report to the evidence is."""

    async def _open(self) -> tuple[FlagStore | None, None, str]:
        return (None, None, "cut off") if self.is_cut else (await FlagStore.open(self.path), None, "")

    async def cut(self) -> None:
        """Lose the database."""
        self.is_cut = True
        assert self.state.flag_store is not None
        await self.state.flag_store.close()
        self.state.flag_store = None
        await self.replicas.look()

    async def heal(self) -> None:
        """Find the database again, by looking and by speaking: either may have failed while it was away."""
        self.is_cut = False
        await self.replicas.look()
        await self.replicas.beat()

    def stage(self, name: str = "orders") -> Stage:
        """Say where a route stands here."""
        return self.state.flag(self.state.route(name)).stage

    async def rollback(self, name: str = "orders") -> dict[str, object]:
        """Roll one route back here."""
        answer = await self.holds.rollback(self.holds.choose(name), RollbackAsk(anyway=True), OPS)
        return answer.body


@asynccontextmanager
async def pair(
    directory: Path, first: ConfigSpec, second: ConfigSpec | None = None, *, gated: bool = False
) -> AsyncIterator[tuple[Node, Node]]:
    """Run two nodes, a and b, over one database; the first one begins it. Both log to ``log`` in the directory."""
    async with joining(directory, first, second, names="ab", gated=gated) as (one, two):
        yield one, two


@asynccontextmanager
async def joining(
    directory: Path, first: ConfigSpec, second: ConfigSpec | None = None, *, names: str = "cd", gated: bool = False
) -> AsyncIterator[tuple[Node, Node]]:
    """Run two more nodes over the database of a directory."""
    out = (directory / "log").open("ab")
    journal = Journal(Lines(out.fileno()))
    one = Node(names[0], directory, journal, first, gated=gated)
    two = Node(names[1], directory, journal, second or first, gated=gated)
    try:
        for node in (one, two, one):
            await node.replicas.look()
            await node.replicas.beat()
        yield one, two
    finally:
        for node in (one, two):
            await node.state.close()
        journal.close()
        out.close()
