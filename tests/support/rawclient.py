"""A raw TCP client with a strict HTTP/1.1 response reader of its own.

It sends exactly the bytes it is given, in the slices it is given, and accepts
nothing that RFC 9112 does not: a proxy's answer that only lenient clients
understand is an error here. It shares no code with the product.

::

    with RawClient(("127.0.0.1", port)) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        response = client.read_response()
        assert response.status == 200 and client.leftover == b""
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

TIMEOUT_S = 30.0
"""The longest silence before a read gives up; tests that measure time pass their own."""

MAX_HEAD = 1 << 20
"""A head larger than this is an error: the reader must end."""

Framing: TypeAlias = Literal["none", "length", "chunked", "close"]

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:;[^\x00-\x08\x0a-\x1f\x7f]*)?)")


class MalformedResponseError(Exception):
    """The bytes are not a response that RFC 9112 allows."""


class ConnectionEndedError(Exception):
    """The connection ended inside a response; the bytes read so far are attached."""

    def __init__(self, ending: str, so_far: bytes) -> None:
        super().__init__(f"the connection ended ({ending}) inside a response, after {so_far[:200]!r}")
        self.ending, self.so_far = ending, so_far


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHead:
    """Keep one response head, verbatim and taken apart."""

    lines: tuple[bytes, ...]
    """The status line and the field lines as they arrived, without CRLF."""
    version: bytes
    """``1.0`` or ``1.1``."""
    status: int
    reason: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Names as sent, in order, values without surrounding blanks."""

    def values(self, name: str) -> list[bytes]:
        """Return every value of one field, in order, the name compared without case."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]

    def value(self, name: str) -> bytes | None:
        """Return the only value of a field, ``None`` without it.

        Raises: MalformedResponseError when the field stands there twice.
        """
        values = self.values(name)
        if len(values) > 1:
            raise MalformedResponseError(f"{name} stands {len(values)} times: {values}")
        return values[0] if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResponse:
    """Keep one whole final response and the interim ones in front of it."""

    head: RawHead
    body: bytes
    framing: Framing
    """How the end of the body was told."""
    chunks: tuple[int, ...] = ()
    """Sizes of the chunks as sent, without the last one."""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    interim: tuple[RawHead, ...] = ()
    """1xx responses, in order; a 101 is final and stands in ``head``."""

    @property
    def status(self) -> int:
        """Return the status of the final head."""
        return self.head.status

    def values(self, name: str) -> list[bytes]:
        """Return every value of one field of the final head."""
        return self.head.values(name)

    def value(self, name: str) -> bytes | None:
        """Return the only value of a field of the final head."""
        return self.head.value(name)


class RawClient:
    """Hold one client connection and say exactly what goes over it.

    Shape: :attr:`leftover` is what arrived behind the last response that was read.
    Raises: TimeoutError from any read that stays silent for ``timeout_s``.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        self.leftover = b""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_buffer is not None:
                # Must stand before connect: the window is announced in the SYN.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self._socket.bind((source, 0))
            self._socket.settimeout(timeout_s)
            self._socket.connect(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=server_name)
        except BaseException:
            self._socket.close()
            raise

    def tls_socket(self) -> ssl.SSLSocket:
        """Return the socket of a TLS connection, to ask what was agreed."""
        assert isinstance(self._socket, ssl.SSLSocket), "this connection is clear"
        return self._socket

    # -- sending

    def send(self, data: bytes, *, slice_bytes: int = 0, gap_s: float = 0.0) -> None:
        """Send bytes at once, or in slices with a pause between two of them."""
        if not slice_bytes:
            self._socket.sendall(data)
            return
        for start in range(0, len(data), slice_bytes):
            self._socket.sendall(data[start : start + slice_bytes])
            if gap_s:
                time.sleep(gap_s)

    def send_some(self, data: bytes, timeout_s: float) -> int:
        """Send as much as the other end takes within *timeout_s* of silence and return how much that was."""
        before = self._socket.gettimeout()
        self._socket.settimeout(timeout_s)
        sent = 0
        try:
            while sent < len(data):
                sent += self._socket.send(data[sent : sent + 65_536])
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(before)
        return sent

    def half_close(self) -> None:
        """Send a FIN and go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """End the connection with a FIN in both directions; twice is fine."""
        self._socket.close()

    # -- reading bytes

    def read_some(self, limit: int = 65_536) -> bytes:
        """Return what is there next, at most *limit* bytes; empty at the end of the stream."""
        if self.leftover:
            data, self.leftover = self.leftover[:limit], self.leftover[limit:]
            return data
        return self._socket.recv(limit)

    def read_exactly(self, size: int) -> bytes:
        """Return exactly this many bytes.

        Raises: ConnectionEndedError when there are fewer.
        """
        data = bytearray()
        while len(data) < size:
            data += self._fresh(data, size - len(data))
        return bytes(data)

    def read_to_end(self, *, limit: int = 1 << 30, slice_bytes: int = 65_536, gap_s: float = 0.0) -> bytes:
        """Read until the other end sends FIN; small slices with a pause make a slow reader."""
        data = bytearray()
        while len(data) < limit and (part := self.read_some(slice_bytes)):
            data += part
            if gap_s:
                time.sleep(gap_s)
        return bytes(data)

    def ending(self, timeout_s: float = TIMEOUT_S) -> Literal["eof", "reset", "open"]:
        """Say how the other end left: throw away what it still sends, up to *timeout_s* of silence."""
        before = self._socket.gettimeout()
        self._socket.settimeout(timeout_s)
        self.leftover = b""
        try:
            while self._socket.recv(65_536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except TimeoutError:
            return "open"
        finally:
            self._socket.settimeout(before)
        return "eof"

    def _fresh(self, so_far: bytearray, limit: int = 65_536) -> bytes:
        try:
            data = self.read_some(limit)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionEndedError("reset", bytes(so_far)) from error
        if not data:
            raise ConnectionEndedError("eof", bytes(so_far))
        return data

    # -- reading responses

    def read_head(self) -> RawHead:
        """Read one head, interim or final, and leave what follows it."""
        buffer = bytearray()
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > MAX_HEAD:
                raise MalformedResponseError(f"no end of the head within {MAX_HEAD} bytes")
            buffer += self._fresh(buffer)
        self.leftover = bytes(buffer[end + 4 :]) + self.leftover
        lines = tuple(bytes(buffer[:end]).split(b"\r\n"))
        match = _STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise MalformedResponseError(f"not a status line: {lines[0]!r}")
        return RawHead(
            lines=lines,
            version=b"1." + match[1],
            status=int(match[2]),
            reason=match[3],
            headers=_fields(lines[1:]),
        )

    def read_response(self, method: str = "GET") -> RawResponse:
        """Read up to the end of one final response to *method* and leave what follows it.

        Raises: MalformedResponseError; ConnectionEndedError when it is cut short.
        """
        interim = []
        while True:
            head = self.read_head()
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        body, framing, chunks, trailers = self._body(head, method)
        return RawResponse(
            head=head, body=body, framing=framing, chunks=chunks, trailers=trailers, interim=tuple(interim)
        )

    def _body(
        self, head: RawHead, method: str
    ) -> tuple[bytes, Framing, tuple[int, ...], tuple[tuple[bytes, bytes], ...]]:
        codings, length = head.value("Transfer-Encoding"), head.value("Content-Length")
        if codings is not None and length is not None:
            raise MalformedResponseError("both Transfer-Encoding and Content-Length (RFC 9112 section 6.2)")
        if length is not None and not re.fullmatch(rb"[0-9]{1,19}", length):
            raise MalformedResponseError(f"Content-Length is {length!r}, expected digits")
        if codings is not None and (head.status < 200 or head.status == 204):
            raise MalformedResponseError(f"Transfer-Encoding in a {head.status} (RFC 9112 section 6.1)")
        if method == "HEAD" or head.status in (101, 204, 304) or (method == "CONNECT" and head.status < 300):
            return b"", "none", (), ()
        if codings is not None:
            if codings.lower() != b"chunked":
                raise MalformedResponseError(f"Transfer-Encoding is {codings!r}, expected chunked")
            if head.version == b"1.0":
                raise MalformedResponseError("chunked in an HTTP/1.0 response")
            body, chunks, trailers = self._chunks()
            return body, "chunked", chunks, trailers
        if length is not None:
            return self.read_exactly(int(length)), "length", (), ()
        rest = bytearray()
        while True:
            try:
                rest += self._fresh(rest)
            except ConnectionEndedError as end:
                if end.ending == "reset":
                    raise
                return bytes(rest), "close", (), ()

    def _chunks(self) -> tuple[bytes, tuple[int, ...], tuple[tuple[bytes, bytes], ...]]:
        body, sizes = bytearray(), []
        while True:
            line = self._line()
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise MalformedResponseError(f"not a chunk line: {line!r}")
            size = int(match[1], 16)
            if size == 0:
                break
            sizes.append(size)
            body += self.read_exactly(size)
            if (end := self.read_exactly(2)) != b"\r\n":
                raise MalformedResponseError(f"a chunk of {size} bytes ends with {end!r}")
        lines = []
        while line := self._line():
            lines.append(line)
        return bytes(body), tuple(sizes), _fields(tuple(lines))

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += self.read_exactly(1)
            if len(line) > MAX_HEAD:
                raise MalformedResponseError(f"no end of a line within {MAX_HEAD} bytes")
        return bytes(line[:-2])

    def exchange(self, request: bytes, method: str | None = None) -> RawResponse:
        """Send one request and read its response; the method is read off the request unless given."""
        self.send(request)
        return self.read_response(method or request.split(b" ", 1)[0].decode("ascii", "replace"))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fields(lines: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes], ...]:
    fields = []
    for line in lines:
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise MalformedResponseError(f"not a field line: {line!r}")
        fields.append((match[1], match[2]))
    return tuple(fields)


def ask(address: tuple[str, int], request: bytes, *, timeout_s: float = TIMEOUT_S) -> RawResponse:
    """Send one request on a connection of its own and return the response."""
    with RawClient(address, timeout_s=timeout_s) as client:
        return client.exchange(request)


def request_bytes(
    method: str = "GET",
    target: str = "/",
    *,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes | None = None,
    host: str = "shop.test",
) -> bytes:
    """Write one request: Host first, then the given fields, Content-Length only with a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")
