"""Rules of what control knows: no revision twice, and nobody else touches what is being changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.spec import TokenSpec
from console.problem import ProblemError
from tests.console.pair import pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio


async def test_a_revision_that_a_worker_was_shown_is_never_used_for_something_else(tmp_path: Path) -> None:
    """A revision that was tried on one worker and not taken is skipped by the next change."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, _):
        state, tried = one.state, one.state.next_revision()

        state.burn(tried)
        state.adopt(replace(state.spec, revision=state.next_revision()))

        assert state.revision == tried + 1
        assert state.next_revision() == tried + 2


async def test_the_hold_of_a_route_is_let_alone_until_the_last_who_changes_it_is_done(tmp_path: Path) -> None:
    """Two changes of one hold, begun together: the replicas leave it alone until both have ended, whatever happens."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, _):
        state = one.state

        with state.changing(["orders"]):
            with state.changing(["orders", "cart"]):
                both = set(state.in_change)
            with pytest.raises(ProblemError), state.changing(["orders"]):
                state.route("ordres")
            assert both == {"orders", "cart"}
            assert set(state.in_change) == {"orders"}
        assert not state.in_change


async def test_who_may_call_counts_with_the_reload(tmp_path: Path) -> None:
    """A configuration with other tokens wakes the keyring at once: a new token is not unknown for seconds."""
    token = TokenSpec(name="ops", role="operator", token="sha256:" + "0" * 64)
    async with pair(tmp_path, config(route("orders"))) as (one, _):
        state = one.state
        state.learned.clear()

        state.adopt(replace(state.spec, revision=state.next_revision()))
        same = state.learned.is_set()
        admin = replace(state.config.admin, tokens=(token,))
        state.adopt(replace(state.spec, config=replace(state.config, admin=admin), revision=state.next_revision()))

        assert (same, state.learned.is_set()) == (False, True)
