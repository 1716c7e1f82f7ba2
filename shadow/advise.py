"""Put together what a route's recorded divergences say about its encoders: plan, style, and the code that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shadow.causes import CAUSES
from shadow.gocode import go_code
from shadow.plan import SPELLABLE, Plan, plan_of, sentence_of
from shadow.style import FRAMEWORKS, Seen, Style, fitting, style_of

MAX_PLACES: Final = 5
"""Places shown of a cause that no encoder setting takes away."""

VARIANTS: Final = ("go", "go-older")
"""What code can be written for: Go 1.27 and newer, and any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Hold one divergence, as much of it as a plan needs."""

    causes: frozenset[str]
    count: int
    """Pairs."""
    places: tuple[tuple[str, str], ...]
    """(cause, folded pointer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Hold what a route's new service should do to write like its legacy one."""

    route: str
    plan: Plan
    style: Style
    """As far as it was seen."""
    fits: tuple[str, ...]
    """Frameworks whose defaults nothing seen contradicts."""
    like: str
    """The framework that fills in what was not seen; empty: nothing does."""
    places: Mapping[str, tuple[str, ...]]
    """Of each cause, those with the most pairs first."""

    def code(self, variant: str) -> str:
        """Write the Go file for one of :data:`VARIANTS`."""
        style = self.style.over(FRAMEWORKS[self.like]) if self.like else self.style
        origin = f"what was recorded of the route {self.route}"
        if self.like:
            origin += f", and like {self.like} in what was not"
        return go_code(style, modern=variant == "go", origin=origin)

    def as_json(self) -> dict[str, Any]:
        """Show it as one object."""
        return {
            "route": self.route,
            "pairs": self.plan.pairs,
            "causes": [
                {"cause": one, "severity": CAUSES[one].severity.value, "encoder": one in SPELLABLE}
                for one in [*(step.cause for step in self.plan.steps), *(left.cause for left in self.plan.left)]
                if one in CAUSES
            ],
            "plan": [
                {
                    "cause": step.cause,
                    "pairs": step.pairs,
                    "identical": step.identical,
                    "share": round(self.plan.share(step), 1),
                }
                for step in self.plan.steps
            ],
            "sentence": sentence_of(self.plan),
            "left": [
                {"cause": left.cause, "pairs": left.pairs, "places": list(self.places.get(left.cause, ()))[:MAX_PLACES]}
                for left in self.plan.left
            ],
            "fits": list(self.fits),
            "like": self.like,
            "code": {variant: self.code(variant) for variant in VARIANTS} if self.plan.steps or self.like else {},
        }


def advise(route: str, groups: Iterable[Group], seen: Iterable[Seen], like: str = "") -> Advice:
    """Advise on one route.

    Shape: *like* is a name of :data:`FRAMEWORKS` or empty; a group without causes says nothing.
    """
    sets: Counter[frozenset[str]] = Counter()
    places: dict[str, Counter[str]] = {}
    for group in groups:
        if group.causes:
            sets[group.causes] += group.count
        for cause, place in group.places:
            places.setdefault(cause, Counter())[place] += group.count
    style = style_of(seen)
    return Advice(
        route=route,
        plan=plan_of(sets),
        style=style,
        fits=fitting(style),
        like=like,
        places={cause: tuple(place for place, _ in counts.most_common()) for cause, counts in places.items()},
    )
