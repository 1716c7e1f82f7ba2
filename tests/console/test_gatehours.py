"""Rules of gathering what gates judge."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.gatehours import GateHours, cell_of
from console.totals import Totals
from shadow.link import Tally
from store.gatehours import HOUR_S, Part, decode_parts
from tests.console.test_totals import STEPS, Worker, tally

START = 500_000.0 * HOUR_S


@pytest.mark.parametrize(
    ("key", "cell"),
    [
        ("eligible|orders", ("orders", "eligible")),
        ("skipped|orders|rate", ("orders", "skipped")),
        ("identical|orders|new", ("orders", "identical")),
        ("undecided|orders|new|limit", ("orders", "undecided|limit")),
        ("errored|orders|legacy|primary", ("orders", "errored|legacy")),
        ("errored|orders|legacy|shadow", ("orders", "errored|new")),
        ("errored|orders|new|primary", ("orders", "errored|new")),
        ("errored|orders|new|shadow", ("orders", "errored|legacy")),
        ("errored|orders|new|both", ("orders", "errored|both")),
        ("errored|orders|new|client", None),
        ("errored|orders|new|internal", None),
        ("paired|orders|GET|2xx|none", ("orders", "paired|GET|2xx|none")),
        ("uncopied|orders|HEAD", ("orders", "uncopied|HEAD")),
        ("tolerance_hits|orders|t-1", ("orders", "tolerance_hits|t-1")),
        ("requests|orders|new|shop|5xx", ("orders", "requests|new|5xx")),
        ("fallbacks|orders|connect", ("orders", "fallbacks")),
        ("broken|orders|new", ("orders", "broken|new")),
        ("unequal|orders|new", None),
        ("copies|orders|new|compare", None),
        ("requests|orders", None),
        ("eligible", None),
        ("news|of|tomorrow", None),
    ],
)
def test_a_key_of_a_tally_is_one_cell_or_none(key: str, cell: tuple[str, str] | None) -> None:
    """What a gate judges is kept by who is at fault, whichever side was the primary; the rest is not kept."""
    assert (cell_of(key) or (None,) * 3)[:2] == (cell or (None, None))


def gather(hours: GateHours, now: float, grown: int, build: str, mark: str = "") -> None:
    """Let one count of one route grow."""
    hours.gather(
        [("identical|orders|new", grown)],
        [],
        now=now,
        build_of=lambda _: build,
        basis_of=lambda _: "",
        mark_of=lambda _: mark,
    )


def rows_of(hours: GateHours) -> dict[tuple[str, int], list[tuple[float, int]]]:
    """Give (build, hour) to (beginning, count) of each part."""
    return {
        (build, hour): [(part.began, part.counts["identical"]) for part in decode_parts(body)]
        for (_, build, hour), body in hours.take().items()
    }


def test_parts_begin_with_the_hour_the_build_and_the_mark() -> None:
    """What grew until a change was heard of joins what was open; what grows then stands in a part of its own."""
    hours = GateHours()
    first_hour = int(START // HOUR_S)
    steps = ((0, 1, "v1", "a"), (2, 10, "v1", "a"), (4, 100, "v2", "a"), (6, 1_000, "v2", "b"), (8, 10_000, "v2", "b"))

    for at, grown, build, mark in steps:
        gather(hours, START + 100 + at, grown, build, mark)
    gather(hours, START + HOUR_S + 1, 100_000, "v2", "b")

    assert rows_of(hours) == {
        ("v1", first_hour): [(START, 1), (START + 100, 110)],
        ("v2", first_hour): [(START + 104, 1_000), (START + 106, 10_000)],
        ("v2", first_hour + 1): [(START + 108, 100_000)],
    }


def test_only_what_changed_is_written_and_past_hours_need_no_memory() -> None:
    """A row that is in the file is handed out again only when it grows; a failed write hands it out again."""
    hours = GateHours()
    gather(hours, START + 1, 1, "v1")
    rows = hours.take()
    hours.settle(rows, written=False)
    again = hours.take()
    hours.settle(again, written=True)
    nothing = hours.take()
    gather(hours, START + HOUR_S + 1, 1, "v1")
    hours.settle(hours.take(), written=True)
    hours.rewrite()

    assert rows == again
    assert len(rows) == 1
    assert nothing == {}
    assert [key[2] for key in hours.take()] == [int(START // HOUR_S) + 1]


def test_a_file_that_is_joined_late_keeps_its_parts() -> None:
    """Parts that the file has of this hour stand before ours, and none of ours is replaced by an older one."""
    hours = GateHours()
    gather(hours, START + 50, 5, "v1")
    hour = int(START // HOUR_S)

    hours.join({("orders", "v1", hour): [Part(began=START - 9, counts={"identical": 2}), Part(began=START)]})

    assert rows_of(hours) == {("v1", hour): [(START - 9, 2), (START, 5)]}


EVENTS = st.sampled_from(("tally", "die", "end", "restart", "lose link", "sweep", "write", "fail", "deploy", "flip"))
FAMILIES = ("eligible", "skipped", "identical", "tolerated", "divergent", "undecided", "errored")


@given(st.lists(st.tuples(st.integers(0, 1), EVENTS, st.lists(STEPS, max_size=6)), max_size=50), st.floats(1, 2_000))
def test_nothing_is_lost_or_counted_twice(events: list[tuple[int, str, list[str]]], pace_s: float) -> None:
    """Whatever dies, restarts, fails to be written, is deployed or flipped: the rows add up to the totals."""
    now, born, build = START, 0, 1
    totals = Totals(now=now)
    workers: dict[int, Worker] = {}
    epochs: dict[str, bytes] = {}
    rows: dict[tuple[str, str, int], bytes] = {}

    def write(*, works: bool = True) -> None:
        pending = totals.batch(now, lambda _: f"v{build // 2}", lambda _: str(build % 3), lambda _: build)
        if works:
            epochs.update(pending.batch.epochs)
            rows.update(pending.batch.gate_hours)
            for epoch in pending.batch.gone:
                epochs.pop(epoch, None)
        totals.settle(pending, written=works)

    for slot, event, steps in events:
        now += pace_s
        if slot not in workers:
            born += 1
            workers[slot] = Worker(f"e{born}", slot)
            totals.hello(workers[slot].epoch, slot, now)
        worker = workers[slot]
        for what in steps:
            worker.step(what)
        if event == "tally":
            totals.take(worker.tally())
        elif event in ("die", "end"):
            if event == "end":
                totals.take(worker.tally(final=True))
            totals.lost(worker.epoch, now)
            del workers[slot]
        elif event == "restart":
            mine = {key: decode_parts(body) for key, body in rows.items() if key[2] >= int(now // HOUR_S)}
            totals = Totals(epochs.values(), {}, mine, now=now)
            for other in workers.values():
                totals.hello(other.epoch, other.slot, now)
                totals.take(other.tally())
        elif event == "lose link":
            totals.lost(worker.epoch, now)
            totals.sweep(now + pace_s)
            totals.hello(worker.epoch, slot, now)
        elif event == "sweep":
            totals.sweep(now)
        elif event in ("write", "fail"):
            write(works=event == "write")
        else:
            build += 1 if event == "flip" else 2
    write()

    expected: Counter[str] = Counter()
    for key, count in totals.sums().counts.items():
        if (cell := cell_of(key)) is not None:
            expected[cell[1]] += count
    found: Counter[str] = Counter()
    for body in rows.values():
        for part in decode_parts(body):
            found.update(part.counts)
    assert +found == +expected


def test_bits_that_a_tally_should_not_have_are_left_out() -> None:
    """Half a number, or a position beyond the bitmap, costs nothing but itself."""
    totals = Totals(now=0.0)
    totals.hello("e1", 0, 0.0)
    for sequence, raw in enumerate((b"\x01\x00\x02", b"\x03\x00\xff\xff"), start=1):
        totals.take(
            Tally(
                epoch="e1",
                sequence=sequence,
                counts={},
                gauges={},
                histograms={},
                last_legacy={},
                distinct={"orders": raw},
            )
        )

    (body,) = totals.batch(START).batch.gate_hours.values()

    assert decode_parts(body)[0].bits == 1 << 3
    assert totals.take(tally("e1", 9, {"sent|orders": 1}))
