"""The windows that the watchdog judges."""

from __future__ import annotations

from config.spec import WatchdogSpec
from rules.window import looks


def test_the_windows_are_the_newest_part_and_the_whole() -> None:
    """A twelfth of the window is looked at alone, but never less than five seconds."""
    assert looks(WatchdogSpec()) == (5.0, 60.0)
    assert looks(WatchdogSpec(window_ns=10_000_000_000)) == (5.0, 10.0)
    assert looks(WatchdogSpec(window_ns=600_000_000_000)) == (50.0, 600.0)
