"""The control process: it decides, explains and remembers, and nobody needs it to serve a request.

Rules of this file:

1. Whatever is broken at the start (configuration, database, evidence, admin address), everything else begins; what is
   broken stands in ``degraded``.
2. The end is in order: no more calls, last tallies, last batch, files closed.
3. A task that runs for ever is begun again when it fails, and the failure is said.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import uvloop

from config.tls import TlsError
from console.admin import Admin
from console.api import Api, Handlers
from console.auth import Doorkeeper
from console.autopilot import Autopilot
from console.beginning import Beginning, BeginningError, begin, find_places, open_evidence, open_flags
from console.change import held_of
from console.commits import Caller, OvertakenError, commit, say
from console.deploys import Deploys
from console.flips import Flips
from console.gate_evidence import EvidenceReader
from console.gates import Gates
from console.holds import Holds
from console.journal import Journal, now_text
from console.keyring import Keyring
from console.neighbours import Neighbours
from console.nodes import Nodes
from console.ofrep import Ofrep
from console.openfeature import Provided
from console.peers import Peer, Peers, PeersError
from console.problem import ProblemError
from console.reading import Reading
from console.recheck import Rechecks
from console.recorder import Recorder
from console.reloads import Reloads
from console.renames import rename_holds
from console.replicas import Replicas, hear
from console.resets import Resets
from console.state import ControlState
from console.supervised import Supervisor
from console.tokens import Tokens
from console.tolerating import Tolerating
from console.views import Views, product_version
from console.watchdog import Watchdog
from console.webhooks import Webhooks, tell_of_trip
from rules.flag import Hold
from rules.rename import followed, formers_in
from shadow import link
from shadow.lines import take_stderr
from store.database import StoreError
from store.entries import Entry
from store.flags import Commit, hold_as_json
from store.notices import notices

FIRST_WORKER_S: Final = 5.0
"""How long a configuration that changed while control was away waits for a worker to try it."""

AGAIN_S: Final = 1.0
"""Between two tries to have the admin address, or to begin a failed task again."""

LAST_TALLY_S: Final = 3.0
"""How long the end waits for workers that drain without a supervisor; they exit within 5 s."""


def run(state_dir: str, config_path: str, parent_fd: int) -> int:
    """Be the control process until the supervisor or a signal ends it; the result is the exit code.

    Runs: blocks; installs signal handlers, so on the main thread only.
    """
    journal = Journal(take_stderr())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Control(state_dir, config_path, parent_fd, journal).live())
    except (BeginningError, PeersError) as error:
        journal.say("start.failed", str(error))
        return 1
    finally:
        journal.close()


class Control:
    """Lead the control process from start to end.

    Runs: on one loop; made inside it.
    """

    def __init__(self, state_dir: str, config_path: str, parent_fd: int, journal: Journal) -> None:
        self._state_dir, self._config_path, self._journal = state_dir, config_path, journal
        self._ending = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._is_orphaned = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._state: ControlState | None = None
        self._early_holds: dict[str, Hold] | None = None
        self._admin_address = ""
        self._supervisor = Supervisor(
            parent_fd,
            epoch=f"control-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            beat=self._beat,
            on_holds=self._holds_came,
            on_reload=self._reload_wanted.set,
            on_end=self._end,
        )

    async def live(self) -> int:
        """Start, serve, end.

        Raises: BeginningError and PeersError when there is nothing to serve from.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end, "SIGTERM", 0.0)
        # Ctrl-C in a terminal reaches every process; the supervisor hears it too and ends us in order.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        # The parent link first: a child that does not beat is taken for dead.
        await self._supervisor.open()
        try:
            state = await self._start()
        except BaseException as error:
            self._supervisor.ready(ok=False, detail=str(error))
            self._supervisor.close()
            raise
        try:
            await self._ending.wait()
        finally:
            await self._stop(state)
        return 0

    # --- start -----------------------------------------------------------------------------------------------------

    async def _start(self) -> ControlState:
        places = await find_places(self._state_dir, self._config_path)
        (store, remembered, flag_error), (evidence, totals, evidence_error) = await asyncio.gather(
            open_flags(places.flags), open_evidence(places.evidence, places.node)
        )
        try:
            first = await begin(self._state_dir, self._config_path, remembered)
        except BeginningError:
            for opened in (store, evidence):
                if opened is not None:
                    await opened.close()
            raise
        state = ControlState(
            state_dir=self._state_dir,
            config_path=self._config_path,
            journal=self._journal,
            spec=first.spec,
            holds={} if remembered is None else remembered.holds,
            totals=totals,
            places=places,
        )
        state.flag_store, state.flag_error = store, flag_error
        if places.node:
            state.replicas = Replicas(
                state,
                name=places.node,
                version=product_version(),
                address=lambda: self._admin_address,
                open_store=partial(open_flags, places.flags),
                reported_age=lambda: self._recorder.reported_age,
            )
        state.evidence, state.evidence_error = evidence, evidence_error
        if remembered is not None:
            state.learn(remembered)
        state.supervisor = self._supervisor
        self._recorder, self._reloads = Recorder(state), Reloads(state)
        state.gates = Gates(state, EvidenceReader(state, self._recorder))
        state.peers = Peers(
            current=state.current,
            on_worker=self._worker_came,
            on_lost=self._peer_lost,
            on_tally=self._tally_came,
            on_finding=self._recorder.find,
            on_seen=self._recorder.see,
            on_repeated=self._recorder.repeat,
            on_error=self._link_failed,
        )
        self._state = state
        await self._note_beginning(state, first)
        await state.peers.open(os.path.join(self._state_dir, "control.sock"))
        # Before Ready: whoever kills us from now on must find this configuration at the next start.
        await state.at_rest.write()
        flips, webhooks = Flips(state), Webhooks(state)
        neighbours = None if state.replicas is None else Neighbours(state)
        watchdog = Watchdog(state, Holds(state), neighbours=neighbours, on_trip=partial(tell_of_trip, webhooks))
        autopilot = Autopilot(state, flips, state.gates, webhooks)
        keyring = Keyring()
        tokens = Tokens(state, keyring)
        await tokens.refresh()
        api = Api(
            state,
            Doorkeeper(keyring),
            (
                Views(state, self._recorder, watchdog, autopilot, webhooks),
                autopilot,
                tokens,
                Nodes(state, product_version(), lambda: self._admin_address),
                Reading(state, self._recorder),
                Rechecks(state, self._recorder),
                Handlers(flips, Holds(state), Deploys(state), self._reloads, Resets(state, self._recorder)),
                Tolerating(state, self._recorder),
                Ofrep(state),
            ),
        )
        self._admin = Admin(api.app, self._journal, complaints=state.complaints, refusals=state.refusals)
        self._listen(state)
        if self._early_holds is not None:
            self._holds_came(self._early_holds)
        self._keep("recorder", self._recorder.run)
        self._keep("watchdog", watchdog.run)
        self._keep("autopilot", autopilot.run)
        self._keep("webhooks", webhooks.run)
        if state.replicas is not None:
            self._keep("replicas", state.replicas.follow)
            self._keep("notices", partial(hear, partial(notices, places.flags), state.replicas.stir, self._deaf))
            self._keep("nodes", state.replicas.live)
        if neighbours is not None:
            self._keep("neighbours", neighbours.run)
        self._keep("watch", self._reloads.watch)
        self._keep("signals", self._reload_when_asked)
        self._keep("tokens", tokens.run)
        self._keep("openfeature", Provided(state).run)
        self._keep("certificates", self._reloads.watch_certificates)
        if state.config.admin.listen.tls is not None:
            self._keep("admin certificate", partial(self._admin.renew, state.config.admin.listen.tls))
        if first.is_changed:
            self._once("first reload", self._first_reload(state))
        return state

    async def _note_beginning(self, state: ControlState, first: Beginning) -> None:
        """Tell the database and the status what this start found."""
        state.reload.at, state.reload.success_at = now_text(), time.time()
        if first.config_error:
            state.reload.ok, state.reload.error, state.reload.success_at = False, first.config_error, 0.0
            self._journal.say("config.refused", f"going on with the last good configuration: {first.config_error}")
        if first.complaint:
            state.complaints["beginning"] = first.complaint
        if state.evidence is not None:
            with suppress(StoreError):  # what new's answers say of themselves comes with the first ones
                self._recorder.remember(await state.evidence.gate_hours.newest_builds())
        if state.flag_store is None:
            self._journal.say("database.missing", state.flag_error)
            return
        try:
            if first.commit is not None and state.replicas is None:
                say(state, await state.flag_store.commit(first.commit))
                state.learn(await state.flag_store.load())
            elif first.commit is not None:
                await commit(state, first.commit, first.spec)
            if state.replicas is None:
                # Replicas count their own flips only, from zero: whoever adds the nodes up counts each once.
                state.flips = await state.flag_store.flip_counts()
        except OvertakenError:
            return  # another node was faster; the first look joins what it left
        except (StoreError, ProblemError) as error:
            self._journal.say("database.failed", str(error))
            state.complaints["beginning"] = str(error)

    def _deaf(self, why: str) -> None:
        self._journal.say("notices.lost", f"other nodes' changes are found by looking twice a second: {why}")

    def _listen(self, state: ControlState) -> None:
        """Listen for calls, or say why not and go on trying."""
        address = state.config.admin.listen
        try:
            where = self._admin_address = self._admin.open(address)
        except (OSError, TlsError) as error:
            why = (
                f"the admin address {address.host}:{address.port} cannot be listened on "
                f"({getattr(error, 'strerror', None) or error}); mend its certificate or end who has it, "
                "or change admin and restart"
            )
            state.complaints["admin"] = why
            self._supervisor.ready(ok=False, detail=why)
            self._journal.say("admin.failed", why)
            self._keep("admin address", self._listen_again)
            return
        self._supervisor.ready(ok=True, detail=where)
        self._journal.say("ready", f"admin API on {where}", revision=state.revision)

    async def _listen_again(self) -> None:
        state = self._state
        assert state is not None
        while "admin" in state.complaints:
            await asyncio.sleep(AGAIN_S)
            try:
                where = self._admin_address = self._admin.open(state.config.admin.listen)
            except (OSError, TlsError):
                continue
            del state.complaints["admin"]
            self._supervisor.ready(ok=True, detail=where)
            self._journal.say("ready", f"admin API on {where}", revision=state.revision)
        await asyncio.Event().wait()

    async def _first_reload(self, state: ControlState) -> None:
        """Take a configuration over that changed while control was away."""
        await state.peers.some_worker(FIRST_WORKER_S)
        await self._reload(Caller(actor="start", source="file"))

    # --- what others say -------------------------------------------------------------------------------------------

    def _beat(self) -> link.Beat:
        return link.Beat(accepting=True, revision=0 if self._state is None else self._state.revision)

    def _worker_came(self, peer: Peer) -> None:
        assert self._state is not None
        self._state.totals.hello(peer.hello.epoch, peer.hello.slot, time.monotonic())

    def _peer_lost(self, peer: Peer) -> None:
        assert self._state is not None
        workers = self._state.peers.workers()
        # A worker that linked again before its old link was seen to close has not gone.
        if peer.hello.role == "worker" and all(other.hello.epoch != peer.hello.epoch for other in workers):
            self._state.totals.lost(peer.hello.epoch, time.monotonic())

    def _tally_came(self, tally: link.Tally) -> None:
        assert self._state is not None
        if self._state.totals.take(tally) and tally.builds:
            assert self._recorder is not None
            self._recorder.hear(tally.builds)

    def _link_failed(self, error: Exception) -> None:
        self._journal.say("link.failed", f"a message could not be taken, its link was closed: {error!r}")

    async def _reload_when_asked(self) -> None:
        """Reload after a signal; those that come meanwhile are one more reload, which reads what is there then."""
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await self._reload(Caller(actor="SIGHUP", source="signal"))

    async def _reload(self, caller: Caller) -> None:
        try:
            await self._reloads.reload(caller)
        except ProblemError:
            return  # it stands in status, metrics and log

    def _holds_came(self, holds: dict[str, Hold]) -> None:
        """Take over what the supervisor says; what we did not ask for is noted in the audit."""
        state = self._state
        if state is None:
            self._early_holds = holds
            return
        before = state.holds
        state.formers = formers_in(holds.keys(), state.config)
        if state.formers:
            self._once("renamed holds", rename_holds(state))
        holds = followed(holds, state.config)
        changed = [
            name
            for name in sorted(before.keys() | holds.keys())
            if before.get(name) != holds.get(name) and not self._supervisor.is_asked_for(name, holds.get(name))
        ]
        state.set_holds(holds)
        state.is_told = True
        if state.replicas is not None:
            # What was held or released without control is joined with the other nodes' holds, and noted there.
            state.replicas.stir()
            return
        added, removed = [name for name in changed if name in holds], [name for name in changed if name not in holds]
        for kind, names in (("hold", added), ("release", removed)):
            if names:
                actor = holds[names[0]].actor if kind == "hold" else ""
                entry = Entry(
                    kind=kind,
                    source="local",
                    actor=actor or "local",
                    routes=tuple(names),
                    reason=holds[names[0]].reason if kind == "hold" else "",
                    at=now_text(),
                    builds=state.builds(),
                    config=state.config.digest,
                    before={name: hold_as_json(before[name]) if name in before else None for name in names},
                    after={name: hold_as_json(holds[name]) if name in holds else None for name in names},
                )
                self._journal.say(f"holds.{kind}", f"{kind} of {', '.join(names)} without control", routes=names)
                self._once("local holds", self._note_local(state, entry))

    async def _note_local(self, state: ControlState, entry: Entry) -> None:
        async with state.turn:
            try:
                change = Commit(
                    revision=state.revision,
                    entry=entry,
                    hold=held_of(state, entry.routes),
                    release=tuple(name for name in entry.routes if name not in state.holds),
                )
                await commit(state, replace(change, revision=state.revision), state.spec)
            except ProblemError:
                return  # the holds are in force; the database stands in degraded

    # --- end -------------------------------------------------------------------------------------------------------

    def _end(self, why: str, deadline_s: float) -> None:
        if not self._ending.is_set():
            self._journal.say("ending", why)
            self._is_orphaned = deadline_s > 0
            self._ending.set()

    async def _stop(self, state: ControlState) -> None:
        state.events.close()
        await self._admin.close()
        if self._is_orphaned:
            await state.peers.no_worker(LAST_TALLY_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_TALLY_S)
        await state.peers.close()
        await self._recorder.write(last=True)
        if state.replicas is not None and state.evidence is not None:
            await state.replicas.goodbye()
        await state.close()
        self._supervisor.close()
        self._journal.say("ended", "control has ended")

    def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; a failure is said."""
        task = asyncio.get_running_loop().create_task(self._bordered(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bordered(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # the border of a task: nothing that it does may end the process
            self._journal.say("task.failed", f"{name} failed: {error!r}")

    def _keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something for ever."""

        async def again() -> None:
            while True:
                await self._bordered(name, work())
                await asyncio.sleep(AGAIN_S)

        self._once(name, again())
