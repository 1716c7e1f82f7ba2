"""Rules of the snapshot that workers start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.firststart import lay_snapshot, read_snapshot, routes_at_rest
from proxy.statedir import StartError
from rules.flag import Flag, Stage
from rules.snapshot import SnapshotSpec, encode
from tests.support.fakenode import spec_for

LIVE = Flag(stage=Stage.LIVE, sample_bp=100, salt="orders")


def test_a_first_start_begins_with_the_configurations_flags(tmp_path: Path) -> None:
    """Without a snapshot at rest each route has its initial stage, at revision 0."""
    path = str(tmp_path / "snapshot")

    complaint = lay_snapshot(path, spec_for("/s"))
    laid = read_snapshot(path)

    assert complaint == ""
    assert laid is not None
    assert (laid.revision, laid.flags["orders"].stage, laid.flags["wishes"].stage) == (0, Stage.LEGACY, Stage.LIVE)


def test_a_restart_keeps_flags_revision_and_copying(tmp_path: Path) -> None:
    """What operators decided survives a restart with a changed configuration."""
    path = tmp_path / "snapshot"
    spec = spec_for("/s")
    flags = {"orders": LIVE, "wishes": replace(LIVE, salt="wishes")}
    path.write_bytes(encode(SnapshotSpec(revision=41, config=spec, flags=flags, copying_off=("orders",))))

    lay_snapshot(str(path), replace(spec, workers=7))
    laid = read_snapshot(str(path))

    assert laid is not None
    assert (laid.revision, laid.flags, laid.copying_off, laid.config.workers) == (41, flags, ("orders",), 7)


def test_a_start_with_a_renamed_route_keeps_its_flag_and_its_copying_switch(tmp_path: Path) -> None:
    """A route that a restart renames begins with flag and switch of its former name."""
    path = tmp_path / "snapshot"
    spec = spec_for("/s")
    flags = {"orders": LIVE, "wishes": replace(LIVE, salt="wishes")}
    path.write_bytes(encode(SnapshotSpec(revision=41, config=spec, flags=flags, copying_off=("orders",))))
    heir = replace(spec.routes[0], name="purchases", was="orders")

    lay_snapshot(str(path), replace(spec, routes=(heir, *spec.routes[1:])))
    laid = read_snapshot(str(path))

    assert laid is not None
    assert (laid.flags["purchases"], laid.copying_off) == (LIVE, ("purchases",))


def test_a_start_that_would_lose_a_flag_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A route with a flag beyond legacy cannot vanish by a restart, unless the operator drops it."""
    path = tmp_path / "snapshot"
    spec = spec_for("/s")
    lay_snapshot(str(path), spec)
    before = path.read_bytes()

    with pytest.raises(StartError, match="'wishes' is in stage 'live' and no longer in the configuration"):
        lay_snapshot(str(path), replace(spec, routes=spec.routes[:1]))
    assert path.read_bytes() == before

    lay_snapshot(str(path), replace(spec, routes=spec.routes[:1]), drop=["wishes"])
    assert routes_at_rest(str(path), spec) == {"orders": True}


def test_an_unreadable_snapshot_is_set_aside_and_reported(tmp_path: Path) -> None:
    """A damaged or newer snapshot neither stops the start nor is lost."""
    path = tmp_path / "snapshot"
    path.write_bytes(b"\x00\x01")

    fallback = routes_at_rest(str(path), spec_for("/s"))
    complaint = lay_snapshot(str(path), spec_for("/s"))

    assert fallback == {"orders": True, "wishes": False}
    assert "was set aside" in complaint
    assert read_snapshot(str(path)) is not None
    assert len(list(tmp_path.glob("snapshot.unreadable-*"))) == 1
