"""What can be said of a tolerance without a file: how it is written, and when it ends.

Apart from :mod:`config.tolerate`, which makes tolerances, because comparers need only this and not a YAML parser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from config.json_path import canonical, read_place
from config.spec import RuleSpec, ToleranceSpec
from config.units import format_duration

WARN_DAYS: Final = 7
"""An owner hears so many days ahead that a tolerance ends."""

PROPOSED_DAYS: Final = 90
"""How long a proposal lasts that names no last day: a quarter to fix it in."""


def as_mapping(spec: ToleranceSpec) -> dict[str, Any]:  # Any: what YAML or JSON holds
    """Give the keys of the file for a tolerance: what :func:`config.tolerate.parse_tolerance` reads."""
    named = {"path": spec.path, "cause": spec.cause, "rule": spec.rule and rule_as_written(spec.rule)}
    return {
        **{key: value for key, value in named.items() if value is not None},
        "reason": spec.reason,
        "owner": spec.owner,
        "expires": spec.expires,
    }


def tolerance_id(route: str, path: str | None, cause: str | None, rule: RuleSpec | None) -> str:
    """Name a tolerance by what it permits and where, not by who answers for it."""
    place = None if path is None else canonical(read_place(path))
    said = json.dumps([route, place, cause, rule and rule_as_written(rule)], ensure_ascii=False)
    return f"t-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def rule_as_written(rule: RuleSpec) -> str | dict[str, Any]:  # Any: what YAML or JSON holds
    """Give a rule as the file has it."""
    if rule.name == "timestamp":
        return {"timestamp": {"within": format_duration(rule.within_ns)}}
    if rule.name == "keyed_by":
        return {"keyed_by": rule.member}
    if rule.name == "within":
        return {"within": rule.within}
    if rule.within:
        return {"counter": {"within": int(rule.within)}}
    return rule.name


def ends_at(spec: ToleranceSpec) -> float:
    """Give the Unix time from which a tolerance hides nothing: the end of its last day in UTC."""
    last = date.fromisoformat(spec.expires)
    return (datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)).timestamp()


def days_left(spec: ToleranceSpec, now: float) -> int:
    """Count the days on which a tolerance still hides something, today included; 0: it has expired."""
    return max(0, -int((now - ends_at(spec)) // 86_400))


def joined(*lists: Iterable[ToleranceSpec]) -> tuple[ToleranceSpec, ...]:
    """Join lists, each tolerance once: the first one stays, with the last day of those that are the same."""
    found: dict[str, ToleranceSpec] = {}
    for spec in (spec for part in lists for spec in part):
        held = found.get(spec.id)
        if held is None or held.expires < spec.expires:
            found[spec.id] = spec
    return tuple(found.values())
