"""Speak HTTP/1.1 to one backend over one connection: send a request, cut its answer out of the bytes.

Rules of this file:

1. A connection serves one sink at a time. The sink hears exactly one end:
   ``on_end`` or ``on_failure``, never both, never twice.
2. A connection goes back into its pool only if the answer is complete, the
   request was sent whole, both sides want to keep it and not one byte lies
   behind the answer. Otherwise it is closed.
3. A sink that goes away calls :meth:`BackendConnection.abandon`; the connection
   is closed, because what is still on its way would reach the next sink.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from proxy import wire

if TYPE_CHECKING:
    from proxy.pool import Pool

MAX_HEAD_BYTES: Final = 64 << 10
"""An answer's head; the same ceiling as zttp's."""

_LONE_LF: Final = re.compile(rb"(?<!\r)\n")
"""Ends no line of ours: a head that is written so would be waited for until the timeout, which need not be set."""

MAX_INTERIMS: Final = 32
"""Heads of 1xx before one answer: two or three are usual, and each goes into the client's buffer."""

MAX_FRAMING: Final = 64 << 10
"""Bytes of chunk sizes, extensions and trailers beyond ten times their body; chunks of one byte stay within."""

_FRAMING_FREE: Final = 11
"""A body byte pays for itself and ten bytes of framing."""


class Sink(Protocol):
    """Take one exchange's events. Every method is called from the event loop and must not raise."""

    def on_connection(self, connection: BackendConnection) -> None:
        """A connection is yours; send the request now."""

    def on_informational(self, head: wire.ResponseHead) -> None:
        """A 1xx head other than 101."""

    def on_switch(self, head: wire.ResponseHead, connection: BackendConnection, tail: bytes) -> None:
        """A 101 head; *tail* is what already came behind it."""

    def on_head(self, head: wire.ResponseHead) -> None:
        """The final head."""

    def on_body(self, data: bytes) -> None:
        """Some body bytes, codings and framing removed."""

    def on_flush(self) -> None:
        """What one read held has been handed over: write it in one piece."""

    def on_end(self, trailers: wire.Trailers) -> None:
        """The answer is complete; no ``on_flush`` follows."""

    def on_failure(self, phase: str, reason: str, *, late: bool = False) -> None:
        """No complete answer will come; *phase* is resolve, connect, tls, pool, send, head or body.

        *late*: time ran out, nothing was refused.
        """

    def on_writable(self, writable: bool) -> None:
        """The connection's write buffer is full, or drained."""


_HEAD: Final = 0
_LENGTH: Final = 1
_CHUNKED: Final = 2
_UNTIL_CLOSE: Final = 3
_IDLE: Final = 4


@dataclass(slots=True, eq=False, repr=False)
class BackendConnection(asyncio.Protocol):
    """Speak HTTP/1.1 to one backend socket."""

    pool: Pool
    address: str = ""
    sink: Sink | None = None
    transport: asyncio.Transport = field(init=False)
    reused: bool = False
    """Some earlier answer came over this connection."""
    idle_since: float = 0.0
    answered: bool = False
    """At least one byte of the current answer is here."""
    request_sent: bool = True
    """The current request is written whole."""
    _state: int = _IDLE
    _head_only: bool = False
    _buffer: bytes = b""
    _left: int = 0
    """Body bytes still to come; with chunks, framing bytes that no body has paid for."""
    _interims: int = 0
    _reusable: bool = False
    _parser: wire.Parser | None = None
    _listed: frozenset[bytes] = frozenset()
    closed: bool = False
    retired: bool = False
    """Not to be used again: the configuration, or the name service, no longer knows this connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self.transport = transport  # type: ignore[assignment]  # create_connection makes a Transport

    def send(self, head: bytes, *, head_only: bool, whole: bool) -> None:
        """Write a request head; *whole* if no body follows."""
        self._state = _HEAD
        self._head_only = head_only
        self._interims = 0
        self.answered = False
        self.request_sent = whole
        self.transport.write(head)

    def data_received(self, data: bytes) -> None:
        """Cut the answer into head, body and end.

        Order: the cheapest and most frequent case, a whole answer in one read, runs straight through.
        """
        if self._state == _HEAD:
            self._read_head(data)
        elif self._state == _LENGTH:
            self._read_length(data)
        elif self._state == _CHUNKED:
            self._read_chunked(data)
        elif self._state == _UNTIL_CLOSE:
            assert self.sink is not None
            self.sink.on_body(data)
        else:
            # Bytes that nobody asked for: they would be the next request's answer.
            self.close()
        if self.sink is not None:
            self.sink.on_flush()

    def _read_head(self, data: bytes) -> None:
        self.answered = True
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                if len(data) > MAX_HEAD_BYTES:
                    self._fail("head", "the answer's head is larger than 64 KiB")
                elif _LONE_LF.search(data) is not None:
                    self._fail("head", "malformed answer: a line of its head ends with a lone LF")
                else:
                    self._buffer = data
                return
            tail = data[end:]
            try:
                head = wire.read_response(data[:end])
            except wire.GrammarError as error:
                self._fail("head", f"malformed answer: {error}")
                return
            sink = self.sink
            assert sink is not None
            status = head.status
            if status >= 200:
                break
            if status == 101:
                self.pool.forget(self)
                sink.on_switch(head, self, tail)
                return
            self._interims += 1
            if self._interims > MAX_INTERIMS:
                self._fail("head", f"more than {MAX_INTERIMS} interim answers")
                return
            sink.on_informational(head)
            if not tail or self.sink is None:
                return
            data = tail
        self._reusable = head.keep_alive
        if self._head_only or status in (204, 304):
            sink.on_head(head)
            if self.sink is not None:
                self._finish([], surplus=bool(tail))
        elif head.chunked:
            self._state = _CHUNKED
            self._left = 0
            self._parser = head.parser
            self._listed = head.listed
            sink.on_head(head)
            if tail and self.sink is not None:
                self._read_chunked(tail)
        elif head.length >= 0:
            self._state = _LENGTH
            self._left = head.length
            sink.on_head(head)
            if self.sink is not None and (tail or not self._left):
                self._read_length(tail)
        else:
            self._state = _UNTIL_CLOSE
            self._reusable = False
            sink.on_head(head)
            if tail and self.sink is not None:
                sink.on_body(tail)

    def _read_length(self, data: bytes) -> None:
        left = self._left - len(data)
        sink = self.sink
        assert sink is not None
        if left > 0:
            self._left = left
            sink.on_body(data)
            return
        if left < 0:
            data = data[:left]
        if data:
            sink.on_body(data)
        if self.sink is not None:
            self._finish([], surplus=left < 0)

    def _read_chunked(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        framing = self._left + len(data)
        try:
            event: wire.Event = parser.receive_event(data)
            while event is not wire.NEED_DATA:
                sink = self.sink
                if sink is None:
                    return
                if type(event) is wire.Data:
                    framing -= _FRAMING_FREE * len(event.data)
                    sink.on_body(event.data)
                elif type(event) is wire.EndOfMessage:
                    trailers = event.trailers
                    if trailers and self._listed:
                        trailers = [pair for pair in trailers if pair[0].lower() not in self._listed]
                    self._finish(trailers, surplus=wire.has_surplus(parser))
                    return
                event = parser.next_event()
        except wire.GrammarError as error:
            self._fail("body", f"malformed chunk: {error}")
            return
        if framing > MAX_FRAMING:
            self._fail("body", "the chunks are nearly all framing")
        self._left = max(framing, 0)

    def _finish(self, trailers: wire.Trailers, *, surplus: bool) -> None:
        sink = self.sink
        assert sink is not None
        self.sink = None
        self._state = _IDLE
        self._parser = None
        if self._reusable and self.request_sent and not surplus and not self.closed:
            self.pool.give_back(self)
        else:
            self.close()
        sink.on_end(trailers)

    def _fail(self, phase: str, reason: str) -> None:
        sink, self.sink = self.sink, None
        self._state = _IDLE
        self.close()
        if sink is not None:
            sink.on_failure(phase, reason)

    def eof_received(self) -> bool:
        """Let the transport close; the end of a body without length is a good end."""
        if self.sink is None:
            # Not in connection_lost, a turn of the loop later: until then it would be lent.
            if not self.closed:
                self.pool.on_unasked_close(self)
                self.close()
        elif self._state == _UNTIL_CLOSE:
            self._finish([], surplus=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the sink, if it still waits for something."""
        if not self.closed and (self.sink is None or not self.answered):
            self.pool.on_unasked_close(self)
        self.closed = True
        self.pool.forget(self)
        if exc is not None and self.sink is not None:
            self._rescue()
        sink, self.sink = self.sink, None
        if sink is None:
            return
        if self._state == _HEAD:
            phase = "head" if self.request_sent else "send"
            what = "in the middle of the head" if self._buffer else "before it answered"
        else:
            phase, what = "body", "in the middle of the body"
        sink.on_failure(phase, f"the backend closed the connection {what}" + (f" ({exc})" if exc else ""))

    def _rescue(self) -> None:
        """Read the answer that lies behind a failed write.

        A backend that refuses an upload answers and closes; the next piece of the upload meets a reset, and the loop
        would throw the answer away. The descriptor is open until connection_lost returns. TLS would need its keys.
        Bound: what the kernel holds for one socket.
        """
        if self.pool.spec.scheme == "https":
            return
        descriptor = self.transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            while self.sink is not None and (data := os.read(descriptor, MAX_HEAD_BYTES)):
                self.data_received(data)

    def pause_writing(self) -> None:
        """Pass the flow-control edge on."""
        if self.sink is not None:
            self.sink.on_writable(False)

    def resume_writing(self) -> None:
        """Pass the flow-control edge on."""
        if self.sink is not None:
            self.sink.on_writable(True)

    def is_quiet(self) -> bool:
        """Tell whether nothing has come that the loop has not read: neither an end nor a byte that nobody asked for.

        Cost: one system call, 1.5 microseconds.
        """
        end = self.transport.get_extra_info("socket")
        if end is None:
            return False  # TLS has lost it and is about to say so
        poll = select.poll()
        poll.register(end.fileno(), select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)

    def abandon(self) -> None:
        """Drop the current exchange: the sink hears nothing more and the socket is closed at once."""
        self.sink = None
        self._state = _IDLE
        if not self.closed:
            self.closed = True
            self.pool.forget(self)
            self.transport.abort()

    def close(self) -> None:
        """Close the socket at once; idempotent.

        What is unsent is the rest of an upload whose answer is here, or will never be. A transport that is closed, not
        aborted, would wait for the backend to take it: without a deadline, in nobody's count.
        """
        if not self.closed:
            self.closed = True
            self.pool.forget(self)
            if self.transport.get_write_buffer_size():
                self.transport.abort()
            else:
                self.transport.close()
