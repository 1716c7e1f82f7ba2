"""Rules of adding counters up: nothing twice, nothing lost, the counting law at every moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from console.epochs import Sums
from console.totals import GRACE_S, KEPT_ENDED, Totals
from shadow.link import Tally

ROUTE, PRIMARY = "orders", "legacy"


def tally(epoch: str, sequence: int, counts: dict[str, int], *, final: bool = False, **gauges: int) -> Tally:
    """Make a tally; gauges are named ``in_flight`` and ``queued``."""
    shown = {f"{name}|{ROUTE}|{PRIMARY}": value for name, value in gauges.items()}
    return Tally(
        epoch=epoch, sequence=sequence, counts=counts, gauges=shown, histograms={}, last_legacy={}, final=final
    )


def family(sums: Sums, name: str) -> int:
    """Sum one family of counts or gauges over all labels."""
    return sum(count for key, count in [*sums.counts.items(), *sums.gauges.items()] if key.split("|")[0] == name)


def assert_counting_law(sums: Sums) -> None:
    """Check the counting law (docs/architecture.md) on one set of sums."""
    assert family(sums, "eligible") == family(sums, "unsampled") + family(sums, "skipped") + family(sums, "sent")
    assert family(sums, "sent") == (
        family(sums, "identical") + family(sums, "unequal") + family(sums, "errored") + family(sums, "in_flight")
    )
    assert family(sums, "unequal") == (
        family(sums, "tolerated") + family(sums, "divergent") + family(sums, "undecided") + family(sums, "queued")
    )


@dataclass
class Worker:
    """Count as a real worker does: every step keeps the law."""

    epoch: str
    slot: int
    sequence: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    queued: int = 0

    def step(self, what: str) -> None:
        """Do one thing that happens to a request."""
        add = self.counts.update
        if what == "sent":
            add({f"eligible|{ROUTE}": 1, f"sent|{ROUTE}": 1})
            self.in_flight += 1
        elif what == "skipped":
            add({f"eligible|{ROUTE}": 1, f"skipped|{ROUTE}|rate": 1})
        elif what in ("identical", "errored") and self.in_flight:
            add({f"{what}|{ROUTE}|{PRIMARY}" + ("|shadow" if what == "errored" else ""): 1})
            self.in_flight -= 1
        elif what == "unequal" and self.in_flight:
            add({f"unequal|{ROUTE}|{PRIMARY}": 1})
            self.in_flight -= 1
            self.queued += 1
        elif what == "divergent" and self.queued:
            add({f"divergent|{ROUTE}|{PRIMARY}": 1})
            self.queued -= 1

    def tally(self, *, final: bool = False) -> Tally:
        """Write everything down."""
        self.sequence += 1
        return tally(
            self.epoch, self.sequence, dict(self.counts), final=final, in_flight=self.in_flight, queued=self.queued
        )


STEPS = st.sampled_from(("sent", "sent", "sent", "skipped", "identical", "errored", "unequal", "unequal", "divergent"))
EVENTS = st.sampled_from(("tally", "twice", "old", "die", "end", "restart", "lose link", "sweep", "write", "work"))


@given(st.lists(st.tuples(st.integers(0, 1), EVENTS, st.lists(STEPS, max_size=6)), max_size=60))
def test_the_counting_law_holds_after_any_interleaving(events: list[tuple[int, str, list[str]]]) -> None:
    """Whatever tallies, deaths, lost links and restarts of control happen in any order, the counting law holds."""
    now = 0.0
    totals = Totals(now=now)
    born = 0
    workers: dict[int, Worker] = {}
    held: dict[int, Tally] = {}
    disk: dict[str, bytes] = {}

    def write() -> None:
        pending = totals.batch(now)
        disk.update(pending.batch.epochs)
        for epoch in pending.batch.gone:
            disk.pop(epoch, None)
        totals.settle(pending, written=True)

    for slot, event, steps in events:
        now += 1.0
        if slot not in workers:
            born += 1
            workers[slot] = Worker(f"e{born}", slot)
            totals.hello(workers[slot].epoch, slot, now)
        worker = workers[slot]
        for what in steps:
            worker.step(what)
        if event == "tally":
            held[slot] = worker.tally()
            totals.take(held[slot])
        elif event == "twice":
            told = worker.tally()
            assert totals.take(told)
            assert not totals.take(told)
        elif event == "old" and slot in held:
            totals.take(held[slot])
        elif event == "die":
            totals.lost(worker.epoch, now)
            del workers[slot]
            held.pop(slot, None)
        elif event == "end":
            totals.take(worker.tally(final=True))
            totals.lost(worker.epoch, now)
            del workers[slot]
            held.pop(slot, None)
        elif event == "restart":
            write()
            totals = Totals(disk.values(), now=now)
            for other in workers.values():
                totals.hello(other.epoch, other.slot, now)
        elif event == "lose link":
            totals.lost(worker.epoch, now)
            totals.hello(worker.epoch, slot, now)
        elif event == "sweep":
            totals.sweep(now)
        elif event == "write":
            write()
        assert_counting_law(totals.sums())
    for worker in workers.values():
        totals.take(worker.tally())
        totals.lost(worker.epoch, now)
    totals.sweep(now + GRACE_S + 1)
    assert_counting_law(totals.sums())
    assert totals.sums().gauges == {}


def test_a_tally_counts_once_however_often_it_comes() -> None:
    """A tally that comes twice, or behind a newer one, changes nothing."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)

    assert totals.take(tally("e1", 1, {"sent|orders": 3}))
    assert totals.take(tally("e1", 2, {"sent|orders": 5}))
    assert not totals.take(tally("e1", 1, {"sent|orders": 3}))
    assert not totals.take(tally("e1", 2, {"sent|orders": 9}))

    assert totals.sums().counts == {"sent|orders": 5}


def test_what_a_killed_worker_left_open_is_counted() -> None:
    """In-flight copies of a killed worker become errored, its queued pairs undecided lost; nothing stays open."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    totals.take(tally("e1", 1, {"sent|orders": 5, "unequal|orders|legacy": 2}, in_flight=3, queued=2))

    totals.lost("e1", 1.0)
    before = totals.sums()
    totals.hello("e2", 0, 2.0)
    after = totals.sums()

    assert before.gauges == {"in_flight|orders|legacy": 3, "queued|orders|legacy": 2}
    assert after.gauges == {}
    assert after.counts["errored|orders|legacy|both"] == 3
    assert after.counts["undecided|orders|legacy|lost"] == 2


def test_who_is_gone_without_its_last_tally_is_unheard_until_it_is_given_up() -> None:
    """A worker that has told nothing, or may come back to tell more, is named, also where its slot is none any more;
    one that said its last, or was given up, is not waited for."""
    totals = Totals(now=0.0)
    before = totals.unheard(1)
    for slot in (0, 1):
        totals.hello(f"e{slot}", slot, 0.0)
    mute = totals.unheard(1)
    for slot in (0, 1):
        totals.take(tally(f"e{slot}", 1, {}))
    told = totals.unheard(1)
    totals.lost("e1", 1.0)
    gone = totals.unheard(1)
    totals.sweep(2.0 + GRACE_S)
    given_up = totals.unheard(1)
    totals.take(tally("e0", 2, {}, final=True))
    totals.lost("e0", 20.0)

    assert (before, mute, told, gone, given_up, totals.unheard(1)) == ([0], [0, 1], [], [1], [], [0])


def test_a_lost_link_is_no_death() -> None:
    """A worker whose link breaks and comes back within the grace time goes on as if nothing had happened."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    totals.take(tally("e1", 1, {}, in_flight=3))

    totals.lost("e1", 1.0)
    totals.sweep(1.0 + GRACE_S)
    totals.hello("e1", 0, 2.0)
    totals.take(tally("e1", 2, {"identical|orders|legacy": 3}))

    assert totals.sums().counts == {"identical|orders|legacy": 3}


def test_a_worker_that_was_given_up_and_speaks_again_is_believed() -> None:
    """An epoch that ended for us and tallies after all replaces what we assumed about it."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    totals.take(tally("e1", 1, {}, in_flight=3))
    totals.lost("e1", 1.0)
    totals.sweep(2.0 + GRACE_S)
    assumed = totals.sums().counts

    totals.hello("e1", 0, 30.0)
    totals.take(tally("e1", 2, {"identical|orders|legacy": 3}))

    assert assumed == {"errored|orders|legacy|both": 3}
    assert totals.sums().counts == {"identical|orders|legacy": 3}


def test_many_dead_epochs_are_folded_and_never_counted_twice() -> None:
    """Hundreds of restarts of a worker keep a bounded number of epochs, and a folded one is not taken in again."""
    totals = Totals(now=0.0)
    count = KEPT_ENDED + 100
    for number in range(count):
        totals.hello(f"e{number}", 0, float(number))
        totals.take(tally(f"e{number}", 1, {"sent|orders": 1}, final=True))
        totals.lost(f"e{number}", float(number))
        totals.settle(totals.batch(0.0), written=True)
    totals.sweep(1e6)

    totals.hello("e0", 0, 1e6)
    totals.take(tally("e0", 9, {"sent|orders": 1}))

    assert len(totals.records()) <= KEPT_ENDED + 2
    assert totals.sums().counts == {"sent|orders": count}


def test_hours_count_every_request_once_over_restarts() -> None:
    """The requests written per hour add up to the totals, also when control restarts or a write fails."""
    totals = Totals(now=0.0)
    disk: dict[str, bytes] = {}
    hours: Counter[tuple[int, str, str]] = Counter()
    key = "requests|orders|legacy|old|2xx"

    def write(*, works: bool) -> None:
        pending = totals.batch(3_600.0 * 5)
        if works:
            disk.update(pending.batch.epochs)
            hours.update(pending.batch.answered)
        totals.settle(pending, written=works)

    totals.hello("e1", 0, 0.0)
    totals.take(tally("e1", 1, {key: 4}))
    write(works=False)
    totals.take(tally("e1", 2, {key: 6}))
    write(works=True)
    write(works=True)
    totals.take(tally("e1", 3, {key: 7}))
    totals = Totals(disk.values(), now=1.0)
    totals.hello("e1", 0, 1.0)
    totals.take(tally("e1", 4, {key: 9}))
    write(works=True)

    assert hours == {(5, "orders", "legacy"): 9}


def test_what_was_compared_is_counted_once_under_the_build_of_its_time() -> None:
    """Identical and unequal pairs of a route count once, for the build of new that answered when they came in."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    builds = {"orders": "v1"}
    found: Counter[tuple[str, str]] = Counter()
    for sequence, (identical, unequal, works) in enumerate(((4, 1, True), (6, 1, False), (9, 3, True)), start=1):
        builds["orders"] = f"v{sequence}"
        counts = {"identical|orders|legacy": identical, "unequal|orders|new": unequal, "errored|orders|legacy|both": 5}
        totals.take(tally("e1", sequence, counts))
        pending = totals.batch(0.0, builds.__getitem__)
        if works:
            found.update(pending.batch.compared)
        totals.settle(pending, written=works)

    assert found == {("orders", "v1"): 5, ("orders", "v3"): 7}


def test_the_last_legacy_request_only_moves_forward() -> None:
    """A worker with an older last request of legacy does not turn the ledger back."""
    totals = Totals(last_legacy={"orders": 50.0}, now=0.0)
    totals.hello("e1", 0, 0.0)
    for sequence, at in ((1, 70.0), (2, 60.0)):
        totals.take(
            Tally(epoch="e1", sequence=sequence, counts={}, gauges={}, histograms={}, last_legacy={"orders": at})
        )

    assert totals.last_legacy("orders") == 70.0
    assert totals.last_legacy("cart") is None


def test_the_last_hit_of_a_tolerance_is_when_it_was_counted() -> None:
    """A tolerance's last hit is the moment of a tally with more hits, and no other tally moves it."""
    totals = Totals()
    totals.hello("w", 0, 0.0)
    totals.take(tally("w", 0, {"sent|orders": 1}))
    none = totals.last_hit("orders", "t-1")
    totals.take(tally("w", 1, {"sent|orders": 2, "tolerance_hits|orders|t-1": 1}))
    first = totals.last_hit("orders", "t-1")
    totals.take(tally("w", 2, {"sent|orders": 3, "tolerance_hits|orders|t-1": 1}))

    assert none is None
    assert first is not None
    assert totals.last_hit("orders", "t-1") == first
    assert totals.last_hit("orders", "t-2") is None
    totals.take(tally("w", 3, {"sent|orders": 3, "tolerance_hits|orders|t-1": 2}))
    assert (totals.last_hit("orders", "t-1") or 0) > first


def test_a_malformed_key_costs_nothing_but_itself() -> None:
    """Keys that this version does not know are carried along and never break a batch."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    totals.take(tally("e1", 1, {"requests|orders": 1, "requests": 2, "news|of|tomorrow": 3}))

    pending = totals.batch(0.0)

    assert pending.batch.answered == {}
    assert totals.sums().counts["news|of|tomorrow"] == 3


def test_a_file_that_opens_late_is_joined_not_overwritten() -> None:
    """Totals that were on disk before control could open the file are added, and hours are not counted again."""
    key = "requests|orders|legacy|old|2xx"
    first = Totals(now=0.0)
    for epoch, count in (("dead", 5), ("living", 3)):
        first.hello(epoch, int(epoch == "living"), 0.0)
        first.take(tally(epoch, 1, {key: count}, final=epoch == "dead"))
    written = first.batch(0.0).batch.epochs.values()

    late = Totals(now=1.0)
    late.hello("living", 1, 1.0)
    late.take(tally("living", 2, {key: 4}))
    late.join(written, {"orders": 7.0}, 2.0)
    pending = late.batch(0.0)

    assert late.sums().counts == {key: 9}
    assert pending.batch.answered == {(0, "orders", "legacy"): 1}
    assert late.last_legacy("orders") == 7.0
