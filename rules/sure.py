"""When what was found is sure enough to take a route back.

What happens to both sides shows on them at different moments: new answers 503 at once where legacy hangs until
a time runs out. So what is found has to be found for :data:`SURE_S`, and a legacy that has gone silent since is waited
for: it may have the same trouble.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from config.spec import WatchdogSpec
from rules.chance import excess
from rules.findings import within
from rules.watch import HINT, Judgement
from rules.window import Window

SURE_S: Final = 1.5
"""For how long something is found before it trips; five seconds from the first failure leave room for it."""

LESS: Final = 0.75
"""Legacy has gone silent if it answers less than this part of what is usual, and less than new by more than
:data:`HINT`; clients that wait for it hold back what new gets, too, so ..."""

NOTHING: Final = 0.1
"""... less than this part is silence whatever new does: then hardly anybody is there to be harmed."""

TOLD: Final = 10
"""Answers that have to be usual before their absence says anything."""


def sure(
    spec: WatchdogSpec, found: Judgement, newest: Window, whole: Window, *, suspicious_s: float, settled_s: float
) -> Judgement:
    """Wait with a rollback until its reason has lasted for :data:`SURE_S`, and legacy has answered meanwhile.

    Shape: *newest* is the window of :data:`SURE_S`, *whole* that of the specification.
    Unit: *settled_s* says for how long the flag has not changed.
    """
    if not found.to:
        return found
    if suspicious_s < SURE_S:
        return _waiting(found, f"; it goes back if that lasts {SURE_S:g} s")
    if found.rule != "errors" or suspicious_s >= spec.window_ns / 1e9:
        return found
    silence = _silence(newest, whole, settled_s)
    return _waiting(found, silence) if silence else found


def _silence(newest: Window, whole: Window, settled_s: float) -> str:
    """Say so if legacy answers less than is usual; empty: it answers, or too little is seen to tell.

    Theory: less than usual alone would be a drop in traffic, less than new alone a new that fails fast and is asked
    again; a flip moves clients, so what was usual before it says nothing.
    """
    before_s = min(whole.covers_s or whole.seconds, whole.seconds) - newest.seconds
    if before_s < newest.seconds or settled_s < before_s + newest.seconds:
        return ""
    now, before = _answered(newest, whole), _answered(whole, whole) - _answered(newest, whole)
    usual, new_before = before * newest.seconds / before_s, whole.new - newest.new
    if usual < TOLD or now >= LESS * usual:
        return ""
    if now >= NOTHING * usual and excess(newest.new, newest.new + now, new_before, new_before + before) >= HINT:
        return ""
    return (
        f"; but legacy answered {now} requests {within(newest)} where {usual:.0f} are usual: it may have the same "
        "trouble, so its answers are waited for, one window at most"
    )


def _answered(window: Window, whole: Window) -> int:
    """Count what legacy answered, to clients or to copies, whichever are more within the *whole* window."""
    of_copies = sum(window.pairs.values())
    return window.legacy if whole.legacy >= sum(whole.pairs.values()) else of_copies


def _waiting(found: Judgement, why: str) -> Judgement:
    """Take nothing back yet, and say what for."""
    return replace(found, state="suspicious", to="", sentence=found.sentence + why)
