"""Make strange requests: vectors of the corpus one behind the other, changed a little, cut anywhere.

The same dice make the same bytes. Tags stay whole, so that what arrives finds its way to who sent it.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from tests.conformance.generated import GENERATED, ODD
from tests.conformance.legal import LEGAL, MAY
from tests.conformance.must_reject import MUST_REJECT
from tests.conformance.vectors import TAG

LONGEST = 1_500
"""Of the vectors taken; long ones cost time and teach little."""

_GOOD = [one.raw for one in LEGAL if len(one.raw) < LONGEST and TAG in one.raw]
_BAD = [one.raw for one in (*MUST_REJECT, *MAY, *GENERATED[::7]) if len(one.raw) < LONGEST and TAG in one.raw]

_WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b",", b";", b"_", b"-", b"0", b"0\r\n\r\n",
    b"3\r\nabc\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content_Length: 5\r\n", b"Host: other.test\r\n", b"Connection: close\r\n", b"Connection: Transfer-Encoding\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"X-A: b\r\n", b"chunked",
    b"identity", b"HTTP/1.0", b"HTTP/1.1", b"http://shop.test", b"GET ", b"POST ", b"#", b"..", b"%00",
    b"GET /inside-tag HTTP/1.1\r\nHost: shop.test\r\n\r\n",
)  # fmt: skip


def strange(dice: Random) -> bytes:
    """Make one to three requests in a row, most of them good, with up to three changes."""
    raw = b"".join(dice.choice(_GOOD if dice.random() < 0.7 else _BAD) for _ in range(dice.choice((1, 1, 2, 3))))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
        raw = _changed(raw, dice)
    return raw


def cut(raw: bytes, dice: Random) -> tuple[bytes, ...]:
    """Cut bytes at up to five places."""
    at = sorted({0, len(raw), *(dice.randrange(len(raw) + 1) for _ in range(dice.choice((0, 0, 1, 2, 5))))})
    return tuple(raw[start:end] for start, end in pairwise(at))


def _changed(raw: bytes, dice: Random) -> bytes:
    parts = raw.split(TAG)
    number = dice.randrange(len(parts))
    part = parts[number]
    start = dice.randrange(len(part) + 1)
    end = min(len(part), start + dice.choice((1, 1, 2, 4, 8, 24)))
    some = part[start:end]
    word = dice.choice(_WORDS) if dice.random() < 0.7 else bytes([dice.choice(ODD)])
    parts[number] = {
        "put": part[:start] + word + part[start:],
        "replace": part[:start] + word + part[end:],
        "drop": part[:start] + part[end:],
        "twice": part[:end] + some + part[end:],
        "case": part[:start] + some.swapcase() + part[end:],
        "move": some + part[:start] + part[end:],
    }[dice.choice(("put", "put", "replace", "replace", "drop", "twice", "case", "move"))]
    return TAG.join(parts)
