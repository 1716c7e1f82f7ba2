"""A backend and a client for bodies of any size, on threads of the benchmark itself."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Sequence

from bench.process import BenchError

_BLOCK = bytes(262_144)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class BulkServer:
    """Answer ``GET /…/BYTES`` with that many zeros, and any upload with how many bytes it had."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="bulk", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), name="bulk", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = connection.recv(65_536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    self._answer(connection, int(head.split(b" ")[1].rpartition(b"/")[2]))
                else:
                    size = _length(head)
                    _drain(connection, size - len(buffer))
                    buffer = b""
                    answer = b"%d" % size
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    def _answer(self, connection: socket.socket, number: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nContent-Length: %d\r\n\r\n" % number)
        _send_zeros(connection, number)

    def close(self) -> None:
        """Stop accepting."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class ListedServer(BulkServer):
    """Answer ``GET /…/N`` with the N-th of some answers: fields and body."""

    def __init__(self, answers: Sequence[tuple[bytes, bytes]]) -> None:
        self._answers = answers
        super().__init__()

    def _answer(self, connection: socket.socket, number: int) -> None:
        fields, body = self._answers[number]
        connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (fields, len(body)) + body)


def download(port: int, path: str, size: int) -> None:
    """Fetch ``path/size`` and throw it away.

    Raises: BenchError when it is not a whole 200.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET %b/%d HTTP/1.1\r\nHost: bench\r\n\r\n" % (path.encode(), size))
        head, rest = _head(connection)
        if not head.startswith(b"HTTP/1.1 200") or _length(head) != size:
            raise BenchError(f"the download of {size} bytes was answered {head[:200]!r}")
        _drain(connection, size - len(rest))


def upload(port: int, path: str, size: int) -> None:
    """Send *size* zeros and check that all of them arrived.

    Raises: BenchError when they did not.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"PUT %b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size))
        _send_zeros(connection, size)
        head, rest = _head(connection)
        while len(rest) < _length(head):
            rest += connection.recv(1024)
        if not head.startswith(b"HTTP/1.1 200") or int(rest) != size:
            raise BenchError(f"the upload of {size} bytes was answered {head[:200]!r} {rest!r}")


def _send_zeros(connection: socket.socket, size: int) -> None:
    while size > 0:
        connection.sendall(_BLOCK[:size])
        size -= len(_BLOCK)


def _drain(connection: socket.socket, size: int) -> None:
    block = bytearray(262_144)
    while size > 0:
        got = connection.recv_into(block, min(size, len(block)))
        if not got:
            raise BenchError(f"the connection ended with {size} bytes to come")
        size -= got


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(65_536)
        if not data:
            raise BenchError(f"the connection ended inside a head: {buffer[:200]!r}")
        buffer += data
    head, _, rest = buffer.partition(b"\r\n\r\n")
    return head + b"\r\n", rest


def _length(head: bytes) -> int:
    match = _LENGTH.search(head + b"\r\n")
    return int(match[1]) if match else 0
