"""Rules of the windows that a watchdog looks at."""

from __future__ import annotations

import time
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.epochs import FOLDED, Record
from console.windows import FORGOTTEN_S, STEPS, Windows

NEW_5XX, NEW_2XX = "requests|orders|new|shop|5xx", "requests|orders|new|shop|2xx"


def record(counts: dict[str, int], *, epoch: str = "e1", sequence: int = 1) -> Record:
    """Make what control remembers of one worker."""
    return Record(epoch=epoch, slot=0, sequence=sequence, counts=counts)


def begun(*, seconds: float = 60.0) -> Windows:
    """Begin at second 0 with one worker that has counted nothing, and ask for the window of ``orders``."""
    windows = Windows()
    windows.tick([], 0.0)
    windows.tick([record({})], 0.0)
    windows.window("orders", seconds, 0.0)
    return windows


def test_a_window_counts_what_grew_inside_it() -> None:
    """A window holds what happened within its seconds, and nothing older."""
    windows = begun()

    windows.tick([record({NEW_2XX: 5, NEW_5XX: 1})], 1.0)
    windows.tick([record({NEW_2XX: 9, NEW_5XX: 1})], 30.0)
    inside = windows.window("orders", 60.0, 60.5)
    later = windows.window("orders", 60.0, 61.5)

    assert inside.answered("new") == 10
    assert inside.failed("new") == 1
    assert inside.covers_s == 60.0
    assert later.answered("new") == 4
    assert later.failed("new") == 0


def test_each_failure_of_new_is_seen_once() -> None:
    """A 5xx, a broken answer and a fallback each count as one failed request of the side that failed it."""
    windows = begun()

    counts = {NEW_2XX: 7, NEW_5XX: 1, "broken|orders|new": 2, "fallbacks|orders|connect": 3}
    windows.tick([record(counts | {"requests|orders|legacy|dj|2xx": 3, "requests|orders|legacy|dj|5xx": 1})], 1.0)
    window = windows.window("orders", 60.0, 1.0)

    assert (window.answered("new"), window.failed("new")) == (11, 6)
    assert (window.answered("legacy"), window.failed("legacy")) == (4, 1)


def test_pairs_are_counted_by_the_classes_of_both_answers() -> None:
    """Methods are added up: what a watchdog asks is how often new fails where legacy does not."""
    windows = begun()

    windows.tick([record({"paired|orders|GET|2xx|5xx": 2, "paired|orders|HEAD|2xx|5xx": 1, "sent|orders": 9})], 1.0)
    window = windows.window("orders", 60.0, 1.0)

    assert window.pairs() == {("2xx", "5xx"): 3}
    assert window.total("sent") == 9


def test_what_grew_while_control_was_away_is_in_no_window() -> None:
    """After a start of control the first tally of a worker that lived on is only compared with."""
    windows = Windows()
    windows.tick([record({NEW_5XX: 100}, sequence=50)], 0.0)
    windows.window("orders", 60.0, 0.0)

    windows.tick([record({NEW_5XX: 900}, sequence=90), record({NEW_5XX: 70}, epoch="old", sequence=70)], 1.0)
    windows.tick([record({NEW_5XX: 901}, sequence=94), record({NEW_5XX: 72}, epoch="old", sequence=74)], 2.0)
    windows.tick([record({NEW_5XX: 901}, sequence=94), record({NEW_5XX: 5}, epoch="young", sequence=2)], 3.0)

    assert windows.window("orders", 60.0, 3.0).failed("new") == 1 + 2 + 5


def test_folding_ended_workers_counts_nothing_again() -> None:
    """When control folds the totals of ended workers into one, no window grows."""
    windows = begun()

    windows.tick([record({NEW_5XX: 3})], 1.0)
    windows.tick([record({NEW_5XX: 3}, epoch=FOLDED)], 2.0)

    assert windows.window("orders", 60.0, 2.0).failed("new") == 3


def test_a_window_can_begin_anew() -> None:
    """After a flip the past is forgotten, and the window says that it has seen nothing yet."""
    windows = begun()
    windows.tick([record({NEW_5XX: 3})], 10.0)

    windows.begin_anew("orders")
    window = windows.window("orders", 60.0, 10.0)

    assert (window.total("requests"), window.covers_s) == (0, 0.0)


def test_a_window_that_nobody_asks_for_is_forgotten() -> None:
    """Memory holds only windows that somebody looks at."""
    windows = begun()

    windows.tick([record({NEW_5XX: 3})], FORGOTTEN_S + 1)

    assert windows.window("orders", 60.0, FORGOTTEN_S + 1).covers_s == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=200),
    st.sampled_from((5.0, 60.0, 600.0)),
)
def test_a_window_agrees_with_counting_by_hand(steps: list[tuple[int, int]], seconds: float) -> None:
    """Whatever happens in which second, a window is never short of its own seconds and at most one step longer."""
    windows = begun(seconds=seconds)
    counts: Counter[str] = Counter()
    by_hand: deque[tuple[int, int]] = deque()
    for now, (grown, pause) in enumerate(steps, start=1):
        counts[NEW_5XX] += grown
        by_hand.append((now, grown))
        if pause:
            continue  # the tick of this second is late
        windows.tick([record(dict(counts))], float(now))
        found = windows.window("orders", seconds, float(now)).failed("new")
        told = [(at, n) for at, n in by_hand if at > now - seconds]
        longest = [(at, n) for at, n in by_hand if at > now - seconds - seconds / STEPS - 200]
        assert sum(n for _, n in told) - sum(n for at, n in told if at <= now - seconds + seconds / STEPS) <= found
        assert found <= sum(n for _, n in longest)


@pytest.mark.alone
def test_a_thousand_busy_routes_cost_little() -> None:
    """Looking at 1,000 routes that all are busy costs a few milliseconds each second."""
    windows = Windows()
    names = [f"route-{number}" for number in range(1_000)]
    cells = ("legacy|dj|2xx", "legacy|dj|4xx", "new|shop|2xx", "new|shop|5xx")
    keys = [f"requests|{name}|{cell}" for name in names for cell in cells]
    keys += [f"{family}|{name}|x|y" for name in names for family in ("copies", "skipped", "undecided", "errored")]
    keys += [f"paired|{name}|{method}|2xx|2xx" for name in names for method in ("GET", "HEAD")]
    windows.tick([], 0.0)
    spent = []
    for second in range(1, 8):
        counts = {"".join([key]): second * (place % 3) for place, key in enumerate(keys)}
        started = time.process_time()
        windows.tick([record(counts)], float(second))
        for name in names:
            windows.window(name, 60.0, float(second))
        spent.append(time.process_time() - started)

    assert min(spent) < 0.05
