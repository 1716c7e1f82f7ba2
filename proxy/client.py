"""Speak HTTP/1.1 to one client: cut its bytes into requests, one after the other.

Rules of this file:

1. One exchange at a time per connection; what a client sends ahead waits,
   first in zttp's buffer (one read), then here, and then reading stops. A
   finished exchange stays in its place until the next bytes are due, so that
   nothing overtakes what came before it.
2. End of input in an idle connection or inside a request is a client that went
   away: both sides are cancelled at once. Behind a whole request it may be one
   that waits for its answer: :mod:`proxy.departures` decides. TLS knows no half-close.
3. After an answer that ends the connection, bytes still on their way are read
   and thrown away for a moment, so that the answer is not lost to a reset
   (RFC 9112 section 9.6).
4. TLS that has lost its socket says so a turn of the loop later; in between the transport has no socket to be asked.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from termios import FIONREAD
from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy import wire
from proxy.exchange import Exchange
from proxy.forward import Peer
from proxy.problem import problem_bytes
from proxy.refusal import PartialHead, check_size, escaped, explain, shown
from proxy.tally import CODE_CLASS, AccessRecord
from proxy.wire import NEED_DATA

if TYPE_CHECKING:
    from proxy.worker import Worker

LINGER_S: Final = 2.0
LINGER_BYTES: Final = 1 << 20

TURNED_AWAY: Final = 256
"""Connections beyond the limit that may wait for their 503 to be read; more are closed at once."""

LAST_WORD_S: Final = 0.2
"""A connection that was just made, or just answered, may have a request on the way when a drain hangs up."""

CHUNK_OVERHEAD_RATIO: Final = 10
"""Times the body: a client that sends single bytes as chunks stays at five."""

SLICE: Final = 16 << 10
"""What the parser gets at a time of a body that may be chunked: its framing is weighed between two slices."""

AHEAD: Final = 1
"""Why reading is stopped: the client has sent ahead."""
UPLOAD: Final = 2
"""Why reading is stopped: the backend does not take the body as fast."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: the close is a reset."""

_NO_PEER: Final = Peer("", trusted_networks=())


@dataclass(slots=True, eq=False, repr=False)
class ClientConnection(asyncio.Protocol):
    """Own one client socket.

    Shape: without a repr: the loop writes one into its message about a callback that failed, and it would hold the
    requests of everybody whom this object leads to.
    """

    worker: Worker
    transport: asyncio.Transport = field(init=False)
    peer: Peer = _NO_PEER
    exchange: Exchange | None = None
    head_since: float = 0.0
    """When the first byte of an unfinished head came; 0: none is unfinished."""
    idle_since: float = 0.0
    write_paused_since: float = 0.0
    """When the client fell behind with its answer, or was last seen to take some of it."""
    lingering_since: float = 0.0
    closed: bool = False
    ended: bool = False
    """The client has sent its FIN, and everything before it has been read."""
    beneath: asyncio.Transport | None = None
    """Under TLS, the socket's own transport."""
    _lingered: int = 0
    _waiting_bytes: int = 0
    """What was unsent at the last check: a slow reader that makes progress is no dead one."""
    _whole: bool = True
    """The current request has been read to its end."""
    _backlog: list[bytes] | None = None
    _partial: PartialHead | None = None
    """What has come of a head that is not whole."""
    _first: bool = True
    """Nothing was answered here yet: what comes begins a head."""
    _chunk_overhead: int = 0
    """Bytes read of the current chunked body that were no body."""
    _tail: bytes = b""
    """What came behind the head of an upgrade; zttp holds it as well, for the case that there is no switch."""
    _pauses: int = 0
    """The reasons (AHEAD, UPLOAD) for which reading is stopped."""
    _parser: wire.Parser = field(default_factory=wire.request_parser)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or say that there is no room for it."""
        self.transport = transport  # type: ignore[assignment]  # a server makes Transports
        worker = self.worker
        address = transport.get_extra_info("peername")
        self.peer = Peer(
            address[0] if address else "",
            trusted_networks=worker.applied.networks,
            scheme=b"http" if self.beneath is None else b"https",
            via=worker.via_line,
        )
        self.idle_since = monotonic()
        if len(worker.clients) + len(worker.tunnels) >= worker.limits.max_connections:
            self._turn_away("connections")
        elif not worker.descriptors.has_room_for_client(transport.get_extra_info("socket").fileno()):
            self._turn_away("descriptors")
        else:
            worker.clients.add(self)

    def _turn_away(self, reason: str) -> None:
        """Answer 503 to a connection for which there is no room; it may linger, unless too many others do."""
        worker = self.worker
        worker.counts.totals["refused", reason] += 1
        self.transport.write(problem_bytes(503, reason, worker.next_request_id(), close=True))
        if len(worker.clients) < worker.limits.max_connections + TURNED_AWAY and reason == "connections":
            # Its request is probably on the way: a close before it is read would be a reset, and the answer lost.
            worker.clients.add(self)
            self._whole = False
            self._end()
        else:
            self.close()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or hold what came too early."""
        if self.lingering_since:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.close()
            return
        exchange = self.exchange
        if exchange is not None and self._whole:
            self._hold(data)
            return
        if len(data) > SLICE and (exchange is None or exchange.head.chunked):
            for start in range(0, len(data), SLICE):
                if not self.closed:
                    self.data_received(data[start : start + SLICE])
            return
        try:
            if exchange is None:
                event: wire.Event = self._parser.receive_event(data)
                if event is NEED_DATA:
                    self._wait_for_head(data)
                    return
                self._start(event, data)  # type: ignore[arg-type]  # nothing else begins a message
                if self._whole or self.exchange is None:
                    return
                event = self._parser.next_event()
            else:
                self._chunk_overhead += len(data)
                event = self._parser.receive_event(data)
            self._read_body(event)
        except wire.GrammarError as error:
            self._refuse_grammar(error, data)

    def _wait_for_head(self, data: bytes) -> None:
        """Keep a part of a head, and its deadline: one over the whole head, however slowly it comes."""
        if self._partial is None:
            self.head_since = monotonic()
            self._partial = PartialHead(begins=self._first)
        refusal = self._partial.add(data, self.worker.limits)
        if refusal is not None:
            self._refuse(refusal, *shown(bytes(self._partial.raw)))

    def _start(self, event: wire.Request, data: bytes | None) -> None:
        """Begin an exchange; *data* is the read that completed the head, if nothing else was before it."""
        self._whole = event.end_stream
        self.head_since = 0.0
        worker = self.worker
        partial = self._partial
        try:
            if data is None or partial is not None or len(data) > worker.head_room:
                check_size(event, worker.limits)
            head = wire.read_request(event, worker.applied.names)
        except wire.RefusedError as refusal:
            self._refuse(refusal, escaped(event.method), escaped(event.target))
            return
        if partial is not None:
            self._partial = None
            data = None if data is None else bytes(partial.raw) + data
        if head.upgrade:
            tail = None if data is None else wire.tail_behind(event, data)
            if tail is None:
                head.upgrade = b""  # begun ahead of an answer: its tail cannot be told apart
            else:
                self._tail = tail
        elif head.chunked:
            self._chunk_overhead = 0 if data is None else len(data) - data.find(b"\r\n\r\n") - 4
        self.exchange = exchange = Exchange(worker, self, head, head.bodiless)
        exchange.start()

    def _read_body(self, event: wire.Event) -> None:
        """Pass on what one read brought of a body, in one piece: a chunk of one byte costs no write of its own."""
        exchange = self.exchange
        pieces = []
        while type(event) is wire.Data:
            pieces.append(event.data)
            event = self._parser.next_event()
        if exchange is None or self.lingering_since or self.closed:
            return
        if pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._chunk_overhead -= len(body)
            exchange.on_request_body(body)
            if self.lingering_since or self.closed:
                return
        if type(event) is wire.EndOfMessage:
            if event.trailers:
                try:
                    wire.check_trailers(event.trailers)
                except wire.RefusedError as refusal:
                    self._break_off(refusal)
                    return
            self._whole = True
            exchange.on_request_end(event.trailers)
        elif self._chunk_overhead > max(
            self.worker.limits.max_chunk_overhead_bytes, CHUNK_OVERHEAD_RATIO * exchange.body_bytes
        ):
            self._break_off(wire.RefusedError(400, "chunk_overhead"))

    def _hold(self, data: bytes) -> None:
        """Keep what was sent ahead, and stop reading: the bound is one read."""
        if self._backlog is None:
            self._backlog = []
        self.pause_reading(AHEAD)
        self._backlog.append(data)

    # --- the exchange's view -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes to the client; what is closed takes nothing."""
        if not self.closed:
            self.transport.write(data)

    def write_all(self, pieces: list[bytes]) -> None:
        """Send several pieces in one system call."""
        if not self.closed:
            if len(pieces) == 1:
                self.transport.write(pieces[0])
            else:
                self.transport.writelines(pieces)

    def take_backlog(self) -> bytes:
        """Hand over what the client sent behind its head (for a tunnel)."""
        backlog, self._backlog = self._backlog, None
        return self._tail + b"".join(backlog or ())

    def on_exchange_end(self, exchange: Exchange) -> None:
        """Go on with the next request, or end the connection."""
        if self.closed or exchange.status == 101:
            self.exchange = None
        elif exchange.close or not self._whole:
            self.exchange = None
            self._end()
        elif not self.write_paused_since:
            self._go_on()

    def _go_on(self) -> None:
        """Take up what was sent ahead, or wait for more.

        Order: the next request starts from the loop; a long run of them sent ahead would nest as deep.
        """
        self.idle_since = monotonic()
        self._first = False
        try:
            self._parser.start_next_cycle()
            event = self._parser.next_event()
        except wire.GrammarError as error:
            self.worker.loop.call_soon(self._later, self._refuse_grammar, error, b"")
            return
        if event is not NEED_DATA:
            self.worker.loop.call_soon(self._later, self._resume, event)
        elif self._backlog is not None:
            self.worker.loop.call_soon(self._later, self._feed_backlog)
        else:
            self.exchange = None
            if self.ended:
                self.close()
            elif self._pauses:
                self.resume_reading(AHEAD | UPLOAD)

    def _later(self, go_on: Callable[..., None], *what: object) -> None:
        """Go on from the loop; as after an error in data_received, nobody would answer this client any more."""
        try:
            go_on(*what)
        except Exception:
            self.abort()
            raise

    def _resume(self, event: wire.Event) -> None:
        if self.closed or self.lingering_since:
            return
        self.exchange = None
        self.resume_reading(UPLOAD)
        try:
            self._start(event, None)  # type: ignore[arg-type]  # nothing else begins a message
            if not self._whole and not self.lingering_since:
                self._read_body(self._parser.next_event())
        except wire.GrammarError as error:
            self._refuse_grammar(error, b"")
        if self._backlog is not None and not self._whole:
            self._feed_backlog()  # the rest of this request's body
        elif self.ended:
            self.eof_received()

    def _feed_backlog(self) -> None:
        if self.exchange is not None and self.exchange.done:
            self.exchange = None
        backlog, self._backlog = self._backlog, None
        self.resume_reading(AHEAD | UPLOAD if self.exchange is None else AHEAD)
        for data in backlog or ():
            if not self.closed:
                self.data_received(data)
        if self.ended:
            self.eof_received()

    def _refuse_grammar(self, error: wire.GrammarError, data: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and not exchange.done:
            self._break_off(wire.RefusedError(400, "grammar"))
            return
        raw = data if self._partial is None else bytes(self._partial.raw) + data
        self._refuse(explain(error, raw, self.worker.limits), *shown(raw))

    def _break_off(self, refusal: wire.RefusedError) -> None:
        """End an exchange whose request turned out malformed: the backend must not see a good end of it."""
        exchange = self.exchange
        assert exchange is not None
        self._whole = False
        if exchange.started:
            # The answer is on its way: both sides must see the end.
            self.worker.counts.totals["refused", refusal.reason] += 1
            self.abort()
        else:
            exchange.refuse(refusal.status, refusal.reason)

    def _refuse(self, refusal: wire.RefusedError, method: str, target: str) -> None:
        """Answer what never became an exchange, count and log it, and end the connection."""
        if self.closed:
            return
        self.exchange = self._partial = None
        self._whole = False
        worker = self.worker
        status, reason = refusal.status, refusal.reason
        request_id = worker.next_request_id()
        worker.counts.totals["refused", reason] += 1
        worker.counts.totals["requests", "-", "none", "-", CODE_CLASS[status // 100]] += 1
        if worker.access_log is not None:
            worker.access_log.append(
                AccessRecord(
                    time=worker.access_log.now(),
                    request_id=request_id.decode(),
                    client=self.peer.address,
                    method=method,
                    target=target,
                    route="-",
                    side="none",
                    backend="-",
                    revision=worker.applied.snapshot.revision,
                    bucket=-1,
                    reason=reason,
                    cohort="",
                    status=status,
                    response_bytes=0,
                    head_us=0,
                    total_us=0,
                    fallback="",
                    copied=False,
                )
            )
        self.write(problem_bytes(status, reason, request_id, close=True))
        self._end()

    def _end(self) -> None:
        """Close after the last answer, gently if the client may still be sending."""
        if self.ended or (self._whole and not self._pauses):
            self.close()
            return
        self.lingering_since = monotonic()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading(AHEAD | UPLOAD)

    def close(self) -> None:
        """Close once everything written is sent; idempotent. :meth:`check` bounds how long that may take."""
        if not self.closed:
            self.closed = True
            self.write_paused_since = monotonic()
            self.transport.close()
            self._close_beneath()

    def _close_beneath(self) -> None:
        """Under TLS, go once all is said: nobody waits for a client's own close_notify (RFC 8446 section 6.1)."""
        if self.beneath is not None and not self.transport.get_write_buffer_size():
            self.beneath.close()

    def abort(self) -> None:
        """Close at once, with a reset: what was sent is not whole, and no reader may take it for that."""
        self.closed = True
        self.worker.clients.discard(self)
        self.worker.departures.forget(self)
        end = self.transport.get_extra_info("socket")
        if end is not None:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
        if self.exchange is not None:
            self.exchange.on_client_lost()

    # --- flow control ------------------------------------------------------------------------------------------------

    def pause_reading(self, reason: int = UPLOAD) -> None:
        """Stop the client's bytes for one more reason; idempotent."""
        if not self._pauses and not self.closed:
            self.transport.pause_reading()
            self.worker.departures.watch(self)
        self._pauses |= reason

    def resume_reading(self, reasons: int = UPLOAD) -> None:
        """Let the client's bytes come again once no reason is left; idempotent."""
        if self._pauses:
            self._pauses &= ~reasons
            if not (self._pauses or self.closed or self.ended):
                self.worker.departures.unwatch(self)
                self.transport.resume_reading()

    def is_paused(self) -> bool:
        """Tell whether reading is stopped."""
        return self._pauses > 0

    def pause_writing(self) -> None:
        """The client does not keep up: stop the backend."""
        self.write_paused_since = monotonic()
        exchange = self.exchange
        if exchange is not None and exchange.connection is not None and not exchange.connection.closed:
            exchange.connection.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.write_paused_since = monotonic() if self.closed else 0.0
        exchange = self.exchange
        if exchange is None or self.closed:
            return
        if exchange.done:
            self._go_on()
        elif exchange.connection is not None and not exchange.connection.closed:
            exchange.connection.transport.resume_reading()

    # --- the end ------------------------------------------------------------------------------------------------------

    def eof_received(self) -> bool:
        """Take the client's FIN: a whole request may still have its answer, anything else ends here; idempotent."""
        exchange = self.exchange
        if exchange is None or self.lingering_since:
            self.close()
            return False
        self.ended = True
        if not self._whole or self.transport.get_extra_info("sslcontext") is not None:
            self.abort()
            return False
        self.worker.departures.half_closed(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the exchange in hand."""
        self.closed = True
        self.worker.clients.discard(self)
        self.worker.departures.forget(self)
        exchange, self._backlog = self.exchange, None
        if exchange is not None:
            exchange.on_client_lost()
            self.exchange = None  # one that had ended would be kept, with all that it holds, until a full collection

    def check(self, now: float) -> None:
        """Enforce this connection's own deadlines; called about once per second."""
        limits = self.worker.limits
        if self.beneath is not None and self.beneath.is_closing() and not self.closed:
            # After a FIN TLS drops what we write, but says so only when the client has taken what was written before.
            self.abort()
        elif self.write_paused_since:
            waiting = self.transport.get_write_buffer_size()
            if self.closed:
                self._close_beneath()
            if waiting < self._waiting_bytes:
                self.write_paused_since = now
            self._waiting_bytes = waiting
            if now - self.write_paused_since > limits.write_timeout_ns / 1e9:
                self.abort()
        elif self.lingering_since:
            if now - self.lingering_since > LINGER_S:
                self.close()  # an unread rest of the answer has its own time there
        elif self.exchange is None:
            if self.head_since:
                if now - self.head_since > limits.header_read_timeout_ns / 1e9:
                    raw = self._partial.raw if self._partial is not None else b""
                    self._refuse(wire.RefusedError(408, "head_timeout"), *shown(bytes(raw)))
            else:
                patience_s = LAST_WORD_S if self.worker.hanging_up else limits.keep_alive_timeout_ns / 1e9
                if now - self.idle_since > patience_s and not self._has_unread():
                    self.close()

    def expects_more(self) -> bool:
        """Tell whether the client may send another request: no answer has told it that this connection ends."""
        exchange = self.exchange
        return not self.closed and not self.lingering_since and (exchange is None or not exchange.close)

    def _has_unread(self) -> bool:
        """Tell whether bytes have come that the loop has not read: closing now would lose a request."""
        end = self.transport.get_extra_info("socket")
        if end is None:
            return False
        unread = array("i", [0])
        ioctl(end.fileno(), FIONREAD, unread)
        return unread[0] > 0
