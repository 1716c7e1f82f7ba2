"""Add the workers' counters up, so that nothing is counted twice and nothing that was counted is forgotten.

A worker counts from zero when it starts: one start is one *epoch*. It sends cumulative totals, so a tally that is
lost costs nothing and one that comes twice changes nothing.

Rules of this file:

1. Per epoch the tally with the highest sequence counts, whole; nothing is ever added to it.
2. An epoch ends with its final tally, or when its link is gone and either its slot has a new epoch or :data:`GRACE_S`
   have passed. What was in flight at the end counts as ``errored|…|both`` and what waited for a verdict as
   ``undecided|…|lost``, so the counting law (docs/architecture.md) holds for every sum at every moment.
3. An ended epoch that speaks after all lives again: the truth replaces the assumption.
4. The :data:`KEPT_ENDED` youngest ended epochs stay apart for rule 3; older ones are folded into one, and what a
   folded epoch says afterwards is refused: it would be counted twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import copy
from typing import Final

import msgspec

from console.epochs import FOLDED, Record, Sums, folded, sum_up
from console.gatehours import GateHours
from console.growth import Counted, Gathered
from shadow.link import Tally
from store.evidence import Batch
from store.gatehours import HOUR_S, Key, Part

GRACE_S: Final = 10.0
"""How long an epoch without a link may be silent; a worker reconnects within a second when control comes back."""

KEPT_ENDED: Final = 16
"""Enough for every worker of a machine to be replaced once within the grace time."""

_HITS: Final = "tolerance_hits|"

MAX_UNWRITTEN: Final = 256
"""Ended epochs that wait for a broken evidence file; beyond it they are folded, and their hours stay unknown."""

MAX_KEYS: Final = 200_000
"""Keys in one tally; 1,000 routes need about 30,000. A larger one is refused, because memory has a bound."""

_NEVER: Final = float("inf")


class _EpochState:
    """Follow one epoch: what it said last, and whether somebody still speaks for it."""

    __slots__ = ("changed", "counted", "gathered", "heard", "hit_keys", "keys", "linked", "lost_at", "record")

    def __init__(self, record: Record, *, linked: bool, lost_at: float) -> None:
        self.record = record
        self.linked = linked
        self.lost_at = lost_at
        self.changed = False
        self.heard = False
        """It has told its totals since this process began."""
        self.keys = 0
        """Keys of the last tally: no key ever goes, so as many are the same."""
        self.hit_keys: list[str] = []
        self.counted = Counted.of(record)
        """What the evidence already has."""
        self.gathered = Gathered.of(record)
        """What :mod:`console.gatehours` already has."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one batch for the evidence, and what to remember once it is written."""

    batch: Batch
    counted: dict[str, Counted]
    changed: tuple[str, ...]


class Totals:
    """Follow every epoch and answer their sums.

    Runs: on control's loop; :func:`sum_up` works on values that are never changed, so it may run in a thread.
    """

    def __init__(
        self,
        records: Iterable[bytes] = (),
        last_legacy: Mapping[str, float] | None = None,
        gate_hours: Mapping[Key, list[Part]] | None = None,
        *,
        now: float | None = None,
    ) -> None:
        self.gate_hours = GateHours(gate_hours)
        started = time.monotonic() if now is None else now
        self._epochs: dict[str, _EpochState] = {}
        self._last_legacy = dict(last_legacy or {})
        self._legacy_changed: set[str] = set()
        self._gone: set[str] = set()
        self._last_hits: dict[str, float] = {}
        self.refused = 0
        self.is_lossy = False
        """A worker ended without its final tally since :mod:`console.ledger` took note of it."""
        self._has_gathered = False
        """Before the first look a file that opens late knows what it has of an epoch; afterwards we do."""
        for body in records:
            record = Record.read(body)
            self._epochs[record.epoch] = _EpochState(record, linked=False, lost_at=started)

    def hello(self, epoch: str, slot: int, now: float) -> None:
        """Note that a worker linked; an unlinked older epoch of its slot has ended."""
        state = self._epochs.get(epoch)
        if state is None:
            into = self._epochs.get(FOLDED)
            if into is not None and epoch in into.record.members:
                self.refused += 1
                return
            state = self._epochs[epoch] = _EpochState(Record(epoch=epoch, slot=slot), linked=True, lost_at=_NEVER)
        state.linked, state.lost_at = True, _NEVER
        self._revive(state)
        for other in self._epochs.values():
            if other.record.slot == slot and not other.linked:
                self._end(other)
        self._fold(now)

    def take(self, tally: Tally) -> bool:
        """Replace an epoch's totals by a newer tally, and say whether it was newer.

        Bound: :data:`MAX_KEYS` keys; a larger tally is refused and counted.
        """
        state = self._epochs.get(tally.epoch)
        if state is None or tally.epoch == FOLDED or len(tally.counts) + len(tally.gauges) > MAX_KEYS:
            self.refused += 1
            return False
        record, state.heard = state.record, True
        if tally.sequence <= record.sequence:
            return False
        self._revive(state)
        self._note_hits(state, tally.counts)
        self.gate_hours.note(tally.distinct)
        record.sequence = tally.sequence
        record.counts, record.gauges, record.histograms = tally.counts, tally.gauges, tally.histograms
        record.final = tally.final
        state.changed = True
        for route, at in tally.last_legacy.items():
            if at > self._last_legacy.get(route, 0.0):
                self._last_legacy[route] = at
                self._legacy_changed.add(route)
        if tally.final:
            self._end(state)
        return True

    def lost(self, epoch: str, now: float) -> None:
        """Note that a worker's link closed; its epoch ends now if its slot already has another one."""
        state = self._epochs.get(epoch)
        if state is None:
            return
        state.linked, state.lost_at = False, now
        slot = state.record.slot
        if any(other.linked and other.record.slot == slot for other in self._epochs.values()):
            self._end(state)

    def sweep(self, now: float) -> None:
        """End every epoch that has been without a link for longer than the grace time."""
        for state in self._epochs.values():
            if not state.linked and now - state.lost_at > GRACE_S:
                self._end(state)
        self._fold(now)

    def last_legacy(self, route: str) -> float | None:
        """Say when legacy last answered a request of *route*, in Unix time."""
        return self._last_legacy.get(route)

    def unheard(self, slots: int) -> list[int]:
        """Name the slots whose workers may have counted what they have not told since this process began.

        Shape: of the first *slots*, those without a worker; of all that there ever were, also those whose worker has
        said nothing yet, or is gone without its last tally and not given up.
        """
        told, silent = set(), set()
        for state in self._epochs.values():
            if state.linked and state.heard:
                told.add(state.record.slot)
            elif state.linked or not state.record.ended:
                silent.add(state.record.slot)
        return sorted(set(range(slots)) - told | silent)

    def hear(self, last_legacy: Mapping[str, float]) -> None:
        """Take over when legacy last answered on other nodes."""
        for route, at in last_legacy.items():
            self._last_legacy[route] = max(at, self._last_legacy.get(route, 0.0))

    def last_hit(self, route: str, tolerance: str) -> float | None:
        """Say when a tolerance last hid something on a route, in Unix time; ``None``: not since control began."""
        return self._last_hits.get(f"{_HITS}{route}|{tolerance}")

    def records(self) -> list[Record]:
        """Hand out what :func:`sum_up` needs; the dictionaries inside are never changed afterwards."""
        return [copy(state.record) for state in self._epochs.values()]

    def sums(self) -> Sums:
        """Sum up all epochs.

        Cost: about 0.1 microseconds per key and epoch; 5 ms for a worker with 1,000 routes.
        """
        return sum_up(self.records(), self._last_legacy)

    def last_legacies(self) -> dict[str, float]:
        """Copy the last legacy request of every route."""
        return dict(self._last_legacy)

    def batch(
        self,
        unix_now: float,
        build_of: Callable[[str], str] = lambda _: "",
        basis_of: Callable[[str], str] = lambda _: "",
        mark_of: Callable[[str], Hashable] = lambda _: None,
    ) -> Pending:
        """Say what the evidence does not have yet; call :meth:`settle` once it is written.

        Shape: *build_of* names the build of new that a route compares now, *basis_of* what it compares at all,
        *mark_of* what else its evidence rests on: when one of them changes, evidence for gates begins anew.
        """
        self._gather(unix_now, build_of, basis_of, mark_of)
        hour = int(unix_now // HOUR_S)
        answered: dict[tuple[int, str, str], int] = {}
        compared: dict[tuple[str, str], int] = {}
        counted: dict[str, Counted] = {}
        bodies: dict[str, bytes] = {}
        for epoch, state in self._epochs.items():
            if not state.changed:
                continue
            bodies[epoch] = state.record.written()
            if epoch == FOLDED:
                continue
            now, before = Counted.of(state.record), state.counted
            counted[epoch] = now
            for (route, side), count in now.requests_since(before):
                answered[hour, route, side] = answered.get((hour, route, side), 0) + count
            for route, count in now.compared_since(before):
                key = (route, build_of(route))
                compared[key] = compared.get(key, 0) + count
        for state in self._epochs.values():
            state.changed = False
        legacy = {route: self._last_legacy[route] for route in self._legacy_changed}
        self._legacy_changed.clear()
        batch = Batch(
            epochs=bodies,
            gone=tuple(self._gone),
            answered=answered,
            last_legacy=legacy,
            compared=compared,
            gate_hours=self.gate_hours.take(),
            at=unix_now,
        )
        return Pending(batch=batch, counted=counted, changed=tuple(bodies))

    def settle(self, pending: Pending, *, written: bool) -> None:
        """Remember that a batch is in the evidence, or that it is not."""
        self.gate_hours.settle(pending.batch.gate_hours, written=written)
        if not written:
            for epoch in pending.changed:
                if (state := self._epochs.get(epoch)) is not None:
                    state.changed = True
            self._legacy_changed.update(pending.batch.last_legacy)
            return
        self._gone.difference_update(pending.batch.gone)
        for epoch, counted in pending.counted.items():
            if (state := self._epochs.get(epoch)) is not None:
                state.counted = counted

    def join(
        self,
        bodies: Iterable[bytes],
        last_legacy: Mapping[str, float],
        now: float,
        gate_hours: Mapping[Key, list[Part]] | None = None,
    ) -> None:
        """Join what a file that was opened late, or again, already holds; all of ours is written again.

        Shape: ``bodies`` are records as a batch wrote them. Of an epoch that both know, ours is newer; the file's
        counts say which requests its hours have. A new, empty file does not get past hours again.
        """
        for body in bodies:
            record = Record.read(body)
            state = self._epochs.get(record.epoch)
            if state is None:
                self._epochs[record.epoch] = _EpochState(record, linked=False, lost_at=now)
            elif record.epoch != FOLDED:
                state.counted = Counted.of(record)
                if not self._has_gathered:
                    state.gathered = Gathered.of(record)
        for state in self._epochs.values():
            state.changed = True
        self.gate_hours.join(gate_hours or {})
        self.gate_hours.rewrite()
        for route, at in last_legacy.items():
            self._last_legacy[route] = max(at, self._last_legacy.get(route, 0.0))
        self._legacy_changed.update(self._last_legacy)

    def _gather(
        self,
        unix_now: float,
        build_of: Callable[[str], str],
        basis_of: Callable[[str], str],
        mark_of: Callable[[str], Hashable],
    ) -> None:
        """Let what all epochs have counted since the last time join the hours."""
        grown: list[tuple[str, int]] = []
        bins: list[tuple[str, list[int]]] = []
        for epoch, state in self._epochs.items():
            if epoch == FOLDED or not state.changed:
                continue
            before, state.gathered = state.gathered, Gathered.of(state.record)
            grown += state.gathered.counts_since(before)
            bins += state.gathered.times_since(before)
        self._has_gathered = True
        self.gate_hours.gather(grown, bins, now=unix_now, build_of=build_of, basis_of=basis_of, mark_of=mark_of)

    def _note_hits(self, state: _EpochState, counts: Mapping[str, int]) -> None:
        """Take the time of hits that the tally before did not have."""
        if len(counts) != state.keys:
            state.keys, state.hit_keys = len(counts), [key for key in counts if key.startswith(_HITS)]
        for key in state.hit_keys:
            if counts.get(key, 0) > state.record.counts.get(key, 0):
                self._last_hits[key] = time.time()

    def _revive(self, state: _EpochState) -> None:
        if state.record.ended and not state.record.final:
            state.record.ended = False
            state.changed = True

    def _end(self, state: _EpochState) -> None:
        if state.record.epoch != FOLDED and not state.record.ended:
            state.record.ended = True
            state.changed = True
            self.is_lossy = self.is_lossy or not state.record.final

    def _fold(self, now: float) -> None:
        """Fold the oldest ended epochs whose requests the evidence already has."""
        ended = [
            (name, state)
            for name, state in self._epochs.items()
            if state.record.ended and not state.linked and name != FOLDED
        ]
        for place, (name, state) in enumerate(ended[: max(0, len(ended) - KEPT_ENDED)]):
            if state.changed and len(ended) - place <= MAX_UNWRITTEN:
                continue
            into = self._epochs.get(FOLDED)
            if into is None:
                into = self._epochs[FOLDED] = _EpochState(folded(()), linked=False, lost_at=now)
            into.record = folded([into.record, state.record], [*into.record.members, name])
            into.changed = True
            del self._epochs[name]
            self._gone.add(name)
