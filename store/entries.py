"""Entries of the audit: what one says, how it is written behind the others, and how it is read and shown.

Rules of this file:

1. Entries are only ever written by :func:`append`, which gives each its number, the hash of the one before and its own.
2. What :func:`entry_as_json` shows is what is hashed; a member that it did not show would be no part of the proof.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import bindparam, insert, select

from store import chain
from store.database import Row, Transaction
from store.dialect import storable
from store.schema import audit, audit_routes

Json = Mapping[str, Any]  # Any: JSON

ENTRY_KINDS: Final = (
    "autopilot",
    "deployed",
    "evidence",
    "flip",
    "forget",
    "hold",
    "release",
    "reload",
    "rollback",
    "shadow",
    "start",
    "token",
    "tolerate",
    "triage",
    "undo",
    "untolerate",
)
"""Every kind of entry that an audit may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Describe one audited change; ``id`` is 0 until it is committed."""

    kind: str
    """One of :data:`ENTRY_KINDS`."""
    source: str
    """``api``, ``identity`` (a person whom a proxy names), ``signal``, ``watch``, ``local``,
    ``file``, ``openfeature``, ``watchdog`` or ``autopilot``."""
    actor: str
    address: str = ""
    """The IP address that the call came from; empty: it did not come over the network."""
    routes: tuple[str, ...]
    reason: str
    at: str
    """RFC 3339 in UTC."""
    before: Json
    after: Json
    evidence: Json = field(default_factory=dict)
    """What the change rests on: a gate's verdict, the value that tripped the watchdog."""
    builds: Json = field(default_factory=dict)
    """Backend to the version that it ran, as far as is known."""
    config: str = ""
    """The digest of the configuration in force."""
    forced: bool = False
    """A gate was overridden."""
    revision: int = 0
    id: int = 0
    previous: str = ""
    hash: str = ""
    """Of this entry (:func:`store.chain.digest`); it and ``previous`` are empty until it is committed."""


async def append(tx: Transaction, entry: Entry) -> Entry:
    """Write one entry behind the last one; returns it as written."""
    last = await tx.rows(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1))
    number, previous = (last[0][0] + 1, last[0][1]) if last else (1, chain.GENESIS)
    entry = replace(
        entry,
        id=number,
        actor=storable(entry.actor),  # before it is hashed: what is read back must be what was hashed
        reason=storable(entry.reason),
        previous=previous,
    )
    entry = replace(entry, hash=chain.digest(entry_as_json(entry)))
    await tx.run(
        insert(audit).values(
            id=number,
            at=entry.at,
            actor=entry.actor,
            source=entry.source,
            kind=entry.kind,
            routes=json.dumps(entry.routes),
            reason=entry.reason,
            revision=entry.revision,
            before=json.dumps(entry.before),
            after=json.dumps(entry.after),
            address=entry.address,
            evidence=json.dumps(entry.evidence),
            builds=json.dumps(entry.builds),
            config=entry.config,
            previous=previous,
            hash=entry.hash,
            forced=int(entry.forced),
        )
    )
    await tx.run_many(_NAME_ROUTE, [{"route": route, "audit_id": number} for route in dict.fromkeys(entry.routes)])
    return entry


def entry_from_row(row: Row) -> Entry:
    """Read an entry from the columns of :data:`store.schema.audit`."""
    number, at, actor, source, kind, routes, reason, revision, before, after, *more = row
    address, evidence, builds, config, previous, own, forced = more
    return Entry(
        id=number,
        at=at,
        actor=actor,
        source=source,
        address=address,
        kind=kind,
        routes=tuple(json.loads(routes)),
        reason=reason,
        revision=revision,
        before=json.loads(before),
        after=json.loads(after),
        evidence=json.loads(evidence),
        builds=json.loads(builds),
        config=config,
        forced=bool(forced),
        previous=previous,
        hash=own,
    )


def entry_as_json(entry: Entry) -> dict[str, object]:
    """Show an entry as an export of the audit does; :func:`store.chain.digest` takes this."""
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "source": entry.source,
        "address": entry.address,
        "kind": entry.kind,
        "routes": list(entry.routes),
        "reason": entry.reason,
        "revision": entry.revision,
        "before": entry.before,
        "after": entry.after,
        "evidence": entry.evidence,
        "builds": entry.builds,
        "config": entry.config,
        "forced": entry.forced,
        "previous": entry.previous,
        "hash": entry.hash,
    }


_NAME_ROUTE: Final = insert(audit_routes).values(route=bindparam("route"), audit_id=bindparam("audit_id"))
