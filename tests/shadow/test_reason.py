"""Rules of reasons."""

from __future__ import annotations

from shadow.reason import Reason, because


def test_a_reason_without_detail_says_its_cause_alone() -> None:
    """One cause gives one reason with nothing to add, always the same."""
    assert because("value.changed") == (Reason("value.changed", ""),)
    assert because("value.changed") is because("value.changed")
