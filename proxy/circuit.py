"""Stop copying to a backend that gives no answers, and find out by single copies when it does again.

One circuit per backend in each worker: it is the backend that is sick, not a route, and workers share nothing.

Rules of this file:

1. An answer costs one addition and one test; everything else happens on a failure or once per second.
2. A failure is a copy without a complete HTTP answer. A 500 is an answer: it is compared.
3. A probe is the copy of a real request, never a made-up one: without traffic an open circuit stays open.
4. Only the answer to a copy sent after the opening closes: one that was on its way says nothing about now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

WINDOW_S: Final = 30
"""Long enough that a restart of the backend opens nothing on a quiet route."""

MIN_RESULTS: Final = 20
"""Below this a share says nothing: three failures of four are a blip."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 4.0
"""Copies are back within 5 s of the backend, however long it was away."""


@dataclass(slots=True, eq=False)
class Circuit:
    """Know whether copies to one backend are worth sending.

    Shape: ``limit_bp`` is the share of failures that opens it; ``None``: it never opens.
    """

    backend: str
    limit_bp: int | None
    changed: Callable[[Circuit], None]
    """Called after it opened or closed."""
    is_open: bool = False
    answered: int = 0
    """In this second."""
    failed: int = 0
    """In this second."""
    opened_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _next_probe: float = 0.0
    _seconds: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW_S - 1))
    """The whole seconds of the window before this one: answered and failed."""

    def window(self) -> tuple[int, int]:
        """Give what was answered and what failed within the window."""
        answered, failed = self.answered, self.failed
        for good, bad in self._seconds:
            answered += good
            failed += bad
        return answered, failed

    def tick(self) -> None:
        """Begin the next second."""
        self._seconds.append((self.answered, self.failed))
        self.answered = self.failed = 0

    def fail(self) -> None:
        """Note a copy that got no complete answer; open if there are too many of them.

        Cost: about 2 microseconds.
        """
        self.failed += 1
        if self.is_open or self.limit_bp is None:
            return
        answered, failed = self.window()
        if answered + failed >= MIN_RESULTS and failed * 10_000 > self.limit_bp * (answered + failed):
            self.is_open = True
            self.opened_at = monotonic()
            self._pause_s = FIRST_PAUSE_S
            self._next_probe = self.opened_at + FIRST_PAUSE_S
            self.changed(self)

    def admits_probe(self) -> bool:
        """Tell an open circuit's caller whether the copy at hand is the next probe.

        Order: the pauses between probes double; a probe that hangs does not keep the next one back.
        """
        now = monotonic()
        if now < self._next_probe:
            return False
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._next_probe = now + self._pause_s
        return True

    def heal(self, sent_at: float) -> None:
        """Take note of an answer while open: one that was asked for since the opening closes the circuit."""
        if sent_at < self.opened_at:
            return
        self.is_open = False
        self._seconds.clear()
        self.answered = self.failed = 0
        self.changed(self)
