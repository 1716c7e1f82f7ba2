"""Live one request: decided, forwarded, perhaps copied, answered, counted.

The order of a request's life is the order of this file.

Rules of this file:

1. One request uses one snapshot (``applied``) from start to end.
2. The client hears exactly one answer. Once its head is out nothing is tried
   again, and a broken answer is never made to look whole: the connection is aborted.
3. What may be tried after a failure is decided in :mod:`proxy.failure`, nowhere else.
4. Nothing that the copy does is felt here: whatever it raises ends the copy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from proxy import cookies, failure, forward, wire
from proxy.backend import BackendConnection
from proxy.offer import offer_copy
from proxy.problem import problem_bytes
from proxy.tally import CODE_CLASS, AccessRecord, logged_target
from proxy.tunnel import open_tunnel
from proxy.wire import ASKED

if TYPE_CHECKING:
    from proxy.applied import Applied, Lane
    from proxy.client import ClientConnection
    from proxy.copies import Copy
    from proxy.forward import Peer
    from proxy.worker import Worker
    from rules.snapshot import Decision

MAX_EARLY_BODY: Final = 256 << 10
"""Request body bytes held while a connection is opened; the client is paused beyond that."""


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """Be one client request and its answer; the sink of the primary's connection.

    Slotted: a request reads its state some two hundred times, and a slot is the cheapest place to read.
    """

    worker: Worker
    client: ClientConnection
    head: wire.RequestHead
    body_whole: bool
    """The request's body is complete."""
    applied: Applied = field(init=False)
    decision: Decision = field(init=False)
    lane: Lane = field(init=False)
    started_at: float = 0.0
    bucket: int = -1
    request_id: bytes = b""
    own_lines: bytes = b""
    head_bytes: bytes = b""
    """What the primary gets."""
    connection: BackendConnection | None = None
    copy: Copy | None = None
    peer: Peer = field(init=False)
    """As it was judged when the request began."""
    side: str = "none"
    started: bool = False
    """The head of the final answer is out."""
    done: bool = False
    leasing: bool = False
    """Waits for a connection."""
    rechunk: bool = False
    close: bool = False
    """The client's connection ends with this answer."""
    status: int = 0
    response_bytes: int = 0
    sent_at: float = 0.0
    head_at: float = 0.0
    total_deadline: float = inf
    deadline: float = inf
    phase: str = ""
    fallback: str = ""
    refusal: str = ""
    retried: bool = False
    touched: bool = False
    """At least one byte of the request was written to some backend socket."""
    body_bytes: int = 0
    body_limit: int | None = None
    _early: bytearray | None = None
    _trailers: wire.Trailers | None = None
    _out: list[bytes] = field(default_factory=list)
    """What one read of the backend brought for the client, written in one piece."""

    # --- decide ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Decide who answers and who gets a copy, and send the request on its way."""
        worker = self.worker
        head = self.head
        client = self.client
        self.started_at = monotonic()
        self.applied = applied = worker.applied
        self.request_id = request_id = head.request_id or worker.next_request_id()
        self.peer = peer = client.peer
        address = peer.client_ip(head, applied.networks) if head.forwarded else peer.address
        self.decision = decision = applied.no_decision
        if head.target == b"*":
            self._answer_options()
            return
        if head.via and forward.is_loop(head.via, worker.node):
            self.refuse(508, "loop")
            return
        decision, self.bucket = applied.snapshot.decide(
            head.method, head.target, head.fields, address, request_id, head.text, head.marks & ASKED > 0
        )
        self.decision = decision
        if decision.ambiguous:
            worker.counts.totals["refused", "ambiguous_target_reported"] += 1
        if decision.status:
            self.refuse(decision.status, decision.reason)
            return
        assert decision.backend is not None
        self.side = decision.side
        self.lane = lane = applied.lanes[decision.backend]
        if decision.shows_pins:
            head.text = cookies.without_pins_in(head.text)
        self.own_lines = b"X-Request-Id: %b\r\n%b" % (request_id, peer.forwarding_lines(head))
        if head.via:
            self.own_lines = forward.via_line(head.via) + self.own_lines
        spec = decision.spec
        if spec is not None and spec.timeout_ns is not None:
            self.total_deadline = self.started_at + spec.timeout_ns / 1e9
        if not head.bodiless:
            limit = spec.max_body_bytes if spec is not None else None
            self.body_limit = limit = worker.limits.max_body_bytes if limit is None else limit
            if limit is not None and head.length > limit:
                self.refuse(413, "too_large")
                return
        worker.active.add(self)
        self.head_bytes = forward.request_bytes(head, lane.target, self.own_lines)
        if decision.eligible:
            try:
                offer_copy(self)
            except Exception as error:
                self._lose_copy(error)
        self._lease(lane)

    # --- send ------------------------------------------------------------------------------------------------------

    def _lease(self, lane: Lane) -> None:
        self.phase = "connect"
        self.leasing = True
        head = self.head
        if head.bodiless and head.method == b"GET" and not (head.upgrade or self.retried):
            connection = lane.primary.lease(self)  # what nearly every request is asks no further question
        else:
            connection = lane.primary.lease(self, idle_s=failure.idle_limit(self))
        if connection is not None:
            self.on_connection(connection)
        else:
            # The pool bounds opening a socket; this bounds the wait for a place as well.
            self.deadline = min(self.total_deadline, monotonic() + lane.spec.connect_timeout_ns / 1e9)

    def on_connection(self, connection: BackendConnection) -> None:
        """Write the head and what has come of the body."""
        self.leasing = False
        self.connection = connection
        self.touched = True
        early, self._early = self._early, None
        connection.send(
            self.head_bytes, head_only=self.head.method == b"HEAD", whole=self.body_whole and self._trailers is None
        )
        self.sent_at = now = monotonic()
        if self.client.write_paused_since:
            connection.transport.pause_reading()  # as its predecessor was: the client still does not take
        if early:
            self.client.resume_reading()
            self._write_body(bytes(early))
        if self.body_whole and not self.head.bodiless:
            self._write_body_end()
        if self.phase == "send":
            return  # the backend is full already
        if self.body_whole:
            self._await_head(now)
        else:
            self._await_body(now)

    def _await_body(self, now: float) -> None:
        self.phase = "request_body"
        self.deadline = min(self.total_deadline, now + self.worker.limits.body_read_timeout_ns / 1e9)

    def _await_head(self, now: float) -> None:
        self.phase = "head"
        timeout = self.lane.spec.response_timeout_ns
        self.deadline = self.total_deadline if timeout is None else min(self.total_deadline, now + timeout / 1e9)

    def on_request_body(self, data: bytes) -> None:
        """Pass a piece of the request's body on."""
        if self.done:
            return
        self.body_bytes += len(data)
        if self.body_limit is not None and self.body_bytes > self.body_limit:
            if self.started:
                self._drop_upstream()
                self._abort()
            else:
                self.refuse(413, "too_large")
            return
        if self.copy is not None:
            self._tell(self.copy.on_request_body, data)
        if self.connection is None:
            if self._early is None:
                self._early = bytearray()
            self._early += data
            if self.body_bytes > MAX_EARLY_BODY:
                self.client.pause_reading()
            return
        self._write_body(data)
        if self.phase == "request_body":
            self._await_body(monotonic())

    def _write_body(self, data: bytes) -> None:
        connection = self.connection
        assert connection is not None
        if connection.closed:
            return
        if self.head.chunked:
            connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            connection.transport.write(data)

    def _write_body_end(self) -> None:
        connection = self.connection
        assert connection is not None
        if self.head.chunked and not connection.closed:
            trailers = self._trailers
            if trailers:
                unwanted = self.lane.target.remove | wire.options_of(self.head.fields)
                trailers = [pair for pair in trailers if pair[0].lower() not in unwanted]
            connection.transport.write(forward.trailer_bytes(trailers or []))
        connection.request_sent = True

    def on_request_end(self, trailers: wire.Trailers) -> None:
        """The client has sent its whole request."""
        self.body_whole = True
        if self.done:
            return
        self._trailers = trailers
        if self.connection is not None:
            self._write_body_end()
            if not self.started:
                # A client's slow upload is not the backend's time; the copy is sent in one piece.
                self.sent_at = now = monotonic()
                if self.phase != "send":
                    self._await_head(now)
        if self.copy is not None:
            self._tell(self.copy.on_request_end)

    def on_writable(self, writable: bool) -> None:
        """Hold the client's upload while the backend does not take it."""
        now = monotonic()
        if writable:
            self.client.resume_reading()
            if self.started:
                self.phase = "body"
                self.deadline = min(self.total_deadline, now + self.lane.spec.read_timeout_ns / 1e9)
            elif self.body_whole:
                self._await_head(now)
            else:
                self._await_body(now)
        else:
            self.client.pause_reading()
            self.phase = "send"
            self.deadline = min(self.total_deadline, now + self.worker.limits.write_timeout_ns / 1e9)

    # --- answer ----------------------------------------------------------------------------------------------------

    def on_informational(self, head: wire.ResponseHead) -> None:
        """Pass a 1xx head on; HTTP/1.0 has none (RFC 9110 section 15.2)."""
        if self.head.minor:
            self.client.write(forward.response_bytes(head, b""))

    def on_switch(self, head: wire.ResponseHead, connection: BackendConnection, tail: bytes) -> None:
        """Open the tunnel if this 101 is the one that was asked for; a 502 otherwise."""
        token = head.fields.get(b"upgrade", b"")
        if not self.head.upgrade or token.lower() != self.head.upgrade.lower():
            connection.sink = None
            connection.close()
            self.connection = None
            self.on_failure("head", "a 101 that nobody asked for")
            return
        connection.sink = None
        self.connection = None
        self.status = 101
        self.started = True
        self.head_at = monotonic()
        lines = b"Connection: Upgrade\r\nUpgrade: " + token + b"\r\n"
        self.client.write(forward.response_bytes(head, lines + self._answer_lines(head)))
        open_tunnel(self.worker, self, connection, tail)
        self._finish()

    def on_head(self, head: wire.ResponseHead) -> None:
        """Pass the answer's head on, or take the fallback if its status says so."""
        decision = self.decision
        if decision.fallback_backend is not None:
            assert decision.spec is not None
            if head.status in decision.spec.fallback.statuses:
                why = f"status_{head.status}"
                if failure.may_fall_back(self, why):
                    self._fall_back(why)
                    return
        self.head_at = now = monotonic()
        self.worker.counts.observe("request_duration", decision.route, self.side, now - self.sent_at)
        self.phase = "body"
        self.started = True
        self.status = status = head.status
        request = self.head
        bodiless = request.method == b"HEAD" or status == 204 or status == 304
        framing = b""
        self.close = not request.keep_alive or self.worker.closing or not self.body_whole
        if head.chunked or (head.length < 0 and not bodiless):
            if request.minor:
                framing = b"Transfer-Encoding: chunked\r\n"
                self.rechunk = not bodiless
            elif not bodiless:
                self.close = True
        if self.close:
            framing += b"Connection: close\r\n"
        elif not request.minor:
            framing += b"Connection: keep-alive\r\n"
        self._out.append(forward.response_bytes(head, framing + self._answer_lines(head)))
        if self.copy is not None:
            try:
                self.copy.on_primary_head(head)
            except Exception as error:
                self._lose_copy(error)

    def _answer_lines(self, head: wire.ResponseHead) -> bytes:
        """Write our own fields of the answer."""
        lines = b"" if head.fields.get(b"x-request-id") is not None else b"X-Request-Id: %b\r\n" % self.request_id
        if self.head.asks_side:
            lines += b"X-Matapalo-Side: %b\r\n" % self.side.encode()
        decision = self.decision
        if decision.issue_cookie:
            lines += cookies.client_line(self.request_id)
        if decision.issue_pin is not None:
            lines += cookies.pin_line(decision.issue_pin, self, head.status)
        return lines

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the answer on."""
        size = len(data)
        self.response_bytes += size
        if self.copy is not None:
            try:
                self.copy.primary.add(data)
            except Exception as error:
                self._lose_copy(error)
        if self.rechunk:
            self._out += (b"%x\r\n" % size, data, b"\r\n")
        else:
            self._out.append(data)

    def on_flush(self) -> None:
        """Write what one read brought, in one system call; the backend has until the read timeout for more."""
        if self._out:
            self.client.write_all(self._out)
            self._out = []
            self.deadline = min(self.total_deadline, monotonic() + self.lane.spec.read_timeout_ns / 1e9)

    def on_end(self, trailers: wire.Trailers) -> None:
        """The answer is whole."""
        connection, self.connection = self.connection, None
        if self.client.write_paused_since and connection is not None and not connection.closed:
            connection.transport.resume_reading()  # interim heads had filled the client; the next one's answer is read
        if self.rechunk:
            self._out.append(forward.trailer_bytes(trailers))
        if self.copy is not None:
            try:
                self.copy.on_primary_complete()
            except Exception as error:
                self._lose_copy(error)
        self._finish()

    # --- what can go wrong -------------------------------------------------------------------------------------------

    def on_failure(self, phase: str, reason: str, *, late: bool = False) -> None:
        """The primary will not complete its answer."""
        self.leasing = False
        connection, self.connection = self.connection, None
        if self.done:
            return
        self.worker.counts.totals["upstream_errors", self.lane.target.name, phase] += 1
        self.worker.log_failure(self, phase, reason)
        if self.started:
            self._break()
        elif failure.may_retry(self, connection, phase) and self._take_retry():
            self.retried = True
            self._lease(self.lane)
        elif failure.may_fall_back(self, phase):
            self._fall_back(phase)
        else:
            self.answer_problem(*failure.answer_to(phase, late=late))

    def _take_retry(self) -> bool:
        granted = self.lane.primary.take_retry()
        self.worker.counts.totals["retries", self.lane.target.name, "sent" if granted else "refused"] += 1
        return granted

    def _fall_back(self, why: str) -> None:
        """Send the request to legacy instead."""
        decision = self.decision
        assert decision.fallback_backend is not None
        self.fallback = why
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        totals = self.worker.counts.totals
        totals["fallbacks", decision.route, why] += 1
        if self.copy is not None:
            self._tell(self.copy.skip, "fallback")
        self.side = "legacy"
        self.lane = lane = self.applied.lanes[decision.fallback_backend]
        self.head_bytes = forward.request_bytes(self.head, lane.target, self.own_lines)
        self.deadline = self.total_deadline
        self._lease(lane)

    def expire(self) -> None:
        """The deadline of the current phase has passed."""
        phase = self.phase
        now = monotonic()
        if phase == "body" and self.client.write_paused_since and now < self.total_deadline:
            # It is the client that does not take what the backend has: its own deadline decides.
            self.deadline = min(self.total_deadline, now + self.lane.spec.read_timeout_ns / 1e9)
            return
        if self.leasing:
            what = self.lane.primary.cancel(self)
            reason = "all places of the pool were taken" if what == "pool" else "no connection"
            self.on_failure(what, f"{reason} within the connect timeout", late=True)
            return
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()
        if phase == "request_body" and now < self.total_deadline:
            self.refuse(408, "body_timeout")
            return
        self.worker.counts.totals["upstream_errors", self.lane.target.name, "timeout"] += 1
        self.worker.log_failure(self, "timeout", f"no progress in phase {phase}")
        if self.started:
            self._break()
        elif failure.may_fall_back(self, "timeout"):
            self._fall_back("timeout")
        else:
            self.answer_problem(*failure.answer_to("timeout", late=True))

    def on_client_lost(self) -> None:
        """The client is gone: stop both sides at once."""
        if self.done:
            return
        self.status = 499
        self._drop_upstream()
        self._fail_copy("client")
        self._finish()

    def _break(self) -> None:
        """The backend broke its answer off: it counts under the status that its head said, and as broken."""
        self.worker.counts.totals["broken", self.decision.route, self.side] += 1
        self._abort()

    def _abort(self) -> None:
        """The answer broke after its head was out: the client must see that, too."""
        self._fail_copy("primary")
        self.close = True
        client = self.client
        self._finish()
        client.abort()

    def _drop_upstream(self) -> None:
        if self.connection is not None:
            self.connection.abandon()
            self.connection = None
        elif self.leasing:
            self.lane.primary.cancel(self)

    def _fail_copy(self, who: str) -> None:
        if self.copy is not None:
            self._tell(self.copy.on_primary_failure, who)

    def _tell(self, say: Callable[..., None], *what: object) -> None:
        """Tell the copy something, where a few nanoseconds do not matter."""
        try:
            say(*what)
        except Exception as error:
            self._lose_copy(error)

    def _lose_copy(self, error: Exception) -> None:
        """Go on without the copy: what failed in it is not this request's business (rule 4)."""
        copy, self.copy = self.copy, None
        with suppress(Exception):
            self.worker.say_bounded("copy failed", route=self.decision.route, error=repr(error))
            if copy is not None:
                copy.break_off()

    def refuse(self, status: int, reason: str) -> None:
        """Answer in our own name because of what the client asked."""
        self.worker.counts.totals["refused", reason] += 1
        self.refusal = reason
        self._drop_upstream()
        self.side = "none"
        self.answer_problem(status, reason)

    def answer_problem(self, status: int, reason: str) -> None:
        """Answer with a problem; the connection is kept if the request was read whole."""
        self._fail_copy("primary")
        self.status = status
        self.started = True
        self.close = not self.head.keep_alive or self.worker.closing or not self.body_whole
        self.client.write(
            problem_bytes(status, reason, self.request_id, close=self.close, head_only=self.head.method == b"HEAD")
        )
        self._finish()

    def _answer_options(self) -> None:
        """Answer ``OPTIONS *`` here: it asks about this server (RFC 9110 section 9.3.7)."""
        self.status = 204
        self.started = True
        self.close = not self.head.keep_alive or self.worker.closing or not self.body_whole
        self.client.write(
            b"HTTP/1.1 204 No Content\r\nX-Request-Id: %b\r\n%b\r\n"
            % (self.request_id, b"Connection: close\r\n" if self.close else b"")
        )
        self._finish()

    # --- count -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Count the answer, write the log line, free the client for its next request."""
        self.done = True
        if self._out:
            self.client.write_all(self._out)
        worker = self.worker
        worker.active.discard(self)
        decision = self.decision
        status = self.status
        side = self.side
        if status != 499:
            backend = self.lane.target.name if side != "none" else "-"
            worker.counts.totals["requests", decision.route, side, backend, CODE_CLASS[status // 100]] += 1
            if side == "legacy":
                worker.counts.last_legacy[decision.route] = time()
        else:
            worker.counts.totals["client_aborts", decision.route, side] += 1
        worker.served += 1
        if worker.access_log is not None:
            self._log()
        self.client.on_exchange_end(self)

    def _log(self) -> None:
        worker = self.worker
        log = worker.access_log
        assert log is not None
        decision = self.decision
        head = self.head
        log.append(
            AccessRecord(
                log.now(),
                self.request_id.decode("latin-1"),
                self.client.peer.address,
                head.method.decode("latin-1"),
                logged_target(head.target, self.applied.policies[decision.index].patterns if decision.index else ()),
                decision.route,
                self.side,
                self.lane.target.name if self.side != "none" else "-",
                self.applied.snapshot.revision,
                self.bucket,
                self.refusal or decision.reason,
                decision.cohort,
                self.status,
                self.response_bytes,
                int((self.head_at - self.sent_at) * 1e6) if self.head_at else 0,
                int((monotonic() - self.started_at) * 1e6),
                self.fallback,
                decision.sampled and not decision.skip,
            )
        )
