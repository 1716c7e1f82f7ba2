"""WebSockets through the proxy: every frame of both sides, byte for byte, and what a flip does to them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import pytest

from rules.flag import Stage
from tests.support.oneworker import OneWorker, flag, route
from tests.support.rawclient import request_bytes
from tests.support.recorder import Close, Echo, RecordedRequest, Recorder, Step, answer

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE = (
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ("Origin", "https://shop.test"),
)
SWITCH = (
    b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat.v2\r\n"
    b"sec-websocket-extensions: permessage-deflate\r\nSet-Cookie: a=1\r\n\r\n"
)


def frame(opcode: int, payload: bytes, *, last: bool = True, packed: bool = False, masked: bool = True) -> bytes:
    """Write one frame (RFC 6455 section 5.2); clients mask theirs, servers do not."""
    first = opcode | (0x80 if last else 0) | (0x40 if packed else 0)
    size = len(payload)
    length = (
        bytes([size]) if size < 126 else b"\x7e%b" % size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    )
    if not masked:
        return bytes([first]) + length + payload
    mask = os.urandom(4)
    sealed = (int.from_bytes(payload) ^ int.from_bytes((mask * (size // 4 + 1))[:size])).to_bytes(size)
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + sealed


def deflated(payload: bytes) -> bytes:
    """Pack a message as permessage-deflate does (RFC 7692)."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def conversation(*, masked: bool) -> dict[str, bytes]:
    """Write one side's frames, each form once."""

    def one(opcode: int, payload: bytes, **bits: bool) -> bytes:
        return frame(opcode, payload, masked=masked, **bits)

    return {
        "text": one(TEXT, "ñandú".encode()),
        "empty": one(TEXT, b""),
        "binary": one(BINARY, bytes(range(256))),
        "not-utf8": one(TEXT, b"\xff\xfe"),
        "fragments": one(TEXT, b"a", last=False) + one(PING, b"between") + one(0, b"b", last=False) + one(0, b"c"),
        "ping": one(PING, b"x" * 125),
        "pong": one(PONG, b""),
        "packed": one(TEXT, deflated(b"hello " * 100), packed=True),
        "reserved": one(3, b"an opcode of tomorrow"),
        "mebibyte": one(BINARY, os.urandom(1 << 20)),
        "close": one(CLOSE, (4_001).to_bytes(2) + b"bye"),
    }


@pytest.fixture
def legacy() -> Iterator[Recorder]:
    """Switch and echo."""
    with Recorder([SWITCH, Echo()]) as recorder:
        yield recorder


def test_every_frame_passes_in_both_directions(legacy: Recorder) -> None:
    """Text, binary, control, fragmented, packed, reserved and large frames and close codes pass as they were sent."""
    from_server, from_client = conversation(masked=False), conversation(masked=True)
    legacy.answer = [SWITCH + b"".join(from_server.values()), Echo()]
    with OneWorker(backends={"legacy": legacy.url}) as worker, worker.client() as client:
        client.send(request_bytes(target="/ws?room=1", headers=UPGRADE))
        head = client.read_head()
        for name, expected in from_server.items():
            assert client.read_exactly(len(expected)) == expected, name
        for name, sent in from_client.items():
            client.send(sent)
            assert client.read_exactly(len(sent)) == sent, name
        client.half_close()
        ending = client.ending()

    ours, theirs = head.lines, SWITCH[:-4].split(b"\r\n")
    kept = [line for line in theirs if not line.startswith((b"Upgrade:", b"Connection:"))]
    assert list(ours[:-1]) == [*kept, b"Connection: Upgrade", b"Upgrade: WebSocket"]
    assert ours[-1].startswith(b"X-Request-Id: ")
    asked = legacy.requests[0]
    assert [asked.values(name) for name, _ in UPGRADE[1:]] == [[value.encode()] for _, value in UPGRADE[1:]]
    assert asked.values("connection") == [b"Upgrade"]
    assert bytes(legacy.connections[0].raw).partition(b"\r\n\r\n")[2] == b"".join(from_client.values())
    assert ending == "eof"


def test_a_close_of_the_server_ends_the_session(legacy: Recorder) -> None:
    """A server's close frame and the end behind it reach the client, whose connection ends as well."""
    goodbye = frame(CLOSE, (1_012).to_bytes(2) + b"restart", masked=False)
    legacy.answer = [SWITCH, goodbye, Close()]
    with OneWorker(backends={"legacy": legacy.url}) as worker, worker.client() as client:
        client.send(request_bytes(target="/ws", headers=UPGRADE))
        assert client.read_head().status == 101
        assert client.read_exactly(len(goodbye)) == goodbye
        assert client.ending() == "eof"


def test_a_flip_moves_new_sessions_only(legacy: Recorder) -> None:
    """A session stays where it is when its route flips forward; the next one goes to the side that answers now."""

    def greet(request: RecordedRequest) -> list[Step]:
        return [SWITCH, b"new", Echo()] if request.target == b"/api/ws" else [answer(b"plain")]

    with (
        Recorder(greet) as new,
        OneWorker(
            backends={"legacy": legacy.url, "new": new.url}, routes=[route()], flags={"orders": flag(Stage.LEGACY)}
        ) as worker,
        worker.client() as before,
        worker.client() as after,
    ):
        before.send(request_bytes(target="/api/ws", headers=UPGRADE))
        assert before.read_head().status == 101
        worker.push({"orders": flag(Stage.LIVE)})
        after.send(request_bytes(target="/api/ws", headers=UPGRADE))
        assert after.read_head().status == 101
        assert after.read_exactly(3) == b"new"
        before.send(b"still legacy")
        assert before.read_exactly(12) == b"still legacy"
        after.send(b"on new")
        assert after.read_exactly(6) == b"on new"

    assert [len(recorder.connections[0].requests) for recorder in (legacy, new)] == [1, 1]
