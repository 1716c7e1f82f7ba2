"""Rules of copying everything from one database to another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from store.copying import copy_all
from store.database import StoreError
from store.divergences import Wanted
from store.evidence import Batch, EvidenceStore
from store.flags import Commit, FlagStore
from store.groups import Groups
from store.schema import audit
from tests.store.made import ENTRY, fill

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]


async def test_everything_is_there_afterwards_and_back_again(tmp_path: Path, migrated_url: str) -> None:
    """Flags, holds, audit with its hashes and evidence read the same there, also after the way back to files."""
    here, back = tmp_path / "here", tmp_path / "back"
    here.mkdir()
    back.mkdir()
    await fill(here)

    copied = await copy_all(str(here), migrated_url)
    await copy_all(migrated_url, str(back))

    seen = []
    for flags_at, evidence_at in (
        (str(here / "flags.db"), str(here / "evidence.db")),
        (migrated_url, migrated_url),
        (str(back / "flags.db"), str(back / "evidence.db")),
    ):
        flags, evidence = await FlagStore.open(flags_at), await EvidenceStore.open(evidence_at)
        found = await evidence.divergences.page(Wanted(), after=None, limit=9)
        entries = await flags.entries(before=None, limit=9)
        comparison = await evidence.divergences.comparison("c-d-1-100")
        seen.append((await flags.load(), entries, found, comparison, await evidence.share(None, 0), evidence.began_at))
        await flags.close()
        await evidence.close()
    assert seen[0] == seen[1] == seen[2]
    assert (copied["flags"], copied["audit"], copied["comparisons"]) == (1, 2, 1)


async def test_what_is_copied_can_be_continued(tmp_path: Path, migrated_url: str) -> None:
    """The next change gets the next number, and the chain goes on."""
    await fill(tmp_path)
    await copy_all(str(tmp_path), migrated_url)

    store = await FlagStore.open(migrated_url)
    (written,) = await store.commit(Commit(revision=5, entry=ENTRY))
    newest, before = await store.entries(before=None, limit=2)
    await store.close()

    assert (written.id, newest.previous) == (3, before.hash)


async def test_a_database_that_holds_something_is_refused(tmp_path: Path, migrated_url: str) -> None:
    """A copy never mixes with what is there, and a refused one has written nothing."""
    await fill(tmp_path)
    store = await EvidenceStore.open(migrated_url)
    await store.write(Batch(epochs={"theirs": b"1"}), Groups())

    with pytest.raises(StoreError, match="epochs has 1 rows"):
        await copy_all(str(tmp_path), migrated_url)
    epochs, flags = await store.load_epochs(), await store.database.rows(select(audit.c.id))
    await store.close()

    assert (epochs, flags) == ({"theirs": b"1"}, [])


async def test_a_broken_chain_is_not_copied(tmp_path: Path, migrated_url: str) -> None:
    """An audit that somebody changed is named by its first broken entry, and nothing is copied."""
    await fill(tmp_path)
    source = await FlagStore.open(str(tmp_path / "flags.db"))
    async with source.database.transaction() as tx:
        await tx.run(
            insert(audit).values(
                id=3,
                at="",
                actor="",
                source="",
                kind="flip",
                routes="[]",
                reason="",
                revision=4,
                before="{}",
                after="{}",
            )
        )
    await source.close()

    with pytest.raises(StoreError, match="broken at a-3"):
        await copy_all(str(tmp_path), migrated_url)

    target = await FlagStore.open(migrated_url)
    found = await target.database.rows(select(audit.c.id))
    await target.close()
    assert found == []


def test_a_directory_without_files_is_named(tmp_path: Path, migrated_url: str) -> None:
    """A wrong directory is a sentence, and nothing is made in it."""
    with pytest.raises(StoreError, match=r"no flags\.db"):
        asyncio.run(copy_all(str(tmp_path), migrated_url))

    assert list(tmp_path.iterdir()) == []
