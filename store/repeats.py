"""What asking again has shown: how often legacy differs from itself, and how often a difference was gone.

Rules of this file:

1. Noise is counted per route, day and place: how often legacy was asked twice, and how often it differed there.
   A place is a folded pointer into the body, or the name of a cause where no pointer leads (status, headers).
2. Repeats of a divergent pair are counted per divergence and attempt.
3. Memory is bounded: what does not fit between two batches is dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MAX_PENDING: Final = 5_000
"""Places and divergences between two batches; a route asks about one request in a second by default."""

MAX_PLACE: Final = 1 << 10
"""Characters of a place."""

DAY_S: Final = 86_400


def place_of(cause: str, folded: str) -> str:
    """Name the place of one difference: a folded pointer into the body, or the cause where it is not in the body."""
    return cause if cause.startswith("http.") else folded


@dataclass(slots=True, kw_only=True)
class Observed:
    """Hold what one batch adds."""

    asked: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(route, day since 1970) to how often legacy was asked twice."""
    noisy: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(route, day, place) to how often it differed there."""
    again: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """(divergence, attempt, outcome) to how often that was so."""

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.asked or self.noisy or self.again)


class RepeatLog:
    """Collect what repeats have shown between two batches.

    Bound: :data:`MAX_PENDING` places and divergences.
    """

    __slots__ = ("_pending", "dropped")

    def __init__(self) -> None:
        self._pending = Observed()
        self.dropped = 0
        """Counts that did not fit."""

    def ask(self, route: str, places: Iterable[str], at: float) -> None:
        """Count one second question to legacy, and the places at which its answer differed from the first one's."""
        pending, day = self._pending, int(at // DAY_S)
        pending.asked[route, day] += 1
        for place in {place[:MAX_PLACE] for place in places}:
            self._count(pending.noisy, (route, day, place))

    def repeat(self, divergence: str, attempt: int, outcome: str) -> None:
        """Count one repeat of a divergent pair."""
        self._count(self._pending.again, (divergence, attempt, outcome))

    def take(self) -> Observed:
        """Hand over what is pending, and begin anew."""
        taken, self._pending = self._pending, Observed()
        return taken

    def put_back(self, taken: Observed) -> None:
        """Take back what could not be written."""
        pending = self._pending
        pending.asked.update(taken.asked)
        for mine, theirs in ((pending.noisy, taken.noisy), (pending.again, taken.again)):
            for key, count in theirs.items():
                self._count(mine, key, count)

    def _count(self, counter: Counter[tuple[str, int, str]], key: tuple[str, int, str], count: int = 1) -> None:
        if key not in counter and len(self._pending.noisy) + len(self._pending.again) >= MAX_PENDING:
            self.dropped += count
        else:
            counter[key] += count
