"""The hash chain of the audit: each entry carries the hash of the one before it.

Rules of this file:

1. :func:`digest` is frozen: an export that was made today must verify in ten years. A test holds a published vector.
2. What is hashed is an entry's content as JSON shows it, not how a database stores it: an export verifies without one.
3. Numbers of entries follow each other without a gap, and stand inside the hash: a missing, moved or inserted entry
   shows. What a chain alone cannot show is that its newest entries were cut off (docs/decisions/0030-audit-chain.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

GENESIS: Final = "0" * 64
"""Stands before the first entry."""

FIELDS: Final = (
    "id",
    "at",
    "actor",
    "source",
    "address",
    "kind",
    "routes",
    "reason",
    "revision",
    "before",
    "after",
    "evidence",
    "builds",
    "config",
    "forced",
    "previous",
)
"""What a hash covers: everything of an entry but the hash itself."""


def digest(body: Mapping[str, Any]) -> str:  # Any: JSON
    """Hash one entry.

    Shape: *body* has every name of :data:`FIELDS`, ``id`` as a number; further ones are not looked at. The text that is
    hashed is JSON with sorted names, no blanks and ``\\u`` escapes; the result is hex SHA-256.
    Raises: KeyError for a missing name; TypeError and ValueError for what is not JSON.
    """
    chosen = {name: body[name] for name in FIELDS}
    text = json.dumps(chosen, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
