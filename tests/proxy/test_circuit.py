"""The circuit's arithmetic: when it opens, whom it lets through, what closes it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from proxy.circuit import LONGEST_PAUSE_S, MIN_RESULTS, WINDOW_S, Circuit


@dataclass
class Clock:
    """Be the monotonic clock of one test."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Take the circuit's clock over."""
    clock = Clock()
    monkeypatch.setattr("proxy.circuit.monotonic", clock)
    return clock


def made(limit_bp: int | None = 5_000) -> tuple[Circuit, list[bool]]:
    """Make a circuit, and the list of what it said."""
    said: list[bool] = []
    return Circuit("shop", limit_bp, lambda circuit: said.append(circuit.is_open)), said


def failed(circuit: Circuit, count: int) -> None:
    """Note some failures."""
    for _ in range(count):
        circuit.fail()


def test_it_opens_when_more_than_the_limit_fails() -> None:
    """Half of the copies may fail; one more opens it, once."""
    circuit, said = made()
    circuit.answered = 50

    failed(circuit, 50)
    assert said == []
    failed(circuit, 5)

    assert circuit.is_open
    assert said == [True]


def test_few_results_say_nothing() -> None:
    """Below the minimum of results nothing opens it, however bad they are."""
    circuit, _ = made()

    failed(circuit, MIN_RESULTS - 1)
    assert not circuit.is_open
    failed(circuit, 1)

    assert circuit.is_open


def test_only_the_last_thirty_seconds_count() -> None:
    """Failures that are older than the window are forgotten, and so are answers."""
    circuit, _ = made()
    failed(circuit, MIN_RESULTS - 1)
    for _ in range(WINDOW_S - 1):
        circuit.tick()
    assert circuit.window() == (0, MIN_RESULTS - 1)

    circuit.tick()

    assert circuit.window() == (0, 0)


@pytest.mark.parametrize("limit_bp", [None, 10_000])
def test_it_can_be_switched_off(limit_bp: int | None) -> None:
    """Without a limit, or with one that cannot be exceeded, copies never pause."""
    circuit, said = made(limit_bp)

    failed(circuit, 1_000)

    assert said == []


def test_probes_come_at_growing_pauses(clock: Clock) -> None:
    """An open circuit lets single copies through, at pauses that double up to the longest."""
    circuit, _ = made()
    failed(circuit, MIN_RESULTS)
    probes = []
    for _ in range(200):
        clock.now += 0.1
        if circuit.admits_probe():
            probes.append(round(clock.now - 1_000, 1))

    pauses = [round(after - before, 1) for before, after in pairwise(probes)]
    assert probes[0] == pytest.approx(1.0, abs=0.11)
    assert pauses[0] == pytest.approx(2.0, abs=0.11)
    assert all(pause == pytest.approx(LONGEST_PAUSE_S, abs=0.11) for pause in pauses[1:])


def test_only_a_new_answer_closes_it(clock: Clock) -> None:
    """The answer to a copy from before the opening proves nothing; that to a probe closes it, with a clean window."""
    circuit, said = made()
    failed(circuit, MIN_RESULTS)
    clock.now += 5

    circuit.heal(999.0)
    assert circuit.is_open
    circuit.heal(1_001.0)

    assert said == [True, False]
    assert circuit.window() == (0, 0)
