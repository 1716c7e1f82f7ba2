"""Take routes back by themselves: look at each route's windows, decide, roll back, and say what was seen.

Rules of this file:

1. What is decided stands in :mod:`rules.watch`, what it is decided on in :mod:`console.watched`; here is what is done.
2. A trip is a rollback like any other (:class:`console.holds.Holds`): the hold first, by the supervisor, then flag and
   audit. So it works on this node's own counts with the database away; what could not be audited then is written when
   the database is back, as long as the hold stands, by the next control if need be.
3. A route that the watchdog holds is ``tripped`` until a person releases it; there is no second trip before that. This
   is what the hold itself says, so a restart forgets nothing.
4. A flip begins the windows anew, because before it the sides answered other shares of the same time; so does a
   release, because what the windows hold belongs to the trip before. The next look judges what came since.
5. A trip takes the whole journey back, because its routes flip together.
6. Nodes that share a database each judge their own counts and the sum of all (:mod:`console.neighbours`,
   :mod:`rules.together`), and each trip by themselves; the fastest writes the rollback, the others join it.
7. No rollback is waited for: one route that is slow to go back delays nobody else.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from config.spec import RouteSpec, WatchdogSpec
from console.change import listed
from console.commits import Caller
from console.holds import Chosen, Holds, RollbackAsk
from console.journal import now_text
from console.neighbours import Neighbours, Row, Share, basis_of
from console.problem import ProblemError
from console.shapes import Json
from console.state import ControlState
from console.watched import Latencies, past_of, window_as_json, window_of
from console.windows import Windows
from rules.flag import Flag, Hold
from rules.latency import BOUNDS_S
from rules.snapshot import EVERYWHERE
from rules.sure import SURE_S, sure
from rules.together import together
from rules.watch import Judgement, is_watched, judge, looks_closer
from rules.window import Known, Window, looks, summed, summed_past

LOOK_S: Final = 0.5
"""Between two looks; workers tally twice as often."""

CLOSER: Final = 20
"""Requests outside the sample that each worker copies between two looks at a route in doubt: ten answers of legacy
tell a failure of new by half from one of both sides. The route's `max_per_second` holds for them, too."""

BUSY: Final = 10
"""A look that takes long is followed by a rest this many times as long: the watchdog takes no tenth of a core."""

PAST_S: Final = 5.0
"""How old legacy's past may be: it is the sum of everything that was ever counted, and moves slowly."""

CALM_S: Final = 5.0
"""How old a sum over the nodes may be while none of them has seen anything amiss: there is nothing to find in it but
how much was seen. Adding up 1,000 routes of ten nodes takes 0.2 s of CPU."""

AGAIN_S: Final = 5.0
"""Between two tries to take a route back that could not be."""

NOTED_S: Final = 60.0
"""A trip's note is older than its hold by what the supervisor takes, and by no more than this."""

ACTOR: Final = "watchdog"
"""Who holds, in the holds, the audit and the log."""

NOTE: Final = "watchdog:"
"""Before a route's name, as a key of the notes: when it last tripped, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Say what was taken back, and why."""

    routes: tuple[str, ...]
    to: str
    reason: str
    at: str
    evidence: Json
    audit_id: str | None


@dataclass(slots=True)
class _Doubt:
    """Follow what one set of counts says from look to look."""

    since: float | None = None

    def judged(self, spec: WatchdogSpec, flag: Flag, share: Share, now: float, settled_s: float) -> Judgement:
        """Judge counts as sure as they are after what they said until now."""
        *looked, newest = share.windows
        suspicious_s = 0.0 if self.since is None else now - self.since
        found = judge(spec, flag, looked, known=share.known, suspicious_s=suspicious_s, bounds=BOUNDS_S)
        found = sure(spec, found, newest, looked[-1], suspicious_s=suspicious_s, settled_s=settled_s)
        if found.state == "suspicious":
            self.since = now if self.since is None else self.since
        elif not found.to:
            self.since = None
        return found


@dataclass(slots=True)
class _RouteState:
    """Follow one route from look to look."""

    judgement: Judgement = field(default_factory=lambda: Judgement(state="idle", sentence="not looked at yet"))
    window: Window | None = None
    """What was judged last: this node's, or the sum over all."""
    since: str = ""
    own: _Doubt = field(default_factory=_Doubt)
    """What this node's counts say."""
    all: _Doubt = field(default_factory=_Doubt)
    """What the sum over the nodes says."""
    total: Share | None = None
    """The sum, as it was made last; ``None``: no other node's counts were in it."""
    summed_at: float = float("-inf")
    basis: tuple[Flag, WatchdogSpec, str] | None = None
    flag: Flag | None = None
    flag_at: float = 0.0
    """Since when the flag is this one, as far as was seen."""
    was_held: bool = False
    note: str = ""
    """Of its last trip, on whatever node: another one says that it was held, if only between two looks."""

    def basis_under(self, flag: Flag, spec: WatchdogSpec) -> str:
        """Name what the counts were made under."""
        if self.basis is None or self.basis[:2] != (flag, spec):
            self.basis = flag, spec, basis_of(flag, spec)
        return self.basis[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unwritten:
    """Keep a trip whose audit entry could not be written."""

    chosen: Chosen
    ask: RollbackAsk
    caller: Caller


class Watchdog:
    """Look at every route twice a second, and take back what harms clients.

    Runs: :meth:`run` as one task on control's loop; a rollback is a task of its own.
    Bound: one rollback at a time per route or journey.
    """

    def __init__(
        self,
        state: ControlState,
        holds: Holds,
        *,
        neighbours: Neighbours | None = None,
        on_trip: Callable[[Trip], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one that has not looked yet.

        Shape: *neighbours* are what other nodes over one database see; ``None``: there are none.
        """
        self._state, self._holds, self._on_trip, self._clock = state, holds, on_trip, clock
        self._neighbours = neighbours
        self._seen_here: dict[str, tuple[str, Share]] = {}
        self._windows = Windows()
        self._latencies = Latencies()
        self._routes: dict[str, _RouteState] = {}
        self._past: Mapping[str, Known] = {}
        self._past_at = float("-inf")
        self._going: set[str] = set()
        """Routes or journeys that are being taken back."""
        self._tried_at: dict[str, float] = {}
        self._unwritten: dict[str, _Unwritten] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            began = self._clock()
            if began - self._past_at > PAST_S:
                self._past = await asyncio.to_thread(past_of, self._state.totals.records())
                self._past_at = began
            began = self._clock()
            self.look(began)
            await asyncio.sleep(max(LOOK_S, BUSY * (self._clock() - began)))

    def look(self, now: float) -> None:
        """Judge every route once, and begin to take back what has to be."""
        state = self._state
        records = state.totals.records()
        self._windows.tick(records, now)
        self._latencies.tick(records, state.config.routes, now)
        doubted: dict[str, int] = {}
        self._seen_here = {}
        for route in state.config.routes:
            seen = self._routes.setdefault(route.name, _RouteState())
            found = self._judged(route, seen, now)
            self._note(route, seen, found)
            if looks_closer(self._flag(route), found):
                doubted[route.name] = CLOSER
            if found.to:
                self._take_back(route, found, now)
        if doubted:
            state.peers.look_closer(doubted)
        if self._neighbours is not None:
            self._neighbours.see(self._seen_here)
        for name in self._routes.keys() - {route.name for route in state.config.routes}:
            del self._routes[name]
        for unit in list(self._unwritten):
            self._write_late(unit, now)

    # --- what is seen ----------------------------------------------------------------------------------------------

    def _judged(self, route: RouteSpec, seen: _RouteState, now: float) -> Judgement:
        state, spec = self._state, route.watchdog
        hold = state.holds.get(route.name)
        if hold is not None and hold.actor == ACTOR and not seen.was_held:
            self._recall(route, hold)
        note = state.notes.get(f"{NOTE}{route.name}", "")
        if hold is None and (seen.was_held or note != seen.note):
            self._begin_anew(route, seen)
        seen.was_held, seen.note = hold is not None, note
        if hold is not None and hold.actor == ACTOR:
            return Judgement(state="tripped", sentence=hold.reason)
        if spec is None:
            return Judgement(state="off", sentence="`watchdog: off`")
        if route.legacy is None:
            return Judgement(state="idle", sentence="there is no legacy side to go back to")
        if hold is not None:
            return Judgement(state="idle", sentence=f"held on legacy by {hold.actor or '?'}")
        flag = self._flag(route)
        if flag != seen.flag:
            # Before a flip the sides answered other shares of the same time: added up, a failure that both begin to
            # have would look like new's alone.
            seen.flag, seen.flag_at = flag, now
            self._begin_anew(route, seen)
        if not is_watched(flag):
            return judge(spec, flag, ())
        share = self._share(route, spec, now)
        settled_s = now - seen.flag_at
        own = seen.own.judged(spec, flag, share, now, settled_s)
        seen.window = share.windows[1]
        if self._neighbours is None:
            return own
        basis = seen.basis_under(flag, spec)
        if not share.is_empty:
            self._seen_here[route.name] = basis, share
        rows = self._neighbours.of(route.name, basis)
        everywhere = _everywhere(seen, share, self._neighbours, rows, now)
        if everywhere is None:
            seen.all = _Doubt()
            return own
        total = seen.all.judged(spec, flag, everywhere, now, settled_s)
        seen.window = everywhere.windows[1]
        return together(spec, own, total, everywhere.windows[:2])

    def _share(self, route: RouteSpec, spec: WatchdogSpec, now: float) -> Share:
        """Take what this node sees of a route now."""
        windows = [
            window_of(self._windows.window(route.name, seconds, now), self._latencies.within(route.name, seconds, now))
            for seconds in looks(spec)
        ]
        newest = window_of(self._windows.window(route.name, SURE_S, now), {})
        return Share(windows=(*windows, newest), known=self._past.get(route.name))

    def _begin_anew(self, route: RouteSpec, seen: _RouteState) -> None:
        seen.own, seen.all, seen.summed_at = _Doubt(), _Doubt(), float("-inf")
        self._windows.begin_anew(route.name)
        self._latencies.begin_anew(route.name)

    def _flag(self, route: RouteSpec) -> Flag:
        """Give the flag as it copies now: where copying is switched off there is nothing to wait for."""
        flag, off = self._state.flag(route), self._state.spec.copying_off
        is_off = EVERYWHERE in off or route.name in off or route.shadow.mode == "never"
        if not is_off:
            return flag
        cohorts = {name: replace(cohort, sample_bp=0) for name, cohort in flag.cohorts.items()}
        return replace(flag, sample_bp=0, cohorts=cohorts)

    def _note(self, route: RouteSpec, seen: _RouteState, found: Judgement) -> None:
        """Remember what was found; what an operator should know of stands in the log once."""
        before = seen.judgement
        if found.to:
            found = replace(found, state="alert")  # tripped is what the hold says, once it stands
        if found.state != before.state or not seen.since:
            seen.since = now_text()
            if found.state in ("alert", "suspicious") and not found.to:
                self._state.journal.say(f"watchdog.{found.state}", f"{route.name}: {found.sentence}", route=route.name)
        seen.judgement = found

    # --- what is done ----------------------------------------------------------------------------------------------

    def _take_back(self, route: RouteSpec, found: Judgement, now: float) -> None:
        unit = route.journey or route.name
        if unit in self._going or now - self._tried_at.get(unit, float("-inf")) < AGAIN_S:
            return
        self._tried_at[unit] = now
        chosen = self._holds.choose_many(journey=route.journey) if route.journey else self._holds.choose(route.name)
        at = now_text()
        evidence: Json = {"rule": found.rule, "value": found.value, "limit": found.limit, "against": found.against}
        evidence |= {"route": route.name, "stage": self._state.flag(route).stage.value, "window": self._numbers(route)}
        note = json.dumps({"at": at, "unix": time.time(), "to": found.to, "reason": found.sentence})
        whose = f"{route.name}: " if route.journey else ""
        ask = RollbackAsk(to=found.to, reason=f"{whose}{found.sentence}", join=True)
        caller = Caller(
            actor=ACTOR,
            source=ACTOR,
            evidence=evidence,
            notes={f"{NOTE}{one.name}": note for one in chosen.routes if one.legacy is not None},
        )
        self._going.add(unit)
        self._state.start(self._roll_back(unit, chosen, ask, caller, at), f"watchdog takes {unit} back")

    async def _roll_back(self, unit: str, chosen: Chosen, ask: RollbackAsk, caller: Caller, at: str) -> None:
        """Roll back, and tell those who want to know."""
        state, names = self._state, tuple(route.name for route in chosen.routes)
        try:
            answer = await self._holds.rollback(chosen, ask, caller)
        except ProblemError as error:
            state.complaints[f"{NOTE}{unit}"] = f"the watchdog cannot take {listed(names)} back: {error.detail}"
            state.journal.say("watchdog.failed", f"{listed(names)}: {error.detail}", routes=names, reason=ask.reason)
            return
        finally:
            self._going.discard(unit)
        state.complaints.pop(f"{NOTE}{unit}", None)
        for name in names:
            if (seen := self._routes.get(name)) is not None:
                seen.was_held = True  # a release may come before the next look
        if "joined" in answer.body:
            state.journal.say(
                "watchdog.joined", f"{listed(names)}: another node was faster: {ask.reason}", routes=names
            )
            return
        audit_id = answer.body["audit_id"]
        state.journal.say("watchdog.tripped", f"{listed(names)} to {ask.to}: {ask.reason}", routes=names)
        if audit_id is None:
            self._owe(unit, _Unwritten(chosen=chosen, ask=ask, caller=caller))
        self._on_trip(
            Trip(
                routes=names,
                to=ask.to,
                reason=ask.reason,
                at=at,
                evidence=dict(caller.evidence),
                audit_id=audit_id,
            )
        )

    def _recall(self, route: RouteSpec, hold: Hold) -> None:
        """Take over a trip of a control before this one, which ended before it could write it.

        What failed, and by how much, is what the hold's reason says; the numbers behind it ended with that control.
        """
        unit, note = route.journey or route.name, self._state.notes.get(f"{NOTE}{route.name}")
        at = datetime.fromisoformat(hold.at).timestamp() if hold.at else 0.0
        if unit in self._going or unit in self._unwritten or (note and json.loads(note)["unix"] > at - NOTED_S):
            return
        chosen = self._holds.choose_many(journey=route.journey) if route.journey else self._holds.choose(route.name)
        to: Literal["legacy", "shadow"] = "shadow" if hold.keep_copying else "legacy"
        told = json.dumps({"at": hold.at, "unix": at, "to": to, "reason": hold.reason})
        caller = Caller(
            actor=ACTOR,
            source=ACTOR,
            evidence={"route": route.name, "held_at": hold.at},
            notes={f"{NOTE}{one.name}": told for one in chosen.routes if one.legacy is not None},
        )
        self._owe(unit, _Unwritten(chosen=chosen, ask=RollbackAsk(to=to, reason=hold.reason, join=True), caller=caller))
        self._tried_at[unit] = float("-inf")

    def _owe(self, unit: str, trip: _Unwritten) -> None:
        """Remember a trip that is in force but not in the audit, and let the status say so."""
        self._unwritten[unit] = trip
        self._state.complaints[f"{NOTE}{unit}"] = (
            f"the watchdog holds {unit} on legacy, but could not write that to flags and audit; it does when the "
            "database is back"
        )

    def _settle(self, unit: str) -> None:
        """Forget a trip that was written, or released before it could be."""
        if self._unwritten.pop(unit, None) is not None:
            self._state.complaints.pop(f"{NOTE}{unit}", None)

    def _write_late(self, unit: str, now: float) -> None:
        """Write a trip to the audit that happened while the database was away, unless somebody has released it."""
        state, trip = self._state, self._unwritten[unit]
        holds = [state.holds.get(route.name) for route in trip.chosen.routes if route.legacy is not None]
        if not all(hold is not None and hold.actor == ACTOR for hold in holds):
            self._settle(unit)
        elif state.database_error() is None and unit not in self._going and now - self._tried_at[unit] >= AGAIN_S:
            self._tried_at[unit] = now
            self._going.add(unit)
            state.start(self._written_late(unit, trip), f"audit of the watchdog's rollback of {unit}")

    async def _written_late(self, unit: str, trip: _Unwritten) -> None:
        try:
            answer = await self._holds.rollback(trip.chosen, replace(trip.ask, anyway=True), trip.caller)
        except ProblemError:
            return  # tried again
        finally:
            self._going.discard(unit)
        if answer.body["audit_id"] is not None or "joined" in answer.body:
            self._settle(unit)

    # --- what is shown ---------------------------------------------------------------------------------------------

    def shown(self, name: str) -> Json | None:
        """Show what the watchdog makes of one route; ``None``: it was not looked at yet."""
        seen = self._routes.get(name)
        if seen is None:
            return None
        found = seen.judgement
        return {
            "state": found.state,
            "sentence": found.sentence,
            "since": seen.since,
            "rule": found.rule or None,
            "value": found.value,
            "limit": found.limit,
            "against": found.against,
            "window": None if seen.window is None else window_as_json(seen.window),
        }

    def states(self) -> dict[str, str]:
        """Name the state of every route that was looked at."""
        return {name: seen.judgement.state for name, seen in self._routes.items()}

    def summary(self) -> Json:
        """Show which routes are in which state that an operator should know of, with the sentence."""
        told = ("tripped", "alert", "suspicious", "blind")
        return {
            state: {
                name: seen.judgement.sentence
                for name, seen in sorted(self._routes.items())
                if seen.judgement.state == state
            }
            for state in told
        }

    def _numbers(self, route: RouteSpec) -> Json | None:
        window = self._routes[route.name].window
        return None if window is None else window_as_json(window)


def _everywhere(
    seen: _RouteState, share: Share, neighbours: Neighbours, rows: Mapping[str, Row], now: float
) -> Share | None:
    """Add up what all nodes see of a route; ``None``: nobody else tells of it."""
    if not rows:
        return None
    is_calm = share.is_calm and all(row.is_calm for row in rows.values())
    if not is_calm or now - seen.summed_at >= CALM_S:
        others = neighbours.shares(rows)
        seen.total = _summed([share, *others]) if others else None
        seen.summed_at = now if is_calm else float("-inf")  # what was amiss may be over at the next look
    return seen.total


def _summed(shares: Sequence[Share]) -> Share:
    """Add up what all nodes see of a route, this one first."""
    return Share(
        windows=tuple(summed(parts) for parts in zip(*(share.windows for share in shares), strict=True)),
        known=summed_past([(share.windows[1].new, share.known) for share in shares]),
    )


def cools_down_until(notes: Mapping[str, str], route: str, spec: WatchdogSpec) -> float:
    """Say until when, in Unix time, the autopilot does nothing on a route that tripped; 0.0: it never tripped."""
    note = notes.get(f"{NOTE}{route}")
    return 0.0 if note is None else float(json.loads(note)["unix"]) + spec.cool_down_ns / 1e9
