"""Ask one backend one request beside all traffic, as a worker would have sent it.

Rules of this file:

1. The request is marked like every copy, follows no redirect and is never repeated.
2. The answer is taken as it comes over the wire: codings are not undone, fields keep their order.
3. Whatever goes wrong is an answer with an error in it; only a cancelled caller sees an exception.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Final

import msgspec
import xxhash

from config.spec import BackendSpec, BackendTlsSpec
from config.tls import TlsError, client_context
from rules.target import Target
from shadow.link import MAX_PAIR_BODIES, AnswerHead

MAX_BODY: Final = MAX_PAIR_BODIES // 2
"""Of one answer, so that two fit into a pair; of a larger one length and digest are known."""

_NOT_SENT: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "expect", "host", "range"),
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"),
        *("x-request-id", "x-matapalo-shadow", "x-matapalo-via"),
    )
)
"""Lower-case names of fields that belong to one connection, set a condition, or are ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Hold one request as a client sent it."""

    method: str
    target: bytes
    """Raw, in origin form."""
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Hold one answer, or why there is none."""

    head: AnswerHead
    body: bytes | None
    """``None``: only length and digest are known."""
    took_s: float
    error: str = ""

    @property
    def status(self) -> int:
        """Give the status; 0: there is no answer."""
        return self.head.status


async def ask(backend: BackendSpec, question: Question, *, stripped: tuple[bytes, ...], deadline_s: float) -> Answered:
    """Ask a backend.

    Shape: *stripped* are lower-case names of fields that no backend may see.
    Bound: *deadline_s* from the first packet to the last byte; :data:`MAX_BODY` bytes are kept.
    """
    import httpx2  # 60 ms, which control's start would pay

    began = monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            head, body = await _ask(backend, question, stripped)
    except TimeoutError:
        error = f"no complete answer within {deadline_s:g} s"
    except (httpx2.RequestError, httpx2.InvalidURL, TlsError, ValueError, OSError) as failure:
        error = str(failure) or type(failure).__name__
    else:
        return Answered(head=head, body=body, took_s=monotonic() - began)
    nothing = AnswerHead(status=0, headers=[], body_bytes=0, digest=b"", backend=backend.name)
    return Answered(head=nothing, body=None, took_s=monotonic() - began, error=error)


async def _ask(
    backend: BackendSpec, question: Question, stripped: tuple[bytes, ...]
) -> tuple[AnswerHead, bytes | None]:
    import httpx2

    target = Target(backend, stripped)
    path = target.path(question.target)
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    tls = backend.tls or BackendTlsSpec()
    verify = await asyncio.to_thread(client_context, tls) if backend.scheme == "https" else False
    extensions: dict[str, object] = {"target": path}  # as it came: an URL would be written anew
    if tls.server_name is not None:
        extensions["sni_hostname"] = tls.server_name
    request = httpx2.Request(
        question.method,
        f"{backend.scheme}://{host}:{backend.port}/",
        headers=fields_for(target, question),
        content=question.body,
        extensions=extensions,
    )
    async with httpx2.AsyncClient(trust_env=False, verify=verify, timeout=None, follow_redirects=False) as client:
        response = await client.send(request, stream=True)
        try:
            hasher, size, kept = xxhash.xxh3_128(), 0, bytearray()
            async for part in response.aiter_raw():
                size += len(part)
                hasher.update(part)
                if size <= MAX_BODY:
                    kept += part
        finally:
            await response.aclose()
    head = AnswerHead(
        status=response.status_code,
        headers=list(response.headers.raw),
        body_bytes=size,
        digest=hasher.digest(),
        backend=backend.name,
    )
    return head, bytes(kept) if size <= MAX_BODY else None


def fields_for(target: Target, question: Question) -> list[tuple[bytes, bytes]]:
    """Write the fields that one backend gets, Host first."""
    host = target.host
    if host is None:
        host = next((value for name, value in question.fields if name.lower() == b"host"), b"localhost")
    kept = [
        (name, value)
        for name, value in question.fields
        if name.lower() not in target.remove and name.lower().decode("latin-1") not in _NOT_SENT
    ]
    own = [tuple(line.split(b": ", 1)) for line in target.set_lines]
    own += [(b"X-Request-Id", question.request_id.encode("latin-1")), (b"X-Matapalo-Shadow", b"1")]
    if question.body:
        own.append((b"Content-Length", b"%d" % len(question.body)))
    return [(b"Host", host), *kept, *((name, value) for name, value in own)]


def is_same(legacy: Answered, new: Answered, watch: tuple[str, ...]) -> bool:
    """Tell whether two answers are the same as a worker would: status, type, coding, watched headers, body bytes."""
    if (legacy.status, legacy.head.body_bytes, legacy.head.digest) != (
        new.status,
        new.head.body_bytes,
        new.head.digest,
    ):
        return False
    names = {name.encode() for name in ("content-type", "content-encoding", *watch)}
    return _watched(legacy, names) == _watched(new, names)


def _watched(answered: Answered, names: set[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in answered.head.headers:
        if name.lower() in names:
            found.setdefault(name.lower(), []).append(value)
    return found


def in_pair(answered: Answered, *, whole: bool) -> AnswerHead:
    """Describe an answer inside a pair: the digest travels only where the bodies do not."""
    return msgspec.structs.replace(answered.head, digest=b"") if whole else answered.head
