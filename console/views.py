"""What the reading calls show: status, routes, share, explain, audit, totals, metrics."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from config.spec import RouteSpec
from config.tolerance import ends_at, joined
from console.asks import cursor_problem, limit_of
from console.autopilot import Autopilot
from console.call import Asked, Reply
from console.degraded import degraded
from console.drift import drift, of_holds
from console.epochs import sum_up
from console.journal import moment_text
from console.judged import Judged, gate_as_json, judged_as_json
from console.metrics import RouteScene, Scene, render
from console.openapi import openapi
from console.problem import ProblemError, invalid
from console.recorder import Recorder
from console.shapes import (
    Json,
    copying_as_json,
    counts_as_json,
    counts_by_route,
    deploy_as_json,
    entry_as_json,
    flip_as_json,
    match_as_json,
    new_share,
)
from console.state import ControlState
from console.stuck import stuck
from console.watchdog import Watchdog
from console.webhooks import Webhooks
from rules.explain import explain
from rules.flag import BUCKETS, Flag, Hold, flag_as_json
from rules.snapshot import EVERYWHERE, SnapshotError
from rules.stage import new_share_bp
from shadow.ranks import Rank
from store.database import StoreError
from store.entries import Entry
from store.evidence import EvidenceStore
from store.flags import FlagStore, hold_as_json
from store.gatehours import HOUR_S

DAY_HOURS: Final = 24
SIDES: Final = ("legacy", "new", "undeclared", "none")
RENDER_S: Final = 10.0

AT_ONCE: Final = 50
"""Routes that are shown before others have their turn: 2 ms, and a flip never waits for a list of a thousand."""

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_KIND_OF_SOURCE: Final = {
    "api": "manual",
    "local": "manual",
    "signal": "file",
    "watch": "file",
    "file": "file",
    "openfeature": "openfeature",
    "watchdog": "watchdog",
    "autopilot": "autopilot",
}


def product_version() -> str:
    """Say which version this is."""
    try:
        return version("matapalo")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0.0.0"


class Views:
    """Answer the reading calls from one :class:`ControlState`.

    Raises: every method ProblemError.
    """

    def __init__(
        self, state: ControlState, recorder: Recorder, watchdog: Watchdog, autopilot: Autopilot, webhooks: Webhooks
    ) -> None:
        self._state, self._recorder, self._watchdog = state, recorder, watchdog
        self._autopilot, self._webhooks = autopilot, webhooks
        self._version = product_version()

    async def metrics(self, asked: Asked) -> Reply:
        """Render one scrape, in a thread."""
        state = self._state
        flips: dict[tuple[str, str], int] = {}
        for (route, source), count in state.flips.items():
            key = (route, _KIND_OF_SOURCE.get(source, "manual"))
            flips[key] = flips.get(key, 0) + count
        watched = self._watchdog.states()
        drifting = {one["route"] for one in of_holds(state)}
        walks = {route.name: self._autopilot.walk(route) for route in state.config.routes}
        config = state.config
        tolerances = joined(*(route.tolerate for route in config.routes), config.tolerate, state.spec.tolerate)
        scene = Scene(
            version=self._version,
            records=state.totals.records(),
            last_legacy=state.totals.last_legacies(),
            routes={
                route.name: RouteScene(
                    stage=state.flag(route).stage,
                    new_share=_asked_bp(state.flag(route), state.holds.get(route.name), route) / BUCKETS,
                    held=route.name in state.holds,
                    drifts=route.name in drifting,
                    watchdog=watched.get(route.name, ""),
                    autopilot=walks[route.name][0],
                    due_at=walks[route.name][1],
                )
                for route in state.config.routes
            },
            backends=tuple(backend.name for backend in state.config.backends),
            flips=flips,
            renewals=dict(state.renewals),
            rechecks=dict(state.rechecks),
            build_questions=dict(state.build_questions),
            refusals=dict(state.refusals),
            worker_revisions={peer.hello.slot: peer.acked for peer in state.peers.workers()},
            reload_ok=state.reload.ok,
            reload_success_at=state.reload.success_at,
            divergences_open=await self._divergences_open(),
            findings_dropped=state.groups.dropped + state.repeats.dropped,
            examples_dropped=state.groups.examples_dropped,
            events_dropped=state.journal.dropped,
            listeners=state.events.listeners,
            announcements_dropped=state.events.dropped,
            degraded=len(degraded(state)),
            webhooks=dict(self._webhooks.sent),
            tolerances={(one.route or EVERYWHERE, one.id): ends_at(one) for one in tolerances},
        )
        async with asyncio.timeout(RENDER_S):
            body, content_type = await asyncio.to_thread(render, scene, asked.accept)
        return Reply(body=body, content_type=content_type)

    async def _divergences_open(self) -> dict[tuple[str, str], int]:
        """Count divergences per route of the configuration and severity; without evidence nothing is known."""
        state = self._state
        names = {route.name for route in state.config.routes}
        try:
            found = {} if state.evidence is None else await state.evidence.divergences.in_work()
        except StoreError:
            found = {}
        return {(route, Rank(rank).word): count for (route, rank), count in found.items() if route in names}

    async def status(self, _asked: Asked) -> Reply:
        """Say how this node is."""
        state = self._state
        reload, error = state.reload, state.database_error()
        workers = [
            {
                "slot": peer.hello.slot,
                "epoch": peer.hello.epoch,
                "pid": peer.hello.pid,
                "revision": peer.acked,
                "current": peer.acked == state.revision,
            }
            for peer in state.peers.workers()
        ]
        comparers = [
            {"slot": peer.hello.slot, "epoch": peer.hello.epoch, "pid": peer.hello.pid}
            for peer in state.peers.comparers()
        ]
        return Reply(
            body={
                "version": self._version,
                "revision": state.revision,
                "started_at": state.started_at,
                "pid": os.getpid(),
                "config": {
                    "file": state.config_path,
                    "digest": state.config.digest,
                    "last_reload": {"ok": reload.ok, "at": reload.at, "error": reload.error},
                },
                "database": {"ok": error is None, "error": error},
                "workers": workers,
                "comparers": comparers,
                "audit": await self._head(),
                "holds": [hold_as_json(hold) for hold in state.holds.values()],
                "copying": copying_as_json(state.spec.copying_off),
                "deploys": {name: deploy_as_json(deploys[0]) for name, deploys in sorted(state.deploys.items())},
                "forced": [
                    {"route": name, **flip_as_json(entry)}
                    for name, entry in sorted((await self._last_flips()).items())
                    if entry.forced
                ],
                "watchdog": self._watchdog.summary(),
                "drift": await drift(state),
                "stuck": stuck(state, await self._moves(), time.time()),
                "degraded": degraded(state),
            }
        )

    async def _moves(self) -> Mapping[str, Entry]:
        """Find what last moved each route; empty while the database is away, which status says."""
        store = self._state.flag_store
        try:
            return {} if store is None else await store.last_moves()
        except StoreError:
            return {}

    async def _last_flips(self) -> Mapping[str, Entry]:
        """Find the last flip of each route; status says that the database is gone, so that nobody misses them."""
        try:
            return {} if self._state.flag_store is None else await self._state.flag_store.last_flips()
        except StoreError:
            return {}

    async def routes(self, _asked: Asked) -> Reply:
        """Show all routes."""
        state = self._state
        return Reply(body={"revision": state.revision, "routes": await self._shown(state.config.routes)})

    async def route(self, asked: Asked) -> Reply:
        """Show one route."""
        return Reply(body=(await self._shown((self._state.route(asked.name),)))[0])

    async def _shown(self, routes: Sequence[RouteSpec]) -> list[Json]:
        state = self._state
        # Beside each other: where both halves of a database are stuck, people wait for one deadline.
        _, flips = await asyncio.gather(self._recorder.flush(), self._last_flips())
        shares: Mapping[str, Mapping[str, int]] = {}
        try:
            if state.evidence is not None:
                shares = await state.evidence.route_shares(int(time.time() // HOUR_S) - DAY_HOURS + 1)
        except StoreError:
            shares = {}
        records, last_legacy = await self._recorder.records(), state.totals.last_legacies()
        counts = await asyncio.to_thread(lambda: counts_by_route(sum_up(records, last_legacy)))
        judged = await state.gates.shown([route.name for route in routes])
        drifts, shown = {one["route"]: one["sentence"] for one in of_holds(state)}, []
        for number, route in enumerate(routes):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            name = route.name
            shown.append(
                self._route(route, counts.get(name, {}), shares.get(name, {}), flips.get(name))
                | {"drift": drifts.get(name)}
                | self._standing(judged[name])
            )
        return shown

    def _route(self, route: RouteSpec, counts: Mapping[str, Any], share: Mapping[str, int], flip: Entry | None) -> Json:
        state = self._state
        flag, hold = state.flag(route), state.holds.get(route.name)
        last_legacy = state.totals.last_legacy(route.name)
        off = state.spec.copying_off
        return {
            "name": route.name,
            "match": [match_as_json(match) for match in route.match],
            "legacy": route.legacy,
            "new": route.new,
            "journey": route.journey,
            "sticky": list(route.sticky),
            "parity": route.parity,
            "flag": flag_as_json(flag),
            "hold": None if hold is None else hold_as_json(hold),
            "copying": EVERYWHERE not in off and route.name not in off,
            "share": {"asked": _asked_bp(flag, hold, route) / 100, "actual": new_share(share)},
            "counts": counts_as_json(counts),
            "last_legacy": None if last_legacy is None else moment_text(last_legacy),
            "last_flip": None if flip is None else flip_as_json(flip),
        }

    async def gate(self, asked: Asked) -> Reply:
        """Show what a route's gate says, and why."""
        return Reply(body=judged_as_json(await self._state.gates.judge(asked.name)))

    async def share(self, asked: Asked) -> Reply:
        """Show who answered, hour by hour."""
        name, window_ns = asked.values["route"], asked.values["window"]
        if name is not None:
            self._state.route(name)
        await self._recorder.flush()
        hours = -(-window_ns // (HOUR_S * 10**9))
        last = int(time.time() // HOUR_S)
        try:
            found = await self._evidence().share(name, last - hours + 1)
        except StoreError as error:
            raise ProblemError("evidence", f"The evidence cannot be read: {error}.") from error
        steps, total = [], dict.fromkeys(SIDES, 0)
        for hour in range(last - hours + 1, last + 1):
            sides = {side: found.get(hour, {}).get(side, 0) for side in SIDES}
            for side, count in sides.items():
                total[side] += count
            steps.append({"at": moment_text(hour * HOUR_S), "sides": sides, "new_share": new_share(sides)})
        return Reply(
            body={
                "route": name,
                "window": f"{hours}h",
                "step_s": HOUR_S,
                "steps": steps,
                "total": {"sides": total, "new_share": new_share(total)},
            }
        )

    async def explain(self, asked: Asked) -> Reply:
        """Say how a request would be decided, and why; and how the route that it takes is."""
        values, state = asked.values, self._state
        faults = []
        if not _METHOD.fullmatch(values["method"]):
            faults.append({"where": "method", "detail": f"method is {values['method']!r}; expected a method like GET."})
        if not values["path"].startswith("/"):
            faults.append({"where": "path", "detail": f"path is {values['path']!r}; expected it to begin with /."})
        if faults:
            raise invalid(faults)  # type: ignore[arg-type]  # Fault is a dict of str
        try:
            shown = explain(
                state.snapshot(),
                values["method"],
                values["path"],
                values["header"],
                values["client_ip"],
                values["request_id"] or "",
            )
        except SnapshotError as error:
            raise ProblemError("refused", f"This process cannot decide as a worker does: {error}.") from error
        name = shown["route"]
        unknown: Json = {"gate": None, "watchdog": None, "autopilot": None}
        if name is None:
            return Reply(body={**shown, **unknown})
        return Reply(body={**shown, **self._standing((await self._state.gates.shown([name]))[name])})

    def _standing(self, judged: Judged) -> Json:
        """Show what gate, watchdog and autopilot make of a route."""
        return {
            "gate": gate_as_json(judged),
            "watchdog": self._watchdog.shown(judged.route),
            "autopilot": self._autopilot.shown(judged.route),
        }

    async def audit(self, asked: Asked) -> Reply:
        """List changes, newest first."""
        cursor, limit = asked.values["cursor"], limit_of(asked.values)
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise cursor_problem(cursor)
        try:
            found = await self._flag_store().entries(
                before=None if cursor is None else int(cursor), limit=limit + 1, route=asked.values["route"]
            )
        except StoreError as error:
            raise ProblemError("database", f"The audit cannot be read: {error}.") from error
        page = found[:limit]
        return Reply(
            body={
                "entries": [entry_as_json(entry) for entry in page],
                "next": str(page[-1].id) if len(found) > limit else None,
                "head": await self._head(),
            }
        )

    async def _head(self) -> Json | None:
        """Name the newest audit entry and its hash: kept elsewhere, they show later whether entries were cut off."""
        try:
            head = await self._flag_store().head()
        except (StoreError, ProblemError):
            return None
        return None if head is None else {"id": f"a-{head[0]}", "hash": head[1]}

    async def events(self, asked: Asked) -> Reply:
        """Tell what changes, as it changes."""
        stream = self._state.events.listen(asked.last_event, asked.may_still)
        return Reply(body={}, stream=stream, content_type="text/event-stream")

    async def totals(self, _asked: Asked) -> Reply:
        """Show the raw sums."""
        records, last_legacy = self._state.totals.records(), self._state.totals.last_legacies()
        sums = await asyncio.to_thread(sum_up, records, last_legacy)
        return Reply(
            body={
                "counts": sums.counts,
                "gauges": sums.gauges,
                "histograms": sums.histograms,
                "last_legacy": sums.last_legacy,
            }
        )

    async def openapi(self, _asked: Asked) -> Reply:
        """Show the table of calls."""
        return Reply(body=openapi(self._version))

    def _evidence(self) -> EvidenceStore:
        if self._state.evidence is None:
            raise ProblemError("evidence", f"The evidence cannot be read: {self._state.evidence_error}.")
        return self._state.evidence

    def _flag_store(self) -> FlagStore:
        if self._state.flag_store is None:
            raise ProblemError("database", f"The audit cannot be read: {self._state.flag_error}.")
        return self._state.flag_store


def _asked_bp(flag: Flag, hold: Hold | None, route: RouteSpec) -> int:
    """Say which share of the clients new answers, the hold respected."""
    return 0 if hold is not None and route.legacy is not None else new_share_bp(flag)
