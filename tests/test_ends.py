"""Rules of the end of the whole product: what is under way when it is told to stop, and what its clients see."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from tests.support.product import Product, wait_until
from tests.support.rawclient import RawClient, request_bytes
from tests.support.recorder import Echo, Gate, RecordedRequest, Recorder, Step, answer

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"


def test_a_stop_lets_everything_under_way_end_in_its_own_way() -> None:
    """A request, an upload and idle connections get their answers; streams are cut at the deadline; exit code 0."""
    gate = Gate()

    def serve(request: RecordedRequest) -> Iterator[Step]:
        match request.target:
            case b"/slow":
                yield gate
                yield answer(b"late")
            case b"/events":
                yield EVENTS + EVENT
                yield Gate()
            case b"/ws":
                yield SWITCH
                yield Echo()
            case _:
                yield answer(b"%d bytes" % request.body_bytes)

    with (
        Recorder(serve) as backend,
        Product(
            {
                "backends": {"old": {"url": backend.url}},
                "undeclared": {"backend": "old"},
                "routes": [],
                "limits": {"lame_duck": "3s", "drain": "3s"},
            },
            wait_for_control=False,
        ) as product,
    ):
        address = ("127.0.0.1", product.port)
        slow, idle, unread, events, socket, upload = clients = [RawClient(address) for _ in range(6)]
        slow.send(request_bytes(target="/slow"))
        assert idle.exchange(request_bytes(target="/idle")).status == 200
        events.send(request_bytes(target="/events"))
        assert events.read_head().status == 200
        socket.send(request_bytes(target="/ws", headers=(("Connection", "Upgrade"), ("Upgrade", "websocket"))))
        assert socket.read_head().status == 101
        upload.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        backend.wait_until(lambda: len(backend.requests) == 5, "the upload at the backend")

        assert product.process is not None
        product.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        wait_until(lambda: product.ready()[0] == 503, "readiness is off")
        in_lame_duck = [client.exchange(request_bytes(target="/late")) for client in (idle, unread)]
        with RawClient(address) as newcomer:
            in_lame_duck.append(newcomer.exchange(request_bytes(target="/new")))
        product.wait_log("draining")
        gate.open()
        upload.send(b"67890")
        drained = [slow.read_response(), upload.read_response()]
        socket.send(b"still there")
        echoed = socket.read_exactly(11)
        cut = [events.ending(), socket.ending()]
        code = product.process.wait(60)
        took, killed = time.monotonic() - began, product.logs("killed")
        for client in clients:
            client.close()

    assert [(one.status, one.value("connection")) for one in in_lame_duck] == [(200, b"close")] * 3
    assert [(one.status, one.body) for one in drained] == [(200, b"late"), (200, b"10 bytes")]
    assert [one.value("connection") for one in drained] == [b"close"] * 2
    assert echoed == b"still there"
    assert cut == ["reset", "eof"]
    assert code == 0
    assert took >= 5.9
    assert killed == []
