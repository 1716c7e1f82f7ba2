"""Rules of entries of the audit: chained, shown whole, of known kinds."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from store import chain
from store.entries import ENTRY_KINDS, Entry, entry_as_json
from store.flags import Commit, FlagStore
from tests.store.test_flags import entry

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


async def test_each_entry_carries_the_hash_of_the_one_before(place: str) -> None:
    """The audit is a chain: numbers follow each other, and every hash can be computed again from what was read."""
    rich = replace(
        entry(), address="192.0.2.7", evidence={"bound": 0.001}, builds={"new": "v2"}, config="ab", forced=True
    )
    store = await FlagStore.open(place)
    written = [(await store.commit(Commit(revision=7, entry=one)))[0] for one in (entry(), rich, entry("hold"))]
    first, second, third = reversed(await store.entries(before=None, limit=10))
    await store.close()

    assert [first, second, third] == written
    assert [one.id for one in written] == [1, 2, 3]
    assert (second.address, second.evidence, second.builds) == (rich.address, rich.evidence, rich.builds)
    assert (second.config, second.forced) == ("ab", True)
    assert [first.previous, second.previous, third.previous] == [chain.GENESIS, first.hash, second.hash]
    assert [chain.digest(entry_as_json(one)) for one in (first, second, third)] == [first.hash, second.hash, third.hash]


def test_an_entry_is_shown_whole() -> None:
    """Everything that an entry says is shown, and so hashed: nothing of it can be changed behind the chain's back."""
    assert entry_as_json(entry()).keys() == {field.name for field in fields(Entry)}


def test_the_docs_know_every_kind() -> None:
    """The list of kinds in docs/admin-api.md is the one of the code."""
    (line,) = [one for one in (ROOT / "docs/admin-api.md").read_text().splitlines() if one.startswith("`kind`: `flip`")]

    assert set(line.partition(". `source`")[0].split("`")[3::2]) == set(ENTRY_KINDS)
