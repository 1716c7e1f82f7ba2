"""How things look as JSON in the admin API; docs/admin-api.md shows each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from config.spec import MatchSpec, ToleranceSpec
from config.tolerance import WARN_DAYS, as_mapping, days_left
from console.epochs import Sums
from console.journal import moment_text
from rules.flag import Flag, Hold, flag_as_json
from rules.snapshot import EVERYWHERE
from rules.told import match_as_told
from store.entries import Entry
from store.entries import entry_as_json as exported
from store.flags import Deploy, hold_as_json
from store.nodes import NodeSeen

Json = dict[str, Any]  # Any: JSON

_PLAIN_COUNTS: Final = ("eligible", "unsampled", "sent", "identical", "unequal", "tolerated", "divergent", "errored")


def new_share(sides: Mapping[str, int]) -> float | None:
    """Give new's share of what legacy and new answered, in percent; ``None`` without traffic."""
    legacy, new = sides.get("legacy", 0), sides.get("new", 0)
    return round(100 * new / (legacy + new), 2) if legacy + new else None


def match_as_json(match: MatchSpec) -> Json:
    """Show one match of a route, as far as it may be told."""
    match = match_as_told(match)
    return {
        "path": match.path,
        "methods": list(match.methods),
        "trailing_slash": match.trailing_slash,
        "host": match.host,
        "headers": dict(match.headers),
        "query": dict(match.query),
    }


def counts_by_route(sums: Sums) -> dict[str, Json]:
    """Sort the sums by route, in one walk over all keys."""
    found: dict[str, Json] = {}
    for key, count in [*sums.counts.items(), *sums.gauges.items()]:
        family, *labels = key.split("|")
        if not labels:
            continue
        held = found.setdefault(labels[0], {})
        if family == "requests" and len(labels) > 1:
            held.setdefault("requests", {}).setdefault(labels[1], 0)
            held["requests"][labels[1]] += count
        elif family in ("skipped", "undecided") and len(labels) > 1:
            reasons = held.setdefault(family, {})
            reasons[labels[-1]] = reasons.get(labels[-1], 0) + count
        else:
            held[family] = held.get(family, 0) + count
    return found


def counts_as_json(counts: Mapping[str, Any]) -> Json:
    """Show the counts of one route; what was never counted is zero."""
    return {
        "requests": {"legacy": 0, "new": 0, "none": 0, **counts.get("requests", {})},
        **{name: counts.get(name, 0) for name in _PLAIN_COUNTS},
        "skipped": counts.get("skipped", {}),
        "undecided": counts.get("undecided", {}),
        "in_flight": counts.get("in_flight", 0),
        "queued": counts.get("queued", 0),
    }


def held_as_json(hold: Hold | None) -> Json | None:
    """Show a hold in an audit entry; ``None``: nothing was held."""
    return None if hold is None else hold_as_json(hold)


def flip_as_json(entry: Entry) -> Json:
    """Show the last flip of a route."""
    return {
        "id": f"a-{entry.id}",
        "at": entry.at,
        "actor": entry.actor,
        "kind": entry.kind,
        "reason": entry.reason,
        "forced": entry.forced,
    }


def deploy_as_json(deploy: Deploy) -> Json:
    """Show what a backend runs, since when, and who said so."""
    return {"version": deploy.version, "at": moment_text(deploy.at), "actor": deploy.actor}


def tolerance_as_json(spec: ToleranceSpec, source: str, hits: Json, now: float) -> Json:
    """Show a tolerance, whether it still hides anything, and what it hid."""
    left = days_left(spec, now)
    last_hit = hits["last_hit"]
    return {
        "id": spec.id,
        "route": spec.route or None,
        **dict.fromkeys(("path", "cause", "rule")),
        **as_mapping(spec),
        "days_left": left,
        "state": "expired" if not left else "ending" if left <= WARN_DAYS else "in_force",
        "source": source,
        **hits,
        "last_hit": None if last_hit is None else moment_text(last_hit),
    }


def tolerance_yaml(spec: ToleranceSpec) -> str:
    """Write a tolerance as one line of YAML, to be pasted below ``tolerate:``.

    Shape: JSON's quoted texts and flow mappings are YAML's, too.
    """
    parts = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in as_mapping(spec).items())
    return "- {" + ", ".join(parts) + "}"


def reached_as_json(node: NodeSeen, revision: int) -> Json:
    """Show another node in the answer to a change."""
    return {
        "name": node.name,
        "address": node.address,
        "revision": min([node.revision, *(worker["revision"] for worker in node.workers)]),
        "current": not node.is_away and node.serves(revision),
        "away": node.is_away,
    }


def entry_as_json(entry: Entry) -> Json:
    """Show one audit entry: as an export does, but for its name."""
    return {**exported(entry), "id": f"a-{entry.id}"}


def copying_as_json(off: Iterable[str]) -> Json:
    """Show the switches: ``on`` is false when everything is off."""
    names = sorted(off)
    return {"on": EVERYWHERE not in names, "off": [name for name in names if name != EVERYWHERE]}


def routes_as_json(before: Mapping[str, Flag], after: Mapping[str, Flag]) -> list[Json]:
    """Show the flags that a change found and left."""
    return [
        {"route": name, "before": flag_as_json(before[name]), "after": flag_as_json(flag)}
        for name, flag in after.items()
    ]
