"""A small TCP proxy that injects faults between two real ends.

Put it between the product and a backend (or a client and the product) and
change its mind while traffic runs::

    with FaultProxy(backend.address) as network:
        network.to_client = Faults(cut_after=100, cut="reset")   # the next 100 answer bytes, then RST

Each direction has its own :class:`Faults`, read for every slice that passes,
so a change takes effect on open connections too; byte counts for
:attr:`Faults.cut_after` are per connection and direction.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.support.loopthread import LoopThread

Cut: TypeAlias = Literal["close", "reset", "half_close", "blackhole"]

_READ = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Say what happens to the bytes of one direction; the default passes them on."""

    delay_s: float = 0.0
    """Added in front of every slice."""
    bytes_per_s: int | None = None
    """Throttle; ``None``: as fast as it goes."""
    slice_bytes: int | None = None
    """No write is larger than this."""
    cut_after: int | None = None
    """After this many bytes of a connection :attr:`cut` happens; ``None``: never."""
    cut: Cut = "close"
    """FIN both ways · RST both ways · FIN onward only · swallow everything from here on."""


Accept: TypeAlias = Literal["connect", "blackhole", "reset"]


class FaultProxy:
    """Forward every connection to *target*, with the faults of the moment.

    Shape: :attr:`accept` rules new connections: ``connect`` to the target, a ``blackhole`` that takes bytes and
    never answers, or a ``reset`` at once.
    Runs: a thread of its own; every method is for the test's thread.
    """

    def __init__(self, target: tuple[str, int], *, host: str = "127.0.0.1", port: int = 0) -> None:
        # Kept from others also while nobody listens: who takes the port of a dead network is taken for the server.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((host, port))
        self.to_server = Faults()
        self.to_client = Faults()
        self.accept: Accept = "connect"
        self.connections = 0
        """Connections accepted so far."""
        self.passed = {"to_server": 0, "to_client": 0}
        """Bytes handed on per direction, over all connections."""
        self._target = target
        self._host = host
        self._lock = threading.Lock()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = LoopThread("faultproxy")
        self.port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = self._loop.call(self._listen(self.port))

    @property
    def address(self) -> tuple[str, int]:
        """Return what a socket connects to."""
        return self._host, self.port

    @property
    def url(self) -> str:
        """Return the base URL for a plain HTTP target, without a path."""
        return f"http://{self._host}:{self.port}"

    def refuse(self) -> None:
        """Stop listening: the kernel refuses new connections, open ones go on."""
        self._loop.call(self._stop())

    def resume(self) -> None:
        """Listen again on the same port."""
        if self._server is None:
            self._server = self._loop.call(self._listen(self.port))

    def end_all(self, *, reset: bool = False) -> None:
        """End every open connection on both ends, with FIN or RST."""
        self._loop.call(self._end_all(reset))

    def close(self) -> None:
        """Stop listening, reset what is open and join the thread."""
        self._loop.close(self._close)
        self._reserved.close()

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self._host, port, limit=_READ, reuse_address=True)

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _end_all(self, reset: bool) -> None:
        for writer in list(self._writers):
            _end(writer, reset=reset)

    async def _close(self) -> None:
        await self._stop()
        await self._end_all(True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.accept == "reset":
                _end(writer, reset=True)
                return
            if self.accept == "blackhole":
                while await reader.read(_READ):
                    pass
                return
            try:
                from_server, upstream = await asyncio.open_connection(*self._target, limit=_READ)
            except OSError:
                _end(writer, reset=True)
                return
            self._writers.add(upstream)
            if writer.transport.is_closing():
                return  # ended while there was no way to the target yet
            for one in (writer, upstream):
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(
                self._pass(reader, upstream, writer, "to_server"),
                self._pass(from_server, writer, upstream, "to_client"),
            )
        except OSError:
            pass  # one end reset the connection: the finally below tells the other one
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        direction: Literal["to_server", "to_client"],
    ) -> None:
        passed, swallowing = 0, False
        while True:
            try:
                data = await reader.read(_READ)
            except ConnectionResetError:
                _end(writer, reset=True)
                raise
            if not data:
                break
            while data and not swallowing:
                faults: Faults = getattr(self, direction)
                size = min(len(data), faults.slice_bytes or _READ)
                if faults.cut_after is not None:
                    size = min(size, faults.cut_after - passed)
                if faults.delay_s:
                    await asyncio.sleep(faults.delay_s)
                if size > 0:
                    # Counted first: whoever has the byte may look at the count.
                    self.passed[direction] += size
                    writer.write(data[:size])
                    await writer.drain()
                    data, passed = data[size:], passed + size
                    if faults.bytes_per_s:
                        await asyncio.sleep(size / faults.bytes_per_s)
                if faults.cut_after is not None and passed >= faults.cut_after:
                    match faults.cut:
                        case "close" | "reset":
                            for one in (writer, back):
                                _end(one, reset=faults.cut == "reset")
                            return
                        case "half_close":
                            writer.write_eof()
                            swallowing = True
                        case "blackhole":
                            swallowing = True
        if not swallowing:
            with contextlib.suppress(OSError):
                writer.write_eof()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    transport = writer.transport
    if reset and not transport.is_closing():
        raw_socket = transport.get_extra_info("socket")
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        writer.close()
