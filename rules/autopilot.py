"""The autopilot's next move on one route or journey: steps, bake times, and who may stop it.

Theory: between two moves the autopilot owns one flag, the one it saw or made last. As long as the flag is that one,
time is the only thing that passes; as soon as it is another one, a person (or the watchdog) was here, and it stands
aside.

Rules of this file:

1. It moves only from ``canary``, one step at a time, after the step's bake time, on a gate that passes.
2. A gate that says neither yes nor no is waited for; one that fails takes one step back at once, and the next one at
   the next look if it still fails; from the first step that is ``shadow``, and there it ends.
3. A hold, or a flag that it did not make, pauses it until a person switches it on again; neither the release nor a
   flip to ``canary`` does: whoever lets traffic back has not said that it may grow by itself.
4. Pure: time is Unix time and comes from the caller, who also remembers :class:`Progress`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from config.spec import AutopilotSpec
from rules.flag import Flag, Stage
from rules.gate import GateVerdict

Phase = Literal["waiting", "baking", "paused", "done"]
PHASES: Final[tuple[Phase, ...]] = ("waiting", "baking", "paused", "done")

WAITS: Final = "waits until a person flips the route to canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Remember how far an autopilot has come."""

    phase: Phase
    stage: str = ""
    """With the percent: the flag that it saw or made last."""
    percent_bp: int = 0
    since: float = 0.0
    """Unix time at which that flag began to bake."""
    why: str = ""
    """Why it is paused or done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Name a flag to flip to."""

    stage: Stage
    percent_bp: int = 0

    @property
    def words(self) -> str:
        """Name it for a sentence."""
        return f"canary {self.percent_bp / 100:g} %" if self.stage is Stage.CANARY else self.stage.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Say what to do now: nothing, remember something, or flip."""

    kind: Literal["wait", "remember", "raise", "back"]
    sentence: str
    step: Step | None = None
    progress: Progress | None = None
    """What to remember, with ``remember`` at once, with the others once the flip is made."""


def is_already(progress: Progress | None, flag: Flag, *, on: bool) -> bool:
    """Say whether switching it on or off would change nothing.

    A flag that it has not seen yet is about to pause it, so there *on* does change something.
    """
    if progress is None:
        return False
    if not on:
        return progress.phase == "paused"
    return progress.phase != "paused" and (flag.stage.value, flag.percent_bp) == (progress.stage, progress.percent_bp)


def begun(flag: Flag, now: float) -> Progress:
    """Begin, or go on after a pause, from the flag as it is."""
    phase: Phase = "baking" if flag.stage is Stage.CANARY else "waiting"
    return Progress(phase=phase, stage=flag.stage.value, percent_bp=flag.percent_bp, since=now)


def next_move(
    spec: AutopilotSpec,
    flag: Flag,
    progress: Progress | None,
    verdict: GateVerdict | None,
    *,
    route: str,
    now: float,
    held_by: str | None = None,
    cools_until: float = 0.0,
) -> Move:
    """Say what the autopilot does now.

    Shape: *route* is the name by which a person switches it on; *verdict* is the worst of a journey's gates, ``None``
    where it was not asked; *held_by* names who holds a route of it on legacy.
    """
    if progress is None:
        return _remember(begun(flag, now), "begins")
    if progress.phase == "paused":
        return Move(kind="wait", sentence=paused(progress.why, route))
    if held_by is not None:
        return _pauses(flag, now, f"{held_by or '?'} held it on legacy", route)
    if (flag.stage.value, flag.percent_bp) != (progress.stage, progress.percent_bp):
        if progress.phase == "waiting" and flag.stage is Stage.CANARY:
            return _remember(begun(flag, now), f"begins at {_words(flag)}")
        if progress.phase == "waiting":
            return _remember(begun(flag, now), "waits for canary")
        return _pauses(flag, now, f"somebody flipped it to {_words(flag)}", route)
    if progress.phase == "done":
        return Move(kind="wait", sentence=f"done: {progress.why}")
    if progress.phase == "waiting":
        return Move(kind="wait", sentence=WAITS)
    return _on_canary(spec, flag, progress, verdict, now, cools_until)


def _on_canary(
    spec: AutopilotSpec, flag: Flag, progress: Progress, verdict: GateVerdict | None, now: float, cools_until: float
) -> Move:
    if verdict is None:
        return Move(kind="wait", sentence="waits for its gate")
    if verdict.result == "fail":
        step = step_back(spec, flag)
        why = f"the gate failed: {verdict.sentence}" if step.stage is Stage.SHADOW else ""
        return Move(
            kind="back",
            sentence=f"back to {step.words}: the gate fails: {verdict.sentence}",
            step=step,
            progress=_arrived(step, now, why=why),
        )
    after = step_after(spec, flag)
    if after is None:
        return Move(kind="wait", sentence=f"stands on its last step, {_words(flag)}, as long as the gate does not fail")
    baked_at = progress.since + bake_s(spec, flag)
    if now < baked_at:
        return Move(
            kind="wait", sentence=f"{_words(flag)} bakes {_duration(baked_at - now)} longer; then {after.words}"
        )
    if now < cools_until:
        left = _duration(cools_until - now)
        return Move(kind="wait", sentence=f"cools down {left} longer after the watchdog's trip")
    if verdict.result == "inconclusive":
        return Move(kind="wait", sentence=f"waits for {after.words}: the gate is inconclusive: {verdict.sentence}")
    why = "it arrived in live" if after.stage is Stage.LIVE else ""
    return Move(
        kind="raise",
        sentence=f"{after.words}: the gate passes: {verdict.sentence}",
        step=after,
        progress=_arrived(after, now, why=why),
    )


def paused(why: str, route: str) -> str:
    """Say that it is paused, why, and what alone ends that."""
    return f"paused: {why}; {_way_on(route)}"


def due_at(spec: AutopilotSpec, flag: Flag, progress: Progress) -> float:
    """Say when a canary has baked, in Unix time; 0.0: it does not bake, or no step follows."""
    if progress.phase != "baking" or flag.stage is not Stage.CANARY or step_after(spec, flag) is None:
        return 0.0
    return progress.since + bake_s(spec, flag)


def step_after(spec: AutopilotSpec, flag: Flag) -> Step | None:
    """Name the step above a canary; ``None``: it stands on the last one."""
    for percent_bp in spec.steps_bp:
        if percent_bp > flag.percent_bp:
            return Step(stage=Stage.CANARY, percent_bp=percent_bp)
    return Step(stage=Stage.LIVE) if spec.to == "live" else None


def step_back(spec: AutopilotSpec, flag: Flag) -> Step:
    """Name the step below a canary; below the first one it is ``shadow``."""
    for percent_bp in reversed(spec.steps_bp):
        if percent_bp < flag.percent_bp:
            return Step(stage=Stage.CANARY, percent_bp=percent_bp)
    return Step(stage=Stage.SHADOW)


def bake_s(spec: AutopilotSpec, flag: Flag) -> float:
    """Say how long a canary bakes: as long as the highest step that it has reached."""
    if len(spec.bake_ns) == 1:
        return spec.bake_ns[0] / 1e9
    reached = [at for at, percent_bp in enumerate(spec.steps_bp) if percent_bp <= flag.percent_bp]
    return spec.bake_ns[reached[-1] if reached else 0] / 1e9


def _arrived(step: Step, now: float, *, why: str) -> Progress:
    phase: Phase = "baking" if step.stage is Stage.CANARY else "done" if step.stage is Stage.LIVE else "paused"
    return Progress(phase=phase, stage=step.stage.value, percent_bp=step.percent_bp, since=now, why=why)


def _pauses(flag: Flag, now: float, why: str, route: str) -> Move:
    progress = Progress(phase="paused", stage=flag.stage.value, percent_bp=flag.percent_bp, since=now, why=why)
    return _remember(progress, f"pauses: {why}; {_way_on(route)}")


def _way_on(route: str) -> str:
    return f"it goes on after `matapalo autopilot {route} on`, not by a release or a flip alone"


def _remember(progress: Progress, sentence: str) -> Move:
    return Move(kind="remember", sentence=sentence, progress=progress)


def _words(flag: Flag) -> str:
    return Step(stage=flag.stage, percent_bp=flag.percent_bp).words


def _duration(seconds: float) -> str:
    """Write a waiting time for people: 90 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
