"""What an outcome means: faults of ours in words, and the counts of the table."""

from __future__ import annotations

from tests.conformance.judge import Arrival
from tests.conformance.vectors import Legal, Vector
from tests.conformance.volley import Outcome

REFUSALS = frozenset({*range(400, 500), 501, 505})
"""Statuses that say: the request was at fault."""

OURS = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-forwarded-server",
        b"x-real-ip",
        b"x-request-id",
        b"forwarded",
        b"via",
        b"x-matapalo-via",
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-internal",
        b"x-envoy-external-address",
    }
)
"""What a proxy may add to a request."""

FRAMING = frozenset(
    {
        b"host",
        b"connection",
        b"keep-alive",
        b"te",
        b"transfer-encoding",
        b"content-length",
        b"expect",
        b"trailer",
    }
)
"""What belongs to a hop, or is proven otherwise."""


def faults(vector: Vector, outcome: Outcome) -> list[str]:
    """Say what is wrong with how a must-reject vector was treated; empty: it was refused as it must be.

    Where the fault lies behind the head, the head may have gone on: then the backend never sees the end.
    """
    found = list(outcome.findings)
    if outcome.ending == "hang":
        found.append("no answer")
    elif outcome.status not in vector.statuses:
        found.append(f"answered {outcome.status or 'nothing'}, not {sorted(vector.statuses)}")
    elif len(outcome.statuses) > 1:
        found.append(f"answered {outcome.statuses}")
    elif outcome.ending != "closed":
        found.append("refused, but the connection stays open")
    if outcome.reached:
        found.append("reached the backend")
    elif outcome.arrivals and not vector.late:
        found.append("a part of it reached the backend")
    return found


def alterations(legal: Legal, outcome: Outcome) -> list[str]:
    """Say what is wrong with how a legal vector was treated; empty: accepted, and not one byte changed."""
    if outcome.status != 200:
        return [f"answered {outcome.status or 'nothing'}"]
    if len(outcome.arrivals) != 1 or not outcome.arrivals[0].complete:
        return [f"{len(outcome.arrivals)} requests reached the backend"]
    arrival = outcome.arrivals[0]
    found = list(outcome.findings)
    if arrival.method != legal.method:
        found.append(f"method {arrival.method!r}")
    tag = arrival.target[arrival.target.find(b"tag") :][:8]
    if arrival.target.replace(tag, b"tag00000") != legal.target:
        found.append(f"target {arrival.target!r}")
    if arrival.body != legal.body:
        found.append(f"body {arrival.body[:60]!r}")
    got = _end_to_end(arrival, legal, tag)
    if got != list(legal.fields):
        found.append(f"fields {[line for line in got if line not in legal.fields][:3]} of {len(got)}")
    return found


def _end_to_end(arrival: Arrival, legal: Legal, tag: bytes) -> list[bytes]:
    """Write the arrival's field lines down as the vector's are, without what proxies may add."""
    sent = {line.partition(b":")[0].lower() for line in legal.fields}
    return [
        (name + b":" + value).replace(tag, b"tag00000") if tag else name + b":" + value
        for name, value in arrival.fields
        if name.lower() in sent or name.lower() not in (*OURS, *FRAMING)
    ]
