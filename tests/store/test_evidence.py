"""Rules of evidence.db: deltas add up, groups merge, the file stays below its cap."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.database import StoreError
from store.evidence import MAX_PENDING, Batch, EvidenceStore, Groups, Sighting, divergence_id

pytestmark = pytest.mark.anyio


def sighting(**changed: object) -> Sighting:
    """Make one sighting."""
    values: dict[str, object] = {
        "route": "orders",
        "status_legacy": 200,
        "status_new": 200,
        "kind": "body",
        "pointer": "/price",
        "same_meaning": False,
        "at": 100.0,
        "example": {"request_id": "r1"},
    }
    return Sighting(**{**values, **changed})  # type: ignore[arg-type]  # a bundle of keywords


async def test_hours_add_up_and_the_last_legacy_request_only_rises(tmp_path: Path) -> None:
    """Batches add to their hour; an older last request of legacy changes nothing."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
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


async def test_epochs_are_replaced_whole_and_forgotten_when_folded(tmp_path: Path) -> None:
    """An epoch's newest state replaces the one before; a folded epoch goes with the same batch."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    await store.write(Batch(epochs={"e1": b"1", "e2": b"2"}), Groups())
    await store.write(Batch(epochs={"": b"12"}, gone=("e1",)), Groups())

    found = await store.load_epochs()
    await store.close()

    assert found == {"": b"12", "e2": b"2"}


async def test_findings_merge_into_their_group(tmp_path: Path) -> None:
    """Findings of one group add up over batches: counts, first and last time, latest example, worst severity."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    groups = Groups()
    groups.add(sighting(same_meaning=True, at=100.0))
    groups.add(sighting(same_meaning=None, at=110.0))
    await store.write(Batch(), groups)
    first = await store.divergences(route=None, after=None, limit=10)
    groups.add(sighting(at=120.0, example={"request_id": "r3"}))
    await store.write(Batch(), groups)
    await store.write(Batch(), groups)

    found = await store.divergence(divergence_id("orders", 200, 200, "body", "/price"))
    await store.close()

    assert [one.severity for _, one in first] == ["cosmetic"]
    assert found is not None
    assert (found.count, found.same, found.different, found.severity) == (3, 1, 1, "value")
    assert (found.first_seen, found.last_seen) == (100.0, 120.0)
    assert found.example == {"request_id": "r3"}


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"status_new": 500, "kind": "status"}, "new_5xx"),
        ({"status_new": 404, "kind": "status"}, "status"),
        ({"status_legacy": 500, "status_new": 502, "kind": "status"}, "status"),
        ({"kind": "header:content-type"}, "content_type"),
        ({}, "value"),
        ({"same_meaning": None}, "unknown"),
        ({"same_meaning": True}, "cosmetic"),
        ({"kind": "header:location", "same_meaning": True}, "header"),
    ],
    ids=str,
)
async def test_groups_are_ranked_by_what_a_client_would_feel(
    tmp_path: Path, changed: dict[str, object], severity: str
) -> None:
    """A server error outranks a status, a status a type, a type a value, a value a cosmetic difference."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    groups = Groups()
    groups.add(sighting(**changed))
    await store.write(Batch(), groups)

    found = await store.divergences(route="orders", after=None, limit=10)
    await store.close()

    assert [one.severity for _, one in found] == [severity]


async def test_pages_of_groups_miss_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """Paging through groups with equal counts shows each exactly once, in order."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    groups = Groups()
    for number in range(25):
        for _ in range(1 + number % 3):
            groups.add(sighting(pointer=f"/{number}", same_meaning=bool(number % 2)))
    await store.write(Batch(), groups)
    whole = [one.id for _, one in await store.divergences(route=None, after=None, limit=100)]

    paged: list[str] = []
    after = None
    while page := await store.divergences(route=None, after=after, limit=4):
        paged += [one.id for _, one in page]
        after = page[-1][0]
    await store.close()

    assert len(whole) == 25
    assert paged == whole


def test_pending_groups_are_bounded_and_drops_are_counted() -> None:
    """A service that differs in endless ways fills a bounded number of groups; the rest is counted as dropped."""
    groups = Groups()

    for number in range(MAX_PENDING + 10):
        groups.add(sighting(pointer=f"/{number}"))
    groups.add(sighting(pointer="/0"))

    assert len(groups.take()) == MAX_PENDING
    assert groups.dropped == 10
    assert groups.seen == MAX_PENDING + 11


async def test_a_batch_that_cannot_be_written_is_kept(tmp_path: Path) -> None:
    """When the file is gone, findings wait for the next one, together with what came meanwhile."""
    path = tmp_path / "evidence.db"
    store = await EvidenceStore.open(str(path))
    groups = Groups()
    groups.add(sighting())
    path.unlink()
    with pytest.raises(StoreError):
        await store.write(Batch(), groups)
    await store.close()
    groups.add(sighting(at=130.0))

    store = await EvidenceStore.open(str(path))
    await store.write(Batch(), groups)
    found = await store.divergences(route=None, after=None, limit=10)
    await store.close()

    assert [(one.count, one.first_seen, one.last_seen) for _, one in found] == [(2, 100.0, 130.0)]


async def test_the_file_stays_below_its_cap_oldest_out_first(tmp_path: Path) -> None:
    """Beyond the cap the oldest groups and hours go; the newest, the totals and the ledger stay."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"), cap_bytes=400_000)
    groups = Groups()
    for number in range(400):
        groups.add(sighting(pointer=f"/{number}", at=float(number), example={"legacy": "x" * 2_000}))
    batch = Batch(
        epochs={"e1": b"1"},
        answered={(hour, "orders", "new"): 1 for hour in range(1_000)},
        last_legacy={"orders": 5.0},
    )
    await store.write(batch, groups)

    await store.shrink()
    used = (await store.database.pragma("page_count") - await store.database.pragma("freelist_count")) * 4096
    found = [one.last_seen for _, one in await store.divergences(route=None, after=None, limit=1_000)]
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


async def test_the_beginning_of_the_evidence_is_remembered(tmp_path: Path) -> None:
    """The moment at which a file began stays the same when it is opened again."""
    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    began = store.began_at
    await store.close()

    store = await EvidenceStore.open(str(tmp_path / "evidence.db"))
    again = store.began_at
    await store.close()

    assert again == began
