"""Rules of what one call is: its line in the table, the question, the answer."""

from __future__ import annotations

import dataclasses

import pytest

from console.auth import Visitor
from console.call import Asked, Call, Reply
from console.commits import Caller

ASKED = Asked(visitor=Visitor(name="eye", role="viewer"), caller=Caller(actor="eye"), values={})


@pytest.mark.parametrize(
    "made",
    [Call(name="status", method="GET", path="/api/v1/status", role="viewer", summary=""), ASKED, Reply(body={})],
    ids=lambda made: type(made).__name__,
)
def test_a_call_a_question_and_an_answer_stay_as_they_were_made(made: Call | Asked | Reply) -> None:
    """Nobody on the way from the door to the handler and back changes what was asked, or who asked."""
    first = dataclasses.fields(made)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, first, "another")


def test_a_call_without_a_role_cannot_be_written_down() -> None:
    """Each line of the table names the lowest role that may make the call: there is none to fall back to."""
    with pytest.raises(TypeError, match="role"):
        Call(name="status", method="GET", path="/api/v1/status", summary="")  # type: ignore[call-arg]  # the point
