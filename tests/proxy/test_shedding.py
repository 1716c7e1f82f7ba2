"""How much a worker under load still copies: quickly less, slowly more, and never for one bad moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from proxy.shedding import FALL, RISE, Shedder, Signs, wanted_s

CALM = Signs(busy=0.3, late_s=0.001, full=0.1)
BUSY = Signs(busy=0.99, late_s=0.001, full=0.1)
LATE = Signs(busy=0.4, late_s=0.2, full=0.1)
FULL = Signs(busy=0.4, late_s=0.001, full=0.95)


@pytest.mark.parametrize(("signs", "why"), [(BUSY, "busy"), (LATE, "late"), (FULL, "full")])
def test_each_sign_makes_copies_give_way(signs: Signs, why: str) -> None:
    """A busy loop, late timers and little room each take copies away, and the first second says which."""
    shedder = Shedder()

    assert shedder.second(signs, 0.95).startswith(why)
    assert shedder.share == 1 / FALL
    assert shedder.second(signs, 0.95) == ""


def test_a_flood_ends_copying_within_seconds() -> None:
    """Under lasting overload nothing is copied any more after a few seconds."""
    shedder = Shedder()
    for _ in range(5):
        shedder.second(BUSY, 0.95)

    assert shedder.share == 0.0
    assert all(shedder.sheds() for _ in range(100))


def test_copies_come_back_slowly_and_only_in_calm() -> None:
    """Between calm and overload the share stays; in calm it rises by a tenth each second, to all of them."""
    shedder = Shedder(share=0.5)
    shedder.second(Signs(busy=0.85, late_s=0.0, full=0.0), 0.95)
    assert shedder.share == 0.5

    shedder.second(CALM, 0.95)
    assert shedder.share == pytest.approx(0.5 + RISE)
    for _ in range(20):
        shedder.second(CALM, 0.95)

    assert shedder.share == 1.0


def test_it_can_be_switched_off() -> None:
    """Without a bound nothing is given up, and what was given up comes back at once."""
    shedder = Shedder(share=0.1)

    assert shedder.second(BUSY, None) == ""
    assert shedder.share == 1.0


def test_chance_decides_which_copies_are_made() -> None:
    """With a share of a half about half of the copies are made."""
    shedder = Shedder(share=0.5)

    assert 800 < sum(shedder.sheds() for _ in range(2_000)) < 1_200  # 9 sigma


def test_a_thread_that_never_sleeps_wants_all_the_time() -> None:
    """What is measured is the time with something to do: nearly all of it if busy, little if asleep."""

    def spin() -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    # A host that takes the whole machine away, or a core that comes late to who wakes up, spoils one look or two.
    assert any(wanted_share(spin) > 0.9 for _ in range(3))
    assert any(wanted_share(lambda: threading.Event().wait(0.3)) < 0.6 for _ in range(3))


def wanted_share(work: Callable[[], object]) -> float:
    """Measure which part of the time that some work takes this thread wants a processor."""
    begun, started = wanted_s(), time.monotonic()
    work()
    return (wanted_s() - begun) / (time.monotonic() - started)
