"""Resets: evidence of a route counts from now, because what it was gathered on no longer holds.

A new build needs none: it begins without evidence. A reset is for what no build shows: new's data or configuration
changed, a tolerance was taken away, a load test ran through the proxy.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

from console.change import Answer, Changing, Done, entry_for, key_for, on_newest_truth, pushed_now
from console.commits import Caller, commit
from console.gates import NOTE
from console.journal import moment_text
from console.recorder import Recorder
from console.state import ControlState
from store.flags import Commit


class Resets(Changing):
    """Let a route's evidence begin anew."""

    def __init__(self, state: ControlState, recorder: Recorder) -> None:
        super().__init__(state)
        self._recorder = recorder

    @on_newest_truth
    async def reset(self, name: str, *, reason: str, caller: Caller) -> Answer:
        """Count a route's evidence from now on; what was counted stays in the file, for whoever reads the audit."""
        state = self.state
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            route = state.route(name)
            # What was counted until now is of the time before.
            await self._recorder.write()
            before, since = state.notes.get(f"{NOTE}{name}"), time.time()
            times = 1 + (0 if before is None else json.loads(before).get("times", 1))
            note = json.dumps({"since": since, "actor": caller.actor, "reason": reason, "times": times})
            entry = replace(
                entry_for("evidence", (route.name,), reason, caller, state),
                before={name: None if before is None else moment_text(json.loads(before)["since"])},
                after={name: moment_text(since)},
            )
            change = Commit(
                revision=state.revision,
                entry=entry,
                key=key_for(caller, state.revision, {}, {}),
                remember={f"{NOTE}{name}": note},
            )
            number, _ = await commit(state, change, state.spec)
        done = Done(pushed=pushed_now(state), audit_id=number)
        return await self.answer(replace(done, extra={"route": name, "since": moment_text(since)}))
