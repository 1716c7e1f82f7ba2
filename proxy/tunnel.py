"""Carry bytes both ways after a validated 101, until one side closes.

Rules of this file: no byte is read before the switch was validated; each
direction stops reading while the other side does not take; a silent tunnel is
closed; a tunnel to new closes when its route goes back to legacy.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.backend import BackendConnection
    from proxy.exchange import Exchange
    from proxy.worker import Worker


class TunnelEnd(asyncio.Protocol):
    """Be one end of a tunnel."""

    other: TunnelEnd

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on."""
        self._tunnel.last_byte = monotonic()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Stop the other side."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side go on."""
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Pass the half-close on and keep the other direction open; TLS knows no half."""
        other = self.other.transport
        if other.is_closing() or not (self.transport.can_write_eof() and other.can_write_eof()):
            self._tunnel.close()
            return False
        other.write_eof()
        self._tunnel.half_closed += 1
        return self._tunnel.half_closed < 2

    def connection_lost(self, exc: Exception | None) -> None:
        """End the tunnel."""
        self._tunnel.close()


class Tunnel:
    """Hold both ends of one upgraded connection."""

    def __init__(self, worker: Worker, exchange: Exchange, backend: asyncio.Transport) -> None:
        self._worker = worker
        self.route = exchange.decision.route
        self.side = exchange.side
        self.last_byte = monotonic()
        self.half_closed = 0
        client = exchange.client.transport
        self.client_end = TunnelEnd(self, client)
        self._backend_end = TunnelEnd(self, backend)
        self.client_end.other, self._backend_end.other = self._backend_end, self.client_end
        client.set_protocol(self.client_end)
        backend.set_protocol(self._backend_end)
        worker.tunnels.add(self)

    def close(self) -> None:
        """Close both ends after what was written, which may take the write timeout; idempotent."""
        worker = self._worker
        if self in worker.tunnels:
            worker.tunnels.discard(self)
            for end in (self.client_end, self._backend_end):
                end.transport.close()
                if end.transport.get_write_buffer_size():
                    worker.loop.call_later(worker.limits.write_timeout_ns / 1e9, end.transport.abort)


def open_tunnel(worker: Worker, exchange: Exchange, connection: BackendConnection, tail: bytes) -> None:
    """Join a client and a backend; *tail* came from the backend right behind its 101."""
    client = exchange.client
    tunnel = Tunnel(worker, exchange, connection.transport)
    worker.clients.discard(client)
    worker.departures.forget(client)
    if tail:
        client.transport.write(tail)
    early = client.take_backlog()
    if early:
        connection.transport.write(early)
        if client.is_paused():
            client.transport.resume_reading()
    assert tunnel.half_closed == 0
    if client.ended:
        tunnel.client_end.eof_received()
    if exchange.applied is not worker.applied:
        worker.close_tunnels()  # a rollback came while the backend made up its mind
