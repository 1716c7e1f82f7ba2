"""What every route did within the last seconds on this node: what a watchdog looks at, twice a second.

Theory: a window of n seconds is cut into :data:`STEPS` steps. At each look the totals of all workers are compared with
those of the look before; what grew is added to the open step of every window of its route. A window holds one running
sum, from which a step is taken away again when it leaves, so asking costs nothing and growing costs what grew.

Rules of this file:

1. Windows hold what this node's workers told within them, by control's own clock. After a start of control a window is
   short (``covers_s``) until it is full again; whoever acts on it says how much it has seen.
2. Nothing is counted twice: a worker's totals are compared with its own last ones. What a worker counted while nobody
   looked (control was away) belongs to no window: its first tally is only compared with.
3. A window exists from the first question for it on, and is forgotten when nobody has asked for a minute.

How a failure of a side is seen on the client's path, each once: ``requests`` has every answer to a client by the side
that gave it, 5xx included, and among them what Matapalo answers for a side that cannot be reached (502) or does not
answer in time (504); ``broken`` counts answers that ended in the middle, which stand under the status of their head in
``requests``; ``fallbacks`` counts requests that new failed and legacy answered, which stand under legacy's status in
``requests``. A retried request counts once, when it is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from console.epochs import FOLDED, Record

STEPS: Final = 60
"""Of one window: a window of a minute moves each second, one of ten minutes every ten."""

MAX_SECONDS: Final = 3_600.0

FORGOTTEN_S: Final = 60.0

YOUNG: Final = 12
"""A worker that is met with a later tally than this, three seconds after its start, has counted unseen."""

Cell = tuple[str, ...]
"""A family and its labels but the route: ``("requests", "new", "5xx")``."""

FAMILIES: Final = frozenset(
    {
        "requests",
        "broken",
        "fallbacks",
        "client_aborts",
        "eligible",
        "sent",
        "identical",
        "tolerated",
        "divergent",
        "undecided",
        "errored",
        "paired",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Be what one route did within some seconds, on this node."""

    seconds: float
    """What was asked for."""
    covers_s: float
    """How much of it was seen; less than ``seconds`` while the window fills."""
    counts: Mapping[Cell, int]
    """Whatever did not happen is missing. ``requests|side|class`` · ``broken|side`` · ``fallbacks|reason`` ·
    ``client_aborts|side`` · ``eligible`` · ``sent`` · ``identical|primary`` · ``tolerated|primary`` ·
    ``divergent|primary`` · ``undecided|primary|reason`` · ``errored|primary|which`` · ``paired|legacy class|new class``
    (``2xx`` … ``5xx``, ``none``: no complete answer)."""

    def total(self, *cell: str) -> int:
        """Sum every count whose family and first labels are these: ``total("requests", "new")``."""
        size = len(cell)
        return sum(count for key, count in self.counts.items() if key[:size] == cell)

    def answered(self, side: str) -> int:
        """Count the requests that a side had to answer: those that it answered, and those that fell back from new."""
        return self.total("requests", side) + (self.total("fallbacks") if side == "new" else 0)

    def failed(self, side: str) -> int:
        """Count the requests that a side failed towards clients: 5xx, unreachable, late, broken off, fallen back."""
        failed = self.counts.get(("requests", side, "5xx"), 0) + self.counts.get(("broken", side), 0)
        return failed + (self.total("fallbacks") if side == "new" else 0)

    def pairs(self) -> dict[tuple[str, str], int]:
        """Give how often both sides answered one request how: (legacy's class, new's) to pairs."""
        return {key[1:]: count for key, count in self.counts.items() if key[0] == "paired"}  # type: ignore[misc]  # (legacy, new)


class _Sliding:
    """Hold one window of one route while it moves."""

    __slots__ = ("asked_at", "began_at", "steps", "sums", "width_s")

    def __init__(self, seconds: float, now: float) -> None:
        self.width_s = seconds / STEPS
        self.began_at = now
        self.asked_at = now
        self.steps: deque[tuple[float, dict[Cell, int]]] = deque()
        """When each step began, and what it holds; steps in which nothing happened are missing."""
        self.sums: dict[Cell, int] = {}

    def add(self, grown: Mapping[Cell, int], now: float) -> None:
        """Count what happened since the last look."""
        sums = self.sums
        for cell, count in grown.items():
            sums[cell] = sums.get(cell, 0) + count
        if not self.steps or now - self.steps[-1][0] >= self.width_s:
            self.steps.append((now, dict(grown)))
            return
        step = self.steps[-1][1]
        for cell, count in grown.items():
            step[cell] = step.get(cell, 0) + count

    def leave(self, since: float) -> None:
        """Take away the steps that began before *since*."""
        sums = self.sums
        while self.steps and self.steps[0][0] <= since:
            for cell, count in self.steps.popleft()[1].items():
                sums[cell] -= count
                if not sums[cell]:
                    del sums[cell]


class Windows:
    """Answer what a route did within the last n seconds.

    Shape: call :meth:`tick` before each look with ``state.totals.records()``, then ask :meth:`window` for each route.
    Runs: on control's loop.
    Bound: at most :data:`STEPS` steps per window that somebody asks for; 1,000 routes busy each second take 25 MB.
    Cost: per look 2 ms for a worker that knows 1,000 routes, and 7 microseconds for each of them that did something.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Mapping[str, int]] = {}
        """Epoch to the counts of the last look; values that nobody changes."""
        self._keys: dict[str, tuple[str, Cell] | None] = {}
        """Key of a tally to route and cell; ``None``: nothing for a window."""
        self._sliding: dict[str, dict[float, _Sliding]] = {}
        self._unheard: set[str] | None = None
        """Epochs of former looks of a control before this one, until they speak; ``None``: nobody has looked yet."""

    def tick(self, records: Iterable[Record], now: float) -> None:
        """Take in what the workers have counted since the last look; *now* is monotonic."""
        known, self._counts = self._counts, {}
        grown: dict[str, dict[Cell, int]] = {route: {} for route in self._sliding}
        for record in records:
            epoch, counts = record.epoch, record.counts
            if epoch == FOLDED:
                continue
            self._counts[epoch] = counts
            before = known.get(epoch)
            if before is counts:
                continue
            if before is None and self._unheard is not None and record.sequence <= YOUNG:
                before = {}
            if before is not None and epoch not in (self._unheard or ()):
                self._compare(before, counts, grown)
            elif self._unheard is not None:
                self._unheard.discard(epoch)
        for route, cells in grown.items():
            if cells:
                for sliding in self._sliding[route].values():
                    sliding.add(cells, now)
        if self._unheard is None:
            self._unheard = set(self._counts)
        self._forget(now)

    def window(self, route: str, seconds: float, now: float) -> Window:
        """Give what *route* did within the last *seconds*; the first question begins the window, which is empty then.

        Shape: what was counted until the last :meth:`tick`.
        """
        seconds = min(seconds, MAX_SECONDS)
        windows = self._sliding.setdefault(route, {})
        sliding = windows.get(seconds)
        if sliding is None:
            sliding = windows[seconds] = _Sliding(seconds, now)
        sliding.asked_at = now
        sliding.leave(now - seconds)
        return Window(seconds=seconds, covers_s=min(seconds, now - sliding.began_at), counts=dict(sliding.sums))

    def begin_anew(self, route: str) -> None:
        """Forget what a route did until now: after a flip the past says nothing about what comes."""
        self._sliding.pop(route, None)

    def _compare(
        self, before: Mapping[str, int], counts: Mapping[str, int], grown: Mapping[str, dict[Cell, int]]
    ) -> None:
        """Add what one worker has counted since *before* to what grew, of the routes that somebody asks for."""
        keys = self._keys
        for key, was in _pairs(before, counts):
            try:
                place = keys[key]
            except KeyError:
                place = keys[key] = _cell_of(key)
            if place is not None and (cells := grown.get(place[0])) is not None:
                cell = place[1]
                cells[cell] = cells.get(cell, 0) + counts[key] - was

    def _forget(self, now: float) -> None:
        """Let windows go that nobody asks for, and names of routes that are gone."""
        for route, windows in list(self._sliding.items()):
            for seconds, sliding in list(windows.items()):
                if now - sliding.asked_at > FORGOTTEN_S:
                    del windows[seconds]
            if not windows:
                del self._sliding[route]
        self._unheard = (self._unheard or set()) & self._counts.keys()
        if len(self._keys) > 2 * sum(map(len, self._counts.values())) + 10_000:
            self._keys.clear()


def _pairs(before: Mapping[str, int], counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Name the keys whose count has changed, with what it was."""
    known = before.get
    return [(key, was) for key, count in counts.items() if (was := known(key, 0)) != count]


def _cell_of(key: str) -> tuple[str, Cell] | None:
    """Take a tally's key apart; a backend's name and a pair's method tell a window nothing."""
    family, *labels = key.split("|")
    if family not in FAMILIES or not labels:
        return None
    route, *rest = labels
    if family == "requests" and len(rest) == 3:
        rest = [rest[0], rest[2]]
    elif family == "paired":
        rest = rest[1:]
    return route, (family, *rest)
