"""Write down one explained pair as control keeps it: folded, most severe first, redacted.

Rules of this file:

1. Nothing leaves here that the route's ``redact`` and ``keep`` do not allow (:mod:`shadow.masking`).
2. A divergence is named by route, statuses, causes and folded places. A cosmetic cause counts with its name only:
   the same escape at ten places is one habit of one encoder. What a tolerance hides does not count, unless it hides
   everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shadow import redact
from shadow.causes import CAUSES, Severity
from shadow.compare import Body, Case, Decision
from shadow.difference import Difference, Explanation
from shadow.heads import Headers, values_of
from shadow.json_value import Meaning
from shadow.link import MAX_ITEMS, AnswerHead, DifferenceItem, Finding, Pair, Policy, divergence_id
from shadow.masking import MaskedBody, Masking, masking_of
from shadow.pointer import Path, fold, pointer_of
from shadow.ranks import rank_of_cause

Sides = tuple[MaskedBody, MaskedBody]
"""Legacy's body and new's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Name the divergence that a pair belongs to, and why its pairs differ."""

    id: str
    causes: tuple[str, ...]
    """Sorted."""


def group_of(case: Case, explanation: Explanation, decision: Decision) -> Group:
    """Name the divergence of an explained pair."""
    seen = [one for one, by in zip(explanation.differences, decision.by, strict=True) if not by]
    return named(case, seen or explanation.differences, explanation.causes)


def named(case: Case, differences: Iterable[Difference], causes: Iterable[str]) -> Group:
    """Name a divergence by what differs; *causes* are what its pairs are counted by."""
    masking = masking_of(case.policy.redact, case.policy.keep)
    words, places = set(), set()
    for difference in differences:
        is_header = difference.cause == "http.header"
        words.add(f"{difference.cause} {difference.detail}" if is_header else difference.cause)
        if CAUSES[difference.cause].severity is not Severity.COSMETIC:
            places.add(redact.shortened(fold(masking.path(difference.path) or ())))
    name = divergence_id(case.policy.route, case.statuses, words, places - {""})
    return Group(id=name, causes=tuple(sorted(causes)))


def describe(
    case: Case, explanation: Explanation, decision: Decision, group: Group, *, request_body: bytes = b""
) -> Finding:
    """Write the Finding of one pair.

    Cost: about 10 microseconds, and 5 per difference; reading both bodies on top where the route redacts any place.
    """
    policy, pair = case.policy, case.pair
    masking = masking_of(policy.redact, policy.keep)
    bodies = masking.body(case.heads.bodies.legacy), masking.body(case.heads.bodies.new)
    keeps = masking.keeps_bodies and pair.whole
    items, omitted = _fold(case, explanation, decision, masking, bodies)
    return Finding(
        route=policy.route,
        request_id=redact.shortened(masking.text(pair.request_id)),
        method=redact.shortened(pair.method),
        target=masking.target(pair.target),
        at=pair.at,
        verdict=decision.verdict,
        same_meaning={Meaning.SAME: True, Meaning.DIFFERENT: False}.get(explanation.meaning),
        statuses=case.statuses,
        divergence=group.id,
        causes=group.causes,
        differences=items,
        omitted=omitted,
        proof=explanation.proof.value,
        residual=explanation.residual,
        builds=builds_of(policy, pair),
        copy_after_us=pair.copy_after_us,
        purpose=pair.purpose,
        attempt=pair.attempt,
        request_headers=masking.headers(pair.request_headers),
        legacy_headers=masking.headers(pair.legacy.headers),
        new_headers=masking.headers(pair.new.headers),
        request_body=_request_body(masking, pair, request_body) if keeps and request_body else None,
        legacy_body=bodies[0].whole() if keeps else None,
        new_body=bodies[1].whole() if keeps else None,
        legacy_bytes=pair.legacy.body_bytes,
        new_bytes=pair.new.body_bytes,
        consumer=masking.consumer(consumer_of(pair.request_headers)),
    )


def _request_body(masking: Masking, pair: Pair, body: bytes) -> bytes:
    is_form = any(b"form-urlencoded" in value.lower() for value in values_of(pair.request_headers, "content-type"))
    return masking.form(body) if is_form else masking.body(body).whole()


# ---- who -----------------------------------------------------------------------------------------------------------


def builds_of(policy: Policy, pair: Pair) -> tuple[str, str]:
    """Read what legacy and new say they are; empty: nothing."""
    legacy, new = policy.version_headers
    return _build(pair.legacy, legacy), _build(pair.new, new)


def _build(head: AnswerHead, name: str) -> str:
    values = values_of(head.headers, name) if name else []
    return redact.build(values[0]) if values else ""


_PRODUCT: Final = re.compile(rb"[A-Za-z0-9_.+-]{1,64}")


def consumer_of(headers: Headers) -> str:
    """Name the client's program, the first product of its User-Agent without a version; empty: it does not say."""
    values = values_of(headers, "user-agent")
    match = _PRODUCT.match(values[0]) if values else None
    return match[0].decode() if match else ""


# ---- differences ---------------------------------------------------------------------------------------------------


def _fold(
    case: Case, explanation: Explanation, decision: Decision, masking: Masking, bodies: Sides
) -> tuple[tuple[DifferenceItem, ...], int]:
    """Fold differences by cause and folded path, the most severe first; give them and the places left out."""
    folded: dict[tuple[str, str, str], list[tuple[Difference, str]]] = {}
    for difference, by in zip(explanation.differences, decision.by, strict=True):
        extra = difference.detail if difference.cause == "http.header" else ""
        folded.setdefault((difference.cause, fold(difference.path), extra), []).append((difference, by))
    ranked = sorted(folded.values(), key=lambda places: rank_of_cause(places[0][0].cause))
    items = tuple(_item(case, masking, bodies, places) for places in ranked[:MAX_ITEMS])
    left = sum(difference.count for places in ranked[MAX_ITEMS:] for difference, _ in places)
    return items, explanation.omitted + left


def _item(case: Case, masking: Masking, bodies: Sides, places: list[tuple[Difference, str]]) -> DifferenceItem:
    first, by = places[0]
    legacy, new = _fragments(case, masking, bodies, first)
    return DifferenceItem(
        cause=first.cause,
        folded=redact.shortened(fold(masking.path(first.path) or ())),
        legacy_pointer=_pointer(masking.path(first.legacy_path)),
        new_pointer=_pointer(masking.path(first.new_path)),
        legacy_span=first.legacy_span,
        new_span=first.new_span,
        detail=masking.detail(first),
        count=sum(difference.count for difference, _ in places),
        legacy=legacy,
        new=new,
        tolerated_by=by if all(one == by for _, one in places) else "",
        replayed=case.body is Body.REPLAYED and first.cause in case.encoding,
    )


def _pointer(path: Path | None) -> str | None:
    return None if path is None else redact.shortened(pointer_of(path))


def _fragments(case: Case, masking: Masking, bodies: Sides, difference: Difference) -> tuple[str, str]:
    """Show what stands at a difference on both sides."""
    if difference.cause == "http.status":
        return str(case.statuses[0]), str(case.statuses[1])
    if difference.cause.startswith("http."):
        name = _HEADERS.get(difference.cause, difference.detail)
        legacy, new = case.pair.legacy.headers, case.pair.new.headers
        return _header(masking, name, values_of(legacy, name)), _header(masking, name, values_of(new, name))
    return masking.fragments(difference, *bodies)


_HEADERS: Final = {
    "http.content_type": "content-type",
    "http.charset": "content-type",
    "http.content_encoding": "content-encoding",
}


def _header(masking: Masking, name: str, values: list[bytes]) -> str:
    return masking.header(name, b", ".join(values)) if values else "(absent)"
