"""Explain why two whole answers differ: their heads, and the bodies as a client reads them.

Rules of this file:

1. A body is explained as JSON if a head calls it so or both begin like it. A bare ``1.10`` and ``1.1`` of type
   text/plain are two versions, not one number. Where lines divide several texts (NDJSON, an event stream), a line feed
   is no blank, so such a body is not.
2. Of everything else (text, HTML, XML, images, multipart) is said: lengths, the first differing byte and a digest.
3. Another status mostly brings another document: an error where there was an order. Then the body is said to be
   another one, instead of naming each member that an error does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import xxhash

from shadow.difference import Difference, Explanation, Proof
from shadow.explain import explain, first_difference
from shadow.heads import EVERY, Bodies, Headers, Heads, compare_heads
from shadow.json_grammar import NotJsonError, OverLimitError
from shadow.json_value import Meaning, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold one side's whole answer as it was received."""

    status: int
    headers: Headers
    body: bytes


def explain_answers(legacy: Answer, new: Answer) -> tuple[Explanation, Bodies]:
    """Say why two answers differ, every header compared; without differences they are the same for every client.

    Shape: beside the explanation both bodies as they were compared: its spans are offsets into them.
    Cost: that of explaining the bodies, see :func:`shadow.explain.explain`.
    """
    statuses = (legacy.status, new.status)
    heads = compare_heads(
        statuses=statuses, headers=(legacy.headers, new.headers), bodies=(legacy.body, new.body), watch=(EVERY,)
    )
    return join(heads, explain_bodies(heads, statuses)), heads.bodies


def join(heads: Heads, body: Explanation) -> Explanation:
    """Put what the heads differ in before what the bodies differ in."""
    return replace(body, differences=(*heads.differences, *body.differences))


def explain_bodies(heads: Heads, statuses: tuple[int, int]) -> Explanation:
    """Say why the bodies of two answers differ, once their codings are undone."""
    bodies = heads.bodies
    if bodies.legacy == bodies.new:
        return Explanation(meaning=Meaning.SAME, differences=(), proof=Proof.PROVEN)
    if bodies.is_limited:
        return _whole("limit.size", bodies, Meaning.LIMIT)
    if not (bodies.can_be_read and is_asked_for_meaning(heads)):
        return explain_unread(bodies)
    found = explain(bodies.legacy, bodies.new)
    if statuses[0] != statuses[1] and found.meaning is Meaning.DIFFERENT and _are_other_documents(bodies):
        return _whole("body.changed", bodies, Meaning.DIFFERENT)
    return found


def is_asked_for_meaning(heads: Heads) -> bool:
    """Say whether these bodies are one JSON text each, by what they say or how they begin."""
    if heads.is_lines:
        return False
    return heads.is_json or (begins_like_json(heads.bodies.legacy) and begins_like_json(heads.bodies.new))


def begins_like_json(body: bytes) -> bool:
    """Say whether a body begins as an object or an array does."""
    return body[:64].lstrip(b" \t\r\n")[:1] in (b"{", b"[")


def explain_unread(bodies: Bodies) -> Explanation:
    """Say what can be said of two bodies that are not JSON."""
    return _whole("body.changed" if bodies.legacy and bodies.new else "body.empty", bodies, Meaning.NOT_JSON)


def _whole(cause: str, bodies: Bodies, meaning: Meaning) -> Explanation:
    """Make the explanation of two bodies that differ as a whole, from the first differing byte on."""
    offset = first_difference(bodies.legacy, bodies.new)
    sides = (bodies.legacy, bodies.new)
    digests = [xxhash.xxh3_64_hexdigest(body) for body in sides]
    difference = Difference(
        cause=cause,
        legacy_path=(),
        new_path=(),
        legacy_span=(offset, len(bodies.legacy)),
        new_span=(offset, len(bodies.new)),
        detail=f"byte {offset}; {len(sides[0])} -> {len(sides[1])} bytes; xxh3 {digests[0]} -> {digests[1]}",
    )
    return Explanation(meaning=meaning, differences=(difference,), proof=Proof.NONE)


_LIKE: Final = 0.5
"""Of the members of the larger object, at least this share must be common in two versions of one document."""


def _are_other_documents(bodies: Bodies) -> bool:
    """Say whether two JSON values have so little in common that naming each member would say nothing."""
    try:
        legacy, new = read(bodies.legacy), read(bodies.new)
    except (NotJsonError, OverLimitError):
        return False
    if isinstance(legacy, dict) and isinstance(new, dict):
        return len(legacy.keys() & new.keys()) < _LIKE * max(len(legacy), len(new))
    return type(legacy) is not type(new)
