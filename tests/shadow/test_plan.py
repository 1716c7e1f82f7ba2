"""The plan: which fix brings how many of the recorded pairs to identical, in the best order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadow.plan import SPELLABLE, plan_of, sentence_of

NEWLINE, SEPARATOR, ORDER = "whitespace.trailing_newline", "whitespace.separator", "key_order"


def test_the_plan_takes_what_brings_most_per_fix() -> None:
    """Causes that always come together are fixed together; the share after each step is of all recorded pairs."""
    plan = plan_of(
        {
            frozenset({NEWLINE, SEPARATOR}): 31,
            frozenset({NEWLINE, SEPARATOR, ORDER}): 57,
            frozenset({NEWLINE, "value.changed"}): 12,
        }
    )

    assert [(step.cause, step.identical) for step in plan.steps] == [(NEWLINE, 0), (SEPARATOR, 31), (ORDER, 88)]
    assert [(one.cause, one.pairs) for one in plan.left] == [("value.changed", 12)]
    assert sentence_of(plan) == "trailing newline 0 % → + separator 31 % → + key order 88 %"


def test_a_rare_pair_never_delays_a_frequent_one() -> None:
    """One pair with a cause of its own is fixed last."""
    plan = plan_of({frozenset({ORDER}): 1, frozenset({NEWLINE, SEPARATOR}): 1_000})

    assert plan.steps[-1].cause == ORDER
    assert plan.steps[-2].identical == 1_000


def test_what_stands_only_beside_a_wrong_value_comes_last() -> None:
    """Such a fix brings nothing yet and is named all the same, as the pair will need it."""
    plan = plan_of({frozenset({NEWLINE}): 5, frozenset({ORDER, "value.changed"}): 9})

    assert [(step.cause, step.identical) for step in plan.steps] == [(NEWLINE, 5), (ORDER, 5)]


def test_without_pairs_there_is_nothing_to_do() -> None:
    """No evidence, no plan, no division by zero."""
    plan = plan_of({})

    assert (plan.pairs, plan.steps, plan.left, sentence_of(plan)) == (0, (), (), "")


@given(
    sets=st.dictionaries(
        st.frozensets(st.sampled_from([*sorted(SPELLABLE)[:6], "value.changed", "member.missing"]), min_size=1),
        st.integers(1, 1_000),
        max_size=8,
    )
)
def test_every_plan_adds_up(sets: dict[frozenset[str], int]) -> None:
    """Shares only rise, every spellable cause is one step, and in the end all pairs that can be are identical."""
    plan = plan_of(sets)

    identical = [step.identical for step in plan.steps]
    assert identical == sorted(identical)
    assert sorted(step.cause for step in plan.steps) == sorted({one for causes in sets for one in causes & SPELLABLE})
    assert (identical or [0])[-1] == sum(count for causes, count in sets.items() if causes <= SPELLABLE)
    assert {one.cause for one in plan.left} == {one for causes in sets for one in causes} - SPELLABLE
