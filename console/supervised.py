"""Control's side of the parent link: holds asked for and heard of, reloads, the end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Final

from config.errors import MatapaloError
from rules.flag import Hold
from shadow import link
from shadow.parent import ParentLink

CHANGE_S: Final = 4.0
"""The supervisor fsyncs and waits up to 2 s for its workers; twice that covers two busy cores."""

ORPHANED_S: Final = 4.0
"""Without a supervisor every child drains and exits within 5 s; control stays for the workers' last tallies."""


class SupervisorError(MatapaloError):
    """The supervisor did not change the holds; the sentence says why and what to do instead."""


class Supervisor:
    """Ask the supervisor for holds, and hear from it.

    Runs: on control's loop; the callbacks run there and must not block.
    """

    def __init__(
        self,
        fd: int,
        *,
        epoch: str,
        beat: Callable[[], link.Beat],
        on_holds: Callable[[dict[str, Hold]], None],
        on_reload: Callable[[], None],
        on_end: Callable[[str, float], None],
    ) -> None:
        self._on_holds, self._on_reload, self._on_end = on_holds, on_reload, on_end
        self._waiting: dict[str, tuple[link.ChangeHolds, asyncio.Future[link.HoldsChanged]]] = {}
        self._link = ParentLink(fd, "control", 0, epoch, self._hear, self._lost, beat_state=beat)

    async def open(self) -> None:
        """Take the inherited descriptor over."""
        async with asyncio.timeout(5):
            await self._link.open()

    def ready(self, *, ok: bool, detail: str) -> None:
        """Say that control works, and where, or why not."""
        self._link.ready(ok=ok, detail=detail)

    async def change(self, *, add: Iterable[Hold] = (), remove: Iterable[str] = ()) -> link.HoldsChanged:
        """Add and remove holds as one change: fsynced, and acknowledged by workers, when this returns.

        Raises: SupervisorError when the supervisor refuses, is gone, or says nothing in time.
        """
        request = uuid.uuid4().hex
        message = link.ChangeHolds(request=request, add=[item_from_hold(hold) for hold in add], remove=list(remove))
        future: asyncio.Future[link.HoldsChanged] = asyncio.get_running_loop().create_future()
        self._waiting[request] = (message, future)
        try:
            if not self._link.send(message):
                raise SupervisorError("the supervisor is gone; use `matapalo rollback --local`, or restart Matapalo")
            async with asyncio.timeout(CHANGE_S):
                changed = await future
        except TimeoutError as error:
            raise SupervisorError(
                f"the supervisor did not answer within {CHANGE_S:g} s; try again, or use `matapalo rollback --local`"
            ) from error
        finally:
            self._waiting.pop(request, None)
        if not changed.ok:
            raise SupervisorError(f"the supervisor refused: {changed.reason or 'it gave no reason'}")
        return changed

    def is_asked_for(self, route: str, hold: Hold | None) -> bool:
        """Say whether a hold that came, or its absence, is what we are asking for right now."""
        if hold is None:
            return any(route in message.remove for message, _ in self._waiting.values())
        return any(item_from_hold(hold) in message.add for message, _ in self._waiting.values())

    def close(self) -> None:
        """Close this end."""
        self._link.close()

    def _hear(self, message: link.Any) -> None:
        match message:
            case link.HoldsChanged(request=request):
                _, future = self._waiting.get(request, (None, None))
                if future is not None and not future.done():
                    future.set_result(message)
            case link.Holds(holds=items):
                self._on_holds({item.route: hold_from_item(item) for item in items})
            case link.Reload():
                self._on_reload()
            case link.Drain(deadline_ns=deadline_ns):
                self._on_end("the supervisor asked for it", deadline_ns / 1e9)
            case _:
                return

    def _lost(self) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(SupervisorError("the supervisor went away; restart Matapalo"))
        self._on_end("the supervisor is gone", ORPHANED_S)


def item_from_hold(hold: Hold) -> link.HoldItem:
    """Turn a hold into what the link carries."""
    return link.HoldItem(
        route=hold.route, keep_copying=hold.keep_copying, reason=hold.reason, actor=hold.actor, at=hold.at
    )


def hold_from_item(item: link.HoldItem) -> Hold:
    """Turn what the link carries into a hold."""
    return Hold(route=item.route, keep_copying=item.keep_copying, reason=item.reason, actor=item.actor, at=item.at)
