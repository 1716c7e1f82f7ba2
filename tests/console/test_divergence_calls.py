"""Rules of the calls about differences: who may read what requests held, and who may hide a difference."""

from __future__ import annotations

from console.divergence_calls import DIVERGENCE_CALLS


def test_what_requests_held_is_read_by_developers_and_higher() -> None:
    """A viewer sees tolerances and nothing else of these: every other call shows or asks for what requests held."""
    assert {one.name for one in DIVERGENCE_CALLS if one.role == "viewer"} == {"tolerances"}


def test_a_difference_that_was_hidden_is_shown_again_by_an_operator_only() -> None:
    """Taking a tolerance away changes what gates say, so it needs the role operator."""
    assert {one.name for one in DIVERGENCE_CALLS if one.role == "operator"} == {"untolerate"}
