"""Keep an answer as far as a comparison needs it, say whether two are the same bytes, and write two as a pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Final

import xxhash

from proxy import wire
from shadow import link
from shadow.heads import EVERY, compared

SMALL: Final = 1_024
"""Pieces below this are joined as they come: as objects of their own they would cost many times their bytes."""

MAX_KEPT_ANSWER: Final = link.MAX_PAIR_BODIES // 2
"""Per answer, so that a pair always fits its bound."""


STREAMS: Final = (b"text/event-stream", b"application/x-ndjson", b"application/ndjson", b"multipart/x-mixed-replace")
"""Content types of answers that go on for as long as their client listens, unless they have a length."""


class Budget:
    """Count the bytes that all copies of one worker hold."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


@dataclass(slots=True, eq=False)
class Answer:
    """Keep one side's answer as far as a comparison needs it.

    Bound: 512 KiB and the worker's budget; beyond either the body becomes a running xxh3-128 digest.
    """

    budget: Budget
    status: int = 0
    fields: wire.Fields | None = None
    size: int = 0
    _hasher: xxhash.xxh3_128 | None = None
    _chunks: list[bytes | bytearray] = field(default_factory=list)

    def add(self, data: bytes) -> None:
        """Take some body bytes."""
        size = len(data)
        self.size += size
        if self._hasher is None:
            budget = self.budget
            if self.size <= MAX_KEPT_ANSWER and budget.used + size <= budget.limit:
                chunks = self._chunks
                budget.used += size
                if not chunks or size >= SMALL:
                    chunks.append(data)
                elif type(chunks[-1]) is bytearray:
                    chunks[-1] += data
                else:
                    chunks.append(bytearray(data))
                return
            self._start_digest()
        assert self._hasher is not None
        self._hasher.update(data)

    def _start_digest(self) -> None:
        self._hasher = xxhash.xxh3_128()
        for chunk in self._chunks:
            self._hasher.update(chunk)
            self.budget.used -= len(chunk)
        self._chunks.clear()

    def body(self) -> bytes | None:
        """Give the whole body, or ``None`` if only its digest is known."""
        if self._hasher is not None:
            return None
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 and type(chunks[0]) is bytes else b"".join(chunks)

    def digest(self) -> bytes:
        """Give the body's xxh3-128 digest."""
        if self._hasher is None:
            return xxhash.xxh3_128(b"".join(self._chunks)).digest()
        return self._hasher.digest()

    def release(self) -> None:
        """Give the bytes back to the budget; idempotent."""
        for chunk in self._chunks:
            self.budget.used -= len(chunk)
        self._chunks = []

    def head(self, backend: str, *, whole: bool) -> link.AnswerHead:
        """Describe this answer inside a pair."""
        return link.AnswerHead(
            status=self.status,
            headers=self.fields.to_list() if self.fields is not None else [],
            body_bytes=self.size,
            digest=b"" if whole else self.digest(),
            backend=backend,
        )


class Unkept(Answer):
    """Be the primary's answer once there is nothing left to compare it with."""

    __slots__ = ()

    def add(self, data: bytes) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Hold the headers that must be the same in both answers, compiled once per route."""

    names: tuple[bytes, ...]
    every: bool
    """All others, too, but for those that say something else each time."""


def watch_of(headers: tuple[str, ...]) -> Watch:
    """Compile a route's ``watch_headers``; type and coding are always among them."""
    names = (name.encode() for name in headers if name != EVERY)
    return Watch((b"content-type", b"content-encoding", *names), EVERY in headers)


def is_identical(one: Answer, other: Answer, watch: Watch) -> bool:
    """Tell whether two complete answers are the same: status, type, coding, watched headers, body bytes.

    Cost: a memcmp (25 microseconds per MB) and two look-ups per header.
    """
    if one.status != other.status or one.size != other.size:
        return False
    mine, theirs = one.fields, other.fields
    assert mine is not None
    assert theirs is not None
    for name in watch.names:
        if mine.getall(name) != theirs.getall(name):
            return False
    if watch.every and compared(mine.to_list(), (EVERY,)) != compared(theirs.to_list(), (EVERY,)):
        return False
    left, right = one.body(), other.body()
    if left is None or right is None:
        return one.digest() == other.digest()
    return left == right


def is_stream(head: wire.ResponseHead) -> bool:
    """Tell whether an answer has no end that anybody could wait for: events or records as they happen."""
    if head.length >= 0:
        return False
    kind = head.fields.get(b"content-type")
    return kind is not None and kind.lower().startswith(STREAMS)


def pair_frame(
    head: wire.RequestHead,
    answers: tuple[Answer, Answer],
    backends: tuple[str, str],
    *,
    sequence: int,
    policy: int,
    request_id: bytes,
    primary: str,
    request_body: bytes = b"",
    copy_after_us: int = 0,
    purpose: str = "compare",
    attempt: int = 0,
) -> bytes:
    """Write a pair for the comparer.

    Order: legacy's answer and backend, then new's; with the purpose ``noise`` legacy's first answer, then its second.
    """
    legacy, new = answers
    bodies = (legacy.body(), new.body())
    whole = bodies[0] is not None and bodies[1] is not None
    pair = link.Pair(
        sequence=sequence,
        policy=policy,
        request_id=request_id.decode("latin-1"),
        method=head.method.decode("latin-1"),
        target=head.target,
        request_headers=head.fields.to_list(),
        request_body_bytes=len(request_body),
        primary=primary,
        legacy=legacy.head(backends[0], whole=whole),
        new=new.head(backends[1], whole=whole),
        whole=whole,
        copy_after_us=copy_after_us,
        at=time(),
        purpose=purpose,
        attempt=attempt,
    )
    if not whole:
        return link.frame(pair, request_body)
    return link.frame(pair, bodies[0] or b"", bodies[1] or b"", request_body)
