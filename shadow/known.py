"""What a comparer remembers of a route's pairs, and how much time explanations may take.

Rules of this file:

1. A pair is explained when nobody like it was, and then by sample, ever more rarely; all others are counted under the
   divergence of the one that was explained. So counts are exact while examples are few.
2. New kinds of difference and samples of known ones draw on two purses of time: a flood of the common never delays
   the rare. A purse may go into debt by one explanation, which it pays off before the next.
3. Everything is bounded; the oldest goes first.

Why it is done so: docs/decisions/0016-fingerprints.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from shadow import link
from shadow.encoding import NOTHING, Encoding
from shadow.findings import Group

MAX_POLICIES: Final = 2_000
"""Policies remembered; of a route that was reloaded the older one goes in time."""

MAX_KINDS: Final = 1_000
"""Kinds of pairs remembered per policy."""

MAX_COUNTED: Final = 50_000
"""Divergences that wait to be counted by control; beyond it pairs are lost and said to be."""

FIRST_NS: Final = 100_000_000
"""A kind is explained again so long after it was first, and each time after twice as long."""

LAST_NS: Final = 10_000_000_000
"""At least so often, so that an example is never older while pairs of the kind come."""

PER_ROUTE: Final = 20
"""Findings per route and second: what a live view can show, a thousandth of a busy route's pairs."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(slots=True, eq=False)
class Kind:
    """Remember the pairs that share a key."""

    group: Group
    is_hopeless: bool = False
    """The one that was explained differed where no tolerance reaches: all of them are divergent."""
    is_described: bool = False
    """Control has had an example of :attr:`group`."""
    due_ns: int = 0
    """When the next one is explained."""
    wait_ns: int = FIRST_NS

    def put_off(self, now_ns: int) -> None:
        """Control has had an example: wait twice as long for the next."""
        self.is_described = True
        self.due_ns = now_ns + self.wait_ns
        self.wait_ns = min(2 * self.wait_ns, LAST_NS)


@dataclass(slots=True, eq=False)
class PolicyMemory:
    """Remember the kinds of pairs under one policy."""

    kinds: dict[object, Kind] = field(default_factory=dict)

    def learn(self, key: object, kind: Kind) -> None:
        """Remember one more kind; the oldest goes where there is no room."""
        if len(self.kinds) >= MAX_KINDS and key not in self.kinds:
            del self.kinds[next(iter(self.kinds))]
        self.kinds[key] = kind


class Memory:
    """Remember policies, encodings, and pairs that control has yet to count."""

    def __init__(self) -> None:
        self._policies: dict[int, PolicyMemory] = {}
        self._encodings: dict[str, Encoding] = {}
        self._counts: dict[tuple[str, str], dict[str, int]] = {}
        self._counted = 0
        self.lost = 0
        """Pairs that no divergence counts, because too many divergences waited."""

    def of(self, policy: link.Policy) -> PolicyMemory:
        """Give the memory of one policy."""
        found = self._policies.get(policy.number)
        if found is None:
            if len(self._policies) >= MAX_POLICIES:
                del self._policies[next(iter(self._policies))]
            found = self._policies[policy.number] = PolicyMemory()
        return found

    def encoding_of(self, route: str) -> Encoding:
        """Give a route's proven cosmetic causes."""
        return self._encodings.get(route, NOTHING)

    def teach(self, route: str, encoding: Encoding) -> None:
        """Set a route's proven cosmetic causes."""
        if route not in self._encodings and len(self._encodings) >= MAX_POLICIES:
            del self._encodings[next(iter(self._encodings))]
        self._encodings[route] = encoding

    def count(self, route: str, build: str, divergence: str) -> None:
        """Count one pair that is not explained."""
        counts = self._counts.setdefault((route, build), {})
        if divergence not in counts:
            if self._counted >= MAX_COUNTED:
                self.lost += 1
                return
            self._counted += 1
        counts[divergence] = counts.get(divergence, 0) + 1

    def take_counts(self, at: float) -> Iterator[link.Seen]:
        """Hand over what was counted since the last time."""
        counted, self._counts, self._counted = self._counts, {}, 0
        for (route, build), counts in counted.items():
            if counts:
                yield link.Seen(route=route, build=build, counts=counts, at=at)

    def forget_examples(self) -> None:
        """Have the next pair of each kind explained: whoever keeps examples may have none."""
        for policy in self._policies.values():
            for kind in policy.kinds.values():
                kind.due_ns, kind.is_described = 0, False


class Purse:
    """Hold the time that explanations of one sort may take.

    Bound: *per_second_ns* in the long run; a single explanation may overdraw it.
    """

    __slots__ = ("_per_second_ns", "_since_ns", "_spent_ns")

    def __init__(self, per_second_ns: int) -> None:
        self._per_second_ns = per_second_ns
        self._spent_ns = 0
        self._since_ns = 0

    def is_open(self, now_ns: int) -> bool:
        """Say whether anything may be taken now."""
        refill_ns = (now_ns - self._since_ns) * self._per_second_ns // _SECOND_NS
        self._spent_ns = max(0, self._spent_ns - refill_ns)
        self._since_ns = now_ns
        return self._spent_ns < self._per_second_ns

    def take(self, duration_ns: int) -> None:
        """Take what one explanation has cost."""
        self._spent_ns += duration_ns


class Ration:
    """Count Findings per route and second.

    Bound: PER_ROUTE; the routes of one second.
    """

    __slots__ = ("_given", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._given: dict[str, int] = {}

    def has(self, route: str, now_ns: int) -> bool:
        """Say whether the route may have one more."""
        if now_ns // _SECOND_NS != self._second:
            self._second = now_ns // _SECOND_NS
            self._given.clear()
        return self._given.get(route, 0) < PER_ROUTE

    def take(self, route: str) -> None:
        """Give the route one."""
        self._given[route] = self._given.get(route, 0) + 1
