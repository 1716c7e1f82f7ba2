"""How the noise of a divergence, its repeats and its last recheck look as JSON in the admin API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from console.journal import moment_text
from store.divergences import Divergence
from store.evidence import EvidenceStore
from store.repeats import Noise, Recheck

Json = dict[str, Any]  # Any: JSON

SHOWN_PLACES: Final = 3
"""Of noisy places, so many stand in a sentence; the others beside it."""

OUTCOMES: Final = ("gone", "stays", "other")


async def beside(evidence: EvidenceStore, found: Sequence[Divergence]) -> list[Json]:
    """Say what stands beside each of these divergences: noise, repeats, the last recheck.

    Raises: StoreError.
    """
    names = [divergence.id for divergence in found]
    noise = await evidence.repeats.noise(divergence.route for divergence in found)
    repeated = await evidence.repeats.repeated(names)
    rechecks = await evidence.repeats.rechecks(names)
    return [
        {
            "noise": noise_as_json(divergence, noise.get(divergence.route, Noise())),
            "again": again_as_json(repeated.get(divergence.id, {})),
            "recheck": recheck_as_json(rechecks.get(divergence.id)),
        }
        for divergence in found
    ]


def noise_as_json(found: Divergence, noise: Noise) -> Json:
    """Show how often legacy differs from itself where a divergence is; shares in percent, ``null``: nobody knows."""
    rate = noise.rate_of(found.places)
    places: list[Json] = [
        {"cause": cause, "path": path, "rate": None if one is None else round(100 * one, 2)}
        for cause, path in found.places
        for one in (noise.rate_of([(cause, path)]),)
    ]
    return {
        "sentence": _sentence(noise, rate, places),
        "asked": noise.asked,
        "rate": None if rate is None else round(100 * rate, 2),
        "places": places,
    }


def _sentence(noise: Noise, rate: float | None, places: Sequence[Json]) -> str:
    """Say what noise means for a divergence, and which of its places are noisy where not all are."""
    if not noise.asked:
        return "unknown: legacy is not asked twice on this route (`noise` in the configuration)"
    if rate is None:
        return f"unknown: legacy was asked twice {noise.asked} times, which is too few to tell"
    if not rate:
        loud = {one["path"] or one["cause"]: one["rate"] for one in places if one["rate"]}
        told = f"none: asked twice {noise.asked} times, legacy never differed from itself at one of these places"
        return told + "".join(f"; at {name} in {share:g} %" for name, share in [*loud.items()][:SHOWN_PLACES])
    return f"legacy differs from itself here in {round(100 * rate, 2):g} % of {noise.asked} answers"


def again_as_json(attempts: Mapping[int, Mapping[str, int]]) -> list[Json]:
    """Show per attempt how often the difference was gone, stayed, or gave way to another one."""
    return [
        {"attempt": attempt, **{outcome: outcomes.get(outcome, 0) for outcome in OUTCOMES}}
        for attempt, outcomes in sorted(attempts.items())
    ]


def recheck_as_json(recheck: Recheck | None) -> Json | None:
    """Show the last recheck."""
    if recheck is None:
        return None
    return {
        "at": moment_text(recheck.at),
        "outcome": recheck.outcome,
        "sentence": recheck.sentence,
        "comparison": recheck.comparison,
        "by": recheck.actor,
        "builds": [recheck.build_legacy, recheck.build_new],
    }
