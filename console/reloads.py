"""A new configuration: read whole, shown to one worker first, then taken over, or refused with the reason.

Rules of this file:

1. Whatever goes wrong, the previous configuration stays in force and the reason stands in status, metrics and log.
2. One reload at a time. While one worker tries the new configuration flips go on; flags are carried over again
   afterwards.
3. Only a restart changes sockets and processes; a reload that would need one is refused, not half applied.
4. Where nodes share a database, routes that only other nodes' files have keep their flags, and a route that another
   node's file had first begins with the flag that it has there (:mod:`console.truth`).
5. A renewed certificate is taken over by itself, and nothing with it: a file that somebody is still writing waits for
   its reload. It needs no database, because nothing is decided.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from config.errors import ConfigError
from config.spec import ConfigSpec
from config.tls import stamped
from console.change import Changing, entry_for, listed, on_newest_truth
from console.commits import Caller, OvertakenError, commit, count_flips
from console.journal import now_text
from console.judged import Admission, objections
from console.ledger import ask_ledger
from console.problem import Fault, ProblemError
from console.renames import rename_holds
from console.state import ACK_S, ControlState, Pushed
from rules.basis import bases_of
from rules.flag import Flag, flag_as_json
from rules.reload import OrphanError, carry_flags, diff, needs_restart, undropped
from rules.rename import renamed
from rules.snapshot import SnapshotError, SnapshotSpec, build, encode
from rules.stage import new_share_bp
from store.entries import Entry
from store.flags import Commit
from store.renames import moved_words, renamed_truth, with_renames

TRIAL_S: Final = 1.0
"""How long the first worker must live with a new configuration before the others get it."""

LOAD_S: Final = 20.0
"""For reading the files; a network file system may hang."""

WATCH_S: Final = 1.0

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """Hold what a reload did, before anybody waited for workers."""

    pushed: Pushed | None
    lines: list[str] = field(default_factory=list)
    audit_id: int | None = None
    notes: list[str] = field(default_factory=list)


class Reloads(Changing):
    """Read the configuration again when somebody asks, or when its files change."""

    def __init__(self, state: ControlState) -> None:
        super().__init__(state)
        self._turn = asyncio.Lock()

    async def reload(self, caller: Caller, drop: Collection[str] = ()) -> tuple[int, Json]:
        """Read the configuration and take it over; returns the status and body of the answer.

        Raises: ProblemError; the previous configuration then stays in force.
        """
        state = self.state
        async with self._turn:
            try:
                taken = await self._take(caller, drop)
            except ProblemError as error:
                state.reload.ok, state.reload.at, state.reload.error = False, now_text(), error.detail
                state.journal.say("reload.refused", error.detail, source=caller.source, actor=caller.actor)
                raise
            state.reload.ok, state.reload.at, state.reload.error = True, now_text(), None
            state.reload.success_at = time.time()
            state.complaints.pop("certificates", None)
        pushed = taken.pushed or Pushed(revision=state.revision, peers=tuple(state.peers.workers()))
        spread = await state.settled(pushed)
        await rename_holds(state)
        missing = [*spread.missing, *(slot for slot, _ in spread.refused)]
        notes = taken.notes + [f"worker {slot} has not acknowledged revision {pushed.revision} yet" for slot in missing]
        return (202 if missing else 200), {
            "changed": taken.pushed is not None,
            "revision": pushed.revision,
            "audit_id": None if taken.audit_id is None else f"a-{taken.audit_id}",
            "diff": taken.lines,
            "workers": {"acked": list(spread.acked), "missing": missing},
            "notes": notes,
        }

    async def watch(self) -> None:
        """Reload when the files of the configuration, or their directories, change; while ``watch: true``.

        Runs: as one task, until cancelled.
        """
        seen = await asyncio.to_thread(_prints, self.state.config)
        while True:
            await asyncio.sleep(WATCH_S)
            if not self.state.config.watch:
                continue
            now = await asyncio.to_thread(_prints, self.state.config)
            if now == seen:
                continue
            # A directory is written file by file: wait until a second has passed without a change.
            await asyncio.sleep(WATCH_S)
            seen = await asyncio.to_thread(_prints, self.state.config)
            if seen != now:
                seen = now
                continue
            try:
                await self.reload(Caller(actor="watch", source="watch"))
            except ProblemError:
                continue  # it is in status, metrics and log; the next change is the next try
            seen = await asyncio.to_thread(_prints, self.state.config)

    async def watch_certificates(self) -> None:
        """Take over the files of TLS when they are replaced, on two equal looks a second apart.

        Runs: as one task, until cancelled.
        """
        refused: ConfigSpec | None = None
        while True:
            await asyncio.sleep(WATCH_S)
            config = self.state.config
            now = await asyncio.to_thread(stamped, config)
            if now.stamps == config.stamps or now == refused:
                continue
            await asyncio.sleep(WATCH_S)
            if await asyncio.to_thread(stamped, config) == now and self.state.config is config:
                refused = None if await self._renew() else now

    async def _renew(self) -> bool:
        """Show the replaced files to one worker, then to all; says whether they are in force."""
        state = self.state
        async with self._turn:
            config = await asyncio.to_thread(stamped, state.config)
            lines = diff(state.config, config)
            try:
                await self._try_on_one(_snapshot(state, config, ()))
            except ProblemError as error:
                state.renewals["refused"] += 1
                state.complaints["certificates"] = f"replaced files of TLS were not taken over: {error.detail}"
                state.journal.say("certificates.refused", error.detail, diff=lines)
                return False
            async with state.turn:
                spec = _snapshot(state, config, ())
                # Nothing was decided: among several nodes the revision is the database's to raise.
                state.adopt(spec if state.replicas is None else replace(spec, revision=state.revision))
            state.renewals["taken"] += 1
            state.complaints.pop("certificates", None)
            state.journal.say("certificates.taken", "; ".join(lines))
        return True

    async def _take(self, caller: Caller, drop: Collection[str]) -> _Taken:
        state = self.state
        config = await _load(state.config_path)
        _refuse_restart(state.config, config)
        trial = _snapshot(state, config, drop)
        idle = undropped(drop, {*state.spec.flags, *state.foreign}, config)
        if config.digest == state.config.digest and trial.flags == state.spec.flags and config == state.config:
            return _Taken(pushed=None, notes=idle)
        notes = [*idle, *await self._try_on_one(trial)]
        ruled = config.routes if config.flags == "file" else ()  # otherwise a reload flips nothing
        known = bases_of(state.config)
        anew = [name for name, basis in bases_of(config).items() if known.get(name) != basis]
        asked = await state.gates.ask(ruled, state.spec.flags, trial.flags, anew=anew)
        asked = replace(asked, ledger=await ask_ledger(state, trial.flags if ruled else {}))
        taken = await self._commit(config, caller, drop, asked)
        for event, sentence in (warned := objections(asked, "the file")):
            state.journal.say(event, sentence)
        for sentence in (unseen := _unseen(known, config, state.spec.flags)):
            state.journal.say("gate.unseen", sentence)
        return replace(taken, notes=[*notes, *taken.notes, *(sentence for _, sentence in warned), *unseen])

    @on_newest_truth
    async def _commit(self, config: ConfigSpec, caller: Caller, drop: Collection[str], asked: Admission) -> _Taken:
        """Take a configuration over that one worker has tried.

        Raises: ProblemError, OvertakenError; the first worker then goes back.
        """
        state = self.state
        async with state.turn:
            # Flips went on during the trial.
            spec = _snapshot(state, config, drop)
            before = state.spec
            changed = {name: flag for name, flag in spec.flags.items() if before.flags.get(name) != flag}
            # Among several nodes another one may still have the route; the leader forgets what nobody has.
            gone = tuple(name for name in before.flags if name not in spec.flags)
            touched = tuple(dict.fromkeys([*changed, *gone]))
            lines = diff(before.config, config)
            entry = replace(
                entry_for("reload", touched, "", caller, state),
                config=config.digest,
                before={
                    "digest": before.config.digest,
                    "flags": {name: flag_as_json(flag) for name, flag in before.flags.items() if name in touched},
                },
                after={
                    "digest": config.digest,
                    "diff": lines,
                    "flags": {name: flag_as_json(flag) for name, flag in changed.items()},
                },
            )
            known = state.remembered()
            moved = renamed(known.flags.keys(), config)
            kept = renamed_truth(known, config, shared=state.replicas is not None)
            change = Commit(
                revision=spec.revision,
                entry=entry,
                set_flags=changed,
                drop_flags=gone if state.replicas is None else (),
                copying_off=frozenset(spec.copying_off),
                more=_flips(state, before.flags, spec, caller, asked),
            )
            change = with_renames(change, known, kept, moved)
            try:
                number, pushed = await commit(state, change, spec)
            except (ProblemError, OvertakenError):
                state.peers.push(*state.current())  # the first worker goes back
                raise
            for flip in change.more:
                count_flips(state, flip)
        state.journal.say(
            "reload.taken", f"configuration {config.digest[:12]} is in force", source=caller.source, diff=lines
        )
        return _Taken(pushed=pushed, lines=lines, audit_id=number, notes=moved_words(known, kept, moved))

    async def _try_on_one(self, trial: SnapshotSpec) -> list[str]:
        """Let one worker serve the new configuration before the others may.

        Raises: ProblemError ``worker-refused``.
        """
        state = self.state
        workers = state.peers.workers()
        if not workers:
            return ["no worker was linked to try it first"]
        # Of two in the first slot the younger: while a worker is replaced, the older one is about to leave.
        first = [peer for peer in workers if peer.hello.slot == workers[0].hello.slot][-1]
        state.burn(trial.revision)
        began = time.monotonic()
        first.push(trial.revision, encode(trial))
        spread = await state.peers.spread(trial.revision, [first], ACK_S)
        why = ""
        if spread.refused:
            why = f"worker {spread.refused[0][0]} refused it: {spread.refused[0][1]}"
        elif spread.lost or (
            spread.acked and not await state.peers.survives(first, TRIAL_S - (time.monotonic() - began))
        ):
            why = f"worker {first.hello.slot} went away within {TRIAL_S:g} s of getting it"
        elif spread.missing:
            why = f"worker {first.hello.slot} did not acknowledge it within {ACK_S:g} s"
        if not why:
            return []
        if first.is_linked and not spread.refused:
            first.push(*state.current())
        raise ProblemError(
            "worker-refused", f"The configuration was not taken over, because {why}; the previous one is in force."
        )


def _unseen(known: Mapping[str, str], config: ConfigSpec, flags: Mapping[str, Flag]) -> list[str]:
    """Say where new goes on answering clients, though what it answers is not what a gate has seen.

    Shape: *known* are the bases before; a route that is new was born as the file says, and one without gate asks none.
    """
    bases = bases_of(config)
    changed = [
        route
        for route in config.routes
        if (before := known.get(route.name) or known.get(route.was or "")) is not None and before != bases[route.name]
    ]
    return [
        f"{route.name}: new goes on answering {new_share_bp(flags[route.name]) / 100:g} % of its clients, but what the "
        "route takes, whom it asks or what they are sent has changed, and no gate has seen that; roll it back until "
        "its gate passes, or mind its watchdog"
        for route in changed
        if route.gate is not None and route.legacy is not None and new_share_bp(flags[route.name])
    ]


async def _load(path: str) -> ConfigSpec:
    """Read the configuration in a thread.

    Raises: ProblemError ``config`` with every problem of the file.
    """
    from config.loader import load  # the YAML reader costs 70 ms that control does not have at its start

    try:
        async with asyncio.timeout(LOAD_S):
            return await asyncio.to_thread(load, path)
    except ConfigError as error:
        faults = [Fault(where=problem.where, detail=str(problem)) for problem in error.problems]
        counted = f"{len(faults)} problem{'s' if len(faults) > 1 else ''}"
        raise ProblemError(
            "config",
            f"{path} has {counted}, the previous configuration is in force; first: {faults[0]['detail']}",
            faults=faults,
        ) from error
    except TimeoutError as error:
        raise ProblemError(
            "config", f"{path} could not be read within {LOAD_S:g} s; the previous configuration is in force."
        ) from error


def _refuse_restart(old: ConfigSpec, new: ConfigSpec) -> None:
    if keys := needs_restart(old, new):
        raise ProblemError(
            "needs-restart",
            f"The configuration changes {', '.join(keys)}, which needs a restart; restart Matapalo, or take that back "
            "and reload. The previous configuration is in force.",
            extra={"keys": keys},
        )


def _snapshot(state: ControlState, config: ConfigSpec, drop: Collection[str]) -> SnapshotSpec:
    """Join a new configuration with the flags as they are now.

    Raises: ProblemError ``orphan`` and ``config``.
    """
    try:
        # A route that only other nodes had until now has its flag already; what only they have is not lost.
        old = replace(state.spec, flags={**state.foreign, **state.spec.flags})
        renamed = {route.was for route in config.routes if route.was is not None and route.name in state.foreign}
        flags = carry_flags(old, config, {*drop, *renamed, *state.foreign})
    except OrphanError as error:
        raise ProblemError(
            "orphan", f"{error}. The previous configuration is in force.", extra={"orphans": list(error.routes)}
        ) from error
    _refuse_unholdable(state.holds, config)
    shared = state.replicas is not None
    kept = renamed_truth(state.remembered(), config, shared=shared)
    off = tuple(name for name in sorted(kept.copying_off) if shared or name == "*" or name in flags)
    spec = replace(
        state.spec,
        revision=state.next_revision(),
        config=config,
        flags=flags,
        copying_off=off,
        tolerate=kept.tolerate,
    )
    try:
        build(spec)
    except SnapshotError as error:
        raise ProblemError("config", f"{error}. The previous configuration is in force.") from error
    return spec


def _refuse_unholdable(holds: Collection[str], config: ConfigSpec) -> None:
    """Refuse a configuration that leaves a held route nothing to be held on.

    Raises: ProblemError ``orphan``.
    """
    unheld = [
        route for route in config.routes if route.legacy is None and not {route.name, route.was}.isdisjoint(holds)
    ]
    if unheld:
        names = [route.name if route.name in holds else str(route.was) for route in unheld]
        raise ProblemError(
            "orphan",
            f"Route {listed(names)} is held on legacy, for which the new configuration has no `legacy`; "
            f"`matapalo release {names[0]}` first, or keep it. The previous configuration is in force.",
            extra={"orphans": names},
        )


def _flips(
    state: ControlState, before: Mapping[str, Flag], spec: SnapshotSpec, caller: Caller, asked: Admission
) -> tuple[Entry, ...]:
    """Make the audit entries of the flips that a file which rules the flags has made, one per route or journey.

    Shape: a route that is new was not flipped, it was born.
    """
    if spec.config.flags != "file":
        return ()
    groups: dict[str, list[str]] = {}
    for route in spec.config.routes:
        if route.name in before and before[route.name] != spec.flags[route.name]:
            groups.setdefault(route.journey or route.name, []).append(route.name)
    reason = f"{state.config_path} says so"
    from_file = replace(caller, source="file")
    return tuple(
        replace(
            entry_for("flip", tuple(names), reason, asked.of(names).on(from_file), state),
            config=spec.config.digest,
            before={name: flag_as_json(before[name]) for name in names},
            after={name: flag_as_json(spec.flags[name]) for name in names},
        )
        for names in groups.values()
    )


def _prints(config: ConfigSpec) -> tuple[tuple[str, int, int, int], ...]:
    """Take the fingerprints of the configuration's files and their directories: a ConfigMap swaps a link."""
    paths = dict.fromkeys((*config.files, *(os.path.dirname(file) for file in config.files)))
    prints = []
    for path in paths:
        try:
            found = os.stat(path)
            prints.append((path, found.st_mtime_ns, found.st_ino, found.st_size))
        except OSError:
            prints.append((path, 0, 0, 0))
    return tuple(prints)
