"""Rules of the audit's hash chain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store import chain

FIRST: dict[str, Any] = {  # Any: JSON
    "id": 1,
    "at": "2026-01-01T00:00:00Z",
    "actor": "ops",
    "source": "api",
    "address": "192.0.2.7",
    "kind": "flip",
    "routes": ["orders"],
    "reason": "Über \u2028 \U0001f600",
    "revision": 7,
    "before": {"orders": {"percent": 12.5, "stage": "canary"}},
    "after": {"orders": {"stage": "live", "percent": 0.0}},
    "evidence": {"divergent": 0, "bound": 0.001},
    "builds": {"new": "v2"},
    "config": "ab" * 32,
    "forced": False,
    "previous": chain.GENESIS,
}


def test_the_published_vector_never_changes() -> None:
    """The hash of a given entry is the same for ever, so that an old export verifies with any later version."""
    assert chain.digest(FIRST) == "3d0ef79845c216ec4d869bf786723b7d9492275e085fce072c5578fae66b65b4"


def test_a_hash_does_not_depend_on_how_json_was_spelled() -> None:
    """The order of members and the spelling of texts change nothing; the own hash is not part of it."""
    again = json.loads(json.dumps(dict(reversed(FIRST.items())), ensure_ascii=False))

    assert chain.digest({**again, "hash": "whatever"}) == chain.digest(FIRST)


@pytest.mark.parametrize("name", chain.FIELDS)
def test_every_field_is_covered(name: str) -> None:
    """A change of any field changes the hash."""
    changed = {**FIRST, name: not FIRST[name] if isinstance(FIRST[name], bool) else ["something", "else"]}

    assert chain.digest(changed) != chain.digest(FIRST)
