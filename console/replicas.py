"""One truth on every replica: follow the database, tell it what it lacks, and be seen by the other nodes.

Several nodes share one PostgreSQL. What is in it is the truth; what a node has in memory, in its workers and on its
disk is the newest truth that it has read, joined with its own configuration (:mod:`console.truth`).

Rules of this file:

1. A notice of the database says that something changed, never what; a look every :data:`POLL_S` finds what no notice
   told. Both end in the same reading, so a lost notice costs time and nothing else.
2. What is read is taken over under ``turn``, and only if it is newer than what is known here.
3. Without the database everything goes on as it is; holds that were made meanwhile are brought to it afterwards.
4. Who believes to lead stops believing it before anybody else may begin: the lease is counted from before it was
   asked for, by a clock that goes on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

from config.errors import MatapaloError
from console.change import entry_for, listed
from console.commits import Caller, OvertakenError, commit, say
from console.epochs import joined_records
from console.problem import ProblemError
from console.renames import rename_holds
from console.shapes import held_as_json
from console.state import ControlState, Pushed
from console.supervised import SupervisorError
from console.truth import HoldPlan, Joined, announcement, join, plan_holds, start_commit, tidied
from rules.flag import Hold, flag_as_json
from store.database import StoreError
from store.flags import Commit, FlagStore, Remembered, StaleRevisionError, hold_as_json
from store.nodes import LEASE_S, SKEW_S, Beat, NodeSeen, NodeStore
from store.renames import forgotten, with_difference

POLL_S: Final = 0.5
"""Between two looks when no notice comes."""

BEAT_S: Final = 1.0
"""How often a node says that it lives; silent for five of them it is away."""

AGAIN_S: Final = 1.0
"""Between two tries to reach the database or to hear its notices."""

MARGIN_S: Final = 1.0
"""How much earlier than the database a leader thinks that its lease has ended."""

REACH_S: Final = 0.3
"""How long an answer waits for other nodes to say that they serve the new revision: the bar for three nodes."""

TIDY_S: Final = 60.0
"""How long every node must have had one configuration before flags that it lacks are forgotten."""

GONE: Final = "(gone)"
"""Stands in the evidence for all nodes that are no longer listed; no machine has such a name."""

TRIES: Final = 10


class Replicas:
    """Keep this node at the truth that it shares with others.

    Runs: :meth:`follow`, :meth:`listen` and :meth:`live` as one task each, on control's loop.
    """

    def __init__(
        self,
        state: ControlState,
        *,
        name: str,
        version: str,
        address: Callable[[], str],
        open_store: Callable[[], Awaitable[tuple[FlagStore | None, Remembered | None, str]]],
        reported_age: Callable[[], float | None],
    ) -> None:
        """Make one that does nothing yet.

        Shape: *reported_age* says how old the last report to the evidence is; ``None``: there is no evidence.
        """
        self.name = name
        self._failures: dict[str, str] = {}
        """Why the database cannot be used, by what found it: a look, which reads, or a beat, which writes."""
        self.nodes: tuple[NodeSeen, ...] = ()
        """Every node as it was seen last, also while the database is away."""
        self.leader = ""
        self._state, self._open_store, self._address = state, open_store, address
        self._version, self._reported_age = version, reported_age
        self._started_at = time.time()
        self._news = asyncio.Event()
        self._loading, self._beating = asyncio.Lock(), asyncio.Lock()
        self._is_announced = False
        self._beats = 0
        self._leads_until = float("-inf")
        self._tidy_since: dict[str, float] = {}
        self._said = ""
        self._folded_at = time.monotonic()
        self._gone_before: set[str] = set()

    @property
    def is_leader(self) -> bool:
        """Say whether this node leads; never two do at once."""
        return _clock() < self._leads_until

    @property
    def away(self) -> str:
        """Say why the database cannot be used; empty: it can, as far as is known."""
        return next(iter(self._failures.values()), "")

    @property
    def others(self) -> tuple[NodeSeen, ...]:
        """Name the other nodes, as they were seen last."""
        return tuple(node for node in self.nodes if node.name != self.name)

    # --- the truth -------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Have a look soon."""
        self._news.set()

    async def follow(self) -> None:
        """Look at the database for ever, whenever there is news and twice a second.

        Runs: as one task, until cancelled.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()
            self._news.clear()
            await self.look()

    async def look(self) -> None:
        """Look once, and take over what is new; a database that is away is noted."""
        state = self._state
        try:
            if state.flag_store is None:
                await self._open()
            if state.flag_store is None:
                return
            position = await state.flag_store.position()
            if not state.knows(position):
                await self.catch_up()
            self._found("look")
            if not self._is_announced:
                await self._announce(state.flag_store)
            await self._settle_holds()
        except StoreError as error:
            self._lost("look", error)
        except (ProblemError, OvertakenError, SupervisorError) as error:
            self._say(f"the holds of this node and of the others could not be joined: {error}")

    async def catch_up(self) -> None:
        """Read the truth and take it over, if it is newer than what is known here.

        Raises: StoreError.
        """
        state = self._state
        async with self._loading:
            for _ in range(TRIES):
                store = state.flag_store
                if store is None:
                    raise StoreError(state.flag_error)
                truth = await store.load()
                async with state.turn:
                    # We may have written while we read; only a database that went back has an older truth still.
                    if truth.number < state.position and (await store.position()).number >= state.position:
                        continue
                    if await self._take(store, truth):
                        return
            raise StoreError(f"other nodes changed the truth {TRIES} times while it was read; try again")

    async def _take(self, store: FlagStore, truth: Remembered) -> bool:
        """Make a truth that was read the one in force here; ``False``: it is old already.

        Raises: StoreError.
        """
        state = self._state
        went_back = not await store.has(state.base)
        joined = join(state.config, truth, state.spec, went_back=went_back)
        if joined.is_news:
            change = start_commit(joined, truth)
            try:
                written = await store.commit(change)
            except StaleRevisionError:
                return False
            say(state, written)
            truth = replace(
                joined.truth,
                number=written[-1].id,
                head=written[-1].hash,
                flags={**joined.truth.flags, **joined.offered},
            )
        if went_back:
            self._went_back(joined)
        is_new = joined.spec != state.spec
        pushed = state.adopt(joined.spec)
        state.learn(truth)
        self._complain("truth", joined.complaint)
        if is_new:
            state.journal.say("truth.taken", f"revision {state.revision} is in force", position=truth.number)
            state.start(self._tell(pushed), "tell the nodes")
        return True

    def _went_back(self, joined: Joined) -> None:
        """Say, until this node starts again, that acknowledged changes are lost."""
        state, flags = self._state, joined.spec.flags
        moved = [name for name, flag in state.spec.flags.items() if flags.get(name, flag) != flag]
        said = (
            f"the database no longer has what it had up to a-{state.position} ({state.head[:12]}), as after a failover "
            f"or a restored backup; what it has rules, and moved {listed(moved) or 'no route'}: look at the audit, and "
            "make again what was right"
        )
        state.journal.say("database.went_back", said, routes=moved)
        self._complain("database went back", said)

    async def _announce(self, store: FlagStore) -> None:
        """Put into the audit, once per start, with which configuration this node began, unless that is no news.

        Raises: StoreError.
        """
        state = self._state
        async with state.turn:
            change = announcement(state.config, await store.load(), self.name)
            if change is not None:
                try:
                    await commit(state, change, state.spec)
                except (ProblemError, OvertakenError):
                    return  # the next look tries again, on what is there then
        self._is_announced = True

    async def _tell(self, pushed: Pushed) -> None:
        """Say that our workers serve what was pushed, as soon as they do."""
        await self._state.settled(pushed)
        await self.beat()

    async def _open(self) -> None:
        """Open a database that could not be opened before.

        Raises: StoreError.
        """
        store, _, error = await self._open_store()
        if store is None:
            self._state.flag_error = error
            raise StoreError(error)
        self._state.flag_store = store

    def _found(self, way: str) -> None:
        if self._failures.pop(way, "") and not self._failures:
            self._state.journal.say("database.back", "the database answers again")

    def _lost(self, way: str, error: Exception) -> None:
        if not self._failures:
            self._state.journal.say("database.away", f"going on with revision {self._state.revision}: {error}")
        self._failures[way] = str(error)

    def _say(self, sentence: str) -> None:
        """Note a failure once, not twice a second."""
        if sentence != self._said:
            self._said = sentence
            self._state.journal.say("replicas.failed", sentence)

    def _complain(self, topic: str, sentence: str) -> None:
        if sentence:
            self._state.complaints[topic] = sentence
        else:
            self._state.complaints.pop(topic, None)

    # --- holds -----------------------------------------------------------------------------------------------------

    async def _settle_holds(self) -> None:
        """Join the holds of this node with those of the database.

        Raises: SupervisorError; ProblemError when the database cannot be told.
        """
        state = self._state
        if not state.is_told:
            return
        await rename_holds(state)
        routes = {route.name for route in state.config.routes if route.legacy is not None} - state.in_change.keys()
        plan = plan_holds(state.holds, state.written, state.heard, routes)
        if not plan:
            return
        if plan.add or plan.remove:
            await self._obey(plan)
        if plan.bring:
            await self._bring(plan.bring)

    async def _obey(self, plan: HoldPlan) -> None:
        """Put in force here what other nodes hold, and let go what they released."""
        state = self._state
        if state.supervisor is None:
            return
        changed = await state.supervisor.change(add=plan.add, remove=plan.remove)
        gone = set(plan.remove)
        state.set_holds(
            {name: hold for name, hold in state.holds.items() if name not in gone}
            | {hold.route: hold for hold in plan.add}
        )
        state.journal.say(
            "holds.followed",
            f"held as on other nodes: {listed(hold.route for hold in plan.add) or 'none'}; "
            f"released as there: {listed(plan.remove) or 'none'}",
            missing=list(changed.missing),
        )

    async def _bring(self, holds: tuple[Hold, ...]) -> None:
        """Tell the database, and with it every node, what is held here only."""
        state = self._state
        names = tuple(hold.route for hold in holds)
        caller = Caller(actor=holds[0].actor or "local", source="local")
        entry = replace(
            entry_for("hold", names, holds[0].reason, caller, state),
            before={hold.route: held_as_json(state.written.get(hold.route)) for hold in holds},
            after={hold.route: hold_as_json(hold) for hold in holds},
        )
        async with state.turn:
            await commit(state, Commit(revision=state.revision, entry=entry, hold=holds), state.spec)
        state.journal.say("holds.brought", f"every node hears of the hold of {listed(names)}", routes=names)

    # --- the other nodes -------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """Say every second that this node lives, and take the lead if it is free.

        Runs: as one task, until cancelled.
        """
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Speak once; a database that is away hears it later."""
        store = self._state.flag_store
        if store is None:
            return
        async with self._beating:
            asked = _clock()
            try:
                beat = await NodeStore(store.database).beat(self._self())
            except StoreError as error:
                self._lost("beat", error)
                return
            self._found("beat")
            self._leads_until = asked + LEASE_S - MARGIN_S if beat.leads else float("-inf")
            self.nodes, self.leader = beat.nodes, beat.leader
            self._look_around(beat)
            self._beats += 1
        if beat.leads:
            await self._tidy(store)
            await self._fold_gone()

    async def reached(self, revision: int) -> tuple[NodeSeen, ...]:
        """Give every other node, those that live after they had the time to serve a revision.

        Bound: :data:`REACH_S`; a node that has not said so by then is shown with what it serves.
        """
        store, deadline = self._state.flag_store, time.monotonic() + REACH_S
        while store is not None and self.others:
            try:
                async with asyncio.timeout(REACH_S):
                    found = await NodeStore(store.database).list()
            except (StoreError, TimeoutError):
                break
            others = tuple(node for node in found if node.name != self.name)
            if time.monotonic() > deadline or all(node.is_away or node.serves(revision) for node in others):
                return others
            await asyncio.sleep(0.02)
        return self.others

    async def goodbye(self) -> None:
        """Leave the list in order: everything that was counted here is reported."""
        store = self._state.flag_store
        if store is not None:
            with contextlib.suppress(StoreError):
                await NodeStore(store.database).forget(self.name, goodbye=True)

    def _self(self) -> NodeSeen:
        state = self._state
        return NodeSeen(
            name=self.name,
            address=self._address(),
            version=self._version,
            started_at=self._started_at,
            revision=state.revision,
            config=state.config.digest,
            workers=state.worker_revisions(),
            reported_age_s=self._reported_age(),
        )

    def _look_around(self, beat: Beat) -> None:
        """Say what is not as it should be among the nodes."""
        digest = self._state.config.digest
        away = [f"{node.name} ({node.age_s:.0f} s)" for node in self.others if node.is_away]
        drift = [node.name for node in self.others if not node.is_away and node.config != digest]
        self._complain(
            "nodes",
            f"silent nodes: {listed(away)}; start them, or `matapalo nodes --forget NAME` for one that is gone for good"
            if away
            else "",
        )
        self._complain(
            "nodes drift",
            f"node {listed(drift)} runs another configuration than this one ({digest[:12]}); "
            "give all the same file and reload"
            if drift
            else "",
        )
        way = "ahead of" if beat.ahead_s > 0 else "behind"
        self._complain(
            "nodes clock",
            f"this machine's clock is {abs(beat.ahead_s):.0f} s {way} the database's: times in audit and evidence are "
            "wrong; let both follow a time server"
            if abs(beat.ahead_s) > SKEW_S
            else "",
        )
        former = beat.former
        is_twice = bool(self._beats and former is not None and former.started_at != self._started_at)
        self._complain(
            "nodes twice",
            f"another node calls itself {self.name}, too; give each its own name with `node`" if is_twice else "",
        )
        for name in beat.forgotten:
            self._state.journal.say("nodes.forgotten", f"node {name} was silent for too long")

    async def _fold_gone(self) -> None:
        """Join what nodes counted that are no longer listed into one: names that never come back must not add up."""
        evidence, now = self._state.evidence, time.monotonic()
        if evidence is None or now - self._folded_at < TIDY_S:
            return
        self._folded_at = now
        try:
            gone = await evidence.nodes() - {node.name for node in self.nodes} - {"", GONE}
            for name in sorted(gone & self._gone_before):
                await evidence.fold(name, GONE, joined_records)
            self._gone_before = gone
        except (StoreError, ValueError) as error:  # ValueError: what another version wrote
            self._say(f"what former nodes counted could not be joined: {error}")

    async def _tidy(self, store: FlagStore) -> None:
        """Forget the flags that no node's configuration has had for a while, and what else was decided about them."""
        state, now = self._state, time.monotonic()
        gone = tidied(state.config.digest, state.foreign, self.nodes)
        self._tidy_since = {name: self._tidy_since.get(name, now) for name in gone}
        due = tuple(name for name, since in self._tidy_since.items() if now - since >= TIDY_S)
        if not due:
            return
        async with state.turn:
            flags = {name: flag_as_json(state.foreign[name]) for name in due if name in state.foreign}
            caller = Caller(actor="matapalo", source="file")
            entry = replace(
                entry_for("reload", due, "no node's configuration has these routes any more", caller, state),
                before={"flags": flags},
                after={"flags": {}},
            )
            change = Commit(revision=state.revision, entry=entry, base=state.base, drop_flags=tuple(flags))
            known = state.remembered()
            change = with_difference(change, known, forgotten(known, state.config, due))
            try:
                # Past commit, which would call it known: we read it back like everybody else.
                say(state, await store.commit(change))
            except StoreError:
                return  # another node was faster, or the database is away: the next beat tries again
        self._news.set()


def _clock() -> float:
    """Give seconds of a clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


async def hear(notices: Callable[[], AsyncIterator[str]], stir: Callable[[], None], say: Callable[[str], None]) -> None:
    """Stir with each notice, connecting again for ever; the looks twice a second bridge the gaps.

    Runs: as one task, until cancelled.
    """
    said = ""
    while True:
        try:
            async for _ in notices():
                said = ""
                stir()
        except MatapaloError as error:
            if str(error) != said:
                said = str(error)
                say(said)
        await asyncio.sleep(AGAIN_S)
