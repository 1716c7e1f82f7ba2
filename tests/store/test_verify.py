"""Rules of checking a chain: whatever was done to it, the first broken entry is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from store.chain import FIELDS, GENESIS, digest
from store.verify import verify

Entries = list[dict[str, Any]]


def chained(count: int, flavour: str = "") -> Entries:
    """Make a whole chain."""
    entries: Entries = []
    previous = GENESIS
    for number in range(1, count + 1):
        entry = dict.fromkeys(FIELDS, flavour) | {"id": number, "before": {"n": number}, "previous": previous}
        entry["hash"] = previous = digest(entry)
        entries.append(entry)
    return entries


def rehashed(entry: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Change an entry and give it the hash of what it now says."""
    entry = entry | changed
    return entry | {"hash": digest(entry)}


def test_a_whole_chain_is_whole() -> None:
    """An untouched chain verifies, an empty one too, and names its head."""
    entries = chained(5)

    assert verify(entries).broken is None
    assert verify(entries).head == (5, entries[-1]["hash"])
    assert verify([]).head is None
    assert verify(entries, head=(3, entries[2]["hash"])).broken is None
    assert verify(entries, head=(0, entries[4]["hash"])).broken is None


@pytest.mark.parametrize(
    ("harm", "broken", "said"),
    [
        (lambda e: [*e[:2], e[2] | {"reason": "nothing"}, *e[3:]], 3, "a-3 was changed"),
        (lambda e: [*e[:2], e[2] | {"forced": True}, *e[3:]], 3, "a-3 was changed"),
        (lambda e: [*e[:2], e[2] | {"hash": "0" * 64}, *e[3:]], 3, "a-3 was changed"),
        (lambda e: [*e[:2], rehashed(e[2], actor="x"), *e[3:]], 4, "a-4 does not follow"),
        (lambda e: e[:2] + e[3:], 3, "a-3 is missing: a-4 stands in its place"),
        (lambda e: e[1:], 1, "a-1 is missing"),
        (lambda e: [e[0], e[2], e[1], e[3]], 2, "a-2 is missing: a-3 stands"),
        (lambda e: [*e[:3], e[2], *e[3:]], 4, "a-3 stands where a-4 belongs"),
        (lambda e: [*e[:2], rehashed(e[2], reason="new"), *e[2:]], 4, "a-3 stands where a-4 belongs"),
        (lambda e: [*e[:2], rehashed(e[2], id=4), *e[3:]], 3, "a-3 is missing"),
        (lambda e: [rehashed(e[0], previous="1" * 64), *e[1:]], 1, "a-1 does not follow"),
        (lambda e: [*e[:1], {"id": 2}], 2, "a-2 lacks"),
        (lambda e: [*e[:1], e[1] | {"before": {1, 2}}], 2, "a-2 cannot be hashed"),
        (lambda e: [*e[:1], e[1] | {"id": "2"}], 2, "a-'2' stands where a-2 belongs"),
        (lambda e: [*e[:1], e[1] | {"id": "\x1b[2KWhole"}], 2, r"a-'\x1b[2KWhole' stands where a-2 belongs"),
        (lambda e: [*e[:1], e[1] | {"approved_by": "x"}], 2, "a-2 has 'approved_by', which its hash does not cover"),
        (lambda e: [*e[:1], {}], 2, "a-2 is no entry"),
    ],
)
def test_every_harm_is_found_at_its_first_entry(harm: Callable[[Entries], Entries], broken: int, said: str) -> None:
    """Changed, missing, moved, inserted, repeated and unreadable entries are named by the first that does not fit."""
    verdict = verify(harm(chained(6)))

    assert (verdict.broken, verdict.count) == (broken, broken - 1)
    assert said in verdict.why


def test_a_cut_end_shows_against_a_known_head_only() -> None:
    """Without a head a cut chain verifies; with the number and hash of an entry that was there it does not, nor does a
    whole one where the hash is that of an entry with another number."""
    entries = chained(6)
    head = (6, entries[5]["hash"])

    cut, known = verify(entries[:4]), verify(entries[:4], head=head)
    by_hash_alone = verify(entries[:4], head=(0, head[1]))
    elsewhere = [verify(entries, head=(number, entries[2]["hash"])).broken for number in (2, 9)]
    anew = verify(chained(6, "another"), head=head)

    assert cut.broken is None
    assert (known.broken, known.count) == (5, 4)
    assert "a-6 was there once and is missing" in known.why
    assert by_hash_alone.broken == 5
    assert (anew.broken, anew.count) == (6, 5)
    assert elsewhere == [2, 7]
