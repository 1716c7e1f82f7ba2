"""How likely it is that chance alone made one side look worse: two exact tests, and a bound over several nodes."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, expm1, lgamma, log, log1p
from typing import Final

CHANCE: Final = 1e-8
"""What chance may explain less often than this is no chance."""

HALVINGS: Final = 40
"""Of the search for the best bound; any tilt gives a valid one."""

STEEPEST: Final = 60.0

Stratum = tuple[int, int, int, int]
"""Of one node: what the first side failed, all that it had, what the other failed, all that it had."""


def excess(failed: int, total: int, other_failed: int, other_total: int) -> float:
    """Say how likely so many of the failures, or more, hit the first side, were both sides alike.

    Theory: Fisher's exact test, one-sided: the tail of the hypergeometric distribution. It holds for any counts,
    however small, and without one request on the other side it is 1: nothing is known.
    Cost: a few microseconds; the terms fall off fast beyond the mean.
    """
    if failed * other_total <= other_failed * total:
        return 1.0
    everything, all_failed = total + other_total, failed + other_failed
    term = exp(
        _log_choose(total, failed) + _log_choose(other_total, other_failed) - _log_choose(everything, all_failed)
    )
    sum_, count = 0.0, failed
    while term > 0.0:
        sum_ += term
        if count >= min(total, all_failed) or term < 1e-9 * sum_:
            break
        term *= (all_failed - count) * (total - count)
        term /= (count + 1) * (other_total - all_failed + count + 1)
        count += 1
    return min(1.0, sum_)


def excess_over(strata: Sequence[Stratum]) -> float:
    """Say how likely so many failures, or more, hit the first side, were both sides alike *on each node*.

    Theory: one node is Fisher's exact test. Over several it is the sum of what hit the first side, given each node's
    own failures: were all counts thrown together, a node that fails both sides and has more of the first one's requests
    would accuse it. The sum's exact tail costs too much; Chernoff's bound never says less than it (Hoeffding 1963: a
    draw without putting back is bounded by one with), best where few are drawn, so the smaller of both sides' holds.
    It needs about twice the requests where both sides have as many.
    Cost: some microseconds per node.
    """
    told = [(a, n, b, m, (a + b) / (n + m)) for a, n, b, m in strata if n and m and 0 < a + b < n + m]
    if len(told) < 2:
        return excess(*told[0][:4]) if told else 1.0
    return min(
        _beyond(sum(a for a, *_ in told), [(n, rate) for _, n, _, _, rate in told]),
        _beyond(sum(m - b for _, _, b, m, _ in told), [(m, 1.0 - rate) for _, _, _, m, rate in told]),
    )


def _beyond(hits: int, draws: Sequence[tuple[int, float]]) -> float:
    """Bound the chance of *hits* or more in all draws, each so many times with its own probability."""
    if hits <= sum(times * rate for times, rate in draws):
        return 1.0
    low, high = 0.0, STEEPEST
    for _ in range(HALVINGS):
        tilt = (low + high) / 2
        expected = sum(times * rate * exp(tilt) / (1.0 + rate * expm1(tilt)) for times, rate in draws)
        low, high = (tilt, high) if expected < hits else (low, tilt)
    return exp(min(0.0, sum(times * log1p(rate * expm1(low)) for times, rate in draws) - low * hits))


def at_least(hits: int, total: int, probability: float) -> float:
    """Say how likely *hits* or more of *total* are, each with its own chance of *probability*.

    Theory: the upper tail of the binomial distribution, exact; meant for hits above the mean, where it falls fast.
    """
    if hits <= total * probability:
        return 1.0
    if probability <= 0.0:
        return 0.0
    odds = probability / (1.0 - probability)
    term = exp(_log_choose(total, hits) + hits * log(probability) + (total - hits) * log1p(-probability))
    sum_, count = 0.0, hits
    while term > 0.0:
        sum_ += term
        if count >= total or term < 1e-9 * sum_:
            break
        term *= (total - count) / (count + 1) * odds
        count += 1
    return min(1.0, sum_)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
