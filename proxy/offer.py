"""Decide for one eligible request whether it gets a copy, and count why not.

Order: what the request is comes first, then what its worker, route and backend can take; the circuit and the rate are
asked last, because asking them uses up a probe and a token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from proxy import wire
from proxy.copies import Copy

if TYPE_CHECKING:
    from proxy.applied import Lane, RoutePolicy
    from proxy.exchange import Exchange


def offer_copy(exchange: Exchange) -> None:
    """Make and send the copy of an exchange that is about to begin, or count why there is none.

    Order: a request counts as eligible in the same step as its outcome (the counting law).
    """
    decision = exchange.decision
    applied = exchange.applied
    policy = applied.policies[decision.index]
    if not decision.sampled:
        if not policy.state.closer:
            policy.counts.eligible += 1
            policy.counts.unsampled += 1
            return
        policy.state.closer -= 1
        exchange.decision = decision = replace(decision, sampled=True)
    assert decision.copy_backend is not None
    lane = applied.lanes[decision.copy_backend]
    reason = decision.skip or _why_not(exchange, policy, lane)
    if reason:
        policy.counts.eligible += 1
        exchange.worker.counts.skip(decision.route, reason, exchange.head.method)
        return
    exchange.copy = copy = Copy(exchange.worker, exchange, policy, lane)
    if not exchange.head.bodiless:
        copy.expect_body()
    elif not exchange.head.marks & wire.CONDITIONAL:
        copy.launch()


def _why_not(exchange: Exchange, policy: RoutePolicy, lane: Lane) -> str:
    """Name the reason for which this request is not copied; empty: it is."""
    head = exchange.head
    worker = exchange.worker
    shadow = policy.shadow
    if head.upgrade:
        return "upgrade"
    if head.marks & wire.RANGE:
        return "conditional"
    if head.marks & wire.ACCEPT and head.wants_event_stream():
        return "streaming"
    if worker.shedder.share < 1.0 and worker.shedder.sheds():
        return "shed"
    if policy.state.in_flight >= shadow.max_in_flight:
        return "in_flight"
    if worker.budget.used >= worker.budget.limit:
        return "budget"
    if head.length > shadow.max_body_bytes:
        return "oversize"
    if not lane.shadow.idle and not worker.descriptors.has_room_for_copy(lane.shadow.connecting):
        return "descriptors"
    if lane.circuit.is_open and not lane.circuit.admits_probe():
        return "circuit"
    if policy.per_second is not None and not policy.state.rate.take(policy.per_second):
        return "rate"
    return ""
