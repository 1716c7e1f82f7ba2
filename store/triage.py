"""The life of a divergence: open, accepted, fixed, regressed, and what moves it from one to the other.

=========  ==========================================================  =========
state      what happens                                                becomes
=========  ==========================================================  =========
(new)      seen                                                        open
open       seen                                                        open
open       newer builds of new were compared enough without it         fixed
fixed      seen on a build that is older than the one that fixed it    fixed
fixed      seen on the build that fixed it, or on a newer one          regressed
regressed  seen                                                        regressed
regressed  newer builds of new were compared enough without it         fixed
accepted   seen, or not seen                                           accepted
any        somebody accepts it                                         accepted
any        somebody opens it again                                     open
=========  ==========================================================  =========

*Fixed* is never said by a person: it is found. *Enough* follows the rule of three (:func:`needed`): a difference that
stood in a share *p* of the comparisons and is still there stays unseen over ``3 / p`` further ones in one case of
twenty. A build of new is newer than another if it was first seen later; a route whose builds nobody names has one
build for ever, and nothing on it is found to be fixed (``matapalo deployed`` or ``version_header`` names them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

CONFIDENCE: Final = 3
"""The rule of three: -ln(0.05), rounded up."""

LEAST: Final = 50
"""Comparisons that a newer build needs at least, also for what was seen in every single one: the first requests after
a deployment are mostly probes."""


class State(str, Enum):
    """Say where a divergence stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    """Somebody decided to live with it."""
    FIXED = "fixed"
    REGRESSED = "regressed"
    """It was fixed, and a later or the same build shows it again."""

    @property
    def needs_work(self) -> bool:
        """Say whether somebody has to look at it."""
        return self in (State.OPEN, State.REGRESSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSeen:
    """Say what one build of new showed of one divergence."""

    build: str
    """As new names it; empty: it does not."""
    compared: int
    """Pairs of the route that were compared while this build answered."""
    count: int
    """Those that belong to the divergence."""
    first_seen: float
    last_seen: float
    """Of the divergence on this build; 0.0: never."""


def after_seen(state: State | None, *, since_fix: bool) -> State:
    """Give the state after the divergence was seen; *since_fix*: on the build that fixed it, or a newer one."""
    if state is None:
        return State.OPEN
    return State.REGRESSED if state is State.FIXED and since_fix else state


def after_missed(state: State, *, compared: int, enough: int) -> State:
    """Give the state after newer builds than the last one that showed it were compared so many times without it."""
    return State.FIXED if state.needs_work and compared >= enough else state


def needed(count: int, compared: int) -> int:
    """Say how many comparisons without a divergence prove it gone, with 95 % confidence.

    Shape: *count* of *compared* showed it, between the first time and the last.
    """
    return max(LEAST, -(-CONFIDENCE * max(count, compared) // max(1, count)))


def states_by_build(builds: Iterable[BuildSeen], enough: int) -> Iterator[tuple[BuildSeen, State | None]]:
    """Walk the builds of new, oldest first, and say where the divergence stood after each; ``None``: not seen yet."""
    state: State | None = None
    unseen = 0
    for build in builds:
        if build.count:
            state, unseen = after_seen(state, since_fix=True), 0
        elif state is not None:
            unseen += build.compared
            state = after_missed(state, compared=unseen, enough=enough)
        yield build, state
