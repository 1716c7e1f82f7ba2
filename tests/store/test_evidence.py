"""Rules of evidence.db: deltas add up, groups merge, the file stays below its cap."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from store.database import StoreError
from store.divergences import Wanted
from store.evidence import Batch, EvidenceStore
from store.groups import Groups
from tests.store.made import opened, sighting

pytestmark = pytest.mark.anyio


async def test_hours_add_up_and_the_last_legacy_request_only_rises(place: str) -> None:
    """Batches add to their hour; an older last request of legacy changes nothing."""
    store = await EvidenceStore.open(place)
    for count, at in ((3, 50.0), (4, 40.0)):
        await store.write(
            Batch(answered={(7, "orders", "new"): count, (8, "orders", "legacy"): 1}, last_legacy={"orders": at}),
            Groups(),
        )

    share, later = await store.share("orders", 0), await store.share(None, 8)
    sides, last = await store.route_shares(7), await store.load_last_legacy()
    await store.close()

    assert share == {7: {"new": 7}, 8: {"legacy": 2}}
    assert later == {8: {"legacy": 2}}
    assert sides == {"orders": {"new": 7, "legacy": 2}}
    assert last == {"orders": 50.0}


async def test_epochs_are_replaced_whole_and_forgotten_when_folded(place: str) -> None:
    """An epoch's newest state replaces the one before; a folded epoch goes with the same batch."""
    store = await EvidenceStore.open(place)
    await store.write(Batch(epochs={"e1": b"1", "e2": b"2"}), Groups())
    await store.write(Batch(epochs={"": b"12"}, gone=("e1",)), Groups())

    found = await store.load_epochs()
    await store.close()

    assert found == {"": b"12", "e2": b"2"}


async def test_a_batch_that_cannot_be_written_is_kept(tmp_path: Path) -> None:
    """When the file is gone, findings wait for the next one, together with what came meanwhile."""
    path = tmp_path / "evidence.db"
    store = await opened(path)
    groups = Groups()
    groups.add(sighting())
    path.unlink()
    with pytest.raises(StoreError):
        await store.write(Batch(), groups)
    await store.close()
    groups.add(sighting(at=130.0))

    store = await opened(path)
    await store.write(Batch(), groups)
    found = await store.divergences.page(Wanted(), after=None, limit=10)
    await store.close()

    assert [(one.count, one.first_seen, one.last_seen) for one in found] == [(2, 100.0, 130.0)]


async def test_the_file_stays_below_its_cap_oldest_out_first(place: str) -> None:
    """Beyond the cap the oldest groups and hours go; the newest, the totals and the ledger stay."""
    store = await opened(place, cap_bytes=400_000)
    groups = Groups()
    for number in range(400):
        groups.add(sighting(f"d-{number}", at=float(number), body=os.urandom(2_000)))
    batch = Batch(
        epochs={"e1": b"1"},
        answered={(hour, "orders", "new"): 1 for hour in range(1_000)},
        last_legacy={"orders": 5.0},
    )
    await store.write(batch, groups)

    await store.shrink()
    used = await store.database.used_bytes()
    found = [one.last_seen for one in await store.divergences.page(Wanted(), after=None, limit=1_000)]
    hours = await store.share(None, 0)
    epochs, last = await store.load_epochs(), await store.load_last_legacy()
    await store.close()

    assert used <= 400_000
    assert found
    assert max(found) == 399.0
    assert min(found) > 0.0
    assert max(hours) == 999
    assert min(hours) > 0
    assert epochs == {"e1": b"1"}
    assert last == {"orders": 5.0}


async def test_the_beginning_of_the_evidence_is_remembered(place: str) -> None:
    """The moment at which a file began stays the same when it is opened again."""
    store = await EvidenceStore.open(place)
    began = store.began_at
    await store.close()

    store = await EvidenceStore.open(place)
    again = store.began_at
    await store.close()

    assert again == began
