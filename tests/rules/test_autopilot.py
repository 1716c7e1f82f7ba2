"""The autopilot's moves, with a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.spec import AutopilotSpec
from rules.autopilot import Move, Progress, begun, due_at, is_already, next_move
from rules.flag import Flag, Stage
from rules.gate import GateVerdict

HOUR = 3_600.0
SPEC = AutopilotSpec()
PASS = GateVerdict(result="pass", sentence="0 divergent of 5,000")
UNSURE = GateVerdict(result="inconclusive", sentence="needs 1,742 more clean")
FAIL = GateVerdict(result="fail", sentence="3 % divergent")


def flag(stage: Stage = Stage.CANARY, percent: float = 0.0) -> Flag:
    """Make a flag."""
    return Flag(stage=stage, percent_bp=round(percent * 100), sample_bp=10_000, salt="s")


class Flight:
    """Walk one route: make every move that is asked for."""

    def __init__(self, spec: AutopilotSpec = SPEC, start: Flag | None = None) -> None:
        self.spec, self.flag, self.now = spec, start or flag(percent=1), 1_000.0
        self.progress: Progress | None = None

    def fly(self, verdict: GateVerdict | None = PASS, *, hours: float = 0.0, held_by: str | None = None) -> Move:
        """Let time pass, ask for one move and make it."""
        self.now += hours * HOUR
        move = next_move(self.spec, self.flag, self.progress, verdict, route="orders", now=self.now, held_by=held_by)
        if move.progress is not None:
            self.progress = move.progress
        if move.step is not None:
            self.flag = replace(self.flag, stage=move.step.stage, percent_bp=move.step.percent_bp)
        return move


def test_it_walks_all_steps_to_live_one_bake_time_each() -> None:
    """1, 5, 25, 50 and 100 % bake an hour each on a passing gate; then comes live, and it is done."""
    flight, seen = Flight(), []
    flight.fly()

    for _ in range(7):
        early = flight.fly(hours=0.9)
        seen.append(flight.fly(hours=0.1).sentence.partition(":")[0])
        assert early.kind == "wait"

    assert seen == ["canary 5 %", "canary 25 %", "canary 50 %", "canary 100 %", "live", "done", "done"]
    assert flight.flag.stage is Stage.LIVE


def test_it_waits_while_the_gate_says_neither_yes_nor_no() -> None:
    """An inconclusive gate is waited for as long as it takes, and the sentence says what is missing."""
    flight = Flight()
    flight.fly()

    waited = flight.fly(UNSURE, hours=100)
    without = flight.fly(None, hours=1)

    assert waited.kind == without.kind == "wait"
    assert "needs 1,742 more clean" in waited.sentence
    assert flight.fly(PASS).kind == "raise"


def test_a_failing_gate_takes_it_back_at_once_and_below_the_first_step_to_shadow() -> None:
    """A fail is one step back without waiting for the bake time; from the first step to shadow, where it pauses."""
    flight = Flight(start=flag(percent=25))
    flight.fly()

    first, second, third = flight.fly(FAIL), flight.fly(FAIL), flight.fly(FAIL)
    after = flight.fly(PASS, hours=10)

    assert [move.kind for move in (first, second, third)] == ["back"] * 3
    assert first.sentence == "back to canary 5 %: the gate fails: 3 % divergent"
    assert flight.flag.stage is Stage.SHADOW
    assert after.sentence.startswith("paused: the gate failed: 3 % divergent; ")


@pytest.mark.parametrize("other", [flag(percent=3), flag(Stage.LIVE), flag(Stage.LEGACY), flag(Stage.SHADOW)])
def test_a_flip_by_somebody_else_pauses_it(other: Flag) -> None:
    """A flag that it did not make is a person's will: it stands aside until it is told to go on, from there."""
    flight = Flight()
    flight.fly()
    flight.flag = other

    paused, still = flight.fly(), flight.fly(hours=9)
    flight.progress = begun(flight.flag, flight.now)
    on = flight.fly(hours=0.5)

    assert paused.sentence.startswith("pauses: somebody flipped it to ")
    assert still.sentence.startswith("paused: somebody flipped it to ")
    assert on.kind == "wait"
    assert ("bakes" in on.sentence) is (other.stage is Stage.CANARY)


def test_a_hold_pauses_it() -> None:
    """Whoever holds a route, the watchdog or a person, stops the autopilot, also after the release and a flip to
    canary: the sentences name the one command that ends that."""
    flight = Flight()
    flight.fly()

    paused, after = flight.fly(hours=5, held_by="watchdog"), flight.fly(hours=5)

    flight.flag = flag(percent=5)
    flipped = flight.fly(hours=5)

    way_on = "it goes on after `matapalo autopilot orders on`, not by a release or a flip alone"
    assert paused.sentence == f"pauses: watchdog held it on legacy; {way_on}"
    assert after.sentence == flipped.sentence == f"paused: watchdog held it on legacy; {way_on}"


@pytest.mark.parametrize(
    ("progress", "on", "already"),
    [
        (None, True, False),
        (None, False, False),
        (begun(flag(percent=5), 0.0), True, True),
        (begun(flag(percent=1), 0.0), True, False),
        (begun(flag(percent=5), 0.0), False, False),
        (Progress(phase="paused", stage="canary", percent_bp=500), True, False),
        (Progress(phase="paused", stage="canary", percent_bp=500), False, True),
    ],
)
def test_a_switch_to_what_it_does_already_is_known(progress: Progress | None, on: bool, already: bool) -> None:
    """Paused and switched off, or walking and switched on, is no change; a flip that it has yet to see is one."""
    assert is_already(progress, flag(percent=5), on=on) is already


def test_it_begins_when_a_person_flips_to_canary() -> None:
    """In shadow it waits; the flip to canary is the start, and the first bake time begins then."""
    flight = Flight(start=flag(Stage.LEGACY))
    flight.fly()
    flight.flag = flag(Stage.SHADOW)
    moved = flight.fly(hours=50)
    waiting = flight.fly(hours=50)
    flight.flag = flag(percent=1)

    begins, early, raised = flight.fly(hours=5), flight.fly(hours=0.5), flight.fly(hours=0.5)

    assert (moved.kind, waiting.kind) == ("remember", "wait")
    assert waiting.sentence == "waits until a person flips the route to canary"
    assert begins.sentence == "begins at canary 1 %"
    assert (early.kind, raised.kind) == ("wait", "raise")


def test_each_step_may_have_its_own_bake_time_and_the_end_may_be_canary() -> None:
    """One bake time per step; a percent between two steps bakes as the lower one; `to: canary` ends on the last."""
    hour_ns = 3_600 * 10**9
    spec = AutopilotSpec(steps_bp=(500, 5_000), bake_ns=(hour_ns, 3 * hour_ns), to="canary")
    flight = Flight(spec, flag(percent=7))
    flight.fly()

    first = flight.fly(hours=1)
    stands = flight.fly(hours=9)
    back = flight.fly(FAIL)
    early, again = flight.fly(hours=0.9), flight.fly(hours=0.1)

    assert (first.step.words if first.step else "") == "canary 50 %"
    assert stands.sentence.startswith("stands on its last step, canary 50 %")
    assert back.sentence.startswith("back to canary 5 %")
    assert (early.kind, again.kind) == ("wait", "raise")


def test_it_does_nothing_while_a_route_cools_down() -> None:
    """After a trip, even released and told to go on, it waits for the cool-down."""
    progress = begun(flag(percent=1), 0.0)

    cooling = next_move(SPEC, flag(percent=1), progress, PASS, route="orders", now=5_000.0, cools_until=6_000.0)
    after = next_move(SPEC, flag(percent=1), progress, PASS, route="orders", now=6_000.0, cools_until=6_000.0)

    assert cooling.sentence == "cools down 17 min longer after the watchdog's trip"
    assert after.kind == "raise"


def test_a_step_is_due_when_it_has_baked() -> None:
    """Only a canary that bakes, and has a step above it, is due at a moment."""
    last = AutopilotSpec(to="canary")
    baking, paused = begun(flag(percent=5), 1_000.0), Progress(phase="paused", since=1_000.0)

    assert due_at(SPEC, flag(percent=5), baking) == 1_000.0 + HOUR
    assert due_at(last, flag(percent=100), begun(flag(percent=100), 1_000.0)) == 0.0
    assert due_at(SPEC, flag(percent=5), paused) == 0.0
    assert due_at(SPEC, flag(Stage.SHADOW), baking) == 0.0
