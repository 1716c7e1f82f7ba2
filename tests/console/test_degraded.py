"""Rules of ``degraded``: a sentence for each thing that is not as it should be, and silence when all is well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from console.degraded import degraded
from shadow.link import Tally
from tests.console.pair import pair
from tests.rules.made import config, route

pytestmark = pytest.mark.anyio


async def test_each_thing_that_is_not_as_it_should_be_has_its_sentence(tmp_path: Path) -> None:
    """Missing workers, pausing copies, overload, a refused configuration and a broken disk are each said, once."""
    async with pair(tmp_path, config(route("orders"), route("cart"))) as (one, _):
        state = one.state
        (before,) = degraded(state)
        state.adopt(replace(state.spec, config=replace(state.config, workers=2), revision=state.next_revision()))
        state.reload.ok, state.reload.error = False, "line 3 is wrong"
        state.complaints["beginning"] = "flags begin anew"
        state.at_rest.error = "the disk is full"
        gauges = {"circuit_open|fresh": 1, "shedding": 1}
        state.totals.hello("e1", 0, 0.0)
        state.totals.take(Tally(epoch="e1", sequence=1, counts={}, gauges=gauges, histograms={}, last_legacy={}))

        assert before.startswith("evidence is not kept")
        assert degraded(state) == [
            "flags begin anew",
            before,
            "the disk is full",
            "the last configuration was not taken over: line 3 is wrong",
            "0 of 2 workers are linked to control",
            "copies to fresh pause: most of them got no answer; single ones find out when it is back",
            "1 of 1 workers copy less than asked: they have too much to do",
        ]
