"""Ask a safe request again: legacy alone, to learn its noise, or both sides, to tell races from faults.

Two purposes share this file. *Noise*: for a small sample of what was compared legacy is asked a second time, and its
two answers make a pair. *Again*: after a divergent verdict both sides are asked once more, some seconds later, and
their answers make a pair; a difference that is gone by then was a race.

Rules of this file:

1. Nothing here is felt by a client, and nothing is a comparison of legacy with new: it is counted as ``repeats``
   alone, beside the counting law (docs/architecture.md).
2. Only safe requests without a body are asked again, never one whose credentials would not travel with it, and never
   once the route is not copied any more.
3. What is spelled in another way is no race, and what was asked about often is known: the first pairs of a divergence
   are asked again, then ever fewer, so that a clock field leaves room for a rare fault.
4. Repeats give way first: whatever would hold back a copy holds back a repeat, and each purpose has a rate of its own.
5. What waits is bounded: in number by :data:`MAX_REMEMBERED`, in bytes by the budget of all copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from xxhash import xxh64_intdigest

from proxy import wire
from proxy.answers import Answer, Unkept, is_identical, is_stream, pair_frame
from proxy.backend import BackendConnection
from proxy.forward import copy_bytes
from proxy.pairs import WaitingPair
from rules.decision import SAFE_METHODS
from rules.flag import BUCKETS
from shadow import link
from shadow.causes import CAUSES, Severity

if TYPE_CHECKING:
    from proxy.applied import Lane, RoutePolicy
    from proxy.copies import Copy, Rate
    from proxy.worker import Worker

MAX_REMEMBERED: Final = 1_024
"""Requests per worker that wait for their verdict or their moment: as many as pairs may wait for a comparer."""

AGAIN_PER_SECOND: Final = 1.0
"""Divergent pairs per route and second that are asked again, shared evenly by the workers: two requests to each side
per attempt, which no backend feels."""


MANY: Final = 20
"""Pairs of one divergence that are asked again; of further ones only the 32nd, the 64th and so on."""

MAX_KNOWN: Final = 4_096
"""Divergences whose pairs are counted for that."""

_SPELLING: Final = frozenset(
    ("encoding", *(name for name, cause in CAUSES.items() if cause.severity is Severity.COSMETIC))
)


def ask_noise(copy: Copy) -> None:
    """Ask legacy a second time, if this comparison is in the sample and nothing speaks against it.

    Order: called when both answers are whole and the verdict of their bytes is counted; legacy's answer moves from
    the copy to the repeat.
    """
    exchange, policy, worker = copy.exchange, copy.policy, copy.worker
    noise = policy.noise
    if noise is None or copy.failed or copy.primary_failed or not _is_plain_read(exchange.head):
        return
    if xxh64_intdigest(b"noise:" + exchange.request_id) % BUCKETS >= noise.sample_bp:
        return
    is_legacy_first = copy.primary_side == "legacy"
    lane = exchange.lane if is_legacy_first else copy.lane
    reason = ""
    if is_legacy_first and _loses_credentials(policy, exchange.head):
        reason = "credentials"  # the first question had them
    elif policy.state.in_flight > policy.shadow.max_in_flight:  # the copy's own place is free in a moment
        reason = "in_flight"
    reason = reason or _why_not(worker, lane) or _over_rate(policy.state.noise, noise.max_per_second, worker)
    if reason:
        worker.counts.totals["repeats", copy.route, "noise", reason] += 1
        return
    first = copy.primary if is_legacy_first else copy.answer
    if is_legacy_first:
        copy.primary = Unkept(worker.budget)
    else:
        copy.answer = Unkept(worker.budget)
    asked = _asked(copy)
    Repeat(asked=asked, purpose="noise", first=first).ask((lane,), (asked.legacy,), ("legacy",))


def remembered(copy: Copy) -> Callable[[link.Verdict | None], None] | None:
    """Remember the request of an unequal pair until its verdict; ``None``: it will not be asked again."""
    head = copy.exchange.head
    if not _is_plain_read(head):
        return None
    if _loses_credentials(copy.policy, head):
        copy.worker.counts.totals["repeats", copy.route, "again", "credentials"] += 1
        return None
    asked = _asked(copy)
    return asked.on_first_verdict if copy.worker.repeats.admit(asked) else None


def _is_plain_read(head: wire.RequestHead) -> bool:
    return head.bodiless and head.method in SAFE_METHODS


def _loses_credentials(policy: RoutePolicy, head: wire.RequestHead) -> bool:
    return policy.shadow.credentials != "pass" and bool(head.marks & wire.CREDENTIAL)


def _why_not(worker: Worker, lane: Lane) -> str:
    """Name what holds a repeat back; empty: nothing does."""
    if worker.closing:
        return "drain"
    if worker.shedder.share < 1.0:
        return "shed"
    if worker.budget.used >= worker.budget.limit:
        return "budget"
    if not lane.shadow.idle and not worker.descriptors.has_room_for_copy(lane.shadow.connecting):
        return "descriptors"
    return "circuit" if lane.circuit.is_open else ""


def _over_rate(rate: Rate, per_second: float | None, worker: Worker) -> str:
    return "" if per_second is None or rate.take(per_second / worker.worker_count) else "rate"


# --- what is remembered ---------------------------------------------------------------------------------------------


def _asked(copy: Copy) -> Asked:
    """Write down what it takes to ask a copied request again."""
    exchange, policy = copy.exchange, copy.policy
    is_legacy_first = copy.primary_side == "legacy"
    lanes = (exchange.lane, copy.lane) if is_legacy_first else (copy.lane, exchange.lane)
    legacy, new = (
        copy_bytes(
            exchange.head,
            lane.target,
            exchange.own_lines,
            primary_bytes=exchange.head_bytes,
            primary_plain=exchange.lane.target.plain,
            credentials=policy.shadow.credentials,
            authorization=policy.authorization,
            body_length=-1,
        )
        for lane in lanes
    )
    return Asked(
        worker=copy.worker,
        policy=policy,
        route=copy.route,
        primary=copy.primary_side,
        head=exchange.head,
        request_id=exchange.request_id,
        lanes=lanes,
        legacy=legacy,
        new=new,
    )


@dataclass(slots=True, eq=False, repr=False)
class Asked:
    """Remember one request as both sides got it."""

    worker: Worker
    policy: RoutePolicy
    route: str
    primary: str
    head: wire.RequestHead
    request_id: bytes
    lanes: tuple[Lane, Lane]
    """Of legacy and of new."""
    legacy: bytes
    new: bytes
    divergence: str = ""
    """What the first pair's verdict said."""
    since: float = 0.0
    """When that was."""

    @property
    def held_bytes(self) -> int:
        """Say what it costs to remember this: the head as it came, and as each side gets it."""
        return 3 * len(self.new)

    def on_first_verdict(self, verdict: link.Verdict | None) -> None:
        """Wait for the first moment if the pair is divergent; ``None``: nobody decided it."""
        repeats = self.worker.repeats
        if (
            verdict is None
            or verdict.verdict != "divergent"
            or (verdict.causes and _SPELLING.issuperset(verdict.causes))
        ):
            repeats.forget(self)
        elif repeats.knows(verdict.divergence):
            self.count("known")
            repeats.forget(self)
        elif _over_rate(self.policy.state.again, AGAIN_PER_SECOND, self.worker):
            self.count("rate")
            repeats.forget(self)
        else:
            self.divergence, self.since = verdict.divergence, monotonic()
            repeats.wait(self, attempt=1)

    def ask(self, attempt: int) -> None:
        """Ask both sides now, or say why not and wait for the next moment."""
        reason = self._is_over() or self._held_back()
        if not reason:
            Repeat(asked=self, purpose="again", attempt=attempt).ask(
                self.lanes, (self.legacy, self.new), ("legacy", "new")
            )
            return
        self.count(reason)
        self.worker.repeats.wait(self, attempt=attempt + 1)

    def _is_over(self) -> str:
        """Tell whether the configuration no longer wants this: another backend, no copies, no second questions."""
        applied = self.worker.applied
        route = applied.snapshot.routes.get(self.route)
        if route is None or self.head.method not in route.copied_methods or not route.spec.ask_again_ns:
            return "changed"
        for lane in self.lanes:
            now = applied.lanes.get(lane.target.name)
            if now is None or now.shadow is not lane.shadow:
                return "changed"
        return ""

    def _held_back(self) -> str:
        if self.policy.state.in_flight + len(self.lanes) > self.policy.shadow.max_in_flight:
            return "in_flight"
        return next(filter(None, (_why_not(self.worker, lane) for lane in self.lanes)), "")

    def count(self, outcome: str) -> None:
        """Count what became of one repeat of this request."""
        self.worker.counts.totals["repeats", self.route, "again", outcome] += 1

    def tell(self, attempt: int, outcome: str) -> None:
        """Say to control what asking again has shown."""
        self.worker.control.send(
            link.Repeated(
                route=self.route,
                purpose="again",
                divergence=self.divergence,
                attempt=attempt,
                outcome=outcome,
                at=time(),
            )
        )


class Repeats:
    """Hold the requests of one worker that are to be asked again, until their moments come."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._held = 0
        self._numbers = 0
        self._waiting: list[tuple[float, int, Asked, int]] = []
        """A heap: moment, number, request, attempt."""
        self._pairs: dict[str, int] = {}
        """Divergence to the pairs that it had."""

    def admit(self, asked: Asked) -> bool:
        """Remember a request, if there is room."""
        budget = self._worker.budget
        if self._held >= MAX_REMEMBERED:
            asked.count("full")
            return False
        if budget.used + asked.held_bytes > budget.limit:
            asked.count("budget")
            return False
        self._held += 1
        budget.used += asked.held_bytes
        return True

    def knows(self, divergence: str) -> bool:
        """Count one more pair of a divergence, and tell whether it was asked about often enough."""
        if len(self._pairs) >= MAX_KNOWN and divergence not in self._pairs:
            self._pairs.clear()
        number = self._pairs[divergence] = self._pairs.get(divergence, 0) + 1
        return number > MANY and number & (number - 1) != 0

    def forget(self, asked: Asked) -> None:
        """Give back what a remembered request held."""
        self._held -= 1
        self._worker.budget.used -= asked.held_bytes

    def wait(self, asked: Asked, *, attempt: int) -> None:
        """Keep a request for its next moment, or forget it after the last one."""
        waits = asked.policy.spec.ask_again_ns
        if attempt > len(waits) or self._worker.closing:
            self.forget(asked)
            return
        self._numbers += 1
        heappush(self._waiting, (asked.since + waits[attempt - 1] / 1e9, self._numbers, asked, attempt))

    def sweep(self, now: float) -> None:
        """Ask whatever is due."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, asked, attempt = heappop(self._waiting)
            asked.ask(attempt)

    def close(self) -> None:
        """Forget everything: a worker that drains asks nobody again."""
        for _, _, asked, _ in self._waiting:
            asked.count("drain")
            self.forget(asked)
        self._waiting.clear()


# --- what is under way ----------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, repr=False)
class Repeat:
    """Be one repetition under way: a question to legacy, or one to each side, and what their answers show."""

    asked: Asked
    purpose: str
    attempt: int = 0
    first: Answer | None = None
    """Legacy's first answer, when legacy alone is asked."""
    _questions: tuple[Question, ...] = ()

    def ask(self, lanes: tuple[Lane, ...], requests: tuple[bytes, ...], sides: tuple[str, ...]) -> None:
        """Send every question."""
        asked = self.asked
        self._questions = tuple(
            Question(repeat=self, worker=asked.worker, lane=lane, side=side, request=request)
            for lane, side, request in zip(lanes, sides, requests, strict=True)
        )
        asked.policy.state.in_flight += len(self._questions)
        for question in self._questions:
            question.ask()

    def on_ended(self) -> None:
        """One question has ended; the repeat ends with the last one, or with the first that fails."""
        questions = self._questions
        has_failed = any(question.failed for question in questions)
        if not has_failed and not all(question.ended for question in questions):
            return
        self._questions = ()
        self.asked.policy.state.in_flight -= len(questions)
        try:
            for question in questions:
                question.stop()
            legacy, new = (self.first, questions[0].answer) if self.first else (q.answer for q in questions)
            self._settle(legacy, new, has_failed=has_failed)
        except Exception:
            if self.purpose == "again":
                self.asked.worker.repeats.forget(self.asked)
            raise
        finally:
            for answer in (self.first, *(question.answer for question in questions)):
                if answer is not None:
                    answer.release()

    def _settle(self, legacy: Answer, new: Answer, *, has_failed: bool) -> None:
        asked = self.asked
        worker, policy = asked.worker, asked.policy
        if has_failed:
            outcome = "failed"
        elif is_identical(legacy, new, policy.watch):
            outcome = "identical"
        else:
            outcome = "unequal" if worker.offer_pair(self._pair(legacy, new)) else "dropped"
        worker.counts.totals["repeats", asked.route, self.purpose, outcome] += 1
        if self.purpose == "noise":
            if outcome == "identical":
                worker.control.send(link.Repeated(route=asked.route, purpose="noise", outcome="identical", at=time()))
        elif outcome == "identical":
            self._is_gone()
        elif outcome != "unequal":
            worker.repeats.wait(asked, attempt=self.attempt + 1)

    def _pair(self, legacy: Answer, new: Answer) -> WaitingPair:
        asked = self.asked
        sequence = asked.worker.next_pair()
        names = tuple(lane.target.name for lane in asked.lanes)
        is_noise = self.purpose == "noise"
        frame = pair_frame(
            asked.head,
            (legacy, new),
            (names[0], names[0] if is_noise else names[1]),
            sequence=sequence,
            policy=asked.policy.wishes[0],
            request_id=asked.request_id,
            primary="legacy" if is_noise else asked.primary,
            purpose=self.purpose,
            attempt=self.attempt,
        )
        return WaitingPair(
            sequence,
            asked.route,
            asked.primary,
            asked.policy.wishes,
            frame,
            is_counted=False,
            on_verdict=None if is_noise else self._on_verdict,
        )

    def _on_verdict(self, verdict: link.Verdict | None) -> None:
        """Learn what became of the difference; without a verdict nothing is known."""
        if verdict is not None and verdict.verdict == "tolerated":
            self._is_gone()
            return
        if verdict is not None and verdict.verdict == "divergent":
            self.asked.tell(self.attempt, "stays" if verdict.divergence == self.asked.divergence else "other")
        self.asked.worker.repeats.wait(self.asked, attempt=self.attempt + 1)

    def _is_gone(self) -> None:
        self.asked.tell(self.attempt, "gone")
        self.asked.worker.repeats.forget(self.asked)


@dataclass(slots=True, eq=False, repr=False)
class Question:
    """Ask one side once; the sink of its connection."""

    repeat: Repeat
    worker: Worker
    lane: Lane
    side: str
    request: bytes
    answer: Answer = field(init=False)
    connection: BackendConnection | None = None
    deadline: float = 0.0
    sent_at: float = 0.0
    ended: bool = False
    failed: bool = False

    def __post_init__(self) -> None:
        """Keep the answer within the budget of all copies."""
        self.answer = Answer(self.worker.budget)

    def ask(self) -> None:
        """Send the request as soon as there is a connection."""
        if self.ended:
            return  # the other side's question has failed at once
        self.deadline = monotonic() + self.repeat.asked.policy.shadow.timeout_ns / 1e9
        self.worker.active.add(self)
        connection = self.lane.shadow.lease(self)
        if connection is not None:
            self.on_connection(connection)

    def on_connection(self, connection: BackendConnection) -> None:
        """Write the request."""
        self.connection = connection
        asked = self.repeat.asked
        connection.send(self.request, head_only=asked.head.method == b"HEAD", whole=True)
        self.worker.counts.totals["copies", asked.route, self.side, self.repeat.purpose] += 1
        self.sent_at = monotonic()

    def on_informational(self, head: wire.ResponseHead) -> None:
        """Ignore: interim answers are not compared."""

    def on_switch(self, head: wire.ResponseHead, connection: BackendConnection, tail: bytes) -> None:
        """Refuse: nobody asked to upgrade."""
        connection.sink = None
        connection.close()
        self.on_failure("head", "")

    def on_head(self, head: wire.ResponseHead) -> None:
        """Remember status and fields; an answer without an end is none."""
        if is_stream(head):
            self._end(failed=True)
            return
        self.answer.status = head.status
        self.answer.fields = head.fields

    def on_body(self, data: bytes) -> None:
        """Keep or digest."""
        self.answer.add(data)

    def on_flush(self) -> None:
        """Do nothing: the answer goes nowhere."""

    def on_end(self, trailers: wire.Trailers) -> None:
        """The answer is whole."""
        self.connection = None
        circuit = self.lane.circuit
        circuit.answered += 1
        if circuit.is_open:
            circuit.heal(self.sent_at)
        self._end(failed=False)

    def on_failure(self, phase: str, reason: str, *, late: bool = False) -> None:
        """No answer will come."""
        self.connection = None
        if not self.ended:
            self._count_failure(phase)
            self._end(failed=True)

    def on_writable(self, writable: bool) -> None:
        """Ignore: a head is written in one piece."""

    def expire(self) -> None:
        """The deadline has passed."""
        self._count_failure("timeout" if self.connection is not None else "connect")
        self._end(failed=True)

    def stop(self) -> None:
        """Wait for nothing any more; idempotent."""
        if self.ended:
            return
        self.ended = True
        self.worker.active.discard(self)
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        else:
            self.lane.shadow.cancel(self)

    def _end(self, *, failed: bool) -> None:
        if self.ended:
            return
        self.failed = failed
        self.stop()
        self.repeat.on_ended()

    def _count_failure(self, phase: str) -> None:
        self.worker.counts.totals["upstream_errors", self.lane.target.name, phase] += 1
        self.lane.circuit.fail()
