"""Rules of keeping evidence over restarts."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from console.recorder import Recorder, sighting_from_finding
from shadow import link
from shadow.ranks import Rank
from store.evidence import EvidenceStore
from store.gatehours import decode_parts
from tests.console.made import finding, item
from tests.console.pair import pair
from tests.rules.made import config, route
from tests.support.controlnode import ControlNode, running

pytestmark = pytest.mark.anyio


async def shares(node: ControlNode) -> tuple[int, int]:
    """Read how many requests of a route legacy and new have answered, as far as the evidence knows."""
    answer = await node.get("/api/v1/share?route=orders&window=2h")
    sides = answer.json()["total"]["sides"] if answer.status_code == 200 else {"legacy": 0, "new": 0}
    return sides["legacy"], sides["new"]


async def test_counters_survive_a_restart_of_control(tmp_path: Path) -> None:
    """Totals of dead and living workers, hours and the last legacy request are the same after kill -9 and restart."""
    node = ControlNode(tmp_path)
    try:
        await node.start()
        dead = await node.worker()
        dead.tally({"requests|orders|legacy|old|2xx": 7}, final=True, last_legacy={"orders": 1_700_000_000.0})
        living = await node.worker(epoch="w0-lives")
        living.tally({"requests|orders|new|fresh|2xx": 3})
        deadline = time.monotonic() + 60
        while (share := await shares(node)) != (7, 3):
            assert time.monotonic() < deadline, share
        node.kill()
        await node.ended()
        await living.close()

        await node.start()
        back = await node.worker(epoch="w0-lives")
        back.sequence = living.sequence
        back.tally({"requests|orders|new|fresh|2xx": 4})
        deadline = time.monotonic() + 60
        while (share := await shares(node)) != (7, 4):
            assert time.monotonic() < deadline, share
        counts = (await node.get("/api/v1/totals")).json()["counts"]
        metrics = (await node.get("/metrics")).text
    finally:
        await node.close()

    database = sqlite3.connect(tmp_path / "state" / "evidence.db")
    bodies = database.execute("SELECT body FROM gate_hours WHERE route = 'orders'").fetchall()
    database.close()
    gathered: Counter[str] = Counter()
    for (body,) in bodies:
        for part in decode_parts(body):
            gathered.update(part.counts)
    assert counts == {"requests|orders|legacy|old|2xx": 7, "requests|orders|new|fresh|2xx": 4}
    assert gathered == {"requests|legacy|2xx": 7, "requests|new|2xx": 4}
    assert 'matapalo_legacy_last_request_timestamp_seconds{route="orders"} 1.7e+09' in metrics


async def test_a_drain_ends_control_with_exit_code_zero(tmp_path: Path) -> None:
    """Told to drain, control writes its last batch and exits 0."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        worker.tally({"requests|orders|legacy|old|2xx": 5}, final=True)
        deadline = time.monotonic() + 60
        while not (await node.get("/api/v1/totals")).json()["counts"]:
            assert time.monotonic() < deadline, "the tally never came"
        await worker.close()
        node.tell(link.Drain(deadline_ns=10**9))

        code = await node.ended()

    database = sqlite3.connect(tmp_path / "state" / "evidence.db")
    rows = database.execute("SELECT route, side, count FROM answered").fetchall()
    database.close()
    assert code == 0
    assert rows == [("orders", "legacy", 5)]


async def test_evidence_that_vanishes_is_begun_anew(tmp_path: Path) -> None:
    """With evidence.db deleted under a running control nothing else suffers, and a new file continues the totals."""
    async with running(tmp_path) as node:
        worker = await node.worker()
        worker.tally({"requests|orders|legacy|old|2xx": 5})
        deadline = time.monotonic() + 60
        while (await node.get("/api/v1/share?window=2h")).json()["total"]["sides"]["legacy"] != 5:
            assert time.monotonic() < deadline
        (node.state_dir / "evidence.db").unlink()

        worker.tally({"requests|orders|legacy|old|2xx": 7})
        while not (node.state_dir / "evidence.db").exists():
            flip = await node.post("/api/v1/routes/orders/flip", {"stage": "shadow"})
            assert flip.status_code == 200
            assert time.monotonic() < deadline
            await node.get("/api/v1/routes")
        while True:
            share = await node.get("/api/v1/share?window=2h")
            # 7 where the file was gone before control heard that its first 5 were in it.
            if share.status_code == 200 and share.json()["total"]["sides"]["legacy"] in (2, 7):
                break
            assert time.monotonic() < deadline, share.text
        counts = (await node.get("/api/v1/totals")).json()["counts"]

    assert counts == {"requests|orders|legacy|old|2xx": 7}


async def test_whoever_reads_past_a_stuck_database_waits_for_one_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls read while the evidence cannot be written, one writing waits for it, and ends when it can."""
    monkeypatch.setattr("console.recorder.FLUSH_S", 0.02)
    monkeypatch.setattr("store.sqlite.BUSY_MS", 60_000)  # however late the test has its turn, the writing waits for it
    file = tmp_path / "evidence.db"
    async with pair(tmp_path, config(route("orders"))) as (node, _):
        node.state.evidence = await EvidenceStore.open(str(file))
        recorder = Recorder(node.state)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                await asyncio.gather(*(recorder.flush() for _ in range(9)))
            waiting = [task for task in asyncio.all_tasks() if task.get_name() == "flush"]
        await asyncio.wait(waiting)

    assert len(waiting) == 1


@pytest.mark.parametrize(
    ("items", "verdict", "rank"),
    [
        ((item(), item("key_order", "")), "divergent", Rank.VALUE),
        ((item(tolerated_by="t-1"), item("key_order", "")), "divergent", Rank.COSMETIC),
        ((item(tolerated_by="t-1"), item("key_order", "")), "tolerated", Rank.COSMETIC),
        ((item(tolerated_by="t-1"),), "tolerated", Rank.HEADER),
        ((item(tolerated_by="t-1"),), "divergent", Rank.VALUE),
        ((item(tolerated_by="t-1"), item("key_order", "")), "new fails", Rank.NEW_5XX),
    ],
)
def test_what_a_tolerance_hides_does_not_decide_the_rank(
    items: tuple[link.DifferenceItem, ...], verdict: str, rank: Rank
) -> None:
    """A price that is tolerated stands in front of nothing; what is divergent for a reason not shown keeps its rank."""
    statuses = (200, 503) if verdict == "new fails" else (200, 200)
    sighting = sighting_from_finding(finding(*items, verdict=verdict, statuses=statuses), b"")

    assert sighting.rank == rank


def test_what_is_left_stands_before_what_a_tolerance_hides() -> None:
    """The sentence of a divergence speaks of a place that still needs work."""
    sighting = sighting_from_finding(finding(item(tolerated_by="t-1"), item("number.as_string", "/id")), b"")

    assert sighting.places[0] == ("number.as_string", "/id")
