"""Rules of the life of a divergence."""

from __future__ import annotations

import pytest

from store.triage import LEAST, BuildSeen, State, after_missed, after_seen, needed, states_by_build

OPEN, ACCEPTED, FIXED, REGRESSED = State.OPEN, State.ACCEPTED, State.FIXED, State.REGRESSED


def test_the_state_table_holds_row_by_row() -> None:
    """Every state and event leads to the state of the table in store/triage.py, and to no other."""
    seen = {(None, False): OPEN, (None, True): OPEN, (OPEN, False): OPEN, (OPEN, True): OPEN}
    seen |= {
        (FIXED, False): FIXED,
        (FIXED, True): REGRESSED,
        (REGRESSED, False): REGRESSED,
        (REGRESSED, True): REGRESSED,
    }
    seen |= {(ACCEPTED, False): ACCEPTED, (ACCEPTED, True): ACCEPTED}
    missed = {(OPEN, 99): OPEN, (OPEN, 100): FIXED, (REGRESSED, 99): REGRESSED, (REGRESSED, 100): FIXED}
    missed |= {(ACCEPTED, 100): ACCEPTED, (FIXED, 0): FIXED, (FIXED, 100): FIXED}

    assert {(state, fix): after_seen(state, since_fix=fix) for state, fix in seen} == seen
    assert {(state, count): after_missed(state, compared=count, enough=100) for state, count in missed} == missed


@pytest.mark.parametrize(
    ("count", "compared", "enough"),
    [(1, 10_000, 30_000), (3, 10_000, 10_000), (50, 100, LEAST), (100, 100, LEAST), (5, 0, LEAST), (0, 0, LEAST)],
)
def test_what_was_rare_needs_more_comparisons_to_be_called_fixed(count: int, compared: int, enough: int) -> None:
    """Three times the former distance between two sightings without one proves it gone, and never less than fifty."""
    assert needed(count, compared) == enough


def test_the_history_of_builds_shows_fix_and_relapse() -> None:
    """A build that does not show a divergence fixes it once it was compared enough; a later one may bring it back."""
    builds = [
        BuildSeen(build=name, compared=compared, count=count, first_seen=0.0, last_seen=0.0)
        for name, compared, count in (
            ("v0", 500, 0),
            ("v1", 500, 7),
            ("v2", 60, 0),
            ("v3", 60, 0),
            ("v4", 10, 1),
            ("v5", 200, 0),
        )
    ]

    states = [(build.build, state) for build, state in states_by_build(builds, enough=100)]

    assert states == [
        ("v0", None),
        ("v1", OPEN),
        ("v2", OPEN),
        ("v3", FIXED),
        ("v4", REGRESSED),
        ("v5", FIXED),
    ]
