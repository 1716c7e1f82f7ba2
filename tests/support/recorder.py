"""A recording backend: a raw-socket HTTP/1.1 server that keeps every byte and answers by script.

What a proxy does to the wire can only be judged from behind it. The recorder
keeps the raw bytes of each connection, cuts them into requests with a reader of
its own (so a fault of our parser cannot hide itself), notes when and how each
connection ended, and answers with *steps*: bytes to send, pauses, resets, gates.

::

    with Recorder(answer(b"hello")) as backend:
        ...                                    # send something through the proxy
        backend.wait_requests(1)
        assert backend.requests[0].values("host") == [b"shop"]

An answer is bytes, a sequence of steps, or a function from the request to
either; a generator works, so an endless answer is an endless generator.

Rules of this file:

1. The bytes of a connection are recorded as they arrive, before anything reads them.
2. A request joins :attr:`Recorder.requests` when its head is complete, and is
   :attr:`~RecordedRequest.complete` when its body is; the answer's function is called
   after the body, or at the head with ``early=True``.
3. Nothing here sleeps to synchronise: tests wait on a condition or open a :class:`Gate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from tests.support.loopthread import LoopThread

KEEP_BYTES = 8 << 20
"""Recorded bytes per connection and per body; beyond it only the counts go on (large-body tests)."""

WAIT_S = 30.0
"""How long the ``wait_…`` methods wait before they fail the test."""

MAX_UNREAD = 4 << 20
"""Bytes buffered ahead of the script; beyond it the socket is not read, as a real server would."""

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Gate:
    """Hold an answer at one point until the test opens the gate; it stays open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._listeners: list[Callable[[], None]] = []

    def open(self) -> None:
        """Let every answer that waits here, or comes here later, go on."""
        with self._lock:
            self._opened = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* once the gate is open, at once if it already is."""
        with self._lock:
            if not self._opened:
                self._listeners.append(listener)
                return
        listener()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait this long before the next step; ends early when the connection ends."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced:
    """Send bytes in slices, each as a write of its own."""

    data: bytes
    size: int = 1
    gap_s: float = 0.0
    """Pause between two slices; with 0 the kernel may still join them."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection with an RST (SO_LINGER 0)."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is buffered, then end the connection in both directions."""


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Send a FIN and go on reading (plain TCP only)."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Never go on: wait until the other end leaves or the recorder closes."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait until the request body is complete (only useful with ``early=True``)."""


@dataclass(frozen=True, slots=True)
class StopReading:
    """Take no more bytes off the socket, so that the sender meets backpressure."""


@dataclass(frozen=True, slots=True)
class StartReading:
    """Take bytes again after :class:`StopReading`."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Send back every byte that arrives behind the request (a tunnel), until the other end's FIN."""


Step: TypeAlias = (
    bytes | Pause | Sliced | Gate | Reset | Close | HalfClose | Hang | Receive | StopReading | StartReading | Echo
)


@dataclass(slots=True, kw_only=True)
class RecordedRequest:
    """Keep one request as it arrived."""

    raw_head: bytes
    """The request line and fields, up to and with the empty line."""
    method: bytes
    target: bytes
    version: bytes
    headers: Headers
    """Names and values as sent, in order, values without surrounding blanks."""
    connection: int
    """Index into :attr:`Recorder.connections`."""
    at_ns: int
    """Monotonic time at which the head was complete."""
    body: bytes = b""
    """Decoded of chunks; cut at the recorder's ``keep_bytes``."""
    body_bytes: int = 0
    """The whole length, also where :attr:`body` was cut."""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)
    """SHA-256 of the whole body."""
    chunks: list[int] = field(default_factory=list)
    """Sizes of the chunks as sent, without the last one; empty without chunked coding."""
    trailers: Headers = ()
    complete: bool = False

    def values(self, name: str) -> list[bytes]:
        """Return every value of one field, in order, the name compared without case."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]


Ending: TypeAlias = Literal["open", "eof", "reset", "local"]


@dataclass(slots=True, kw_only=True)
class RecordedConnection:
    """Keep one connection: its bytes, its requests, its end."""

    index: int
    opened_ns: int
    raw: bytearray = field(default_factory=bytearray)
    """Every byte received, cut at the recorder's ``keep_bytes``."""
    raw_bytes: int = 0
    requests: list[RecordedRequest] = field(default_factory=list)
    ending: Ending = "open"
    """``eof``: the other end sent FIN; ``reset``: an RST or a failed write; ``local``: we ended it."""
    ended_ns: int | None = None
    sent_bytes: int = 0
    """Bytes handed to the transport."""
    failure: str | None = None
    """Why the connection's bytes were no HTTP/1.1 request, or why the script failed."""


Answer: TypeAlias = bytes | Iterable[Step] | Callable[[RecordedRequest], "bytes | Iterable[Step]"]


def answer(
    body: bytes = b"",
    *,
    status: int = 200,
    reason: str = "OK",
    headers: Iterable[tuple[str, str]] = (("Content-Type", "text/plain"),),
    length: bool = True,
) -> bytes:
    """Write one complete answer with a Content-Length (left out with ``length=False``)."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked_answer(
    parts: Iterable[bytes],
    *,
    status: int = 200,
    reason: str = "OK",
    headers: Iterable[tuple[str, str]] = (("Content-Type", "text/plain"),),
    trailers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Write one complete answer in chunks, one per part, with trailers behind them."""
    head = answer(status=status, reason=reason, headers=(*headers, ("Transfer-Encoding", "chunked")), length=False)
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    tail = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1")
    return head + body + b"0\r\n" + tail + b"\r\n"


def forever(chunk: bytes, gap_s: float = 0.0) -> Iterator[Step]:
    """Answer 200 in chunks that never end."""
    yield answer(headers=(("Transfer-Encoding", "chunked"),), length=False)
    framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
    while True:
        yield framed
        yield Pause(seconds=gap_s)


def _parse_fields(lines: Iterable[bytes]) -> Headers:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"not a field line: {line!r}")
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)


class _EndedError(Exception):
    """The connection ended while its script still wanted something from it."""


class _Connection(asyncio.Protocol):
    """Record one connection and play its answers."""

    def __init__(self, owner: Recorder) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._eof = False
        self._lost = False
        self._deaf = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport
        self._record: RecordedConnection
        self._player: asyncio.Task[None] | None = None

    # -- what the loop tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw_socket = self._transport.get_extra_info("socket")
        raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._record = self._owner._opened(self)
        self._player = asyncio.get_running_loop().create_task(self._play(), name="recorder connection")

    def data_received(self, data: bytes) -> None:
        with self._owner._changed:
            record = self._record
            record.raw_bytes += len(data)
            room = self._owner._keep_bytes - len(record.raw)
            if room > 0:
                record.raw += data[:room]
            self._owner._changed.notify_all()
        self._buffer += data
        if len(self._buffer) > MAX_UNREAD:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._eof = True
        self._end("eof")
        self._wake()
        # A half-closed TLS stream does not exist for asyncio; plain TCP stays open for our answer.
        return self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = self._lost = True
        self._end("local" if exc is None else "reset")
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- reading requests

    async def _play(self) -> None:
        try:
            while (request := await self._read_head()) is not None:
                reader = self._read_body(request)
                if not self._owner._early:
                    await reader
                    await self._answer(request, None)
                else:
                    await self._answer(request, reader)
                if self._transport.is_closing():
                    return
            if not self._lost:
                self._transport.close()
        except _EndedError:
            self._transport.close()
        except Exception as error:
            # The outermost border: a failing script or foreign bytes are the test's news, not the loop's.
            self._record.failure = f"{type(error).__name__}: {error}"
            self._end("local")
            self._transport.abort()

    async def _read_head(self) -> RecordedRequest | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if self._eof:
                return None
            await self._more()
        raw_head = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        line, *fields = raw_head[:-4].split(b"\r\n")
        method, target, version = line.split(b" ")
        request = RecordedRequest(
            raw_head=raw_head,
            method=method,
            target=target,
            version=version,
            headers=_parse_fields(fields),
            connection=self._record.index,
            at_ns=time.monotonic_ns(),
        )
        with self._owner._changed:
            self._record.requests.append(request)
            self._owner.requests.append(request)
            self._owner._changed.notify_all()
        return request

    async def _read_body(self, request: RecordedRequest) -> None:
        if request.values("transfer-encoding"):
            while True:
                size = int((await self._line()).split(b";")[0], 16)
                if size == 0:
                    break
                request.chunks.append(size)
                await self._take(size, request)
                if await self._line() != b"":
                    raise ValueError("a chunk does not end with CRLF")
            fields = []
            while line := await self._line():
                fields.append(line)
            request.trailers = _parse_fields(fields)
        elif lengths := request.values("content-length"):
            await self._take(int(lengths[0]), request)
        with self._owner._changed:
            request.complete = True
            self._owner._changed.notify_all()

    async def _take(self, size: int, request: RecordedRequest) -> None:
        kept = bytearray(request.body)
        while size:
            if not self._buffer:
                await self._more()
                continue
            part = bytes(self._buffer[:size])
            del self._buffer[: len(part)]
            size -= len(part)
            request.body_bytes += len(part)
            request.digest.update(part)
            kept += part[: max(0, self._owner._keep_bytes - len(kept))]
        request.body = bytes(kept)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def _more(self) -> None:
        if self._eof:
            raise _EndedError
        if not self._deaf:
            self._transport.resume_reading()
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- playing steps

    async def _answer(self, request: RecordedRequest, body: Coroutine[None, None, None] | None) -> None:
        script = self._owner.answer
        steps = script(request) if callable(script) else script
        if isinstance(steps, bytes):
            steps = (steps,)
        try:
            for step in steps:
                if isinstance(step, Receive) and body is not None:
                    pending, body = body, None
                    await pending
                else:
                    await self._step(step)
                if self._lost or self._transport.is_closing():
                    return
            if body is not None:
                pending, body = body, None
                await pending
        finally:
            if body is not None:
                body.close()

    async def _step(self, step: Step) -> None:
        match step:
            case bytes():
                await self._send(step)
            case Pause():
                await self._until_gone(step.seconds)
            case Sliced():
                for start in range(0, len(step.data), step.size):
                    await self._send(step.data[start : start + step.size])
                    await self._until_gone(step.gap_s)
            case Gate():
                await self._pass(step)
            case Reset():
                self._end("local")
                raw_socket = self._transport.get_extra_info("socket")
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._transport.abort()
            case Close():
                self._end("local")
                self._transport.close()
            case HalfClose():
                self._transport.write_eof()
            case Hang():
                while not self._eof:
                    await self._more()
            case StopReading():
                self._deaf = True
                self._transport.pause_reading()
            case StartReading():
                self._deaf = False
                self._transport.resume_reading()
            case Receive():
                pass
            case Echo():
                while True:
                    if self._buffer:
                        data = bytes(self._buffer)
                        self._buffer.clear()
                        await self._send(data)
                    elif self._eof:
                        break
                    else:
                        await self._more()

    async def _send(self, data: bytes) -> None:
        if self._lost or self._transport.is_closing():
            raise _EndedError
        self._transport.write(data)
        self._record.sent_bytes += len(data)
        await self._writable.wait()

    async def _until_gone(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._lost:
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    await waiter

    async def _pass(self, gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        opened = asyncio.Event()

        def tell() -> None:
            # The gate may be opened after the recorder has closed: nobody waits any more.
            if not loop.is_closed():
                loop.call_soon_threadsafe(opened.set)

        gate.listen(tell)
        await opened.wait()

    def _end(self, ending: Ending) -> None:
        with self._owner._changed:
            if self._record.ending == "open":
                self._record.ending = ending
                self._record.ended_ns = time.monotonic_ns()
                self._owner._changed.notify_all()

    def abort(self) -> None:
        """Drop the connection when the recorder closes."""
        self._end("local")
        self._transport.abort()


_OK = answer(b"ok")


class Recorder:
    """Listen on a loopback port, record what arrives and answer by script.

    Shape: :attr:`requests` and :attr:`connections` grow in order of arrival and are safe to read while
    traffic runs. :attr:`answer` may be replaced at any time and is read once per request.
    Runs: a thread of its own; every method is for the test's thread.
    """

    def __init__(
        self,
        script: Answer = _OK,
        *,
        early: bool = False,
        tls: ssl.SSLContext | None = None,
        keep_bytes: int = KEEP_BYTES,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.answer: Answer = script
        self.requests: list[RecordedRequest] = []
        self.connections: list[RecordedConnection] = []
        self._early = early
        self._keep_bytes = keep_bytes
        self._changed = threading.Condition()
        self._live: list[_Connection] = []
        self._loop = LoopThread("recorder")
        self.host = host
        self._scheme = "https" if tls else "http"
        self._server = self._loop.call(self._listen(host, port, tls))
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: _Connection(self), host, port, ssl=tls, reuse_address=True)

    @property
    def url(self) -> str:
        """Return the base URL, without a path."""
        return f"{self._scheme}://{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """Return what a socket connects to."""
        return self.host, self.port

    def wait_until(self, holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        """Wait until *holds* is true; it is asked again whenever anything was recorded.

        Raises: TimeoutError that says what did not happen and what was recorded instead.
        """
        with self._changed:
            if not self._changed.wait_for(holds, timeout_s):
                raise TimeoutError(f"after {timeout_s} s there is still no {what}; recorded: {self.summary()}")

    def wait_requests(self, count: int, timeout_s: float = WAIT_S) -> list[RecordedRequest]:
        """Wait until this many requests are complete and return all of them."""

        def done() -> list[RecordedRequest]:
            return [request for request in self.requests if request.complete]

        self.wait_until(lambda: len(done()) >= count, f"complete request number {count}", timeout_s)
        return done()

    def wait_connections(self, count: int, timeout_s: float = WAIT_S) -> list[RecordedConnection]:
        """Wait until this many connections were opened and return all of them."""
        self.wait_until(lambda: len(self.connections) >= count, f"connection number {count}", timeout_s)
        return list(self.connections)

    def wait_ended(self, index: int = 0, timeout_s: float = WAIT_S) -> RecordedConnection:
        """Wait until one connection has ended, by whichever end, and return its record."""
        self.wait_until(
            lambda: len(self.connections) > index and self.connections[index].ending != "open",
            f"end of connection {index}",
            timeout_s,
        )
        return self.connections[index]

    def summary(self) -> str:
        """Say in one line what was recorded, for the message of a failed test."""
        return (
            "; ".join(
                f"connection {one.index}: {one.raw_bytes} bytes, {len(one.requests)} requests, {one.ending}"
                + (f", {one.failure}" if one.failure else "")
                for one in self.connections
            )
            or "nothing"
        )

    def _opened(self, connection: _Connection) -> RecordedConnection:
        with self._changed:
            record = RecordedConnection(index=len(self.connections), opened_ns=time.monotonic_ns())
            self.connections.append(record)
            self._live.append(connection)
            self._changed.notify_all()
        return record

    def refuse(self) -> None:
        """Stop listening: new connections are refused, open ones go on."""
        self._loop.call(self._stop())

    async def _stop(self) -> None:
        self._server.close()

    async def _drop_all(self) -> None:
        self._server.close()
        for connection in self._live:
            connection.abort()
        await asyncio.sleep(0)

    def drop_connections(self) -> None:
        """End every open connection at once and go on listening."""
        self._loop.call(self._abort_live())

    async def _abort_live(self) -> None:
        for connection in self._live:
            connection.abort()

    def close(self) -> None:
        """Stop listening, end every connection and join the thread."""
        self._loop.close(self._drop_all)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
