"""What the evidence says about a route's encoders: its divergences as groups, their kept examples as what was seen."""

from __future__ import annotations

from typing import Final

from console.recorder import decode_finding
from console.sealing import Sealing
from shadow.advise import Advice, Group, advise
from shadow.style import Seen
from store.divergences import Divergence, DivergenceStore, Wanted
from store.triage import State

MAX_GROUPS: Final = 500
"""Divergences of one route that are planned with; those left out are the mildest and rarest."""
MAX_LOOKED_AT: Final = 60
"""Divergences whose examples are read, the most frequent ones."""


async def advice_on(store: DivergenceStore, sealing: Sealing, route: str, like: str) -> Advice:
    """Advise on one route from what is recorded; what was found to be fixed does not count.

    Raises: StoreError.
    """
    found = await store.page(Wanted(route=route), after=None, limit=MAX_GROUPS)
    open_ones = [one for one in found if one.state is not State.FIXED]
    groups = [Group(causes=frozenset(one.causes), count=one.count, places=one.places) for one in open_ones]
    seen: list[Seen] = []
    for one in sorted(open_ones, key=lambda one: -one.count)[:MAX_LOOKED_AT]:
        seen += await _seen(store, sealing, one)
    return advise(route, groups, seen, like)


async def _seen(store: DivergenceStore, sealing: Sealing, divergence: Divergence) -> list[Seen]:
    """Read what the kept examples of a divergence show; those that cannot be read show nothing."""
    seen = []
    for kept in await store.examples(divergence.id):
        stored = await store.comparison(kept.id)
        if stored is None:
            continue
        try:
            finding = decode_finding(sealing.open(stored[1]))
        except ValueError:
            continue
        seen += [
            Seen(cause=one.cause, detail=one.detail, legacy=one.legacy, new=one.new) for one in finding.differences
        ]
    return seen
