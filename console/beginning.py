"""What control begins with: the file, the snapshot at rest and the database, joined into one first snapshot.

Rules of this file:

1. The database rules the flags; without one, or with a new one, the snapshot at rest does: a lost file must not move
   traffic.
2. A configuration that differs from the one in force is not applied here: it is reloaded like any other, one worker
   first.
3. A revision is never used again for something else.
4. A database that several nodes share is joined as :mod:`console.truth` says: nothing in it is dropped at a start.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from config.errors import ConfigError, MatapaloError
from config.spec import ConfigSpec, ToleranceSpec
from console.atrest import read_snapshot
from console.journal import now_text
from console.totals import Totals
from console.truth import join, start_commit
from rules.flag import Flag, flag_as_json
from rules.reload import OrphanError, carry_flags
from rules.rename import renamed
from rules.snapshot import SnapshotError, SnapshotSpec
from rules.stage import initial_flag, is_possible
from store.database import StoreError
from store.entries import Entry
from store.evidence import EvidenceStore
from store.flags import Commit, FlagStore, Remembered
from store.gatehours import this_hour
from store.renames import renamed_truth, with_renames

READ_S: Final = 20.0


class BeginningError(MatapaloError):
    """Control cannot begin: there is no configuration, neither in the file nor at rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Hold what was found and what follows from it."""

    spec: SnapshotSpec
    """What workers are to serve first."""
    commit: Commit | None
    """What the database has to be told; ``None``: it says the same already."""
    config_error: str
    """Why the file was not used; empty: it was."""
    is_changed: bool
    """The file says something else than what is in force: reload it."""
    complaint: str
    """What else was wrong; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Say where what is remembered lies, and as whom we write it."""

    flags: str
    """The path of a file, or what names a database that several nodes share."""
    evidence: str
    node: str
    """Empty: nobody else writes there."""


async def find_places(state_dir: str, config_path: str) -> Places:
    """Read from the snapshot at rest, else from the configuration, where the database is.

    Only a restart changes that, and a restart lays the snapshot anew before control begins.
    """
    at_rest, _ = await _at_rest(state_dir)
    config = at_rest.config if at_rest is not None else (await _load(config_path))[0]
    if config is None or config.database == "sqlite":
        return Places(
            flags=os.path.join(state_dir, "flags.db"), evidence=os.path.join(state_dir, "evidence.db"), node=""
        )
    return Places(flags=config.database, evidence=config.database, node=config.node or socket.gethostname())


async def open_flags(place: str) -> tuple[FlagStore | None, Remembered | None, str]:
    """Open where the flags are and read them; without them, say why."""
    store: FlagStore | None = None
    try:
        store = await FlagStore.open(place)
        return store, await store.load(), ""
    except StoreError as error:
        if store is not None:
            await store.close()
        return None, None, str(error)


async def open_evidence(place: str, node: str = "") -> tuple[EvidenceStore | None, Totals, str]:
    """Open the evidence and continue this node's totals; without it, begin at zero and say why."""
    store: EvidenceStore | None = None
    try:
        store = await EvidenceStore.open(place, node=node)
        epochs, last_legacy = await store.load_epochs(), await store.load_last_legacy()
        hours = await store.gate_hours.mine(this_hour())
        return store, Totals(epochs.values(), last_legacy, hours), ""
    except (StoreError, ValueError) as error:  # ValueError: totals that this version cannot read
        if store is not None:
            await store.close()
        return None, Totals(), str(error)


async def begin(state_dir: str, config_path: str, remembered: Remembered | None) -> Beginning:
    """Join file, snapshot at rest and database.

    Raises: BeginningError.
    """
    (config, config_error), (at_rest, complaint) = await asyncio.gather(_load(config_path), _at_rest(state_dir))
    in_force = config if at_rest is None else at_rest.config
    if in_force is None:
        raise BeginningError(f"there is no configuration to begin with: {config_error}")
    is_changed = config is not None and config.digest != in_force.digest
    if config is not None and not is_changed:
        in_force = config
    if in_force.database != "sqlite" and remembered is not None:
        joined = join(in_force, remembered, at_rest)
        return Beginning(
            spec=joined.spec,
            commit=start_commit(joined, remembered) if joined.is_news else None,
            config_error=config_error,
            is_changed=is_changed,
            complaint="; ".join(filter(None, (complaint, joined.complaint))),
        )
    moved: Mapping[str, str] = {}
    told = remembered
    if remembered is not None and remembered.revision:
        moved = renamed(remembered.flags.keys(), in_force)
        told = renamed_truth(remembered, in_force, shared=False)
    flags, lost = _flags(in_force, remembered, at_rest)
    copying_off = _copying_off(told, at_rest)
    revision = 0 if remembered is None else remembered.revision
    spec = SnapshotSpec(
        revision=revision,
        config=in_force,
        flags=flags,
        copying_off=copying_off,
        tolerate=_tolerate(told, at_rest),
    )
    if at_rest is not None:
        is_same = replace(at_rest, revision=0) == replace(spec, revision=0)
        spec = replace(spec, revision=max(revision, at_rest.revision + (0 if is_same else 1)))
    spec = replace(spec, revision=max(1, spec.revision))
    commit = None if remembered is None else _commit(spec, remembered, at_rest)
    if commit is not None and remembered is not None and told is not None:
        commit = with_renames(commit, remembered, told, moved)
    return Beginning(
        spec=spec,
        commit=commit,
        config_error=config_error,
        is_changed=is_changed,
        complaint="; ".join(
            filter(None, (complaint, lost, "" if remembered is None else _went_back(remembered, at_rest)))
        ),
    )


def _flags(
    config: ConfigSpec, remembered: Remembered | None, at_rest: SnapshotSpec | None
) -> tuple[dict[str, Flag], str]:
    """Give every route its flag, and say what could not be kept."""
    known: Mapping[str, Flag] = at_rest.flags if at_rest is not None else {}
    if remembered is not None and remembered.revision:
        known = remembered.flags
    old = SnapshotSpec(revision=0, config=config, flags=dict(known))
    try:
        # What vanished was refused, or allowed with --drop, when this configuration was taken over.
        return carry_flags(old, config, drop=known.keys()), ""
    except OrphanError as error:
        flags = {
            route.name: flag
            if (flag := known.get(route.name)) is not None and is_possible(route, flag.stage)
            else initial_flag(route)
            for route in config.routes
        }
        return flags, f"flags were begun anew: {error}"


def _copying_off(remembered: Remembered | None, at_rest: SnapshotSpec | None) -> tuple[str, ...]:
    if remembered is not None and remembered.revision:
        return tuple(sorted(remembered.copying_off))
    return () if at_rest is None else at_rest.copying_off


def _tolerate(remembered: Remembered | None, at_rest: SnapshotSpec | None) -> tuple[ToleranceSpec, ...]:
    if remembered is not None and remembered.revision:
        return remembered.tolerate
    return () if at_rest is None else at_rest.tolerate


def _went_back(remembered: Remembered, at_rest: SnapshotSpec | None) -> str:
    """Say that the database is older than what was in force here, as a backup is; empty: it is not."""
    if at_rest is None or not 0 < remembered.revision < at_rest.revision:
        return ""
    moved = [name for name, flag in at_rest.flags.items() if remembered.flags.get(name, flag) != flag]
    if not moved:
        return ""
    return (
        f"the database went back from revision {at_rest.revision} to {remembered.revision}, as a backup does, and took "
        f"{', '.join(moved)} along; flips since then are lost: look at them, and flip again what was right"
    )


def _commit(spec: SnapshotSpec, remembered: Remembered, at_rest: SnapshotSpec | None) -> Commit | None:
    """Say what the database has to be told."""
    went_back = _went_back(remembered, at_rest)
    in_force = at_rest.flags if went_back and at_rest is not None else remembered.flags
    changed = {name: flag for name, flag in spec.flags.items() if remembered.flags.get(name) != flag}
    gone = tuple(name for name in remembered.flags if name not in spec.flags)
    moved = {name: flag for name, flag in spec.flags.items() if in_force.get(name) != flag}
    is_other = bool(remembered.config) and remembered.config != spec.config.digest
    if not changed and not gone and not is_other and spec.revision == remembered.revision:
        return None
    entry = Entry(
        kind="start",
        source="file",
        actor="matapalo",
        routes=(*moved, *gone),
        config=spec.config.digest,
        builds={backend: deploys[0].version for backend, deploys in sorted(remembered.deploys.items()) if deploys},
        reason=went_back or _why(remembered, is_other=is_other),
        at=now_text(),
        before=({"digest": remembered.config} if is_other else {})
        | {"flags": {name: flag_as_json(in_force[name]) for name in (*moved, *gone) if name in in_force}},
        after={"digest": spec.config.digest, "flags": {name: flag_as_json(flag) for name, flag in moved.items()}},
    )
    return Commit(
        revision=spec.revision,
        entry=entry,
        set_flags=changed,
        drop_flags=gone,
        copying_off=frozenset(spec.copying_off),
        tolerate=spec.tolerate,
    )


def _why(remembered: Remembered, *, is_other: bool) -> str:
    if not remembered.revision:
        return "the database is new"
    if is_other:
        return "the configuration changed while control was away"
    return "what was in force here is newer than the database"


async def _load(path: str) -> tuple[ConfigSpec | None, str]:
    from config.loader import load

    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.to_thread(load, path), ""
    except ConfigError as error:
        return None, f"{path} has {len(error.problems)} problems; first: {error.problems[0]}"
    except TimeoutError:
        return None, f"{path} could not be read within {READ_S:g} s"


async def _at_rest(state_dir: str) -> tuple[SnapshotSpec | None, str]:
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.to_thread(read_snapshot, state_dir), ""
    except SnapshotError as error:
        return None, str(error)
    except TimeoutError:
        return None, f"{state_dir}/snapshot could not be read within {READ_S:g} s"
