"""Rules of the evidence that gates are given."""

from __future__ import annotations

import sqlite3
import time
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from console.gate_evidence import EvidenceReader, evidence_from
from console.state import ControlState
from console.totals import Totals
from rules.gate import GateEvidence
from shadow.link import Tally
from store.database import StoreError
from store.evidence import EvidenceStore
from store.gatehours import Part
from store.groups import Groups

pytestmark = pytest.mark.anyio


class Node:
    """Be one node: its totals, its file, and the place of control's recorder."""

    def __init__(self, totals: Totals, store: EvidenceStore | None) -> None:
        self.totals = totals
        self.build, self.basis, self.mark = "v1", "", 0
        self.evidence, self.evidence_error = store, "somebody pulled the plug"
        self.sequence = 0
        self.reader = EvidenceReader(cast(ControlState, self), cast(Any, self))

    @classmethod
    async def open(cls, directory: Path, name: str = "") -> Node:
        """Open as control does."""
        store = await EvidenceStore.open(str(directory / "evidence.db"))
        store.gate_hours.node = name
        epochs = await store.load_epochs()
        totals = Totals(epochs.values(), {}, await store.gate_hours.mine(int(time.time() // 3600)))
        node = cls(totals, store)
        totals.hello(f"e{name}", 0, time.monotonic())
        return node

    def tell(self, counts: dict[str, int], **changed: Any) -> None:
        """Be the worker of this node."""
        self.sequence += 1
        values: dict[str, Any] = {"gauges": {}, "histograms": {}, "last_legacy": {}}
        epoch = next(record.epoch for record in self.totals.records() if not record.ended)
        self.totals.take(Tally(epoch=epoch, sequence=self.sequence, counts=counts, **{**values, **changed}))

    async def flush(self) -> None:
        """Write a batch, as the recorder does."""
        if self.evidence is not None:
            pending = self.totals.batch(time.time(), lambda _: self.build, self.basis_of, lambda _: self.mark)
            await self.evidence.write(pending.batch, Groups())
            self.totals.settle(pending, written=True)

    def builds_of_new(self, now: float) -> Any:
        """Be the recorder."""
        return lambda _: self.build

    def basis_of(self, route: str) -> str:
        """Be the recorder."""
        return self.basis

    async def evidence_since(self, since: float = 0.0, build: str = "v1") -> GateEvidence:
        """Ask."""
        return await self.reader.gate_evidence("orders", build, since)

    async def close(self) -> None:
        """Close the file."""
        if self.evidence is not None:
            await self.evidence.close()


async def test_everything_that_a_gate_judges_is_summed(tmp_path: Path) -> None:
    """Counts of both primaries, faults by side, classes, distinct requests and times arrive as they were counted."""
    node = await Node.open(tmp_path)
    before = time.time()
    node.tell(
        {
            "eligible|orders": 120,
            "unsampled|orders": 5,
            "skipped|orders|rate": 3,
            "skipped|orders|shed": 2,
            "uncopied|orders|GET": 1,
            "uncopied|orders|other": 4,
            "sent|orders": 110,
            "identical|orders|legacy": 80,
            "identical|orders|new": 10,
            "unequal|orders|legacy": 12,
            "tolerated|orders|legacy": 4,
            "divergent|orders|new": 3,
            "undecided|orders|legacy|dropped": 2,
            "undecided|orders|legacy|limit": 1,
            "errored|orders|legacy|shadow": 4,
            "errored|orders|new|primary": 1,
            "errored|orders|new|shadow": 2,
            "errored|orders|legacy|client": 9,
            "errored|orders|legacy|both": 1,
            "tolerance_hits|orders|t-1": 4,
            "paired|orders|GET|2xx|2xx": 90,
            "paired|orders|HEAD|2xx|none": 4,
            "identical|cart|legacy": 1_000,
        },
        histograms={
            "paired_head|orders|legacy": [0, 3, 4],
            "paired_head|orders|new": [0, 0, 7],
            "paired_head|x|new": [1],
        },
        distinct={"orders": array("H", [7, 9, 4_000, 60_000]).tobytes()},
    )

    found = await node.evidence_since()
    await node.close()

    assert found.build == "v1"
    assert before <= found.since <= found.until <= time.time()
    assert (found.identical, found.tolerated, found.divergent, found.undecided) == (90, 4, 3, 3)
    assert (found.eligible, found.skipped, found.dropped) == (120, 5, 2)
    assert found.errored == {"new": 5, "legacy": 2, "both": 1}
    assert found.tolerated_by == {"t-1": 4}
    assert found.classes == {("GET", "2xx", "2xx"): 90, ("HEAD", "2xx", "none"): 4}
    assert found.uncopied == {"GET": 1, "other": 4}
    assert found.distinct == 3
    assert found.latency == {"legacy": [0, 3, 4], "new": [0, 0, 7]}


async def test_evidence_belongs_to_the_build_that_answered(tmp_path: Path) -> None:
    """A new build begins with nothing; a route that goes back to an earlier build has that build's evidence again."""
    node = await Node.open(tmp_path)
    found = []
    for build, total in (("v1", 10), ("v2", 30), ("v1", 60)):
        node.build = build
        await node.flush()  # control hears of the build
        node.tell({"identical|orders|legacy": total})
        found.append((await node.evidence_since(build=build)).identical)
    nothing = await node.evidence_since(build="v3")
    await node.close()

    assert found == [10, 20, 10 + 30]
    assert (nothing.identical, nothing.since, nothing.distinct) == (0, 0.0, 0)


async def test_evidence_belongs_to_what_was_compared(tmp_path: Path) -> None:
    """Other backends or other requests begin with nothing, clients' answers included; a route that goes back to what it
    compared before has that evidence again, also after a restart."""
    node = await Node.open(tmp_path)
    found, clients = [], []
    for basis, total in (("here", 10), ("elsewhere", 30), ("here", 60)):
        node.basis = basis
        await node.flush()  # the configuration is taken over
        node.tell({"identical|orders|legacy": total, "requests|orders|legacy|old|2xx": total})
        found.append((await node.evidence_since()).identical)
        clients.append(await node.reader.client_classes("orders", 0.0))
    await node.close()
    node = await Node.open(tmp_path)
    node.basis = "elsewhere"
    again = (await node.evidence_since()).identical
    await node.close()

    assert found == [10, 20, 10 + 30]
    assert clients == [{("legacy", "2xx"): count} for count in found]
    assert again == 20


async def test_evidence_since_a_flip_holds_nothing_from_before(tmp_path: Path) -> None:
    """After a flip or a reset what was counted before it is left out, and what comes later counts at once."""
    node = await Node.open(tmp_path)
    node.tell({"identical|orders|legacy": 10, "divergent|orders|legacy": 5})
    await node.flush()
    node.tell({"identical|orders|legacy": 14, "divergent|orders|legacy": 6})
    reset_at, node.mark = time.time(), 1

    before = await node.evidence_since(reset_at)
    node.tell({"identical|orders|legacy": 17, "divergent|orders|legacy": 6})
    after = await node.evidence_since(reset_at)
    everything = await node.evidence_since()
    await node.close()

    assert (before.identical, before.divergent) == (0, 0)
    assert (after.identical, after.divergent) == (3, 0)
    assert (everything.identical, everything.divergent) == (17, 6)


async def test_evidence_goes_on_after_a_restart_of_control(tmp_path: Path) -> None:
    """A restart in the middle of an hour loses and repeats nothing, whatever the worker counted meanwhile."""
    bits = {"orders": array("H", [1, 2]).tobytes()}
    node = await Node.open(tmp_path)
    node.tell({"identical|orders|legacy": 10}, histograms={"paired_head|orders|new": [1, 2]}, distinct=bits)
    await node.flush()
    node.tell({"identical|orders|legacy": 13})
    await node.close()

    again = await Node.open(tmp_path)
    again.sequence = node.sequence
    again.tell({"identical|orders|legacy": 15}, histograms={"paired_head|orders|new": [1, 2, 0, 4]}, distinct=bits)
    found = await again.evidence_since()
    await again.close()

    assert found.identical == 15
    assert found.latency == {"new": [1, 2, 0, 4]}
    assert found.distinct == 2


async def test_two_nodes_add_up(tmp_path: Path) -> None:
    """What two nodes counted is summed, requests that both compared count once, and each has rows of its own."""
    one, other = await Node.open(tmp_path, "a"), await Node.open(tmp_path, "b")
    one.tell({"identical|orders|legacy": 10}, distinct={"orders": array("H", [1, 2]).tobytes()})
    other.tell({"identical|orders|legacy": 5}, distinct={"orders": array("H", [2, 3]).tobytes()})
    await other.flush()

    both = await one.evidence_since()
    other.tell({"identical|orders|legacy": 9})
    await other.flush()
    later = await one.evidence_since()
    for node in (one, other):
        await node.close()
    with closing(sqlite3.connect(tmp_path / "evidence.db")) as file:
        rows = file.execute("SELECT node, route, build FROM gate_hours").fetchall()

    assert (both.identical, both.distinct) == (15, 3)
    assert later.identical == 19
    assert set(rows) == {("a", "orders", "v1"), ("b", "orders", "v1")}


async def test_what_a_killed_worker_left_open_is_evidence(tmp_path: Path) -> None:
    """Copies in flight and pairs without a verdict of a worker that died count as errored and undecided."""
    node = await Node.open(tmp_path)
    node.tell(
        {"identical|orders|legacy": 2, "unequal|orders|legacy": 3},
        gauges={"in_flight|orders|legacy": 4, "queued|orders|legacy": 3},
    )
    alive = await node.evidence_since()
    node.totals.lost("e", time.monotonic())
    node.totals.hello("e2", 0, time.monotonic())
    dead = await node.evidence_since()
    await node.close()

    assert (alive.undecided, alive.errored) == (0, {})
    assert (dead.undecided, dead.errored, dead.identical) == (3, {"both": 4}, 2)


async def test_a_worker_that_was_given_up_and_speaks_again_is_taken_back(tmp_path: Path) -> None:
    """What was assumed of a worker that lives after all is taken out of the evidence again."""
    node = await Node.open(tmp_path)
    node.tell({"identical|orders|legacy": 2}, gauges={"in_flight|orders|legacy": 4})
    node.totals.lost("e", 0.0)
    node.totals.sweep(1e9)
    assumed = await node.evidence_since()
    node.totals.hello("e", 0, time.monotonic())
    node.tell({"identical|orders|legacy": 6})
    found = await node.evidence_since()
    await node.close()

    assert assumed.errored == {"both": 4}
    assert (found.identical, found.errored) == (6, {})


async def test_clients_are_counted_by_side_and_class(tmp_path: Path) -> None:
    """What clients were answered is known per side and class, over all builds, and how much of it could be copied."""
    node = await Node.open(tmp_path)
    node.tell({"requests|orders|legacy|dj|2xx": 7, "requests|orders|new|shop|5xx": 1})
    await node.flush()
    node.build = "v2"
    await node.flush()
    node.tell({"requests|orders|legacy|dj|2xx": 9, "requests|orders|new|shop|5xx": 1, "eligible|orders": 4})

    found = await node.reader.client_classes("orders", 0.0)
    asked = await node.reader.requests("orders", 0.0)
    await node.close()

    assert found == {("legacy", "2xx"): 9, ("new", "5xx"): 1}
    assert asked == (10, 4)


async def test_past_hours_are_remembered_and_right(tmp_path: Path) -> None:
    """A sum over past hours that is known from before is the same as one that is read anew, since whichever moment."""
    node = await Node.open(tmp_path)
    assert node.evidence is not None
    hour = int(time.time() // 3_600)
    began = [float((hour - 3) * 3_600), float((hour - 3) * 3_600 + 900), float((hour - 2) * 3_600)]
    rows = {
        ("orders", "v1", hour - 3): [
            Part(began=began[0], counts={"identical": 1}),
            Part(began=began[1], counts={"identical": 10}),
        ],
        ("orders", "v1", hour - 2): [Part(began=began[2], counts={"identical": 100})],
    }
    node.totals.gate_hours.join(rows)
    node.totals.gate_hours.rewrite()
    node.tell({"identical|orders|legacy": 1_000})

    found = {}
    for since in (0.0, began[0], began[0] + 1, began[1], began[1] + 1, began[2], began[2] + 1):
        found[since] = (await node.evidence_since(since)).identical
        assert (
            found[since]
            == (
                await EvidenceReader(cast(ControlState, node), cast(Any, node)).gate_evidence("orders", "v1", since)
            ).identical
        )
    await node.close()

    assert list(found.values()) == [1_111, 1_111, 1_110, 1_110, 1_100, 1_100, 1_000]


async def test_an_hour_that_ends_is_added_to_what_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When hours have ended since the last question, the sum is the same as one that is read anew, for any moment."""
    node = await Node.open(tmp_path)
    hour = int(time.time() // 3_600)
    starts = [float(then * 3_600 + late) for then in range(hour - 4, hour) for late in (-1, 5, 1_800)]
    rows: dict[tuple[str, str, int], list[Part]] = {}
    for number, began in enumerate(starts):
        key = ("orders", "v1", int((began + 2) // 3_600))
        rows.setdefault(key, []).append(Part(began=began, counts={"identical": 2**number}))
    node.totals.gate_hours.join(rows)
    node.totals.gate_hours.rewrite()
    node.tell({"divergent|orders|legacy": 1})
    await node.flush()
    sinces = [0.0, *(began + step for began in starts for step in (-0.5, 0.0, 0.5))]

    for ended in (2, 1, 0):
        monkeypatch.setattr("console.gate_evidence.LATE_S", 60.0 + ended * 3_600)
        for since in sinces:
            found = (await node.evidence_since(since)).identical
            anew = EvidenceReader(cast(ControlState, node), cast(Any, node))
            assert found == (await anew.gate_evidence("orders", "v1", since)).identical
    await node.close()

    assert found == 0, "nothing began after the last moment"


async def test_without_its_file_there_is_no_evidence() -> None:
    """With the evidence away the question is answered with why, never with zeros."""
    node = Node(Totals(), None)

    with pytest.raises(StoreError, match="pulled the plug"):
        await node.evidence_since()


def test_what_was_taken_back_never_shows_below_zero() -> None:
    """A part below zero, whose other half is older than the moment asked for, counts as nothing."""
    found = evidence_from("v1", Part(began=0.0, counts={"errored|both": -4, "identical": 3, "undecided|lost": -1}))

    assert (found.errored, found.undecided, found.identical) == ({}, 0, 3)
