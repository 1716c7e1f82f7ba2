"""Bring the snapshot at rest in line with the configuration, before any child lives."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from config.spec import ConfigSpec
from proxy.statedir import StartError, write_whole
from rules.reload import OrphanError, carry_flags
from rules.rename import inherited, inherited_tolerances, renamed
from rules.snapshot import SnapshotError, SnapshotSpec, decode, encode


def lay_snapshot(path: str, spec: ConfigSpec, drop: Collection[str] = ()) -> str:
    """Write the snapshot that workers start from: this configuration with the flags at rest.

    Shape: the result says what was wrong with the former file, or nothing. An unreadable file (a newer
    version's, after a downgrade) is set aside and flags start as the configuration says; control puts
    them right from its database seconds later.
    Raises: StartError when a flag would be lost, or the file cannot be written.
    """
    complaint = ""
    former: SnapshotSpec | None = None
    try:
        former = read_snapshot(path)
    except SnapshotError as error:
        aside = f"{path}.unreadable-{int(time.time())}"
        os.replace(path, aside)
        complaint = f"the snapshot at rest was set aside as {aside}: {error}"
    try:
        flags = carry_flags(former, spec, drop)
    except OrphanError as error:
        raise StartError(str(error)) from error
    snapshot = SnapshotSpec(revision=0, config=spec, flags=flags)
    if former is not None:
        moved = renamed(former.flags.keys(), spec)
        snapshot = replace(
            snapshot,
            revision=former.revision,
            copying_off=tuple(inherited(dict.fromkeys(former.copying_off), moved, shared=False)),
            tolerate=inherited_tolerances(former.tolerate, moved, shared=False),
        )
    try:
        write_whole(path, encode(snapshot), durable=True)
    except OSError as error:
        raise StartError(
            f"{path} cannot be written ({error.strerror or error}); free space or repair the disk"
        ) from error
    return complaint


def read_snapshot(path: str) -> SnapshotSpec | None:
    """Read the snapshot at rest; ``None``: there is none.

    Raises: SnapshotError for a file that is no snapshot of this version, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return decode(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(
            f"{path} cannot be read: {error.strerror or error}; check its owner and the disk"
        ) from error


def routes_at_rest(path: str, fallback: ConfigSpec) -> Mapping[str, bool]:
    """Say for each route of the current snapshot whether it has a legacy side.

    Shape: an unreadable snapshot leaves the configuration of the start: a rollback must not fail on it.
    """
    try:
        snapshot = read_snapshot(path)
    except SnapshotError:
        snapshot = None
    config = fallback if snapshot is None else snapshot.config
    return {route.name: route.legacy is not None for route in config.routes}
