"""Which stretch of time a gate counts, and which chance of being wrong it may spend there.

Theory: evidence gets old, so a gate counts at most ``over``. A window that slides with every look would forget the bad
and keep betting: what :mod:`rules.sequential` promises holds from a fixed beginning only. So time is cut at fixed
moments, half of ``over`` apart, the same for every route and node. A *leg* begins at one of them (the first one when
the build was first compared), lasts at most ``over``, and is followed by the next one at half of it. Each leg is a bet
of its own. All legs of a build together may be wrong in 5 % of the builds: leg *i* may spend ``5 % / (i·(i+1))`` of
that, which adds up to 5 % for ever and makes the tenth leg ask for twice as much as the first, not for ten times.

Short legs of the same kind (:data:`RECENT`) look for what has become bad lately. They can only fail a gate, never
pass it, so they take nothing from the 5 %.

Source: docs/decisions/0023-gates.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.05
"""How often a build that is truly over the limit may pass, over all looks and legs."""

RECENT: Final = (7, 168)
"""Parts of ``over``: of a week the last day and the last hour."""

HOUR_S: Final = 3_600.0
"""Evidence is kept by the hour, so nothing shorter begins anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """Be one stretch of time that a gate counts."""

    since: float
    """Unix time."""
    number: int
    """From 1, since the build was first compared."""
    over_s: float

    @property
    def alpha(self) -> float:
        """Give the chance of being wrong that this leg may spend."""
        return ALPHA / (self.number * (self.number + 1))


def leg_at(began: float, now: float, over_s: float) -> Leg:
    """Give the leg that counts at a moment, for a build that was first compared at *began*.

    Shape: it covers everything until ``over`` has passed, and afterwards always at least half of it.
    Unit: Unix times.
    """
    step = over_s / 2
    began = min(began, now)
    passed = int(now // step) - int(began // step)
    return Leg(since=max(began, (now // step - 1) * step), number=max(1, passed), over_s=over_s)


def recent_legs(began: float, now: float, over_s: float) -> tuple[Leg, ...]:
    """Give the short legs that look for what has become bad lately, the longest first."""
    lengths = dict.fromkeys(max(2 * HOUR_S, over_s / part) for part in RECENT)
    return tuple(leg_at(began, now, length) for length in lengths if length < over_s)
