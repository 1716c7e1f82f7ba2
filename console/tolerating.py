"""Tolerances at run time: listed with their hits, proposed, applied and taken away.

Rules of this file:

1. What stands in the file is changed in the file. With ``flags: file`` everything is: nothing can be applied here.
2. An applied tolerance is committed with its audit entry and pushed like a flip; a proposed one changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from config.errors import ConfigError
from config.spec import ToleranceSpec
from config.tolerance import PROPOSED_DAYS, as_mapping, days_left
from console.auth import require
from console.call import Asked, Reply
from console.change import Answer, Changing, on_newest_truth
from console.commits import Caller
from console.epochs import Sums, sum_up
from console.foresight import foretell
from console.problem import Fault, ProblemError, invalid, unknown
from console.recorder import Recorder
from console.shapes import Json, tolerance_as_json, tolerance_yaml
from console.state import ControlState
from store.database import StoreError

MAX_APPLIED: Final = 500
"""Applied tolerances altogether; each travels in every snapshot."""

MAX_DAYS: Final = 366
"""Longer ago than any evidence."""

_RULE_KEYS: Final = ("path", "cause", "rule", "reason", "owner", "expires")


class Tolerating(Changing):
    """List, propose, apply and remove tolerances."""

    def __init__(self, state: ControlState, recorder: Recorder) -> None:
        super().__init__(state)
        self._recorder = recorder

    async def tolerances(self, asked: Asked) -> Reply:
        """List every tolerance, of one route or of all, with its hits."""
        state, route = self.state, asked.values["route"]
        if route is not None:
            state.route(route)
        records, last_legacy = await self._recorder.records(), state.totals.last_legacies()
        sums = await asyncio.to_thread(sum_up, records, last_legacy)
        compared = _compared(sums)
        shown = [
            tolerance_as_json(spec, source, _hits(state, sums, compared, spec, route), time.time())
            for spec, source in _all(state)
            if route is None or spec.route in ("", route)
        ]
        return Reply(body={"revision": state.revision, "tolerances": shown})

    async def tolerate(self, asked: Asked) -> Reply:
        """Show what a tolerance would have hidden, and apply it if that is asked for and allowed."""
        values = asked.values
        if values["route"] is not None:
            self.state.route(values["route"])
        spec = _parsed(values, must_be_whole=values["apply"])
        if not values["apply"]:
            return Reply(
                body={
                    "changed": False,
                    "tolerance": {"id": spec.id, **as_mapping(spec)},
                    "yaml": tolerance_yaml(spec),
                    "would_hide": await self._foretell(spec, values["days"]),
                }
            )
        require(asked.visitor, "operator")
        if not days_left(spec, time.time()):
            over = f"expires is {spec.expires}, which is over, so it would hide nothing; expected today or a later day."
            raise invalid([Fault(where="expires", detail=over)])
        answer = await self.apply(spec, asked.caller)
        return Reply(status=answer.status, body=answer.body, replayed=answer.replayed)

    async def _foretell(self, spec: ToleranceSpec, days: int) -> Json:
        """Say what a tolerance would have hidden.

        Raises: ProblemError ``invalid-request`` and ``evidence``.
        """
        if not 1 <= days <= MAX_DAYS:
            raise invalid([Fault(where="days", detail=f"days is {days}; expected 1 to {MAX_DAYS}.")])
        await self._recorder.flush()
        if self.state.evidence is None:
            raise ProblemError("evidence", f"The evidence cannot be read: {self.state.evidence_error}.")
        try:
            return await foretell(self.state.evidence.divergences, self.state.sealing, spec, days)
        except (StoreError, ValueError) as error:
            raise ProblemError("evidence", f"The evidence cannot be read: {error}.") from error

    async def untolerate(self, asked: Asked) -> Reply:
        """Take one applied tolerance away."""
        answer = await self.remove(asked.name, asked.values["reason"], asked.caller)
        return Reply(status=answer.status, body=answer.body, replayed=answer.replayed)

    @on_newest_truth
    async def apply(self, spec: ToleranceSpec, caller: Caller) -> Answer:
        """Put a tolerance in force; one that is applied already gets the new reason, owner and day."""
        state = self.state
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            self._refuse_where_the_file_rules(spec)
            held = {one.id: one for one in state.spec.tolerate}
            if len(held) >= MAX_APPLIED and spec.id not in held:
                raise ProblemError(
                    "tolerance",
                    f"{len(held)} tolerances are applied, the most there may be; remove one first.",
                )
            done = await self.write_tolerances("tolerate", spec.id, {**held, spec.id: spec}, spec.reason, caller)
        return await self.answer(replace(done, extra={"tolerance": {"id": spec.id, **as_mapping(spec)}}))

    @on_newest_truth
    async def remove(self, name: str, reason: str, caller: Caller) -> Answer:
        """Take an applied tolerance away."""
        state = self.state
        async with state.turn:
            if (replay := await self.replay(caller)) is not None:
                return replay
            held = {one.id: one for one in state.spec.tolerate}
            if name not in held:
                if any(spec.id == name for spec, _ in _all(state)):
                    raise ProblemError(
                        "tolerance", f"{name} stands in {state.config_path}; remove it there and reload."
                    )
                raise unknown("tolerance", name, held, where="among the applied ones")
            spec = held.pop(name)
            done = await self.write_tolerances("untolerate", name, held, reason, caller)
        return await self.answer(replace(done, extra={"tolerance": {"id": spec.id, **as_mapping(spec)}}))

    def _refuse_where_the_file_rules(self, spec: ToleranceSpec) -> None:
        """Refuse what only the file may say.

        Raises: ProblemError.
        """
        state = self.state
        if state.config.flags == "file":
            raise ProblemError(
                "flags-in-file",
                f"With `flags: file` the configuration rules the tolerances too; put this into {state.config_path} "
                f"and reload: {tolerance_yaml(spec)}",
            )
        if any(one.id == spec.id for one, source in _all(state) if source == "file"):
            raise ProblemError(
                "tolerance", f"{spec.id} stands in {state.config_path} already; change it there and reload."
            )


def _all(state: ControlState) -> Iterable[tuple[ToleranceSpec, str]]:
    """Give every tolerance with where it comes from: ``file`` or ``applied``."""
    for route in state.config.routes:
        yield from ((spec, "file") for spec in route.tolerate)
    yield from ((spec, "file") for spec in state.config.tolerate)
    yield from ((spec, "applied") for spec in state.spec.tolerate)


def _parsed(values: Mapping[str, Any], *, must_be_whole: bool) -> ToleranceSpec:
    """Make the tolerance that a call asks for; a proposal may leave reason, owner and day open.

    Raises: ProblemError ``invalid-request`` with everything that is wrong.
    """
    from config.tolerate import parse_tolerance  # the YAML reader, which control does not have at its start

    said = {key: values[key] for key in _RULE_KEYS if values[key] is not None}
    if not must_be_whole:
        last = datetime.now(UTC).date() + timedelta(days=PROPOSED_DAYS)
        said = {"reason": "(say why)", "owner": "(say who)", "expires": last.isoformat(), **said}
    try:
        return parse_tolerance(said, values["route"] or "")
    except ConfigError as error:
        raise invalid(
            [Fault(where=found.where, detail=f"{found.where}: {found.message}.") for found in error.problems]
        ) from error


def _compared(sums: Sums) -> Counter[str]:
    """Count the compared pairs of each route."""
    found: Counter[str] = Counter()
    for key, count in sums.counts.items():
        family, _, labels = key.partition("|")
        if family in ("identical", "unequal"):
            found[labels.partition("|")[0]] += count
    return found


def _hits(state: ControlState, sums: Sums, compared: Mapping[str, int], spec: ToleranceSpec, route: str | None) -> Json:
    """Count what a tolerance hid: pairs, when the last one, and how many pairs it could have met."""
    names = [one.name for one in state.config.routes if route in (None, one.name) and spec.route in ("", one.name)]
    moments = [at for name in names if (at := state.totals.last_hit(name, spec.id)) is not None]
    return {
        "hits": sum(sums.counts.get(f"tolerance_hits|{name}|{spec.id}", 0) for name in names),
        "last_hit": max(moments, default=None),
        "compared": sum(compared.get(name, 0) for name in names),
    }
