"""Say in words how one request is decided: the same decision as a worker's, and why.

The decision itself comes from :meth:`rules.snapshot.Snapshot.decide`; nothing
here decides again, so an explanation cannot disagree with the traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypedDict

from rules.bucket import bucket_of, draw_of
from rules.decision import COPYING_STAGES, Decision, Route
from rules.flag import BUCKETS, Flag, Stage
from rules.index import Candidate, candidates_of
from rules.path import canonical, path_of
from rules.snapshot import EVERYWHERE, Snapshot
from rules.sticky import FieldList, source_from

MAX_NEIGHBOURS = 3
"""Routes named beside the one that won; more would hide the answer."""


class Explanation(TypedDict):
    """Hold everything that was looked at; what ``GET /api/v1/explain`` answers."""

    revision: int
    method: str
    path: str
    """The target as given, query included."""
    route: str | None
    stage: str | None
    key: str | None
    """The sticky source that gave the key."""
    bucket: int | None
    """The client's bucket on this route, also where the stage does not look at it."""
    primary: str | None
    """``legacy``, ``new`` or ``undeclared``; ``None``: Matapalo answers itself."""
    backend: str | None
    shadow: str | None
    copied: str
    """``never``, ``sampled`` or ``always``."""
    sample: float
    """Percent."""
    held: bool
    override: bool
    """A valid override header chose the side."""
    cohort: str | None
    """Whose stage it is; ``None``: everybody's."""
    pinned: bool
    """The client wrote a moment ago, and its reads stay on the side that answered."""
    status: int
    """0: forwarded, else what Matapalo answers."""
    reason: str
    policy: dict[str, object] | None
    """Of the copy: its credentials, what is kept and redacted, the tolerances; ``None``: nothing is copied."""
    why: list[str]
    """Sentences for people, in the order of deciding."""


def explain(
    snapshot: Snapshot,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    client_ip: str = "127.0.0.1",
    request_id: str = "",
) -> Explanation:
    """Decide one request and say why, for ``matapalo explain`` and the admin API.

    Shape: without a request id, whether a sampled copy is made stays open.
    Cost: looks at every route for its neighbours; about 20 microseconds each, never on the data path.
    """
    raw_method, raw_target, raw_id = method.encode(), target.encode(), request_id.encode()
    fields = FieldList((name.encode(), value.encode()) for name, value in headers)
    decision, _ = snapshot.decide(raw_method, raw_target, fields, client_ip, raw_id)
    route, _ = snapshot.locate(raw_method, raw_target, fields)
    refused = decision.reason == "ambiguous_target"
    shown = None if refused or route is None else route.audience(fields, client_ip)
    key, raw_key = _key_of(shown, raw_target, fields, client_ip, raw_id if decision.issue_cookie else None)
    bucket = bucket_of(shown.flag.salt, raw_key) if shown is not None and raw_key is not None else None
    why = list(_why_route(snapshot, route, raw_method, raw_target, fields))
    if decision.ambiguous:
        why += _why_ambiguous(snapshot, route, raw_method, raw_target, fields)
    if shown is not None:
        why += _why_side(snapshot, shown, decision, fields, key=key, bucket=bucket)
        why += _why_copied(snapshot, shown, decision, raw_method, raw_id)
        why += _why_policy(snapshot, shown, decision)
    return Explanation(
        revision=snapshot.revision,
        method=method,
        path=target,
        route=None if shown is None else shown.name,
        stage=None if shown is None else shown.flag.stage.value,
        key=key,
        bucket=bucket,
        primary=None if decision.side == "none" else decision.side,
        backend=decision.backend,
        shadow=decision.copy_side,
        copied=_copied(shown, decision),
        sample=0.0 if shown is None or not decision.eligible else shown.sample_bp / 100,
        held=shown is not None and shown.hold is not None,
        override=decision.reason == "override",
        cohort=(shown.cohort or None) if shown is not None else None,
        pinned=decision.reason == "pin",
        status=decision.status,
        reason=decision.reason,
        policy=_policy(snapshot, shown, decision),
        why=why,
    )


def _policy(snapshot: Snapshot, route: Route | None, decision: Decision) -> dict[str, object] | None:
    if route is None or _copied(route, decision) == "never":
        return None
    spec = route.spec
    return {
        "credentials": spec.shadow.credentials,
        "keep": spec.keep,
        "redact": list(spec.redact),
        "parity": spec.parity,
        "tolerances": [one.id for one in snapshot.spec.tolerances(spec)],
    }


def _why_policy(snapshot: Snapshot, route: Route, decision: Decision) -> Iterator[str]:
    """Say what the copy carries, what is kept of it and what its comparison permits."""
    policy = _policy(snapshot, route, decision)
    if policy is None:
        return
    carried = {"pass": "the client's credentials", "strip": "no credentials", "replace": "credentials of its own"}
    redacted = f", {len(route.spec.redact)} places redacted" if route.spec.redact else ""
    yield f"the copy carries {carried[route.spec.shadow.credentials]}; examples keep {route.spec.keep}{redacted}"
    if found := snapshot.spec.tolerances(route.spec):
        named = ", ".join(f"{one.id} ({one.path or one.cause}, until {one.expires})" for one in found[:MAX_NEIGHBOURS])
        more = f" and {len(found) - MAX_NEIGHBOURS} more" if len(found) > MAX_NEIGHBOURS else ""
        yield f"tolerated: {named}{more}"


def _copied(route: Route | None, decision: Decision) -> str:
    if route is None or not decision.eligible or decision.skip or route.sample_bp <= 0:
        return "never"
    return "always" if route.sample_bp >= BUCKETS else "sampled"


def _key_of(
    route: Route | None, target: bytes, fields: FieldList, client_ip: str, issued: bytes | None
) -> tuple[str | None, bytes | None]:
    """Find the key as the canary does, and which source of the list gave it."""
    if route is None:
        return None, None
    for text in route.spec.sticky:
        key = source_from(text)(target, fields, client_ip)
        if key is not None:
            return text, key
    return (None, None) if issued is None else ("issued_cookie", issued)


def _why_route(
    snapshot: Snapshot, route: Route | None, method: bytes, target: bytes, fields: FieldList
) -> Iterator[str]:
    """Say which template won, what it won against, and what nearly matched."""
    path = canonical(path_of(target))
    others: list[str] = []
    nearly: list[str] = []
    for one in snapshot.routes.values():
        for template, candidate in candidates_of(one.spec, one):
            if not template.takes(path):
                continue
            admitted = candidate.admits(method, target, fields)
            if one is route:
                if admitted:
                    asked = ", ".join(text for text, _ in _conditions(candidate))
                    yield f"route {one.name} matches {template.text}" + (f" with {asked}" if asked else "")
                    break
            elif admitted:
                others.append(f"route {one.name} ({template.text}) matches too, but is less specific")
                break
            else:
                unmet = [text for text, part in _conditions(candidate) if not part.admits(method, target, fields)]
                nearly.append(f"route {one.name} has the path {template.text}, but asks for {', '.join(unmet)}")
    yield from others[:MAX_NEIGHBOURS]
    if route is None:
        yield "no route matches"
    yield from nearly[:MAX_NEIGHBOURS]
    if route is None:
        backend = snapshot.spec.config.undeclared
        yield "undeclared paths are answered 404" if backend is None else f"undeclared paths go to backend {backend}"


def _conditions(candidate: Candidate[Route]) -> Iterator[tuple[str, Candidate[Route]]]:
    """Take a match apart: each thing that it asks for beside the path, in words and alone.

    What a header or parameter must be may be a secret, and stays in the file.
    """
    bare = replace(candidate, methods=frozenset(), host=None, headers=(), query=())
    if candidate.host is not None:
        yield f"host {candidate.host.decode()}", replace(bare, host=candidate.host)
    if candidate.methods:
        yield f"method {_names(candidate.methods)}", replace(bare, methods=candidate.methods)
    for name, value in candidate.headers:
        yield f"header {name.decode()} as the file has it", replace(bare, headers=((name, value),))
    for name, value in candidate.query:
        yield f"query {name.decode()} as the file has it", replace(bare, query=((name, value),))


def _names(methods: frozenset[bytes]) -> str:
    return " or ".join(sorted(method.decode() for method in methods))


def _why_ambiguous(
    snapshot: Snapshot, route: Route | None, method: bytes, target: bytes, fields: FieldList
) -> Iterator[str]:
    """Show one reading that another backend would answer."""
    reading, other = snapshot.rival(route, method, target, fields) or (b"", None)
    if reading:
        name = "no route" if other is None else f"route {other.name}"
        yield f"a backend could read the target as {reading.decode('latin-1')}, which is {name}"
    else:
        yield "the target has more readings than are looked at"
    if snapshot.spec.config.strict == "report":
        yield "strict: report forwards it by its raw reading and counts it"
    else:
        yield "readings with different answers are refused with 400; send a path without .. // ; \\ and %2f"


def _why_side(
    snapshot: Snapshot, route: Route, decision: Decision, fields: FieldList, *, key: str | None, bucket: int | None
) -> Iterator[str]:
    """Say who answers and which rule said so."""
    flag = route.flag
    override = snapshot.override
    if route.cohort:
        yield f"the client belongs to cohort {route.cohort}, which has a stage of its own here"
    raw_override = None if override is None else fields.get(override.header)
    if override is not None and raw_override is not None and decision.reason != "override":
        if override.side(raw_override) is None:
            yield "the override header is ignored: expected `legacy TOKEN` or `new TOKEN` with the configured token"
        elif decision.reason in ("hold", "gone"):
            yield f"the override header is ignored: {decision.reason} beats it"
        elif flag.stage is Stage.COMPLETE:
            yield "the override header is ignored: in stage complete legacy is never asked; rollback or flip to live"
    if decision.reason == "gone":
        yield "stage gone: answered 410 by Matapalo"
    elif decision.reason == "hold":
        assert route.hold is not None
        said = f" ({route.hold.reason})" if route.hold.reason else ""
        by = f" by {route.hold.actor}" if route.hold.actor else ""
        yield f"held{by}{said}: legacy answers whatever the stage {flag.stage.value} says, until released"
    elif decision.reason == "override":
        yield f"the override header chose {decision.side}"
    elif decision.reason == "pin":
        yield f"the client wrote a moment ago and carries a pin: its reads stay on {decision.side} until that ends"
    elif decision.reason == "no_backend":
        yield "the chosen side has no backend in the configuration: answered 503 by Matapalo"
    elif decision.reason == "no_key":
        yield f"stage canary, but no key is present ({_sticky(route)}): legacy"
    elif decision.reason == "bucket":
        yield f"the key comes from {key}: bucket {bucket} of {BUCKETS}"
        yield _canary_sentence(flag, decision, bucket)
    else:
        yield f"stage {flag.stage.value}: {decision.side} answers"
    if decision.issue_cookie:
        yield "no key was present: the request id is the key and becomes the cookie matapalo_client"
    if decision.fallback_backend is not None:
        yield f"when new fails, the request may fall back to {decision.fallback_backend}"


def _canary_sentence(flag: Flag, decision: Decision, bucket: int | None) -> str:
    threshold = BUCKETS - flag.percent_bp
    sign = ">=" if decision.side == "new" else "<"
    return f"bucket {bucket} {sign} {threshold}: {decision.side} (new has {flag.percent_bp / 100:g} % of the clients)"


def _sticky(route: Route) -> str:
    return "looked for " + ", ".join(route.spec.sticky) if route.spec.sticky else "the route has no sticky keys"


def _why_copied(
    snapshot: Snapshot, route: Route, decision: Decision, method: bytes, request_id: bytes
) -> Iterator[str]:
    """Say whether the other side gets a copy, and which rule said so."""
    if decision.status:
        return
    if not decision.eligible:
        yield f"no copy: {_why_not_eligible(route, method)}"
    elif decision.skip:
        where = "everywhere" if EVERYWHERE in snapshot.spec.copying_off else "on this route"
        yield f"no copy: copying is switched off {where}"
    elif route.sample_bp <= 0:
        yield f"no copy to {decision.copy_side}: the sample is 0 %"
    elif route.sample_bp >= BUCKETS:
        yield f"copied to {decision.copy_side} ({decision.copy_backend}): the sample is 100 %"
    else:
        share = f"{route.sample_bp / 100:g} %"
        yield f"{share} of such requests are copied to {decision.copy_side} ({decision.copy_backend})"
        if request_id:
            draw, taken = draw_of(route.flag.salt, request_id), "copied" if decision.sampled else "not copied"
            sign = "<" if decision.sampled else ">="
            yield f"this request id draws {draw} {sign} {route.sample_bp}: {taken}"


def _why_not_eligible(route: Route, method: bytes) -> str:
    if route.spec.legacy is None or route.spec.new is None:
        return "the route has one side only"
    if route.hold is not None and not route.hold.keep_copying:
        return "the hold stops copying"
    if route.hold is None and route.flag.stage not in COPYING_STAGES:
        return f"stage {route.flag.stage.value} copies nothing"
    if route.spec.shadow.mode == "never":
        return "the route says shadow: never"
    if route.hold is not None and not route.copied_methods:
        return "nothing was copied before the hold"
    return f"{method.decode()} may change something (RFC 9110 section 9.2.1) and is not declared in shadow.reads"
