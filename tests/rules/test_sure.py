"""When a finding is sure enough: it lasts, and legacy answers meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.spec import WatchdogSpec
from rules.sure import SURE_S, sure
from rules.watch import Judgement
from rules.window import Window

SPEC = WatchdogSpec(divergent_max_bp=100, p95_ratio_max=2.0)
TRIP = Judgement(state="tripped", sentence="new fails", to="legacy", rule="errors")
MINUTE = Window(seconds=60, covers_s=60, new=12_000, new_failed=300, legacy=12_000)


@pytest.mark.parametrize(
    ("newest", "goes"),
    [
        (Window(seconds=SURE_S, new=300, legacy=300), True),  # both are asked as ever
        (Window(seconds=SURE_S, new=3_000, legacy=300), True),  # new fails fast and is asked again and again
        (Window(seconds=SURE_S, new=150, legacy=150), True),  # half of all clients have gone
        (Window(seconds=SURE_S, new=300, legacy=0), False),  # legacy hangs
        (Window(seconds=SURE_S, new=300, legacy=150), False),  # legacy hangs by half
        (Window(seconds=SURE_S, new=3, legacy=0), False),  # everybody waits for legacy
    ],
)
def test_a_legacy_that_has_gone_silent_is_waited_for(newest: Window, goes: bool) -> None:
    """New says 503 at once where legacy hangs, as both do without their database: nothing goes back to a legacy that
    answers less than usual, one window long; less traffic, or more to new alone, is no silence."""
    found = sure(SPEC, TRIP, newest, MINUTE, suspicious_s=10, settled_s=3_600)

    assert (found.state, found.to) == (("tripped", "legacy") if goes else ("suspicious", ""))
    assert ("it may have the same trouble" in found.sentence) is not goes
    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=60, settled_s=3_600).to == "legacy"


def test_what_was_usual_before_a_flip_is_no_silence() -> None:
    """A flip takes legacy's clients away by itself, and right after it rollbacks are needed most."""
    newest = Window(seconds=SURE_S, new=300, legacy=0)

    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=3, settled_s=20).to == "legacy"


def test_silence_of_copies_counts_where_legacy_has_no_clients() -> None:
    """In live legacy's answers are those to copies."""
    whole = Window(seconds=60, covers_s=60, new=12_000, new_failed=300, pairs={("2xx", "2xx"): 2_400})
    answers = Window(seconds=SURE_S, new=300, pairs={("2xx", "2xx"): 60})
    silent = Window(seconds=SURE_S, new=300)

    assert sure(SPEC, TRIP, answers, whole, suspicious_s=3, settled_s=3_600).to == "legacy"
    assert sure(SPEC, TRIP, silent, whole, suspicious_s=3, settled_s=3_600).to == ""


def test_what_is_found_has_to_last() -> None:
    """A first look takes nothing back; one that comes to the same after a second and a half does."""
    newest = Window(seconds=SURE_S, new=300, legacy=300)

    first = sure(SPEC, TRIP, newest, MINUTE, suspicious_s=0, settled_s=3_600)

    assert (first.state, first.to) == ("suspicious", "")
    assert first.sentence == "new fails; it goes back if that lasts 1.5 s"
    assert sure(SPEC, TRIP, newest, MINUTE, suspicious_s=SURE_S, settled_s=3_600).to == "legacy"


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        (replace(TRIP, rule="pairs"), MINUTE),  # both answered the same request
        (replace(TRIP, rule="divergence", to="shadow"), MINUTE),
        (TRIP, replace(MINUTE, legacy=200)),  # five are usual within 1.5 s: to have none is chance
        (TRIP, replace(MINUTE, covers_s=2.5)),  # a second of before says nothing of what is usual
    ],
    ids=["pairs", "divergence", "few", "young"],
)
def test_only_what_could_tell_of_legacy_is_missed(found: Judgement, whole: Window) -> None:
    """Answers of legacy are waited for where they were usual, and where what was found is about failures that legacy
    may have, too."""
    silent = Window(seconds=SURE_S, new=300, legacy=0)

    assert sure(SPEC, found, silent, whole, suspicious_s=3, settled_s=3_600) == found


def test_what_takes_nothing_back_is_said_as_it_is() -> None:
    """Only a rollback is waited with: an alert or a calm look is told at once."""
    calm = Judgement(state="watching", sentence="new failed 0 %")

    assert sure(SPEC, calm, MINUTE, MINUTE, suspicious_s=0, settled_s=3_600) == calm
