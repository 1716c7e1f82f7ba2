"""What comparers saw since the last batch, grouped as it will be stored.

Rules of this file:

1. Counting is exact: whatever happens to an example, its pair is counted.
2. Memory is bounded in groups, examples and bytes; what does not fit is dropped and counted.
3. Of a group three examples are kept at most: the first, the newest and the smallest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_PENDING: Final = 5_000
"""Groups between two batches: nobody reads about more ways to differ within two seconds."""

MAX_EXAMPLE_BYTES: Final = 64 << 20
"""Of all examples between two batches: 30 pairs of the largest size that travels whole."""

MAX_CONSUMERS: Final = 10
"""Names of consumers per divergence; beyond it only that there are more is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Carry one comparison as its comparer described it, already redacted."""

    id: str
    """``c-…``."""
    request_id: str
    at: float
    size_bytes: int
    """Of both answers together: the smallest example is the one that is read first."""
    body: bytes
    """The description, encoded by whoever reads it again; the store never looks inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Describe one unequal pair as a comparer explained it."""

    divergence: str
    """``d-…``: the name of the group that the pair belongs to."""
    route: str
    status_legacy: int
    status_new: int
    rank: int
    """Place in the order of severity, 0 is the worst."""
    causes: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    """(cause, folded pointer), worst first."""
    same_meaning: bool | None
    at: float
    build: str
    """Of new; empty: it does not say."""
    consumer: str
    example: Example


@dataclass(slots=True, kw_only=True, eq=False)
class BuildState:
    """Count what one build of new showed of one group."""

    count: int = 0
    first_seen: float = 0.0
    last_seen: float = 0.0

    def add(self, count: int, first: float, last: float) -> None:
        """Take further pairs in."""
        self.first_seen = min(first, self.first_seen) if self.count else first
        self.last_seen = max(last, self.last_seen)
        self.count += count


@dataclass(slots=True, kw_only=True, eq=False)
class GroupState:
    """Count one group since the last batch."""

    route: str
    described: Sighting | None = None
    """The newest pair that was explained; ``None``: pairs were only counted."""
    same: int = 0
    different: int = 0
    builds: dict[str, BuildState] = field(default_factory=dict)
    consumers: set[str] = field(default_factory=set)
    """At most one more than :data:`MAX_CONSUMERS`."""
    first: Example | None = None
    newest: Example | None = None
    smallest: Example | None = None

    @property
    def count(self) -> int:
        """Sum the pairs over all builds."""
        return sum(build.count for build in self.builds.values())

    @property
    def examples(self) -> dict[str, Example]:
        """Give the examples by id."""
        return {one.id: one for one in (self.first, self.newest, self.smallest) if one is not None}

    @property
    def example_bytes(self) -> int:
        """Say what the examples cost."""
        return sum(len(example.body) for example in self.examples.values())

    def keep(self, example: Example) -> None:
        """Take an example in where it is the first, the newest or the smallest one."""
        if self.first is None or example.at < self.first.at:
            self.first = example
        if self.newest is None or example.at >= self.newest.at:
            self.newest = example
        if self.smallest is None or example.size_bytes < self.smallest.size_bytes:
            self.smallest = example

    def count_build(self, build: str, count: int, first: float, last: float) -> None:
        """Count pairs of one build of new."""
        self.builds.setdefault(build, BuildState()).add(count, first, last)

    def add_consumers(self, names: set[str]) -> None:
        """Remember who is affected, as far as there is room."""
        for name in sorted(names):
            if len(self.consumers) <= MAX_CONSUMERS:
                self.consumers.add(name)

    def join(self, older: GroupState) -> None:
        """Take in what was counted before this."""
        self.described = self.described or older.described
        self.same += older.same
        self.different += older.different
        for name, build in older.builds.items():
            self.count_build(name, build.count, build.first_seen, build.last_seen)
        self.add_consumers(older.consumers)
        for example in older.examples.values():
            self.keep(example)


class Groups:
    """Collect what was seen between two batches.

    Bound: :data:`MAX_PENDING` groups, :data:`MAX_EXAMPLE_BYTES` of examples.
    Cost: about 4 microseconds per pair.
    """

    __slots__ = ("_bytes", "_pending", "dropped", "examples_dropped")

    def __init__(self) -> None:
        self._pending: dict[str, GroupState] = {}
        self._bytes = 0
        self.dropped = 0
        """Pairs of groups that did not fit, or that the file has forgotten."""
        self.examples_dropped = 0
        """Pairs that were counted, but not kept as an example."""

    def add(self, sighting: Sighting) -> None:
        """Count one explained pair into its group, and keep it as an example if it is worth it."""
        group = self._group(sighting.divergence, sighting.route)
        if group is None:
            self.dropped += 1
            return
        group.described = sighting
        group.same += sighting.same_meaning is True
        group.different += sighting.same_meaning is False
        group.count_build(sighting.build, 1, sighting.at, sighting.at)
        if sighting.consumer:
            group.add_consumers({sighting.consumer})
        if self._bytes + len(sighting.example.body) > MAX_EXAMPLE_BYTES:
            self.examples_dropped += 1
            return
        self._bytes -= group.example_bytes
        group.keep(sighting.example)
        self._bytes += group.example_bytes

    def count(self, route: str, build: str, counts: Mapping[str, int], at: float) -> None:
        """Count pairs of groups that were explained before."""
        for divergence, count in counts.items():
            group = self._group(divergence, route)
            if group is None:
                self.dropped += count
            else:
                group.count_build(build, count, at, at)

    def take(self) -> dict[str, GroupState]:
        """Hand the pending groups over to be written, and begin anew."""
        taken, self._pending, self._bytes = self._pending, {}, 0
        return taken

    def put_back(self, taken: Mapping[str, GroupState]) -> None:
        """Take groups back that could not be written."""
        for divergence, older in taken.items():
            group = self._group(divergence, older.route)
            if group is None:
                self.dropped += older.count
                continue
            self._bytes -= group.example_bytes
            group.join(older)
            self._bytes += group.example_bytes

    def _group(self, divergence: str, route: str) -> GroupState | None:
        group = self._pending.get(divergence)
        if group is None and len(self._pending) < MAX_PENDING:
            group = self._pending[divergence] = GroupState(route=route)
        return group
