"""The rules that hold whatever a client sends, and the two targets that try to break them.

:func:`broken_head` asks the wire in this process, thousands of times a second; :func:`broken_rules` judges what a
live worker did with whole connections. The judge is the reference: what it reads as one clean request may be
passed on, exactly so; what it does not may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from random import Random

from proxy import forward, wire
from rules.target import Target
from tests.conformance.judge import Arrival, read_arrival, read_head
from tests.conformance.mutate import cut, strange
from tests.conformance.vectors import TAG
from tests.conformance.volley import Outcome, Shot, Volley, read_answers
from tests.support.oneworker import backend

CRASHES = Path(__file__).with_name("crashes")
"""What once broke a rule, as bytes with the tag of :mod:`tests.conformance.vectors`; the tests send each again."""

ALLOWED = frozenset({200, 204, 400, 405, 413, 414, 417, 431, 501, 505})
"""A backend that always answers 200 leaves these; anything else was made by us."""

_TARGET = Target(backend("legacy", "http://127.0.0.1:1"))
_UNDERSCORED = re.compile(rb"(?<=\r\n)[!#$%&'*+\-.^_`|~0-9A-Za-z]*_[!#$%&'*+\-.^_`|~0-9A-Za-z]*:[^\r\n]*\r\n")
_HEAD = re.compile(
    rb"HTTP/1\.1 [1-5][0-9]{2} [\t \x21-\x7e\x80-\xff]*\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t \x21-\x7e\x80-\xff]*\r\n)*\r\n"
)


def broken_head(raw: bytes) -> str:
    """Read the first head as the data plane does, and say which rule its forward breaks; empty: none."""
    try:
        event = wire.request_parser().receive_event(raw)
        if type(event) is not wire.Request:
            return ""
        head = wire.read_request(event)
    except (wire.GrammarError, wire.RefusedError):
        return ""
    sent, findings = read_head(raw[: raw.find(b"\r\n\r\n") + 4])
    if any("twin" not in finding for finding in findings):
        return f"accepted although {findings}"
    onward = forward.request_bytes(head, _TARGET, b"")
    arrived, findings = read_head(onward)
    if findings:
        return f"passes on {findings}"
    if arrived.method != sent.method or arrived.target != _origin(sent):
        return f"passes on {arrived.method!r} {arrived.target!r}"
    if _framing(arrived) != _framing(sent):
        return f"passes {_framing(sent)} on as {_framing(arrived)}"
    return ""


def _origin(sent: Arrival) -> bytes:
    """Give a target in the form in which it goes to a backend."""
    absolute = re.fullmatch(rb"(?i)https?://[^/?]*(.*)", sent.target, re.DOTALL)
    if absolute is None:
        return sent.target
    return absolute[1] if absolute[1][:1] == b"/" else b"/" + absolute[1]


def _framing(one: Arrival) -> tuple[int, bool]:
    """Give the body's length (0 without one) and whether it is chunked."""
    values = {name.lower(): value for name, value in one.fields}
    return int(values.get(b"content-length", b"0")), b"transfer-encoding" in values


def expected(raw: bytes) -> list[Arrival]:
    """Read the requests that a strict reader finds in a connection's bytes, up to the first that is none.

    Names with an underscore are left out first: a proxy may drop a twin, which changes nobody's framing.
    """
    found = []
    while raw:
        head, blank, rest = raw.partition(b"\r\n\r\n")
        raw = _UNDERSCORED.sub(b"", head + b"\r\n")[:-2] + blank + rest
        arrival, taken = read_arrival(raw)
        if arrival is None or arrival.findings:
            break
        found.append(arrival)
        raw = raw[taken:]
    return found


def broken_rules(raw: bytes, outcome: Outcome) -> list[str]:
    """Say which rules a worker broke with one connection's bytes; empty: none."""
    broken = [finding for one in outcome.arrivals for finding in one.findings]
    may = [(one.method, _origin(one), one.body) for one in expected(raw.replace(TAG, outcome.tag))]
    for arrival in outcome.arrivals:
        if not arrival.complete:
            continue
        got = (arrival.method, arrival.target, arrival.body)
        while may and may[0] != got:
            may.pop(0)
        if not may:
            broken.append(f"passed on {got[0]!r} {got[1][:60]!r}, which a strict reader does not find there")
            break
        may.pop(0)
    if not ALLOWED.issuperset(outcome.statuses):
        broken.append(f"answered {outcome.statuses}")
    if b"HEAD" not in raw:
        broken += _malformed(outcome)
    return broken


def _malformed(outcome: Outcome) -> Iterable[str]:
    """Look at a connection's answers: every head well-formed, nothing behind the last one."""
    _, end = read_answers(outcome.answer, ended=outcome.ending == "closed")
    if end < len(outcome.answer):
        yield f"answers end with {outcome.answer[end : end + 60]!r}"
    at = 0
    for match in re.finditer(rb"HTTP/1\.1 [0-9]{3} ", outcome.answer[:end]):
        if match.start() >= at and (head := _HEAD.match(outcome.answer, match.start())) is None:
            yield f"a malformed answer: {outcome.answer[match.start() :][:60]!r}"
        elif match.start() >= at and head is not None:
            at = head.end()


def volley_of(volley: Volley, address: tuple[str, int], seed: int, count: int) -> dict[bytes, list[str]]:
    """Throw *count* strange connections at a worker and give those that broke a rule, with the rules."""
    dice = Random(seed)
    raws = [strange(dice) for _ in range(count)]
    shots = [Shot(slices=cut(raw, dice), gap_s=0.002) for raw in raws]
    # What is incomplete waits for ever: a short patience, for a hang is no fault here.
    outcomes = volley.fire(address, shots, at_once=128, patience_s=0.25, close_s=2.0)
    broken = {raw: broken_rules(raw, one) for raw, one in zip(raws, outcomes, strict=True)}
    return {raw: rules for raw, rules in broken.items() if rules}
