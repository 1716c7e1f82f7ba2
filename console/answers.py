"""What every call answers, as JSON Schema: the second half of the table of calls, from which OpenAPI is made.

Rules of this file:

1. What is named here is always there; an answer may have more, and clients must not mind: members are added between
   versions, never taken away.
2. Every call of :data:`console.calls.CALLS` that answers JSON has its line in :data:`ANSWERS` (a test compares), and
   the running server is held to it (``scripts/schemathesis``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from config.spec import Role
from console.problem import KINDS, PREFIX
from rules.autopilot import PHASES
from rules.flag import Stage
from rules.watch import STATES
from store.entries import ENTRY_KINDS
from store.triage import State

Schema = dict[str, Any]  # Any: JSON

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
PERCENT: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 100}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
FREE: Final[Schema] = {"type": "object"}
"""An object whose members follow from its kind, and are said in docs/admin-api.md."""

_ROLES: Final[tuple[Role, ...]] = ("viewer", "developer", "operator", "admin")


def holds(**members: Schema) -> Schema:
    """Describe an object with these members; a name that ends with ``_`` may be missing."""
    return {
        "type": "object",
        "properties": {name.removesuffix("_"): schema for name, schema in members.items()},
        "required": [name for name in members if not name.endswith("_")],
    }


def many(schema: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": schema}


def table(schema: Schema) -> Schema:
    """Describe an object whose names are the configuration's."""
    return {"type": "object", "additionalProperties": schema}


def maybe(schema: Schema) -> Schema:
    """Describe what may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> Schema:
    """Describe one word out of a closed list."""
    return {"type": "string", "enum": list(words)}


def named(name: str) -> Schema:
    """Point at one of :data:`SHAPES`."""
    return {"$ref": f"#/components/schemas/{name}"}


def audit_id(name: str = "a") -> Schema:
    """Describe the name of an audit entry."""
    return {"type": "string", "pattern": f"^{name}-[0-9]+$"}


_RESULTS: Final = ("pass", "fail", "inconclusive", "off")
_HASH: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_CHANGE: Final = holds(
    changed=FLAG,
    revision=COUNT,
    audit_id=maybe(audit_id()),
    routes=many(holds(route=TEXT, before=named("Flag"), after=named("Flag"))),
    workers=named("Workers"),
    held=many(TEXT),
    gate=maybe(holds(result=one_of(*_RESULTS), sentence=TEXT, forced=FLAG)),
    flags_written=FLAG,
    notes=many(TEXT),
)
_ANSWERED: Final = holds(status=maybe(COUNT), build=TEXT, bytes=COUNT, took_ms=NUMBER, error=maybe(TEXT))
_HEADERS: Final = many({"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2})
_BODY: Final = {"body": maybe(TEXT), "body_base64": maybe(TEXT)}
_EXCHANGE: Final = holds(status=COUNT, build=TEXT, bytes=COUNT, headers=_HEADERS, **_BODY)
_COMPARISON: Final = {
    "divergence": TEXT,
    "route": TEXT,
    "at": MOMENT,
    "request_id": TEXT,
    "consumer": maybe(TEXT),
    "verdict": TEXT,
    "same_meaning": maybe(FLAG),
    "proof": TEXT,
    "residual": maybe(COUNT),
    "copy_after_us": NUMBER,
    "request": holds(method=TEXT, target=TEXT, headers=_HEADERS, **_BODY),
    "legacy": _EXCHANGE,
    "new": _EXCHANGE,
    "causes": many(TEXT),
    "differences": many(named("Difference")),
    "omitted": COUNT,
}
_DIVERGENCE: Final = {
    "id": TEXT,
    "route": TEXT,
    "statuses": many(COUNT),
    "severity": TEXT,
    "sentence": TEXT,
    "causes": many(TEXT),
    "places": many(holds(cause=TEXT, path=TEXT)),
    "count": COUNT,
    "compared": COUNT,
    "share": maybe(PERCENT),
    "same_meaning": maybe(FLAG),
    "first_seen": MOMENT,
    "last_seen": MOMENT,
    "state": one_of(*(state.value for state in State)),
    "state_sentence": TEXT,
    "builds": many(FREE),
    "consumers": holds(names=many(TEXT), more=FLAG),
    "note": TEXT,
    "ticket": TEXT,
    "decided": maybe(FREE),
}
_TOLERANCE: Final = {
    "path": maybe(TEXT),
    "cause": maybe(TEXT),
    "reason": TEXT,
    "owner": TEXT,
    "expires": TEXT,
}
_SIDES: Final = holds(legacy=COUNT, new=COUNT, undeclared=COUNT, none=COUNT)
_ENTRY: Final = {
    "at": MOMENT,
    "actor": TEXT,
    "source": TEXT,
    "address": TEXT,
    "kind": one_of(*ENTRY_KINDS),
    "routes": many(TEXT),
    "reason": TEXT,
    "revision": COUNT,
    "before": FREE,
    "after": FREE,
    "evidence": FREE,
    "builds": FREE,
    "config": TEXT,
    "forced": FLAG,
    "previous": _HASH,
    "hash": _HASH,
}

SHAPES: Final[Mapping[str, Schema]] = {
    "Problem": holds(
        type=one_of(*(PREFIX + kind for kind in KINDS)),
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        errors={**many(holds(where=TEXT, detail=TEXT)), "minItems": 1},
    ),
    "Flag": holds(stage=one_of(*(stage.value for stage in Stage)), percent=PERCENT, sample=PERCENT, salt=TEXT),
    "Hold": holds(route=TEXT, keep_copying=FLAG, reason=TEXT, actor=TEXT, at=TEXT),
    "Workers": holds(acked=many(COUNT), missing=many(COUNT)),
    "Change": _CHANGE,
    "Match": holds(
        path=TEXT, methods=many(TEXT), trailing_slash=TEXT, host=maybe(TEXT), headers=table(TEXT), query=table(TEXT)
    ),
    "Route": holds(
        name=TEXT,
        match=many(named("Match")),
        legacy=maybe(TEXT),
        new=maybe(TEXT),
        journey=maybe(TEXT),
        sticky=many(TEXT),
        parity=one_of("bytes", "meaning"),
        flag=named("Flag"),
        hold=maybe(named("Hold")),
        drift=maybe(TEXT),
        copying=FLAG,
        share=holds(asked=PERCENT, actual=maybe(PERCENT)),
        counts=FREE,
        last_legacy=maybe(MOMENT),
        last_flip=maybe(holds(id=audit_id(), at=MOMENT, actor=TEXT, kind=TEXT, reason=TEXT, forced=FLAG)),
        gate=named("Gate"),
        watchdog=maybe(named("Watched")),
        autopilot=maybe(named("Autopilot")),
    ),
    "Watched": holds(
        state=one_of(*STATES),
        sentence=TEXT,
        since=MOMENT,
        rule=maybe(TEXT),
        value=maybe(NUMBER),
        limit=maybe(NUMBER),
        against=maybe(NUMBER),
        window=maybe(FREE),
    ),
    "Autopilot": holds(
        on=FLAG,
        phase=one_of(*PHASES),
        sentence=TEXT,
        next=maybe(holds(stage=TEXT, percent=PERCENT)),
    ),
    "Gate": holds(result=one_of(*_RESULTS), sentence=TEXT, needs_s=maybe(NUMBER)),
    "Difference": holds(
        cause=TEXT,
        severity=TEXT,
        rank=TEXT,
        sentence=TEXT,
        detail=TEXT,
        path=TEXT,
        tolerate_path=TEXT,
        legacy_pointer=maybe(TEXT),
        new_pointer=maybe(TEXT),
        count=COUNT,
        proven=FLAG,
        tolerated_by=maybe(TEXT),
    ),
    "Divergence": holds(**_DIVERGENCE),
    "Comparison": holds(id=maybe(TEXT), **_COMPARISON),
    "Entry": holds(id=audit_id(), **_ENTRY),
    "Token": holds(
        name=TEXT,
        role=one_of(*_ROLES),
        source=one_of("file", "made"),
        state=one_of("valid", "former", "expired"),
        made_at=maybe(MOMENT),
        made_by=maybe(TEXT),
        expires_at=maybe(MOMENT),
        last_used_at=maybe(MOMENT),
    ),
    "Node": holds(
        name=TEXT,
        self=FLAG,
        leader=FLAG,
        address=TEXT,
        version=TEXT,
        seen_at=MOMENT,
        silent_s=NUMBER,
        away=FLAG,
        revision=COUNT,
        lag=COUNT,
        config=TEXT,
        same_config=FLAG,
        workers=many(FREE),
        reported_s=maybe(NUMBER),
    ),
    "Tolerance": holds(
        id=TEXT,
        route=maybe(TEXT),
        days_left=COUNT,
        state=one_of("in_force", "ending", "expired"),
        source=one_of("file", "applied"),
        hits=COUNT,
        last_hit=maybe(MOMENT),
        compared=COUNT,
        **_TOLERANCE,
    ),
}
"""Shapes that several answers share, by the name that docs/admin-api.md gives them."""


def _change(**more: Schema) -> Schema:
    return {"allOf": [named("Change"), holds(**more)]} if more else named("Change")


_HEAD: Final = holds(id=audit_id(), hash=_HASH)
_HELD: Final = _change(holds=named("Workers"))
_TOKEN: Final = {"changed": FLAG, "audit_id": audit_id(), "token": named("Token")}

_EVALUATED: Final = {"type": "object", "required": ["key"], "properties": {"key": TEXT, "metadata": FREE}}
"""A flag of OFREP: its value, or its error."""

ANSWERS: Final[Mapping[str, Schema]] = {
    "ofrep_flag": holds(key=TEXT, value=FLAG, variant=TEXT, reason=TEXT, metadata=FREE),
    "ofrep_flags": holds(flags=many(_EVALUATED)),
    "gate": {
        "allOf": [
            named("Gate"),
            holds(
                route=TEXT,
                at=MOMENT,
                checks=many(
                    holds(
                        name=TEXT,
                        result=one_of(*_RESULTS[:3]),
                        sentence=TEXT,
                        value=maybe(NUMBER),
                        limit=maybe(NUMBER),
                        needs=COUNT,
                    )
                ),
                evidence=FREE,
                limits=maybe(FREE),
                leg=maybe(holds(number=COUNT, since=MOMENT, confidence=NUMBER)),
            ),
        ]
    },
    "reset_evidence": _change(route=TEXT, since=MOMENT),
    "status": holds(
        audit=maybe(_HEAD),
        version=TEXT,
        revision=COUNT,
        started_at=MOMENT,
        pid=COUNT,
        config=holds(file=TEXT, digest=TEXT, last_reload=holds(ok=FLAG, at=TEXT, error=maybe(TEXT))),
        database=holds(ok=FLAG, error=maybe(TEXT)),
        workers=many(holds(slot=COUNT, epoch=TEXT, pid=COUNT, revision=COUNT, current=FLAG)),
        comparers=many(holds(slot=COUNT, epoch=TEXT, pid=COUNT)),
        holds=many(named("Hold")),
        copying=holds(on=FLAG, off=many(TEXT)),
        deploys=table(holds(version=TEXT, at=MOMENT, actor=TEXT)),
        drift=many(
            holds(route=maybe(TEXT), kind=one_of("file", "hold"), asked=maybe(FREE), serves=maybe(TEXT), sentence=TEXT)
        ),
        stuck=many(holds(route=TEXT, stage=TEXT, since=MOMENT, days=COUNT, sentence=TEXT)),
        watchdog=table(table(TEXT)),
        degraded=many(TEXT),
    ),
    "nodes": holds(revision=COUNT, shared=FLAG, database=maybe(TEXT), nodes=many(named("Node"))),
    "forget_node": holds(changed=FLAG, node=TEXT, audit_id=audit_id()),
    "routes": holds(revision=COUNT, routes=many(named("Route"))),
    "route": named("Route"),
    "flip": _change(),
    "flip_journey": _change(),
    "rollback": _change(),
    "rollback_many": _change(),
    "hold": _HELD,
    "release": _HELD,
    "release_many": _HELD,
    "shadow": _change(),
    "autopilot": _change(autopilot=named("Autopilot")),
    "undo": _change(),
    "deployed": _change(),
    "recheck": holds(
        comparison=TEXT,
        divergence=maybe(TEXT),
        outcome=TEXT,
        sentence=TEXT,
        at=MOMENT,
        legacy=_ANSWERED,
        new=_ANSWERED,
        left_out=many(TEXT),
        found=maybe(named("Comparison")),
    ),
    "share": holds(
        route=maybe(TEXT),
        window=TEXT,
        step_s=COUNT,
        steps=many(holds(at=MOMENT, sides=_SIDES, new_share=maybe(PERCENT))),
        total=holds(sides=_SIDES, new_share=maybe(PERCENT)),
    ),
    "explain": holds(
        revision=COUNT,
        method=TEXT,
        path=TEXT,
        route=maybe(TEXT),
        stage=maybe(TEXT),
        key=maybe(TEXT),
        bucket=maybe(COUNT),
        primary=maybe(TEXT),
        backend=maybe(TEXT),
        shadow=maybe(TEXT),
        copied=one_of("never", "sampled", "always"),
        sample=PERCENT,
        policy=maybe(FREE),
        held=FLAG,
        override=FLAG,
        cohort=maybe(TEXT),
        pinned=FLAG,
        status=COUNT,
        reason=TEXT,
        why=many(TEXT),
        gate=maybe(named("Gate")),
        watchdog=maybe(named("Watched")),
        autopilot=maybe(named("Autopilot")),
    ),
    "audit": holds(entries=many(named("Entry")), next=maybe(TEXT), head=maybe(_HEAD)),
    "divergences": holds(divergences=many(named("Divergence")), next=maybe(TEXT)),
    "divergence": {
        "allOf": [named("Divergence"), holds(examples=many(FREE), example=maybe(named("Comparison")))],
    },
    "triage": {"allOf": [named("Divergence"), holds(audit_id=audit_id())]},
    "comparison": named("Comparison"),
    "encoding": holds(
        route=TEXT,
        pairs=COUNT,
        causes=many(FREE),
        plan=many(holds(cause=TEXT, pairs=COUNT, identical=COUNT, share=PERCENT)),
        sentence=TEXT,
        left=many(FREE),
        fits=many(TEXT),
        like=TEXT,
        code=table(TEXT),
    ),
    "tolerances": holds(revision=COUNT, tolerances=many(named("Tolerance"))),
    "tolerate": {
        "anyOf": [
            _change(tolerance=holds(id=TEXT, **{f"{name}_": schema for name, schema in _TOLERANCE.items()})),
            holds(changed={"const": False}, tolerance=FREE, yaml=TEXT, would_hide=FREE),
        ]
    },
    "untolerate": _change(tolerance=FREE),
    "totals": holds(
        counts=table(NUMBER), gauges=table(NUMBER), histograms=table(many(NUMBER)), last_legacy=table(NUMBER)
    ),
    "tokens": holds(tokens=many(named("Token"))),
    "make_token": holds(**_TOKEN, value=TEXT),
    "rotate_token": holds(**_TOKEN, value=TEXT),
    "revoke_token": holds(**_TOKEN),
    "reload": holds(
        changed=FLAG,
        revision=COUNT,
        audit_id=maybe(audit_id()),
        diff=many(TEXT),
        workers=named("Workers"),
        notes=many(TEXT),
    ),
    "openapi": holds(openapi={"const": "3.1.0"}, info=FREE, paths=FREE, components=FREE),
}
"""Name of the call to what it answers when it was done."""
