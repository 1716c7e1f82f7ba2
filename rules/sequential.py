"""What may be said of a mean, with an error of 5 % over all looks together, from totals only.

Theory: somebody looks at a gate every minute and flips at the first *pass*. An ordinary 95 % bound is right in 95 of
100 looks, so among thousands of looks a wrong one is nearly certain to be found. What holds over all looks is a bet.
Let each comparison be a number *x*: 1 is bad for new, 0 is neither, -1 (only for errors) is bad for legacy. Claim: the
mean is at least *m*. Whoever doubts it stakes the share λ of what he owns on every comparison and owns ``1 + λ·(m-x)``
times as much afterwards. If the claim is true no stake grows on average, so what began as 1 reaches ``1/alpha`` with
a chance of at most *alpha*, ever, however often one looks (Ville's inequality). So when it has reached that, the
claim is rejected. The product depends on the totals alone:

    (1 + λ(m-1))^plus · (1 + λm)^zero · (1 + λ(m+1))^minus

Which λ grows fastest depends on the truth, which nobody knows; so the stake is divided over several (a mixture), which
is as valid and costs a constant number of further comparisons.

Rules of this file:

1. The stakes are fixed before anything is seen, and their weights add up to at most 1; both tables may be tuned, but
   never by what was observed.
2. A fortune falls as a claim gets bolder, so the claims that are rejected form one side of one bound.
3. All of it is done with logarithms: a fortune of e^5000 and one of e^-5000 are ordinary.

Source: docs/decisions/0023-gates.md; A. Ramdas and others, "Game-theoretic statistics and safe anytime-valid
inference", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import Final

DOUBT_BELOW: Final = (
    (1.0, 0.42),
    (0.96, 0.20),
    (0.88, 0.14),
    (0.7, 0.10),
    (0.45, 0.06),
    (0.2, 0.04),
    (0.07, 0.02),
    (0.02, 0.02),
)
"""Share of the highest stake, and weight, against "at least m". The whole stake is lost at the first bad comparison
and is the fastest without one; 0.96 wins where the truth is a twentieth of the limit; the small ones where many
comparisons are bad for either side in turn."""

DOUBT_ABOVE: Final = (
    (0.02, 0.04),
    (0.06, 0.06),
    (0.2, 0.1),
    (0.5, 0.2),
    (0.95, 0.2),
    (2.0, 0.15),
    (5.0, 0.1),
    (15.0, 0.1),
    (50.0, 0.05),
)
"""Stake and weight against "at most m"; stakes that a single comparison could overdraw do not take part."""

_NEARLY_ALL: Final = 1.0 - 1e-9

MAX_NEEDED: Final = 10**12
"""Comparisons that nobody will ever see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Count comparisons by what they say."""

    plus: int
    """Bad for new."""
    zero: int
    minus: int = 0
    """Bad for legacy only; 0 for what cannot be, such as a pair that is better than identical."""

    @property
    def total(self) -> int:
        """Count all."""
        return self.plus + self.zero + self.minus


def log_doubt_below(seen: Outcomes, limit: float) -> float:
    """Say what was won against the claim that the mean is at least *limit*, as a natural logarithm.

    Cost: 5 microseconds.
    """
    highest = 1.0 / (1.0 - limit)
    return _mixed(
        [
            log(weight)
            + _times(seen.plus, -share)
            + seen.zero * log1p(share * highest * limit)
            + seen.minus * log1p(share * highest * (1.0 + limit))
            for share, weight in DOUBT_BELOW
        ]
    )


def log_doubt_above(seen: Outcomes, limit: float, *, lowest: int = 0) -> float:
    """Say what was won against the claim that the mean is at most *limit*, as a natural logarithm.

    Shape: *lowest* is -1 where ``minus`` can be, else 0; it bounds the stakes and must not depend on what was seen.
    Cost: 5 microseconds.
    """
    return _mixed(
        [
            log(weight)
            + seen.plus * log1p(stake * (1.0 - limit))
            + seen.zero * log1p(-stake * limit)
            + (seen.minus * log1p(-stake * (1.0 + limit)) if lowest < 0 else 0.0)
            for stake, weight in DOUBT_ABOVE
            if stake * (limit - lowest) < 1.0
        ]
    )


def is_below(seen: Outcomes, limit: float, alpha: float) -> bool:
    """Say whether the mean is shown to be below *limit*; wrong with a chance of at most *alpha* over all looks."""
    return log_doubt_below(seen, limit) >= -log(alpha)


def is_above(seen: Outcomes, limit: float, alpha: float, *, lowest: int = 0) -> bool:
    """Say whether the mean is shown to be above *limit*; wrong with a chance of at most *alpha* over all looks."""
    return log_doubt_above(seen, limit, lowest=lowest) >= -log(alpha)


def upper_bound(seen: Outcomes, alpha: float) -> float:
    """Give the smallest limit that the mean is shown to be below; 1.0: none is.

    Bound: a ten-thousandth of itself too high at most, never too low.
    Cost: 0.1 milliseconds; what is won is nearly a straight line over the limit, so its chord finds the place in a few
    steps. An end that stays counts half the next time, or it would stay for ever.
    """
    wanted = -log(alpha)
    low, below = 0.0, log_doubt_below(seen, 0.0) - wanted
    if below >= 0.0:
        return 0.0
    high = min(_NEARLY_ALL, (seen.plus + wanted) / max(1, seen.total))
    while (above := log_doubt_below(seen, high) - wanted) < 0.0:
        if high == _NEARLY_ALL:
            return 1.0
        low, below, high = high, above, min(_NEARLY_ALL, 2 * high)
    last = 0
    while high - low > 1e-4 * high:
        middle = high - (high - low) * min(above / (above - below), 0.999)
        # Aimed a little beyond the place, so that the end that is given comes close from above.
        middle = min(middle + 3e-5 * high, (3 * high + low) / 4)
        won = log_doubt_below(seen, middle) - wanted
        if won >= 0.0:
            high, above, below = middle, won, below / 2 if last > 0 else below
            last = 1
        else:
            low, below, above = middle, won, above / 2 if last < 0 else above
            last = -1
    return high


def needed(seen: Outcomes, limit: float, alpha: float) -> int:
    """Count the clean comparisons that are still missing until the mean is shown to be below *limit*.

    Bound: :data:`MAX_NEEDED`, which stands for never.
    """
    if is_below(seen, limit, alpha):
        return 0

    def is_enough(more: int) -> bool:
        return is_below(Outcomes(plus=seen.plus, zero=seen.zero + more, minus=seen.minus), limit, alpha)

    high = 1
    while not is_enough(high):
        high *= 2
        if high > MAX_NEEDED:
            return MAX_NEEDED
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _times(count: int, change: float) -> float:
    """Multiply the logarithm of ``1 + change`` by a count; never by losing everything zero times."""
    if count == 0:
        return 0.0
    return -inf if change <= -1.0 else count * log1p(change)


def _mixed(logs: list[float]) -> float:
    """Add up numbers that are given and wanted as logarithms."""
    highest = max(logs, default=-inf)
    if highest == -inf:
        return -inf
    return highest + log(sum(exp(value - highest) for value in logs))
