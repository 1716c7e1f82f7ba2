"""What is not as it should be on this node, in sentences: ``degraded`` of the status, counted in the metrics."""

from __future__ import annotations

from collections.abc import Iterable

from console.epochs import Record
from console.state import ControlState


def degraded(state: ControlState) -> list[str]:
    """Say in sentences what is not as it should be; empty: all is well."""
    reasons = [state.complaints[topic] for topic in sorted(state.complaints)]
    if (why := state.database_error()) is not None:
        reasons.append(f"flags cannot be changed: {why}")
    if state.evidence is None:
        reasons.append(f"evidence is not kept: {state.evidence_error}")
    if state.sealing.complaint:
        reasons.append(state.sealing.complaint)
    if state.at_rest.error:
        reasons.append(state.at_rest.error)
    if not state.reload.ok:
        reasons.append(f"the last configuration was not taken over: {state.reload.error}")
    workers = state.peers.workers()
    if (linked := len({peer.hello.slot for peer in workers})) < state.config.workers:
        reasons.append(f"{linked} of {state.config.workers} workers are linked to control")
    reasons += [
        f"worker {peer.hello.slot} refused revision {peer.refusal[0]}: {peer.refusal[1]}"
        for peer in workers
        if peer.refusal is not None and peer.refusal[0] >= state.revision
    ]
    return reasons + _copying_less(state.totals.records())


def _copying_less(records: Iterable[Record]) -> list[str]:
    """Say in sentences why workers copy less than they are asked to."""
    gauges = [record.gauges for record in records if not record.ended]
    sick = sorted({key.partition("|")[2] for held in gauges for key in held if key.startswith("circuit_open|")})
    reasons = [
        f"copies to {backend} pause: most of them got no answer; single ones find out when it is back"
        for backend in sick
    ]
    if busy := sum("shedding" in held for held in gauges):
        reasons.append(f"{busy} of {len(gauges)} workers copy less than asked: they have too much to do")
    return reasons
