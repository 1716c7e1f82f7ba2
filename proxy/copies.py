"""Send a copy beside the primary, keep both answers, and say whether they are the same bytes.

Rules of this file:

1. Nothing here can delay, change or fail the client's request. A copy has its
   own connection, deadline and bounds, and every method returns at once.
2. The counting law (docs/architecture.md) holds at every instant:
   ``eligible = unsampled + skipped + sent`` and
   ``sent = identical + unequal + errored + in flight``. A request is counted as
   eligible in the same step as its outcome, so a copy that a fallback may still
   take back is counted only when that can no longer happen.
3. Copies are never retried and never follow anything.
4. All copies of a worker share one byte budget. An answer that no longer fits
   is compared by digest and length instead of being kept: memory stays flat
   and the comparison stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy import again, wire
from proxy.answers import Answer, Unkept, is_identical, is_stream, pair_frame
from proxy.backend import BackendConnection
from proxy.forward import copy_bytes
from proxy.pairs import WaitingPair
from shadow import link, redact

if TYPE_CHECKING:
    from proxy.applied import Lane, RoutePolicy
    from proxy.exchange import Exchange
    from proxy.tally import PrimaryCounts
    from proxy.worker import Worker


NOBODYS_FAULT: Final = frozenset({"client", "internal"})
"""Why a pair broke without telling anything about a side."""


class Rate:
    """Hold the tokens of one rate."""

    __slots__ = ("refilled", "tokens")

    def __init__(self) -> None:
        self.tokens = 1.0
        self.refilled = 0.0

    def take(self, per_second: float) -> bool:
        """Take one place of the rate; a second's worth may be saved up."""
        now = monotonic()
        if now != self.refilled:
            self.tokens = min(max(per_second, 1.0), self.tokens + (now - self.refilled) * per_second)
            self.refilled = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class RouteState:
    """Hold what copies of one route share inside a worker: places in flight and the tokens of its rates."""

    __slots__ = ("again", "closer", "in_flight", "noise", "rate")

    def __init__(self) -> None:
        self.closer = 0
        """Requests outside the sample that are copied all the same, because the watchdog is in doubt."""
        self.in_flight = 0
        self.rate = Rate()
        self.noise = Rate()
        self.again = Rate()


@dataclass(slots=True, eq=False, repr=False)
class Copy:
    """Be one copy: the shadow's half of a comparison."""

    worker: Worker
    exchange: Exchange
    policy: RoutePolicy
    lane: Lane
    route: str = field(init=False)
    side: str = field(init=False)
    """Who gets the copy."""
    primary_side: str = field(init=False)
    primary_counts: PrimaryCounts = field(init=False)
    primary: Answer = field(init=False)
    answer: Answer = field(init=False)
    """The shadow's."""
    connection: BackendConnection | None = None
    launched: bool = False
    counted: bool = False
    settled: bool = False
    complete: bool = False
    """The shadow's answer is whole."""
    failed: bool = False
    primary_done: bool = False
    primary_failed: str = ""
    """Why there is no complete primary answer: ``primary``, ``client``, ``internal``."""
    deadline: float = 0.0
    sent_at: float = 0.0
    head_at: float = 0.0
    _has_place: bool = True
    _body: bytearray | None = None
    _request: tuple[bytes, bytes | None] = (b"", None)

    def __post_init__(self) -> None:
        """Take a place in flight."""
        policy = self.policy
        decision = self.exchange.decision
        self.route = decision.route
        self.side = decision.copy_side or ""
        self.primary_side = side = decision.side
        self.primary_counts = policy.legacy_counts if side == "legacy" else policy.new_counts
        budget = self.worker.budget
        self.primary = Answer(budget)
        self.answer = Answer(budget)
        policy.state.in_flight += 1

    # --- the request -------------------------------------------------------------------------------------------

    def expect_body(self) -> None:
        """The request has a body: collect it before the copy goes out."""
        self._body = bytearray()

    def on_request_body(self, data: bytes) -> None:
        """Collect; a body that is too large, or for which the budget has no room, ends the copy."""
        if self._body is None or self.settled:
            return
        if len(self._body) + len(data) > self.policy.shadow.max_body_bytes:
            self.skip("oversize")
        elif self.worker.budget.used + len(data) > self.worker.budget.limit:
            self.skip("budget")
        else:
            self.worker.budget.used += len(data)
            self._body += data

    def on_request_end(self) -> None:
        """The body is whole; a conditional request waits for the primary's status."""
        if not self.exchange.head.marks & wire.CONDITIONAL:
            self.launch()

    def launch(self) -> None:
        """Send the copy; it counts once the primary answers, for until then a fallback may take it back."""
        if self.settled or self.launched:
            return
        self.launched = True
        exchange = self.exchange
        body = None if self._body is None else bytes(self._body)
        own = exchange.own_lines
        self._request = (
            copy_bytes(
                exchange.head,
                self.lane.target,
                own,
                primary_bytes=exchange.head_bytes,
                primary_plain=exchange.lane.target.plain,
                credentials=self.policy.shadow.credentials,
                authorization=self.policy.authorization,
                body_length=-1 if body is None else len(body),
            ),
            body,
        )
        self.deadline = monotonic() + self.policy.shadow.timeout_ns / 1e9
        self.worker.active.add(self)
        connection = self.lane.shadow.lease(self)
        if connection is not None:
            self.on_connection(connection)
        if exchange.started:
            self.count()

    # --- the shadow's answer (Sink) ------------------------------------------------------------------------------

    def on_connection(self, connection: BackendConnection) -> None:
        """Write head and body."""
        self.connection = connection
        head, body = self._request
        connection.send(head if not body else head + body, head_only=self.exchange.head.method == b"HEAD", whole=True)
        self.policy.counts.copies[self.side] += 1
        self.sent_at = monotonic()

    def on_informational(self, head: wire.ResponseHead) -> None:
        """Ignore: interim answers are not compared."""

    def on_switch(self, head: wire.ResponseHead, connection: BackendConnection, tail: bytes) -> None:
        """Refuse: a copy never asked to upgrade."""
        connection.sink = None
        connection.close()
        self._fail("head")

    def on_head(self, head: wire.ResponseHead) -> None:
        """Remember status and fields."""
        self.answer.status = head.status
        self.answer.fields = head.fields
        self.head_at = now = monotonic()
        self.worker.counts.observe("shadow_duration", self.route, self.side, now - self.sent_at)

    def on_body(self, data: bytes) -> None:
        """Keep or digest."""
        self.answer.add(data)

    def on_flush(self) -> None:
        """Do nothing: a copy's answer goes nowhere."""

    def on_end(self, trailers: wire.Trailers) -> None:
        """The shadow has answered; compare if the primary has, too.

        Order: the deadline goes last; if anything here failed, it would clean up.
        """
        self.connection = None
        self.complete = True
        circuit = self.lane.circuit
        circuit.answered += 1
        if circuit.is_open:
            circuit.heal(self.sent_at)
        if self.primary_done:
            self._settle()
        self.worker.active.discard(self)

    def on_failure(self, phase: str, reason: str, *, late: bool = False) -> None:
        """The shadow will not answer; the client never notices."""
        self.connection = None
        self._fail(phase)

    def on_writable(self, writable: bool) -> None:
        """Ignore: a copy is written in one piece and bounded by its body limit."""

    def expire(self) -> None:
        """The deadline has passed, or something in here failed half-way and left the copy to it."""
        if self.complete or self.failed:
            self.break_off()
        elif self.connection is not None:
            self.connection.abandon()
            self.connection = None
            self._fail("timeout")
        else:
            self.lane.shadow.cancel(self)
            self._fail("connect")

    def _fail(self, phase: str) -> None:
        if self.settled or self.failed:
            return
        self.worker.counts.totals["upstream_errors", self.lane.target.name, phase] += 1
        self.lane.circuit.fail()
        self.failed = True
        if self.primary_done:
            self._settle()
        else:
            # Only the count waits for the primary: place and bytes are for copies that may still be compared.
            self._release()
            self.primary = Unkept(self.worker.budget)
        self.worker.active.discard(self)

    # --- the primary's answer ------------------------------------------------------------------------------------

    def on_primary_head(self, head: wire.ResponseHead) -> None:
        """The primary answers: no fallback takes the copy back any more, and a condition is decided."""
        if head.length < 0 and is_stream(head):  # nearly every answer has a length
            self.skip("streaming")
            return
        if self.launched:
            self.count()
        elif self.exchange.head.marks & wire.CONDITIONAL:
            if head.status == 304:
                self.skip("conditional")
                return
            if self.exchange.body_whole:
                self.launch()
        self.primary.status = head.status
        self.primary.fields = head.fields

    def on_primary_complete(self) -> None:
        """The client has its whole answer."""
        self.exchange.copy = None
        if not self.counted:
            # The answer came before the request was whole: there is nothing to compare it with.
            self.skip("early_answer")
            return
        self.primary_done = True
        if self.complete or self.failed:
            self._settle()

    def on_primary_failure(self, who: str) -> None:
        """No complete primary answer: the copy is worth nothing any more."""
        self.exchange.copy = None
        if self.settled:
            return
        self.primary_done = True
        self.primary_failed = who
        if not self.counted:
            if not self.launched:
                self.skip("client" if who == "client" else "primary_failed")
                return
            self.count()
        if who == "primary" and not (self.complete or self.failed):
            # Whether the other side fails as well is what tells a sick service from a bad request: hear it out.
            self.primary.release()
            self.answer.release()
            self.answer = Unkept(self.worker.budget, self.answer.status, self.answer.fields)
            return
        self._stop()
        self._settle()

    # --- counting ------------------------------------------------------------------------------------------------

    def count(self) -> None:
        """The copy is out and nothing takes it back: it counts as sent and in flight."""
        if self.counted or self.settled:
            return
        self.counted = True
        counts = self.policy.counts
        counts.eligible += 1
        counts.sent += 1
        self.primary_counts.in_flight += 1

    def skip(self, reason: str) -> None:
        """End a copy that does not count as sent."""
        if self.settled:
            return
        assert not self.counted
        self.settled = True
        self.exchange.copy = None  # what the primary still answers would be kept for nobody
        self.policy.counts.eligible += 1
        self.worker.counts.skip(self.route, reason, self.exchange.head.method)
        self._stop()
        self._release()

    def break_off(self) -> None:
        """Something in here failed: end the copy and count it."""
        try:
            if self.counted:
                self.on_primary_failure("internal")
            else:
                self.skip("internal")
        finally:
            self._release()

    def _stop(self) -> None:
        self.worker.active.discard(self)
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        elif self.launched and not self.complete:
            self.lane.shadow.cancel(self)
            self.failed = True

    def _note_build(self) -> None:
        """Remember which build of new is as good as legacy: an identical pair goes to no comparer that would tell."""
        new = self.answer if self.primary_side == "legacy" else self.primary
        build = None if new.fields is None else new.fields.get(self.policy.new_version)
        if build:
            self.worker.counts.builds[self.route] = redact.build(build)

    def _release(self) -> None:
        """Give place and bytes back; idempotent."""
        if self._has_place:
            self._has_place = False
            self.policy.state.in_flight -= 1
        self.primary.release()
        self.answer.release()
        if self._body:
            self.worker.budget.used -= len(self._body)
            self._body = None

    def _settle(self) -> None:
        """Count the verdict.

        Order: whatever may fail (comparing, writing the pair) comes before the first count.
        """
        if self.settled:
            return
        counts = self.primary_counts
        policy = self.policy
        if self.primary_failed or self.failed:
            self.settled = True
            which = self.primary_failed or "shadow"
            if which == "primary" and self.failed:
                which = "both"
            self.worker.counts.totals["errored", self.route, self.primary_side, which] += 1
            if which not in NOBODYS_FAULT:
                self._count_broken()
        elif is_identical(self.primary, self.answer, policy.watch):
            self._count_pair()
            self.settled = True
            counts.identical += 1
            if policy.new_version:
                self._note_build()
        else:
            sequence = self.worker.next_pair()
            frame = self._pair(sequence)
            asked = again.remembered(self) if policy.spec.ask_again_ns else None
            self._count_pair()
            self.settled = True
            counts.unequal += 1
            pair = WaitingPair(sequence, self.route, self.primary_side, policy.wishes, frame, on_verdict=asked)
            self.worker.offer_pair(pair)
        counts.in_flight -= 1
        if policy.noise is not None:
            again.ask_noise(self)
        self._release()

    def _count_pair(self) -> None:
        """Count what gates judge of two complete answers.

        Order: before the verdict is counted; where there is no more room only the classes are (:data:`tally.ROOM`).
        """
        pairs = self.policy.counts.pairs
        exchange = self.exchange
        head = exchange.head
        one, other = (self.primary, self.answer) if self.primary_side == "legacy" else (self.answer, self.primary)
        pairs.recent[head.method, one.status, other.status] += 1
        if pairs.room:
            legacy_s, new_s = exchange.head_at - exchange.sent_at, self.head_at - self.sent_at
            if self.primary_side != "legacy":
                legacy_s, new_s = new_s, legacy_s
            pairs.add((head.method, head.target, self._request[1] or b""), legacy_s, new_s)

    def _count_broken(self) -> None:
        """Count what gates judge of two answers of which at least one never became whole."""
        primary = 0 if self.primary_failed else self.primary.status
        shadow = 0 if self.failed else self.answer.status
        legacy, new = (primary, shadow) if self.primary_side == "legacy" else (shadow, primary)
        self.policy.counts.pairs.recent[self.exchange.head.method, legacy, new] += 1

    def _pair(self, sequence: int) -> bytes:
        """Write the pair for the comparer."""
        exchange = self.exchange
        legacy, new = (self.primary, self.answer) if self.primary_side == "legacy" else (self.answer, self.primary)
        names = (exchange.lane.target.name, self.lane.target.name)
        if self.primary_side != "legacy":
            names = (names[1], names[0])
        asked = self._request[1] if self.policy.shadow.reads else None
        return pair_frame(
            exchange.head,
            (legacy, new),
            names,
            sequence=sequence,
            policy=self.policy.wishes[0],
            request_id=exchange.request_id,
            request_body=b"" if asked is None or len(asked) > link.MAX_REQUEST_BODY else asked,
            primary=self.primary_side,
            copy_after_us=int((self.sent_at - exchange.sent_at) * 1e6),
        )
