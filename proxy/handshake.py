"""Take one client through its TLS handshake, and hand it on as a client like any other.

Rules of this file:

1. A handshake uses the certificate that is in force when its connection comes; a renewed one needs nothing but that
   pointer, and connections that stand keep theirs.
2. Until the handshake is over a connection costs a place, like a client, and at most the time that a head may take.
3. What fails is counted by reason and never logged: anybody can send us garbage.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # not in its stubs; asyncio.sslproto's, in C

from proxy.client import ClientConnection

if TYPE_CHECKING:
    from proxy.worker import Worker

_REASONS: Final = {
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "WRONG_VERSION_NUMBER": "not_tls",
    "PACKET_LENGTH_TOO_LONG": "not_tls",
    "RECORD_LAYER_FAILURE": "not_tls",
    "UNEXPECTED_MESSAGE": "not_tls",
    "UNSUPPORTED_PROTOCOL": "unsupported",
    "VERSION_TOO_LOW": "unsupported",
    "NO_SHARED_CIPHER": "unsupported",
    "NO_SUITABLE_KEY_SHARE": "unsupported",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "unsupported",
}
"""OpenSSL's word for why, and ours; the rest is ``alert`` (the client refused us) or ``other``."""


@dataclass(slots=True, eq=False, repr=False)
class Handshake(asyncio.Protocol):
    """Own one accepted socket until it speaks TLS."""

    worker: Worker
    listener: int
    """Its place among the configuration's addresses."""
    transport: asyncio.Transport = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room.

        ``loop.start_tls`` would do the same from a task, but what a client has sent before that task's first step
        reaches the old protocol and is lost to the handshake.
        """
        self.transport = transport  # type: ignore[assignment]  # a server makes Transports
        worker, limits = self.worker, self.worker.limits
        reason = self._no_room()
        if reason:
            worker.counts.totals["refused", reason] += 1
            transport.close()
            return
        worker.handshakes.add(self)
        identity = worker.applied.identities[self.listener]
        assert identity is not None, "an address without TLS has another protocol"
        client = ClientConnection(worker, beneath=self.transport)
        over: asyncio.Future[None] = worker.loop.create_future()
        over.add_done_callback(self._is_over)
        secure = SSLProtocol(
            worker.loop,
            client,
            identity.context,
            over,
            server_side=True,
            ssl_handshake_timeout=limits.header_read_timeout_ns / 1e9,
            # A client that is slow to take its last answer is slow, not gone.
            ssl_shutdown_timeout=limits.write_timeout_ns / 1e9,
        )
        self.transport.set_protocol(secure)
        secure.connection_made(transport)

    def _no_room(self) -> str:
        """Say why there is no room, or nothing; who does not speak yet cannot be answered 503."""
        worker = self.worker
        if worker.connections() >= worker.limits.max_connections:
            return "connections"
        descriptor = self.transport.get_extra_info("socket").fileno()
        return "" if worker.descriptors.has_room_for_client(descriptor) else "descriptors"

    def _is_over(self, over: asyncio.Future[None]) -> None:
        """Count a failure; a success has told the client already."""
        self.worker.handshakes.discard(self)
        error = over.exception()
        if error is not None:
            self.worker.counts.totals["handshake_failures", reason_of(error)] += 1


def reason_of(error: BaseException) -> str:
    """Name why a handshake failed, out of a closed list: it is a metric's label."""
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", None) or ""
        return _REASONS.get(why) or ("alert" if "ALERT" in why else "other")
    if isinstance(error, (ConnectionAbortedError, TimeoutError)):
        return "timeout"
    return "closed"
