"""What a proposed tolerance would have hidden, told from the comparisons that are kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from config.json_path import read_place
from config.spec import ToleranceSpec
from console.recorder import decode_finding
from console.sealing import Sealing
from console.shapes import Json
from shadow.link import DifferenceItem, Finding
from shadow.place import PlaceMatcher
from shadow.proposal import Foresight, foresee, foresee_item
from store.divergences import Divergence, DivergenceStore, Wanted

MAX_GROUPS: Final = 200
"""Divergences that are looked at, the worst ones of the route first."""

MAX_EXAMPLES: Final = 10
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """Hold one divergence, its newest kept comparison, and what would become of it."""

    group: Divergence
    comparison: str
    finding: Finding
    foresight: Foresight


async def foretell(store: DivergenceStore, sealing: Sealing, spec: ToleranceSpec, days: int) -> Json:
    """Say which divergences that were seen in the last *days* a tolerance would have hidden, with ten examples.

    Shape: a divergence is judged by its newest kept comparison, and counts with all its pairs.
    Raises: StoreError, and ValueError for a comparison that cannot be read.
    """
    since = time.time() - days * DAY_S
    groups = await store.page(Wanted(route=spec.route or None), after=None, limit=MAX_GROUPS)
    looked = []
    for group in groups:
        if group.last_seen < since or not (kept := await store.examples(group.id)):
            continue
        found = await store.comparison(kept[0].id)
        if found is not None:
            finding = decode_finding(sealing.open(found[1]))
            foresight = foresee(spec, finding.differences, omitted=finding.omitted)
            looked.append(_Looked(group=group, comparison=kept[0].id, finding=finding, foresight=foresight))
    sums: dict[Foresight, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in looked:
        divergences, pairs = sums[one.foresight]
        sums[one.foresight] = divergences + 1, pairs + one.group.count
    return {
        "days": days,
        **{
            kind.value: {"divergences": sums[kind][0], "pairs": sums[kind][1]}
            for kind in (Foresight.HIDDEN, Foresight.PARTLY, Foresight.UNKNOWN)
        },
        "examples": [example for one in looked for example in _examples(spec, one)][:MAX_EXAMPLES],
        "sentence": _sentence(sums, days, len(groups) == MAX_GROUPS),
    }


def _examples(spec: ToleranceSpec, one: _Looked) -> Iterator[Json]:
    """Give every difference of a comparison that would be hidden."""
    matcher = None if spec.path is None else PlaceMatcher(read_place(spec.path))
    for item in one.finding.differences:
        if not item.tolerated_by and foresee_item(spec, item, matcher) is Foresight.HIDDEN:
            yield {
                "divergence": one.group.id,
                "comparison": one.comparison,
                "cause": item.cause,
                "path": item.folded,
                "whole": one.foresight is Foresight.HIDDEN,
                "legacy": item.legacy,
                "new": item.new,
                "sentence": _place(one, item),
            }


def _place(one: _Looked, item: DifferenceItem) -> str:
    rest = "" if one.foresight is Foresight.HIDDEN else "; other differences of this pair stay"
    return f"{item.cause} at {item.folded or 'the root'} of {one.finding.method} {one.finding.target}{rest}"


def _sentence(sums: dict[Foresight, tuple[int, int]], days: int, is_cut: bool) -> str:
    """Say it in one breath."""
    parts = [
        f"{text} {_counted(sums[kind])}"
        for kind, text in (
            (Foresight.HIDDEN, "all of"),
            (Foresight.PARTLY, "a part of"),
            (Foresight.UNKNOWN, "perhaps something of (the reports do not keep enough to tell)"),
        )
        if sums[kind][0]
    ]
    bound = f"; only the {MAX_GROUPS} worst divergences were looked at" if is_cut else ""
    return f"Of what was seen in the last {days} days it would have hidden {', '.join(parts) or 'nothing'}{bound}."


def _counted(pair: tuple[int, int]) -> str:
    divergences, pairs = pair
    return f"{divergences} divergence{'' if divergences == 1 else 's'} ({pairs} pair{'' if pairs == 1 else 's'})"
