"""Keep the holds of this node: change, fsync, tell, and know who respects them.

The supervisor is the only writer of ``state_dir/holds``. Rollback runs through here with control,
the database and every other part dead.

Rules of this file:

1. A change is on disk before anybody hears of it; a release that cannot be written does not happen.
2. A *hold* that cannot be written (a full disk at 3 am) is put into effect all the same, because it leads
   towards the side that works; but it is answered as not ok, because a restart would forget it.
3. A file that cannot be read is set aside and reported, never guessed at: the node starts with no holds,
   says so loudly, and stays degraded until holds are changed again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NamedTuple

import msgspec

from config.errors import MatapaloError
from proxy.statedir import write_whole
from shadow import link

ACK_S: Final = 1.0
"""A rollback reaches traffic within a second (the issue's bar); whoever has not acknowledged by then is named."""

MAX_QUEUED: Final = 64
"""Changes come from people and one control process; more than this waiting means something loops."""

MAX_NAMED: Final = 10


class HoldsError(MatapaloError):
    """A change of holds cannot be made; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Be one whole set of holds."""

    revision: int
    """Counts changes of this node's holds; has nothing to do with the snapshot's revision."""
    items: Mapping[str, link.HoldItem]
    """By route."""

    def after(self, change: link.ChangeHolds, routes: Mapping[str, bool]) -> tuple[Held, list[str]]:
        """Apply a change, and name the routes it touches.

        Shape: ``routes`` says for each route whether it has a legacy side.
        Raises: HoldsError when a route to hold does not exist or has no legacy side.
        """
        adds = list(change.add)
        if change.all_routes:
            template = change.template or link.HoldItem(route="")
            adds += [msgspec.structs.replace(template, route=name) for name, has_legacy in routes.items() if has_legacy]
        for item in adds:
            _check(item.route, routes)
        items = {name: item for name, item in self.items.items() if name not in change.remove}
        items.update((item.route, item) for item in adds)
        touched = dict.fromkeys(item.route for item in adds)
        touched.update(dict.fromkeys(name for name in change.remove if name in self.items))
        return Held(revision=self.revision + 1, items=items), list(touched)

    def message(self) -> link.Holds:
        """Say the whole set on the parent link."""
        return link.Holds(revision=self.revision, holds=list(self.items.values()))


NOTHING_HELD: Final = Held(revision=0, items={})


def holds_at_rest(path: str) -> link.Holds:
    """Read what the supervisor wrote last; a missing file holds nothing.

    Raises: OSError, msgspec.MsgspecError when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=link.Holds)
    except FileNotFoundError:
        return NOTHING_HELD.message()


def read_holds(path: str) -> tuple[Held, str]:
    """Read the holds at rest as their owner, and say what was wrong with them, or nothing.

    Shape: an unreadable file is renamed to ``holds.unreadable-<Unix time>``.
    """
    try:
        message = holds_at_rest(path)
        return Held(revision=message.revision, items={item.route: item for item in message.holds}), ""
    except (OSError, msgspec.MsgspecError) as error:
        aside = f"{path}.unreadable-{int(time.time())}"
        try:
            os.replace(path, aside)
            where = f"it is kept as {aside}"
        except OSError as failure:
            where = f"it stays where it is ({failure.strerror})"
        return NOTHING_HELD, (
            f"the holds file {path} cannot be read ({error}), so NO ROUTE IS HELD now; {where}: "
            "look into it and hold the routes again (`matapalo hold`)"
        )


class _Made(NamedTuple):
    """Hold an answer without its acknowledgements, and who owes them, in which slot."""

    changed: link.HoldsChanged
    told: Mapping[object, int]


class HoldsKeeper:
    """Own the current set, and let one change happen at a time.

    Runs: :meth:`run` as a task of the supervisor; everything else on the same loop. Disk work in a thread.
    """

    def __init__(
        self,
        path: str,
        *,
        routes: Callable[[], Mapping[str, bool]],
        tell: Callable[[link.Holds], Mapping[object, int]],
    ) -> None:
        """Read what is held.

        Shape: ``tell`` says a new set to everybody and returns which workers heard it, each with its slot; a slot
        has two workers while one is replaced.
        """
        self.held, self.complaint = read_holds(path)
        """What is in effect; and why the file does not say the same, or nothing."""
        self._path = path
        self._routes = routes
        self._tell = tell
        self._queue: asyncio.Queue[tuple[link.ChangeHolds, asyncio.Future[_Made]]] = asyncio.Queue(MAX_QUEUED)
        self._respected: dict[object, int] = {}
        """Per living worker: the newest revision that it has acknowledged."""
        self._wake: set[asyncio.Future[None]] = set()

    async def change(self, change: link.ChangeHolds) -> link.HoldsChanged:
        """Make one change, and wait for the workers that it concerns.

        Bound: at most 64 changes wait; acknowledgements are awaited for one second.
        """
        done: asyncio.Future[_Made] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((change, done))
        except asyncio.QueueFull:
            return _refused(change, f"{MAX_QUEUED} changes of holds are waiting already; try again in a second")
        made = await done
        late = await self._await_acks(made.told, made.changed.revision)
        missing = {made.told[worker] for worker in late}
        acked = set(made.told.values()) - missing
        return msgspec.structs.replace(made.changed, acked=sorted(acked), missing=sorted(missing))

    async def run(self) -> None:
        """Take changes from the queue for ever."""
        while True:
            change, done = await self._queue.get()
            answer = await self._make(change)
            if not done.done():
                done.set_result(answer)

    def acknowledge(self, worker: object, revision: int) -> None:
        """Note that a worker respects everything up to *revision*."""
        self._respected[worker] = revision
        self._stir()

    def forget(self, worker: object) -> None:
        """Note that a worker is gone: it answers nobody, and its successor starts with the current set."""
        self._respected.pop(worker, None)
        self._stir()

    async def _make(self, change: link.ChangeHolds) -> _Made:
        try:
            held, touched, complaint = await asyncio.to_thread(self._settle, change)
        except HoldsError as error:
            return _Made(_refused(change, str(error)), {})
        self.held, self.complaint = held, complaint
        told = self._tell(held.message())
        for worker in told:
            self._respected.setdefault(worker, -1)
        changed = link.HoldsChanged(
            request=change.request, ok=not complaint, revision=held.revision, routes=touched, reason=complaint
        )
        return _Made(changed, told)

    def _settle(self, change: link.ChangeHolds) -> tuple[Held, list[str], str]:
        """Compute the new set and bring it to disk; runs in a thread."""
        held, touched = self.held.after(change, self._routes())
        try:
            write_whole(self._path, msgspec.json.encode(held.message()), durable=True)
        except OSError as error:
            why = f"{self._path} cannot be written ({error.strerror or error})"
            if change.remove:
                raise HoldsError(
                    f"{why}, so nothing was released; free space or repair the disk, then repeat"
                ) from error
            return (
                held,
                touched,
                (
                    f"the routes are held now, but {why}: a restart would forget it; "
                    "free space or repair the disk, then repeat"
                ),
            )
        return held, touched, ""

    async def _await_acks(self, workers: Iterable[object], revision: int) -> list[object]:
        """Wait until all *workers* respect *revision* or are gone; return those that are late."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ACK_S
        while missing := [worker for worker in workers if self._respected.get(worker, revision) < revision]:
            left = deadline - loop.time()
            if left <= 0:
                return missing
            woken: asyncio.Future[None] = loop.create_future()
            self._wake.add(woken)
            await asyncio.wait((woken,), timeout=left)
            self._wake.discard(woken)
        return []

    def _stir(self) -> None:
        for woken in self._wake:
            if not woken.done():
                woken.set_result(None)


def _check(name: str, routes: Mapping[str, bool]) -> None:
    if routes.get(name):
        return
    if name in routes:
        raise HoldsError(f"route {name!r} has no legacy side to hold it on; `matapalo flip {name} gone` takes it away")
    close = get_close_matches(name, routes, n=1)
    known = ", ".join(sorted(routes)[:MAX_NAMED]) + (", …" if len(routes) > MAX_NAMED else "")
    hint = f"did you mean {close[0]!r}?" if close else f"known routes: {known or 'none'}"
    raise HoldsError(f"there is no route {name!r}; {hint}")


def _refused(change: link.ChangeHolds, reason: str) -> link.HoldsChanged:
    return link.HoldsChanged(request=change.request, ok=False, reason=reason)
