"""Make tolerances out of what a file or a call of the API says.

A tolerance is checked in the same way wherever it comes from, so what an
operator applies can be pasted into the file later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from config.document import read_document
from config.errors import ConfigError
from config.json_path import names_something, read_place
from config.kinds import Filled
from config.reader import REFUSED, Reader
from config.spec import RuleSpec, ToleranceSpec
from config.table import TOLERANCE
from config.tolerance import tolerance_id

MAX_TOLERANCES: Final = 200
"""On one route, or for all: more than anybody answers for; each costs every unequal pair of its route."""

_ARRAY_RULES: Final = ("unordered", "keyed_by")


def tolerances(written: Iterable[Filled], route: str, reader: Reader) -> tuple[ToleranceSpec, ...]:
    """Make a list of tolerances, each only once; problems go to the reader."""
    made: dict[str, ToleranceSpec] = {}
    for count, filled in enumerate(written, start=1):
        if count > MAX_TOLERANCES:
            message = f"found more than {MAX_TOLERANCES} tolerances, expected fewer; the differences want a fix"
            reader.report(filled.place, filled.where, message)
            break
        spec = _tolerance(filled, route, reader)
        if spec is not None and spec.id in made:
            reader.report(filled.place, filled.where, "found the same tolerance again, expected each once")
        if spec is not None:
            made.setdefault(spec.id, spec)
    return tuple(made.values())


def parse_tolerance(values: Mapping[str, object], route: str) -> ToleranceSpec:
    """Make one tolerance from a mapping with the keys of the file.

    Raises: ConfigError with all problems.
    """
    reader = Reader({})
    # JSON is YAML: one reader decides what is right, whoever asks.
    node, problems = read_document(json.dumps(values).encode(), "tolerance")
    reader.add(problems)
    filled = REFUSED if node is None else TOLERANCE.read(node, "", reader)
    spec = _tolerance(filled, route, reader) if isinstance(filled, Filled) else None
    if spec is None or reader.problems:
        raise ConfigError(reader.problems)
    return spec


def _tolerance(filled: Filled, route: str, reader: Reader) -> ToleranceSpec | None:
    """Hold the keys of one tolerance against each other; ``None`` after a problem."""
    path, cause, written = (filled.given.get(name) for name in ("path", "cause", "rule"))
    if any(filled.refused(name) for name in ("path", "cause", "rule")):
        return None
    rule = None if written is None else _rule(written, reader)
    found = _conflict(path, cause, rule)
    if found:
        reader.report(filled.places.get("rule", filled.place), filled.where, found)
    if found or (written is not None and rule is None) or not {"reason", "owner", "expires"} <= filled.given.keys():
        return None
    texts = {key: filled.given[key] for key in ("reason", "owner", "expires")}
    return ToleranceSpec(
        id=tolerance_id(route, path, cause, rule), route=route, path=path, cause=cause, rule=rule, **texts
    )


def _conflict(path: str | None, cause: str | None, rule: RuleSpec | None) -> str:
    """Say what is wrong with these three together; empty: nothing."""
    if rule is not None and path is None:
        return "found rule alone, expected path beside it: the place whose values have this shape"
    if path is None and cause is None:
        return "found neither path nor cause, expected at least one of them"
    if rule is not None and cause is not None:
        return "found cause and rule, expected one of them; a rule says itself what may differ"
    if path is not None and cause is None and not names_something(read_place(path)):
        if rule is None:
            return f"found {path!r}, which is everywhere, expected a place with a name or an index in it"
        if rule.name not in _ARRAY_RULES:
            return f"found {path!r} with {rule.name}, expected a place with a name or an index in it"
    return ""


def _rule(written: str | Filled, reader: Reader) -> RuleSpec | None:
    """Make the rule from its word, or from the mapping with its one key."""
    if isinstance(written, str):
        # The words of the table are the names of rules.
        return RuleSpec(name=written)  # type: ignore[arg-type]
    if len(written.places) != 1:
        said = ", ".join(written.places) or "nothing"
        reader.report(written.place, written.where, f"found {said}, expected exactly one rule")
        return None
    if not written.given:
        return None
    [(name, value)] = written.given.items()
    if name == "keyed_by":
        return RuleSpec(name="keyed_by", member=value)
    if name == "within":
        return RuleSpec(name="within", within=value)
    if "within" not in value.given:
        return None
    if name == "timestamp":
        return RuleSpec(name="timestamp", within_ns=value.given["within"])
    return RuleSpec(name="counter", within=value.given["within"])
