"""How divergences and comparisons look as JSON in the admin API, with a sentence and a fix beside each cause."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any, Final

from console.asks import cursor_problem
from console.journal import moment_text
from shadow.causes import CAUSES, Severity
from shadow.link import DifferenceItem, Finding
from shadow.ranks import Rank, rank_of_cause
from store.divergences import Divergence, Kept, Standing
from store.triage import BuildSeen, State, states_by_build

Json = dict[str, Any]  # Any: JSON

SHOWN_BUILDS: Final = 10
"""Builds of new in one answer, the newest ones."""


def divergence_as_json(found: Divergence) -> Json:
    """Show one group of differing pairs."""
    by_build = list(states_by_build(found.builds, found.enough))[-SHOWN_BUILDS:]
    return {
        "id": found.id,
        "route": found.route,
        "statuses": [found.status_legacy, found.status_new],
        "severity": Rank(found.rank).word,
        "sentence": sentence_of(found),
        "causes": list(found.causes),
        "places": [{"cause": cause, "path": path} for cause, path in found.places],
        "count": found.count,
        "compared": found.compared,
        "share": round(100 * found.count / found.compared, 4),
        "same_meaning": False if found.different else True if found.same else None,
        "first_seen": moment_text(found.first_seen),
        "last_seen": moment_text(found.last_seen),
        "state": found.state.value,
        "state_sentence": state_sentence(found),
        "builds": [_build_as_json(build, state) for build, state in by_build],
        "consumers": {"names": list(found.consumers), "more": found.more_consumers},
        "note": found.note,
        "ticket": found.ticket,
        "decided": {"by": found.decided_by, "at": moment_text(found.decided_at)} if found.decided_by else None,
    }


def _build_as_json(build: BuildSeen, state: State | None) -> Json:
    return {
        "build": build.build,
        "count": build.count,
        "compared": build.compared,
        "state": None if state is None else state.value,
        "first_seen": moment_text(build.first_seen) if build.count else None,
        "last_seen": moment_text(build.last_seen) if build.count else None,
    }


def sentence_of(found: Divergence) -> str:
    """Say in one sentence what differs: the worst difference and its place, then the other causes by name."""
    rest = [cause for cause in found.causes if cause not in ("http.status",)]
    if found.status_legacy != found.status_new:
        text = f"legacy answers {found.status_legacy}, new answers {found.status_new}"
    elif found.places:
        worst, path = found.places[0]
        rest = [cause for cause in rest if cause != worst]
        more = len({place for cause, place in found.places if cause == worst}) - 1
        text = _first_clause(worst) + (f" at {path}" if path else "") + _more_places(more)
    else:
        text = "the answers differ, nobody could say where"
    rest.sort(key=lambda cause: (rank_of_cause(cause), cause))
    return text + (f"; also {', '.join(rest)}" if rest else "")


def _more_places(count: int) -> str:
    return f" and {count} more place{'' if count == 1 else 's'}" if count else ""


def _first_clause(cause: str) -> str:
    """Give a cause's sentence so that a place can follow."""
    known = CAUSES.get(cause)
    return cause if known is None else known.sentence.rstrip(".")


def state_sentence(found: Divergence) -> str:
    """Say why a divergence stands where it does, and what would move it."""
    newest = found.builds[-1].build if found.builds else ""
    match found.state:
        case State.ACCEPTED:
            return f"accepted by {found.decided_by}"
        case State.FIXED:
            return f"gone since build {found.fixed_build or 'unnamed'}; last seen on {found.last_build or 'unnamed'}"
        case State.REGRESSED:
            return f"was gone in build {found.fixed_build or 'unnamed'}, is back on {found.last_build or 'unnamed'}"
    if newest != found.last_build:
        return f"not seen on build {newest} yet, in {found.missed} comparisons; fixed after {found.enough}"
    if newest:
        return f"seen on the newest build, {newest}"
    return "new does not name its build: `version_header` or `matapalo deployed` lets a fix be found"


def kept_as_json(kept: Kept) -> Json:
    """Show one example without its content."""
    return {
        "id": kept.id,
        "at": moment_text(kept.at),
        "request_id": kept.request_id,
        "bytes": kept.size_bytes,
        "roles": list(kept.roles),
    }


def comparison_as_json(name: str, finding: Finding) -> Json:
    """Show one comparison: the request, both answers, every difference with its cause and fix."""
    legacy_status, new_status = finding.statuses
    return {
        "id": name,
        "divergence": finding.divergence,
        "route": finding.route,
        "at": moment_text(finding.at),
        "request_id": finding.request_id,
        "consumer": finding.consumer or None,
        "verdict": finding.verdict,
        "same_meaning": finding.same_meaning,
        "proof": finding.proof,
        "residual": None if finding.residual < 0 else finding.residual,
        "copy_after_us": finding.copy_after_us,
        "request": {
            "method": finding.method,
            "target": finding.target,
            "headers": [list(field) for field in finding.request_headers],
            **_body_as_json(finding.request_body),
        },
        "legacy": {
            "status": legacy_status,
            "build": finding.builds[0],
            "bytes": finding.legacy_bytes,
            "headers": [list(field) for field in finding.legacy_headers],
            **_body_as_json(finding.legacy_body),
        },
        "new": {
            "status": new_status,
            "build": finding.builds[1],
            "bytes": finding.new_bytes,
            "headers": [list(field) for field in finding.new_headers],
            **_body_as_json(finding.new_body),
        },
        "causes": list(finding.causes),
        "differences": [difference_as_json(item, finding.proof) for item in finding.differences],
        "omitted": finding.omitted,
    }


def _body_as_json(body: bytes | None) -> Json:
    """Show a body as text, or as base64 where it is none; both ``null``: it was not kept."""
    if body is None:
        return {"body": None, "body_base64": None}
    try:
        return {"body": body.decode(), "body_base64": None}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body).decode()}


def difference_as_json(item: DifferenceItem, proof: str) -> Json:
    """Show one difference with everything that a developer needs to act on it."""
    cause = CAUSES.get(item.cause)
    return {
        "cause": item.cause,
        "severity": (cause.severity if cause is not None else Severity.UNKNOWN).value,
        "rank": rank_of_cause(item.cause).word,
        "sentence": "" if cause is None else cause.sentence,
        "detail": item.detail,
        "path": item.folded,
        "tolerate_path": json_path(item.folded),
        "legacy_pointer": item.legacy_pointer,
        "new_pointer": item.new_pointer,
        "legacy_span": item.legacy_span,
        "new_span": item.new_span,
        "count": item.count,
        "legacy": item.legacy,
        "new": item.new,
        "proven": proof == "proven",
        "tolerated_by": item.tolerated_by or None,
        "replayed": item.replayed,
    }


def json_path(folded: str) -> str:
    """Write a folded pointer as the RFC 9535 path that a tolerance takes: ``/a/*/b`` becomes ``$.a[*].b``."""
    steps = (step.replace("~1", "/").replace("~0", "~") for step in folded.split("/")[1:])
    return "$" + "".join(_step(step) for step in steps)


def _step(step: str) -> str:
    if step == "*":
        return "[*]"
    if step.isidentifier() and step.isascii():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"


def folded_paths(path: str) -> tuple[str, ...]:
    """Read a place as people write it: ``/items/0/price``, ``/items/*/price`` or ``$.items[*].price``.

    Shape: folded pointers, of which any may be meant: a step of digits is an index or a member's name.
    """
    steps = _steps(path)
    pointer = "".join(f"/{step}" for step in steps)
    folded = "".join("/*" if step.isdigit() else f"/{step}" for step in steps)
    return tuple(dict.fromkeys((folded, pointer)))


def _steps(path: str) -> Iterable[str]:
    if not path.startswith("$"):
        return [step for step in path.strip().split("/") if step]
    text = path[1:].replace("[*]", ".*").replace("['", ".").replace('["', ".").replace("']", "").replace('"]', "")
    text = text.replace("[", ".").replace("]", "")
    return [step.replace("~", "~0").replace("/", "~1") for step in text.split(".") if step]


def cursor_of(standing: Standing) -> str:
    """Write a place in the list of divergences as text that a URL can carry."""
    return base64.urlsafe_b64encode(json.dumps(standing).encode()).decode().rstrip("=")


def standing_of(cursor: str) -> Standing:
    """Read what :func:`cursor_of` wrote.

    Raises: ProblemError ``bad-cursor``.
    """
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        settled, rank, noisy, count, name = json.loads(raw)
        numbers = (settled, rank, noisy, count)
        if all(type(number) is int and abs(number) < 1 << 53 for number in numbers) and type(name) is str:
            return settled, rank, noisy, count, name
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise cursor_problem(cursor)
