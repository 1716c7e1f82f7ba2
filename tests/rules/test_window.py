"""The windows that the watchdog judges."""

from __future__ import annotations

from config.spec import WatchdogSpec
from rules.window import Known, Seen, Window, legacy_now, looks, strata, summed, summed_past


def test_the_windows_are_the_newest_part_and_the_whole() -> None:
    """A twelfth of the window is looked at alone, but never less than five seconds."""
    assert looks(WatchdogSpec()) == (5.0, 60.0)
    assert looks(WatchdogSpec(window_ns=10_000_000_000)) == (5.0, 10.0)
    assert looks(WatchdogSpec(window_ns=600_000_000_000)) == (50.0, 600.0)


def test_windows_of_several_nodes_add_up() -> None:
    """Every count of the sum is the sum of the counts, and what each node saw stays known."""
    one = Window(seconds=60, new=10, new_failed=2, legacy=20, pairs={("2xx", "5xx"): 2}, latency={"new": (1, 2)})
    two_pairs = {("2xx", "5xx"): 1, ("2xx", "2xx"): 4}
    two = Window(
        seconds=60,
        covers_s=9,
        new=5,
        legacy=7,
        legacy_failed=1,
        fallbacks=3,
        pairs=two_pairs,
    )

    both = summed([one, two])

    assert (both.seconds, both.covers_s, both.parts) == (60, 60, (one, two))
    assert (both.new, both.new_failed, both.fallbacks, both.legacy, both.legacy_failed) == (15, 2, 3, 27, 1)
    assert both.pairs == {("2xx", "5xx"): 3, ("2xx", "2xx"): 4}
    assert both.latency == {"new": [1, 2]}
    assert strata(both) == [(2, 10, 0, 20), (0, 5, 1, 7)]


def test_legacy_s_share_is_what_it_would_be_where_new_is_asked() -> None:
    """A node on which legacy fails weighs as much as new is asked there; one without answers of legacy says nothing."""
    well = Window(seconds=60, new=100, legacy=1_000)
    failing = Window(seconds=60, new=300, legacy=10, legacy_failed=5)
    silent = Window(seconds=60, new=500)

    assert legacy_now(summed([well, failing, silent])).share == (300 * 0.5) / 400
    assert legacy_now(summed([silent, Window(seconds=60, legacy=50)])) == Seen(requests=0, failed=0)
    assert legacy_now(failing).share == 0.5


def test_legacy_s_past_is_that_of_the_nodes_where_new_is_asked() -> None:
    """What legacy always failed on a node counts as much as new is asked there."""
    bad, good = Known(requests=1_000, failed=100), Known(requests=9_000, failed=0)

    assert summed_past([(50, bad), (0, good), (7, None)]) == Known(requests=10_000, failed=1_000)
    assert summed_past([(0, bad), (0, good)]) == Known(requests=10_000, failed=100)
    assert summed_past([(5, None)]) is None
