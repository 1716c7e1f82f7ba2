"""Rules of problems: each has its status, a sentence, and everything that is wrong."""

from __future__ import annotations

import pickle

import pytest

from console.problem import KINDS, PREFIX, ProblemError, invalid, unknown


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_has_the_members_of_rfc_9457(kind: str) -> None:
    """Every kind of problem carries type, title, status, detail and errors."""
    body = ProblemError(kind, "That is so.", extra={"more": 1}).body()

    assert body["type"] == PREFIX + kind
    assert body["status"] == KINDS[kind][0]
    assert body["title"] == KINDS[kind][1]
    assert body["detail"] == "That is so."
    assert body["errors"] == [{"where": "", "detail": "That is so."}]
    assert body["more"] == 1


def test_all_faults_stand_in_the_sentence_and_apart() -> None:
    """What is wrong is in the detail for people and in errors for programs."""
    faults = [{"where": "a", "detail": "a is bad."}, {"where": "b", "detail": "b is bad."}]

    problem = invalid(faults)  # type: ignore[arg-type]  # Fault is a dict of str

    assert problem.detail == "a is bad. b is bad."
    assert problem.body()["errors"] == faults


def test_an_unknown_name_suggests_the_nearest_and_lists_few() -> None:
    """The nearest known name is suggested; a long list is cut in the sentence and whole in known."""
    names = [f"route-{number}" for number in range(50)] + ["orders"]

    problem = unknown("route", "ordrs", names)

    assert "did you mean 'orders'?" in problem.detail
    assert "and 31 more" in problem.detail
    assert problem.body()["known"] == sorted(names)


def test_a_problem_survives_pickling() -> None:
    """A problem that crosses a process keeps its kind and sentence."""
    again = pickle.loads(pickle.dumps(ProblemError("refused", "No.")))

    assert (again.kind, again.detail, again.status) == ("refused", "No.", 409)
