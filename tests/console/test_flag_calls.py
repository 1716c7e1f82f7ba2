"""Rules of the calls about flags: who may change who answers, and what stands in the audit of it."""

from __future__ import annotations

import pytest

from console.call import Call
from console.flag_calls import FLAG_CALLS

CHANGES = [one for one in FLAG_CALLS if one.method != "GET"]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.name)
def test_who_changes_who_answers_is_an_operator_and_may_say_why(change: Call) -> None:
    """Every call that changes a flag, a hold, a switch or what evidence counts needs an operator and takes a reason."""
    assert change.role == "operator"
    assert "reason" in {field.name for field in change.fields}


def test_only_what_a_gate_or_a_ledger_may_refuse_can_be_forced() -> None:
    """``force`` is asked by the calls that a gate or the ledger may refuse, and by no other."""
    forced = {one.name for one in FLAG_CALLS if "force" in {field.name for field in one.fields}}

    assert forced == {one.name for one in FLAG_CALLS if {"gate", "ledger"} & {*one.refuses}}
