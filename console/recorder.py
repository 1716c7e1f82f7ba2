"""The one task that writes evidence: totals, hours and findings, in batches."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Final

from console.state import ControlState
from shadow.link import Finding, Repeated, Seen
from store.database import StoreError
from store.evidence import EvidenceStore, Sighting
from store.repeats import place_of

BATCH_S: Final = 2.0
"""How often totals are written: what a crash of control and a worker at once may cost."""

FRESH_S: Final = 0.25
"""A reader gets evidence no older than this; workers tally as often."""

REOPEN_S: Final = 5.0


class Recorder:
    """Write what was counted and found every two seconds, and at the end.

    Runs: :meth:`run` as one task; :meth:`flush` from any other on the same loop.
    """

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._turn = asyncio.Lock()
        self._written_at = float("-inf")
        self._tried_at = float("-inf")

    def find(self, finding: Finding) -> None:
        """Take one finding in; it is stored with the next batch."""
        if finding.purpose == "noise":
            self._state.repeats.ask(finding.route, places_of(finding), finding.at)
        if finding.purpose != "compare":
            return
        self._state.groups.add(sighting_from_finding(finding))

    def see(self, seen: Seen) -> None:
        """Count pairs of divergences that were found before."""
        self._state.groups.seen += sum(seen.counts.values())

    def repeat(self, repeated: Repeated) -> None:
        """Count what a worker says about a request that was asked again."""
        if repeated.purpose == "noise":
            self._state.repeats.ask(repeated.route, (), repeated.at)
        elif repeated.divergence:
            self._state.repeats.repeat(repeated.divergence, repeated.attempt, repeated.outcome)

    async def run(self) -> None:
        """Write a batch every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(BATCH_S)
            self._state.totals.sweep(time.monotonic())
            await self.write()

    async def flush(self) -> None:
        """Write now if the evidence is older than a quarter of a second."""
        if time.monotonic() - self._written_at > FRESH_S:
            await self.write()

    async def write(self) -> None:
        """Write one batch; what cannot be written is kept for the next one."""
        state = self._state
        async with self._turn:
            if state.evidence is None and not await self._reopen():
                return
            evidence = state.evidence
            assert evidence is not None
            pending = state.totals.batch(time.time())
            written = False
            try:
                await evidence.write(pending.batch, state.groups)
                written = True
                self._written_at = time.monotonic()
            except StoreError as error:
                state.evidence, state.evidence_error = None, str(error)
                state.journal.say("evidence.failed", str(error))
                await evidence.close()
            finally:
                state.totals.settle(pending, written=written)

    async def _reopen(self) -> bool:
        """Open the file again after a failure, a new one if it is gone."""
        state, now = self._state, time.monotonic()
        if now - self._tried_at < REOPEN_S:
            return False
        self._tried_at = now
        try:
            opened = await EvidenceStore.open(os.path.join(state.state_dir, "evidence.db"))
        except StoreError as error:
            state.evidence_error = str(error)
            return False
        try:
            epochs, last_legacy = await opened.load_epochs(), await opened.load_last_legacy()
            state.totals.join(epochs.values(), last_legacy, now)
        except (StoreError, ValueError) as error:  # ValueError: totals that this version cannot read
            state.evidence_error = str(error)
            await opened.close()
            return False
        state.evidence = opened
        state.journal.say("evidence.opened", "evidence is kept again")
        return True


def places_of(finding: Finding) -> tuple[str, ...]:
    """Name the places of a finding as noise counts them: folded pointers, causes where no pointer leads."""
    return tuple(place_of(item.cause, item.folded) for item in finding.differences)


def sighting_from_finding(finding: Finding) -> Sighting:
    """Turn what a comparer says into what the evidence keeps."""
    legacy, new = finding.statuses
    first = finding.differences[0]
    kind = {"http.status": "status", "http.content_type": "header:content-type"}.get(first.cause, "body")
    if first.cause == "http.header":
        kind = f"header:{first.detail}"
    example: Mapping[str, object] = {
        "request_id": finding.request_id,
        "method": finding.method,
        "target": finding.target,
        "at": finding.at,
        "verdict": finding.verdict,
        "same_meaning": finding.same_meaning,
        "offset": first.legacy_span[0] if first.legacy_span is not None else -1,
        "pointer": first.legacy_pointer or first.new_pointer or "",
        "legacy": first.legacy,
        "new": first.new,
        "copy_after_us": finding.copy_after_us,
    }
    return Sighting(
        route=finding.route,
        status_legacy=legacy,
        status_new=new,
        kind=kind,
        pointer=first.folded,
        same_meaning=finding.same_meaning,
        at=finding.at,
        example=example,
    )
