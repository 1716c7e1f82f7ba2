"""Whether a chain of audit entries is whole: read one after the other, each held against the one before.

What shows: an entry that was changed, added to, is missing, was moved, inserted or written twice; with a known head,
also that the newest were cut off. What cannot show, because whoever can write everything can hash everything: that the
newest entries were cut off where no head is known elsewhere, and that all of it was made anew from some entry on, the
head included. So keep a head, or the log that names each hash, on another machine
(docs/decisions/0030-audit-chain.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from store.chain import FIELDS, GENESIS, digest

Body = Mapping[str, Any]  # Any: JSON

_NAMES: Final = frozenset((*FIELDS, "hash"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Say how far a chain is whole."""

    count: int
    """Entries that are whole, from the first one on."""
    head: tuple[int, str] | None
    """Number and hash of the last of them."""
    broken: int | None = None
    """The number of the first entry that is not, or that is missing; ``None``: all are whole."""
    why: str = ""
    """The sentence about it; empty: all are whole."""


def verify(entries: Iterable[Body], head: tuple[int, str] | None = None) -> Verdict:
    """Check a whole chain, from entry 1 on.

    Shape: *entries* as :func:`store.entries.entry_as_json` shows them, oldest first; *head* is an entry that is known
    to have been there, by number and hash (or by number 0 and a hash, where only that was kept).
    Cost: one SHA-256 per entry, about 20 microseconds.
    """
    count, previous, is_head_seen = 0, GENESIS, False
    for entry in entries:
        number = count + 1
        if why := _fault(entry, number, previous):
            return _broken(count, previous, number, why)
        count, previous = number, str(entry["hash"])
        if head is not None and head[1] == previous:
            is_head_seen = head[0] in (0, number)
        elif head is not None and head[0] == number:
            return _broken(
                count - 1, str(entry["previous"]), number, f"a-{number} is not the entry that the known head names"
            )
    if head is not None and not is_head_seen:
        where = f"a-{head[0]}" if head[0] else "the entry with the known hash"
        why = f"{where} was there once and is missing: the newest entries were cut off, or all were made anew"
        return _broken(count, previous, count + 1, why)
    return Verdict(count=count, head=(count, previous) if count else None)


def _broken(count: int, last: str, number: int, why: str) -> Verdict:
    return Verdict(count=count, head=(count, last) if count else None, broken=number, why=why)


def _fault(entry: Body, number: int, previous: str) -> str:
    """Say what is wrong with the entry that should have this number; empty: nothing."""
    if not entry:
        return f"a-{number} is no entry: what stands there is not one JSON object with each name once"
    if missing := _NAMES - entry.keys():
        return f"a-{number} lacks {', '.join(sorted(missing))}"
    if added := entry.keys() - _NAMES:
        # Whoever reads the entry would take it for a part of what is proven.
        return f"a-{number} has {', '.join(ascii(name) for name in sorted(added))}, which its hash does not cover"
    found = entry["id"]
    if found != number:
        if isinstance(found, int) and found > number:
            return f"a-{number} is missing: a-{found} stands in its place"
        return f"a-{ascii(found)[:50]} stands where a-{number} belongs: it was moved, inserted or written twice"
    try:
        own = digest(entry)
    except (TypeError, ValueError) as error:
        return f"a-{number} cannot be hashed ({error})"
    if own != entry["hash"]:
        return f"a-{number} was changed: its content does not have its hash"
    if entry["previous"] != previous:
        return f"a-{number} does not follow the entry before it: one of the two was exchanged"
    return ""
