"""Count what one worker sees, and write its access log."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from time import time
from typing import Final

import msgspec
from xxhash import xxh64_intdigest

from rules.distinct import BITS
from rules.latency import BOUNDS_S
from shadow import redact
from shadow.lines import Lines
from shadow.link import DURATION_BOUNDS_S, Tally

_QUESTION_MARK: Final = ord("?")
"""A number: looking for one byte costs a seventh of looking for ``bytes``."""

_BUCKETS: Final = len(DURATION_BOUNDS_S) + 2
"""One per bound, the overflow, and the sum in microseconds."""

CODE_CLASS: Final = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx", "5xx", "5xx", "5xx", "5xx")
"""By the first digit; what is beyond 599 counts as a server's error (RFC 9110 section 15)."""

_PAIR_CLASS: Final = ("none", *CODE_CLASS[1:])
"""The same; 0 stands for a side that gave no complete answer."""


METHODS: Final = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
"""Those of RFC 9110 and RFC 5789; clients may invent any other, and a label has a bound."""

OTHER_METHOD: Final = "other"


ROOM: Final = 64
"""Pairs per route and tally of which more is counted than the classes: 256 a second and worker tell a quantile, and
which requests come, well enough, and a flood of copies does not pay for it."""


class PairCounts:
    """Count the finished comparisons of one route: what both sides answered, how soon, and to which requests.

    Shape: a request that the client or a fault of ours ended stands nowhere here: it says nothing about a side.
    """

    __slots__ = ("bits", "classes", "legacy_bins", "new_bins", "recent", "room")

    def __init__(self) -> None:
        self.recent: defaultdict[tuple[bytes, int, int], int] = defaultdict(int)
        """Method, legacy's status and new's, since the last tally; status 0: no complete answer."""
        self.classes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """The same as the tally names them, since this worker began."""
        self.legacy_bins: list[int] = []
        """From request sent to response head in the bins of :mod:`rules.latency`: only requests that both answered."""
        self.new_bins: list[int] = []
        self.bits: set[int] = set()
        """What :mod:`rules.distinct` counts, since the last tally."""
        self.room = ROOM

    def add(self, request: tuple[bytes, bytes, bytes], legacy_s: float, new_s: float) -> None:
        """Count how soon both sides answered a request (its method, target and body), and which one it was.

        Cost: 0.7 microseconds; the caller asks for :attr:`room` first.
        """
        self.room -= 1
        for bins, seconds in ((self.legacy_bins, legacy_s), (self.new_bins, new_s)):
            place = bisect_left(BOUNDS_S, seconds)
            if place >= len(bins):
                bins += [0] * (place + 1 - len(bins))
            bins[place] += 1
        self.bits.add(xxh64_intdigest(b"".join(request)) % BITS)

    def begin_anew(self) -> bytes:
        """Name what was counted since the last tally, make room for more, and hand out the bits.

        Bound: ten names of methods, six classes a side: clients invent methods, and a label has a bound.
        """
        recent, self.recent = self.recent, defaultdict(int)
        for (method, legacy, new), count in recent.items():
            labels = METHODS.get(method, OTHER_METHOD), _PAIR_CLASS[legacy // 100], _PAIR_CLASS[new // 100]
            self.classes[labels] += count
        bits, self.bits = self.bits, set()
        self.room = ROOM
        return array("H", bits).tobytes()

    def totals(self, route: str) -> Iterator[tuple[str, int]]:
        """Name the counts as the tally does."""
        for (method, legacy, new), count in self.classes.items():
            yield f"paired|{route}|{method}|{legacy}|{new}", count

    def bins(self, route: str) -> Iterator[tuple[str, list[int]]]:
        """Name the histograms as the tally does."""
        if self.legacy_bins:
            yield f"paired_head|{route}|legacy", self.legacy_bins
            yield f"paired_head|{route}|new", self.new_bins


class RouteCounts:
    """Count what happens on nearly every request of one route; the rest lives in :attr:`Counts.totals`."""

    __slots__ = ("copies", "eligible", "pairs", "sent", "unsampled")

    def __init__(self) -> None:
        self.pairs = PairCounts()
        self.eligible = 0
        self.unsampled = 0
        self.sent = 0
        self.copies = {"legacy": 0, "new": 0}

    def is_idle(self) -> bool:
        """Tell whether nothing was ever counted here: an idle route costs a tally nothing."""
        return not (self.eligible or self.copies["legacy"] or self.copies["new"])

    def totals(self, route: str) -> Iterator[tuple[str, int]]:
        """Name the counts as the tally does."""
        yield f"eligible|{route}", self.eligible
        yield f"unsampled|{route}", self.unsampled
        yield f"sent|{route}", self.sent
        for side, count in self.copies.items():
            yield f"copies|{route}|{side}|compare", count
        yield from self.pairs.totals(route)


class PrimaryCounts:
    """Count comparisons of one route while one side was the primary."""

    __slots__ = ("identical", "in_flight", "unequal")

    def __init__(self) -> None:
        self.in_flight = 0
        self.identical = 0
        self.unequal = 0

    def totals(self, labels: str) -> Iterator[tuple[str, int]]:
        """Name the counts as the tally does."""
        yield f"identical|{labels}", self.identical
        yield f"unequal|{labels}", self.unequal


class Counts:
    """Hold one worker's cumulative totals.

    Shape: ``totals`` maps ``(family, label, …)`` to a number; families and labels are listed in docs/architecture.md.
    Cost: 0.2 microseconds per count.
    """

    __slots__ = ("builds", "durations", "gauges", "last_legacy", "primaries", "routes", "totals", "version")

    def __init__(self) -> None:
        self.totals: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self.gauges: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self.durations: dict[tuple[str, str, str], list[int]] = {}
        self.last_legacy: dict[str, float] = {}
        self.builds: dict[str, str] = {}
        """Route to the build that new named last; only what was said since the last tally."""
        self.routes: dict[str, RouteCounts] = {}
        self.primaries: dict[tuple[str, str], PrimaryCounts] = {}
        self.version = 0

    def route(self, name: str) -> RouteCounts:
        """Give one route's counts; they outlive every snapshot."""
        return self.routes.setdefault(name, RouteCounts())

    def primary(self, route: str, side: str) -> PrimaryCounts:
        """Give one route's counts under one primary."""
        return self.primaries.setdefault((route, side), PrimaryCounts())

    def add(self, *key: str) -> None:
        """Count one; for callers that are handed a function."""
        self.totals[key] += 1

    def skip(self, route: str, reason: str, method: bytes) -> None:
        """Count an eligible request that gets no copy: why not, and by which method, for nothing compares it."""
        self.totals["skipped", route, reason] += 1
        self.totals["uncopied", route, METHODS.get(method, OTHER_METHOD)] += 1

    def observe(self, family: str, route: str, side: str, seconds: float) -> None:
        """Add one duration to a histogram."""
        histogram = self.durations.get((family, route, side))
        if histogram is None:
            histogram = self.durations[family, route, side] = [0] * _BUCKETS
        histogram[bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        histogram[-1] += int(seconds * 1e6)

    def tally(self, epoch: str, *, final: bool = False) -> Tally:
        """Write everything down for control.

        Order: each call has a higher sequence than the one before.
        """
        self.version += 1
        builds, self.builds = self.builds, {}
        counts = {"|".join(key): value for key, value in self.totals.items()}
        # A gauge that is missing is zero: idle routes cost nothing.
        gauges = {"|".join(key): value for key, value in self.gauges.items() if value}
        histograms = {"|".join(key): value for key, value in self.durations.items()}
        distinct = {}
        for name, route in self.routes.items():
            if route.is_idle():
                continue
            if route.pairs.recent and (bits := route.pairs.begin_anew()):
                distinct[name] = bits
            counts.update(pair for pair in route.totals(name) if pair[1])
            histograms.update(route.pairs.bins(name))
        for (name, side), primary in self.primaries.items():
            counts.update(pair for pair in primary.totals(f"{name}|{side}") if pair[1])
            if primary.in_flight:
                gauges[f"in_flight|{name}|{side}"] = primary.in_flight
        return Tally(
            epoch=epoch,
            sequence=self.version,
            counts=counts,
            gauges=gauges,
            histograms=histograms,
            last_legacy=dict(self.last_legacy),
            builds=builds,
            distinct=distinct,
            final=final,
        )


class AccessRecord(msgspec.Struct, frozen=True, gc=False):
    """Be one line of the access log: one answered or abandoned request."""

    time: str
    request_id: str
    client: str
    method: str
    target: str
    """As received, but for the values of its query and what the route redacts by pattern (:func:`logged_target`)."""
    route: str
    side: str
    backend: str
    revision: int
    bucket: int
    reason: str
    cohort: str
    """Whose own stage decided; empty: everybody's."""
    status: int
    """499: the client went away before the answer was complete."""
    response_bytes: int
    head_us: int
    """Request sent to response head; 0 when no head came."""
    total_us: int
    fallback: str
    copied: bool


def logged_target(target: bytes, patterns: tuple[re.Pattern[bytes], ...] = ()) -> str:
    """Give a request target as the access log shows it.

    Cost: 0.1 microseconds for a target without query on a route without patterns.
    """
    if patterns:
        target = redact.without(patterns, target)
    return redact.mask_query(target) if _QUESTION_MARK in target else target.decode("ascii", "backslashreplace")


class AccessLog:
    """Write JSON lines to a file descriptor without ever blocking the event loop.

    Bound: 4 MiB waiting; a line beyond that is dropped and counted.
    """

    MAX_WAITING_BYTES: Final = 4 << 20

    def __init__(self, fd: int, counts: Counts) -> None:
        self._lines = Lines(fd, max_bytes=self.MAX_WAITING_BYTES, name="access-log")
        self._counts = counts
        self._buffer = bytearray()
        self._room = self.MAX_WAITING_BYTES
        """How much may be appended until the next flush; by then the thread has more room, not less."""
        self._encoder = msgspec.json.Encoder()
        self._lost_counted = 0
        self._second = 0
        self._prefix = ""

    def now(self) -> str:
        """Give the time in RFC 3339 with milliseconds; the date part is made once per second."""
        moment = time()
        second = int(moment)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._prefix}{int((moment - second) * 1000):03d}Z"

    def append(self, record: AccessRecord) -> None:
        """Add one line.

        Cost: about 1 microsecond.
        """
        if len(self._buffer) > self._room:
            self._counts.totals[("log_dropped",)] += 1
            return
        self._encoder.encode_into(record, self._buffer, -1)
        self._buffer += b"\n"

    def flush(self) -> None:
        """Hand the buffer to the writing thread; called a few times per second."""
        if self._buffer:
            self._lines.write(bytes(self._buffer))
            self._buffer.clear()
        self._room = self.MAX_WAITING_BYTES - self._lines.waiting_bytes
        lost = self._lines.dropped - self._lost_counted
        if lost:
            self._lost_counted += lost
            self._counts.totals[("log_dropped",)] += lost

    def close(self, timeout: float = 0.5) -> None:
        """Write what is left, within *timeout* seconds."""
        self.flush()
        self._lines.close(timeout)
