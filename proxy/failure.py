"""Say what may still be tried after a backend failed a request, and what the client hears if nothing may.

Pure questions; :mod:`proxy.exchange` asks them and does what they say.

Rules of this file:

1. A request is sent a second time only if no byte of it can have been acted on:
   nothing was written, or its method is safe (fallback), or a reused connection
   died without one byte of answer under a safe, bodiless request (RFC 9110
   section 9.2.2, RFC 9112 section 9.3.1).
2. It is sent a second time once: to the same backend, or to legacy, each at most one time.
3. Once the head of an answer is out, nothing is tried again.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.pool import FRESH
from rules import SAFE_METHODS

if TYPE_CHECKING:
    from proxy.backend import BackendConnection
    from proxy.exchange import Exchange

UNREPLAYABLE_IDLE_S: Final = 0.01
"""A request that cannot be sent again takes no connection that was idle for longer: it may be closing."""

_ANSWERS: Final = {
    "pool": (503, "overloaded"),
    "resolve": (502, "unreachable"),
    "connect": (502, "unreachable"),
    "tls": (502, "unreachable"),
    "send": (502, "broken_answer"),
    "head": (502, "broken_answer"),
    "timeout": (504, "timeout"),
}
"""Phase of an upstream failure to the client's status and reason."""


def is_replayable(exchange: Exchange) -> bool:
    """Tell whether a request may be sent again although a backend has seen it: its method is safe, it has no body."""
    return exchange.head.bodiless and exchange.head.method in SAFE_METHODS


def idle_limit(exchange: Exchange) -> float:
    """Say how long a connection for this request may have been idle; an upgrade and a second try get a new one."""
    if exchange.retried or exchange.head.upgrade:
        return FRESH
    return inf if is_replayable(exchange) else UNREPLAYABLE_IDLE_S


def may_retry(exchange: Exchange, connection: BackendConnection | None, phase: str) -> bool:
    """Tell whether this is the ordinary race of keep-alive: an idle connection was closed under the request."""
    return (
        connection is not None
        and connection.reused
        and not connection.answered
        and phase in ("head", "send")
        and not exchange.retried
        and is_replayable(exchange)
    )


def may_fall_back(exchange: Exchange, why: str) -> bool:
    """Tell whether legacy may answer instead of new; *why* is a phase, ``timeout`` or ``status_NNN``."""
    decision = exchange.decision
    if decision.fallback_backend is None or exchange.fallback or exchange.started:
        return False
    if exchange.touched and not is_replayable(exchange):
        return False
    assert decision.spec is not None
    policy = decision.spec.fallback
    if why.startswith("status_"):
        return True  # only a listed status comes here
    return policy.timeout if why == "timeout" else policy.connect


def answer_to(phase: str, *, late: bool) -> tuple[int, str]:
    """Give status and reason for the client; *late*: the failure is that time ran out."""
    if late and phase in ("connect", "tls"):
        phase = "timeout"
    return _ANSWERS.get(phase, (502, "broken_answer"))
