"""Rules of how tokens are kept: by hash, with their ends and last uses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.entries import Entry
from store.flags import Commit, FlagStore
from store.tokens import Token, note_uses, read_tokens

pytestmark = pytest.mark.anyio

CI = Token(key="ci", role="operator", digest="d1", made_at=1000.0, made_by="boss", expires_at=2000.0)
FORMER = Token(key="ci~999.000", role="operator", digest="d0", made_at=999.0, made_by="boss", expires_at=1500.0)


def change(**what: tuple[Token, ...] | tuple[str, ...]) -> Commit:
    """Make one change of tokens."""
    entry = Entry(kind="token", source="api", actor="boss", routes=(), reason="", at="now", before={}, after={})
    return Commit(revision=1, entry=entry, **what)  # type: ignore[arg-type]  # a bundle of keywords


async def test_tokens_survive_with_their_changes(place: str) -> None:
    """What a commit puts is read back after a restart; what it drops is gone; the rest stays."""
    store = await FlagStore.open(place)
    await store.commit(change(put_tokens=(CI, FORMER)))
    await store.close()
    store = await FlagStore.open(place)
    first = await read_tokens(store.database)
    await store.commit(change(put_tokens=(replace(CI, digest="d2"),), drop_tokens=(FORMER.key,)))
    second = await read_tokens(store.database)
    await store.close()

    assert first == (CI, FORMER)
    assert [(one.key, one.digest) for one in second] == [("ci", "d2")]


async def test_a_use_is_kept_and_never_goes_back(place: str) -> None:
    """The newest use of a token is kept; an older one, from a slower node, changes nothing."""
    store = await FlagStore.open(place)
    await store.commit(change(put_tokens=(CI,)))
    await note_uses(store.database, {"ci": 1700.0, "nobody": 1.0})
    await note_uses(store.database, {"ci": 1600.0})
    found = await read_tokens(store.database)
    await store.close()

    assert [one.last_used_at for one in found] == [1700.0]


def test_a_former_value_has_the_name_of_its_token() -> None:
    """The audit names one token, whichever of its values was used; an end of 0 never comes."""
    forever = Token(key="ci", role="viewer", digest="", made_at=0.0, made_by="")

    assert (FORMER.name, FORMER.is_former, CI.is_former) == ("ci", True, False)
    assert [one.is_over(1500.0) for one in (CI, FORMER, forever)] == [False, True, False]
