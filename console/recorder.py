"""The one task that writes evidence: totals, hours and findings, in batches."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Final

import msgspec

from config.spec import ConfigSpec
from console.deploys import builds_of, version_at
from console.epochs import Record, records_of
from console.ledger import watch
from console.state import ControlState
from rules.basis import bases_of, takes_of
from shadow.link import Finding, Repeated, Seen
from shadow.ranks import Rank, rank_of_pair
from store.database import StoreError, patience
from store.evidence import EvidenceStore
from store.gatehours import this_hour
from store.groups import Example, Sighting
from store.repeats import place_of

BATCH_S: Final = 2.0
"""How often totals are written: what a crash of control and a worker at once may cost."""

FRESH_S: Final = 0.25
"""A reader gets evidence no older than this; workers tally as often."""

FLUSH_S: Final = 1.0
"""How long a reader waits for that: half of what a reading call has for the database."""

OTHERS_S: Final = 1.0
"""For how long what other nodes reported is taken for new; they report every two seconds."""

REOPEN_S: Final = 5.0


class Recorder:
    """Write what was counted and found every two seconds, and at the end.

    Runs: :meth:`run` as one task; :meth:`flush` from any other on the same loop.
    """

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._turn = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        """What everybody who reads now waits for."""
        self._written_at = float("-inf")
        self._tried_at = float("-inf")
        self._others: list[Record] = []
        self._others_at = float("-inf")
        self._of: ConfigSpec | None = None
        self._bases: Mapping[str, str] = {}
        self._takes: Mapping[str, str] = {}
        self._new: Mapping[str, str | None] = {}
        self._said: dict[str, tuple[float, str]] = {}
        """Route to the newest moment at which new named its build, and the build."""

    def find(self, finding: Finding) -> None:
        """Take one finding in; it is stored with the next batch."""
        if finding.purpose == "noise":
            self._state.repeats.ask(finding.route, places_of(finding), finding.at)
        if finding.purpose != "compare":
            return
        state = self._state
        builds = builds_of(state.config, state.deploys, finding.route, finding.builds, finding.at)
        self._hear(finding.route, finding.builds[1], finding.at)
        finding = msgspec.structs.replace(finding, builds=builds)
        state.groups.add(sighting_from_finding(finding, state.sealing.close(encode_finding(finding))))

    def see(self, seen: Seen) -> None:
        """Count pairs of divergences that were found before."""
        state = self._state
        _, build = builds_of(state.config, state.deploys, seen.route, ("", seen.build), seen.at)
        self._hear(seen.route, seen.build, seen.at)
        state.groups.count(seen.route, build, seen.counts, seen.at)

    def hear(self, builds: Mapping[str, str]) -> None:
        """Take down which build of new answers each route now, though no pair differs."""
        now = time.time()
        for route, build in builds.items():
            self._hear(route, build, now)

    def heard_at(self, route: str) -> float:
        """Say when new named its build on a route last, in Unix time; 0.0: it never did."""
        return self._said.get(route, (0.0, ""))[0]

    def _hear(self, route: str, build: str, at: float) -> None:
        if build and at >= self._said.get(route, (0.0, ""))[0]:
            self._said[route] = (at, build)

    def remember(self, builds: Mapping[str, tuple[float, str]]) -> None:
        """Take down what the evidence says new was on each route, until its answers say more."""
        for route, (at, build) in builds.items():
            self._hear(route, build, at)

    def _mark_of(self, route: str) -> Hashable:
        """Name what a route's evidence rests on: after a flip or a reset it begins anew."""
        state = self._state
        return state.spec.flags.get(route), state.notes.get(f"evidence:{route}")

    def basis_of(self, route: str) -> str:
        """Say what a route compares with what, in the configuration in force."""
        self._look()
        return self._bases.get(route, "")

    def _look(self) -> None:
        """Name again what routes compare and take, if the configuration is another one."""
        if self._of is not self._state.config:
            self._of = self._state.config
            self._bases, self._takes = bases_of(self._of), takes_of(self._of)
            self._new = {route.name: route.new for route in self._of.routes}

    def builds_of_new(self, now: float) -> Callable[[str], str]:
        """Say which build of new each route compares now: what it said last, or what was deployed after that."""
        state = self._state
        self._look()

        def build_of(route: str) -> str:
            deploys = state.deploys.get(self._new.get(route) or "", ())
            said_at, said = self._said.get(route, (0.0, ""))
            since = [deploy for deploy in deploys if deploy.at > said_at]
            return version_at(since, now) or said

        return build_of

    def repeat(self, repeated: Repeated) -> None:
        """Count what a worker says about a request that was asked again."""
        if repeated.purpose == "noise":
            self._state.repeats.ask(repeated.route, (), repeated.at)
        elif repeated.divergence:
            self._state.repeats.repeat(repeated.divergence, repeated.attempt, repeated.outcome)

    async def records(self) -> list[Record]:
        """Give the epochs of every node: our own as they are, the others' as they were reported last.

        Cost: reads the other nodes' rows at most once in :data:`OTHERS_S`.
        """
        state = self._state
        if state.replicas is not None and state.evidence is not None and time.monotonic() - self._others_at > OTHERS_S:
            try:
                found = await state.evidence.load_others()
                alive = {node.name for node in state.replicas.nodes if not node.is_away}
                state.totals.hear(await state.evidence.load_last_legacy())
                self._others = await asyncio.to_thread(records_of, found, alive)
                self._others_at = time.monotonic()
            except (StoreError, ValueError) as error:  # ValueError: what another version wrote
                state.journal.say("evidence.others", f"what other nodes counted cannot be read: {error}")
        return state.totals.records() + self._others

    @property
    def reported_age(self) -> float | None:
        """Say how many seconds ago the evidence got everything that was counted here; ``None``: it cannot be told."""
        if self._state.evidence is None or self._written_at == float("-inf"):
            return None
        return time.monotonic() - self._written_at

    async def run(self) -> None:
        """Write a batch every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(BATCH_S)
            self._state.totals.sweep(time.monotonic())
            await self.write()

    async def flush(self) -> None:
        """Write now if the evidence is older than a quarter of a second; who reads waits neither for a reopening nor,
        longer than :data:`FLUSH_S`, for a database that is stuck: then it reads what was written.

        Bound: one task, which outlives those who gave up; whoever asks meanwhile waits for it, too.
        """
        if self._flushing is None or self._flushing.done():
            with patience(math.inf):
                self._flushing = self._state.start(self._flush(), "flush")
        await asyncio.wait({self._flushing}, timeout=FLUSH_S)

    async def _flush(self) -> None:
        async with self._turn:
            if self._state.evidence is not None and time.monotonic() - self._written_at > FRESH_S:
                await self._write(self._state.evidence)

    async def write(self, *, last: bool = False) -> None:
        """Write one batch; what cannot be written is kept for the next one, unless it is the *last*."""
        async with self._turn:
            if self._state.evidence is None:
                await self._reopen()
            if self._state.evidence is not None:
                await self._write(self._state.evidence, last=last)

    async def _write(self, evidence: EvidenceStore, *, last: bool = False) -> None:
        state, now = self._state, time.time()
        pending = state.totals.batch(now, self.builds_of_new(now), self.basis_of, self._mark_of)
        kept = state.config.evidence
        evidence.bound(max_age_s=kept.max_age_ns / 1e9, cap_bytes=kept.max_bytes)
        written = False
        try:
            await evidence.write(pending.batch, state.groups, state.repeats)
            written = True
            self._written_at = time.monotonic()
            self._look()
            await watch(state, evidence, self._takes, anew=last)
        except StoreError as error:
            state.evidence, state.evidence_error = None, str(error)
            state.journal.say("evidence.failed", str(error))
            await evidence.close()
        finally:
            state.totals.settle(pending, written=written)

    async def _reopen(self) -> None:
        """Open the file again after a failure, a new one if it is gone."""
        state, now = self._state, time.monotonic()
        if now - self._tried_at < REOPEN_S:
            return
        self._tried_at = now
        try:
            opened = await EvidenceStore.open(state.places.evidence, node=state.places.node)
        except StoreError as error:
            state.evidence_error = str(error)
            return
        try:
            epochs, last_legacy = await opened.load_epochs(), await opened.load_last_legacy()
            state.totals.join(epochs.values(), last_legacy, now, await opened.gate_hours.mine(this_hour()))
        except (StoreError, ValueError) as error:  # ValueError: totals that this version cannot read
            state.evidence_error = str(error)
            await opened.close()
            return
        state.evidence = opened
        state.journal.say("evidence.opened", "evidence is kept again")


def places_of(finding: Finding) -> tuple[str, ...]:
    """Name the places of a finding as noise counts them: folded pointers, causes where no pointer leads."""
    return tuple(place_of(item.cause, item.folded) for item in finding.differences)


def sighting_from_finding(finding: Finding, body: bytes) -> Sighting:
    """Turn what a comparer says into what the evidence keeps: facts to sort by, and as example what became of it.

    Shape: *body* is the finding encoded, and encrypted where the configuration wants that.
    """
    legacy, new = finding.statuses
    shown = sorted(finding.differences, key=lambda item: bool(item.tolerated_by))
    return Sighting(
        divergence=finding.divergence,
        route=finding.route,
        status_legacy=legacy,
        status_new=new,
        rank=_rank(finding),
        causes=finding.causes,
        places=tuple((item.cause, item.folded) for item in shown),
        same_meaning=finding.same_meaning,
        at=finding.at,
        build=finding.builds[1],
        consumer=finding.consumer,
        example=Example(
            id=comparison_id(finding),
            request_id=finding.request_id,
            at=finding.at,
            size_bytes=finding.legacy_bytes + finding.new_bytes,
            body=body,
        ),
    )


def _rank(finding: Finding) -> Rank:
    """Rank a pair by the worst that no tolerance hides; one that is hidden whole stands behind all others."""
    left = {item.cause for item in finding.differences if not item.tolerated_by}
    if not left and finding.verdict == "tolerated":
        return Rank.HEADER
    return rank_of_pair(left or finding.causes, *finding.statuses)


def comparison_id(finding: Finding) -> str:
    """Name one comparison by what it is: ``c-`` and ten hexadecimal digits."""
    text = f"{finding.divergence} {finding.request_id} {finding.at!r}"
    return "c-" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


def encode_finding(finding: Finding) -> bytes:
    """Write a finding as it lies in the evidence."""
    return _encoder.encode(finding)


def decode_finding(body: bytes) -> Finding:
    """Read a finding from the evidence.

    Raises: ValueError for one that this version cannot read.
    """
    return _decoder.decode(body)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Finding)
