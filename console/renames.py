"""Have the supervisor call held routes by the names that they have now.

A hold on the former name of a route is that route's from the first request on, because whoever joins holds and routes
says so (:mod:`rules.rename`). Here the supervisor's file follows, when the new name is at rest on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from console.state import ControlState
from console.supervised import SupervisorError

_TOPIC: Final = "renamed holds"


def under_every_name(state: ControlState, names: Iterable[str]) -> list[str]:
    """Name held routes also by the former names under which the supervisor still has them."""
    gone = list(names)
    return gone + [former for former, heir in state.formers.items() if heir in gone]


async def rename_holds(state: ControlState) -> None:
    """Put each hold under the present name of its route, as one change; until then it is in force as it is.

    Shape: a supervisor that refuses is a reason of ``degraded``; the next reload or start tries again.
    """
    if not state.formers or state.supervisor is None:
        return
    await state.at_rest.write()  # the supervisor knows the routes from there
    # Who holds or releases one right now names it by both names, or is heard of and brings us here again.
    due = {former: heir for former, heir in state.formers.items() if heir not in state.in_change}
    if not due:
        return
    held = [state.holds[heir] for heir in due.values() if heir in state.holds]
    try:
        await state.supervisor.change(add=held, remove=due)
    except SupervisorError as error:
        state.complaints[_TOPIC] = f"routes {', '.join(due.values())} are held, but by their former names: {error}"
        return
    state.formers = {former: heir for former, heir in state.formers.items() if former not in due}
    state.complaints.pop(_TOPIC, None)
    names = [hold.route for hold in held]
    state.journal.say("holds.renamed", f"held under new names: {', '.join(names)}", routes=names)
