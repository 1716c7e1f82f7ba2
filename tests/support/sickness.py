"""What a sick service does to its callers: one script per sickness, and what a worker must make of it.

Used wherever a test asks whether a sick shadow stays the shadow's own problem.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.support.recorder import Close, Hang, Pause, Reset, Sliced, Step, answer, forever

Script = bytes | list[Step] | Callable[[object], Iterable[Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sickness:
    """Name one way to be sick."""

    script: Script
    """What a :class:`~tests.support.recorder.Recorder` answers."""
    phase: str = ""
    """The phase in which no complete answer came; empty: it is an answer, and differs from a healthy one."""


def _endless(_: object) -> Iterable[Step]:
    return forever(b"x" * 262_144)


BOMB = gzip.compress(bytes(64 << 20), compresslevel=9, mtime=0)
"""64 MiB of zeros in 64 KiB."""

SICK: dict[str, Sickness] = {
    "hangs": Sickness(script=[Hang()], phase="timeout"),
    "drips": Sickness(script=[Sliced(data=answer(b"late" * 100), size=1, gap_s=0.05)], phase="timeout"),
    "never-ends": Sickness(script=_endless, phase="timeout"),
    "resets": Sickness(script=[Reset()], phase="head"),
    "closes": Sickness(script=[Close()], phase="head"),
    "garbage": Sickness(script=[b"\x00\x01garbage\r\n\r\n", Close()], phase="head"),
    "ten-thousand-fields": Sickness(
        script=[b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", Hang()], phase="head"
    ),
    "unasked-101": Sickness(
        script=[b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", Hang()], phase="head"
    ),
    "bad-chunk": Sickness(
        script=[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Hang()], phase="body"
    ),
    "half": Sickness(script=[b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Close()], phase="body"),
    "cut-head": Sickness(script=[b"HTTP/1.1 200 OK\r\nContent-", Pause(seconds=0.01), Close()], phase="head"),
    "500": Sickness(script=answer(b"no", status=500, reason="Error")),
    "redirects-for-ever": Sickness(
        script=answer(b"", status=302, reason="Found", headers=(("Location", "/api/loop"),))
    ),
    "sets-cookies": Sickness(
        script=answer(
            b"{}",
            headers=(
                ("Set-Cookie", "evil=1"),
                ("WWW-Authenticate", "Basic"),
                ("Strict-Transport-Security", "max-age=31536000"),
                ("Cache-Control", "public, max-age=31536000"),
            ),
        )
    ),
    "surplus": Sickness(script=[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxPOISON"]),
    "gzip-bomb": Sickness(
        script=answer(BOMB, headers=(("Content-Type", "application/json"), ("Content-Encoding", "gzip")))
    ),
}
