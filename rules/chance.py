"""How likely it is that chance alone made one side look worse: two exact tests."""

from __future__ import annotations

from math import exp, lgamma, log, log1p
from typing import Final

CHANCE: Final = 1e-8
"""What chance may explain less often than this is no chance."""


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
