"""Rules of how the supervisor's holds follow a rename; with a supervisor in memory, no process needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from console.renames import rename_holds
from console.supervised import SupervisorError
from rules.flag import Hold
from shadow import link
from tests.console.pair import OPS, Supervisor, pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio

RENAMED = config(route("purchases", was="orders"))


class Unable(Supervisor):
    """Be a supervisor whose disk is full."""

    async def change(self, *, add: Iterable[Hold] = (), remove: Iterable[str] = ()) -> link.HoldsChanged:
        """Refuse."""
        raise SupervisorError("the supervisor refused: no space")


async def test_a_hold_whose_file_cannot_follow_stays_in_force_and_is_said(tmp_path: Path) -> None:
    """With a full disk the renamed route stays held and `degraded` says why its name is old; the next try mends it."""
    async with pair(tmp_path, config(route("orders"))) as (node, _):
        state = node.state
        await node.rollback()
        state.adopt(replace(state.spec, revision=9, config=RENAMED))
        state.supervisor = Unable()  # type: ignore[assignment]  # what it is asked for is one method
        await rename_holds(state)
        said = state.complaints["renamed holds"]
        held = set(state.holds)

        state.supervisor = node.supervisor  # type: ignore[assignment]  # as above
        await rename_holds(state)

        assert said == "routes purchases are held, but by their former names: the supervisor refused: no space"
        assert held == set(node.supervisor.held) == {"purchases"}
        assert (state.formers, "renamed holds" in state.complaints) == ({}, False)


async def test_a_release_lets_go_of_both_names(tmp_path: Path) -> None:
    """Who releases a renamed route releases it, whatever the supervisor still calls it; nothing holds it again."""
    async with pair(tmp_path, config(route("orders"))) as (node, _):
        state = node.state
        await node.rollback()
        state.adopt(replace(state.spec, revision=9, config=RENAMED))
        with state.changing(["purchases"]):
            await rename_holds(state)
            meanwhile = set(node.supervisor.held)
        await node.holds.release(node.holds.choose("purchases"), reason="", caller=OPS)
        await rename_holds(state)

        assert meanwhile == {"orders"}
        assert (node.supervisor.held, state.holds) == ({}, {})
