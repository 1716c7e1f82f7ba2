"""Two values obey a rule, or they do not: in doubt they do not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.spec import RuleSpec
from shadow.json_value import plain_number
from shadow.likeness import SCALAR_RULES, are_alike

UUID, IDENTIFIER, COUNTER = (RuleSpec(name=name) for name in ("uuid", "opaque_id", "counter"))
ONE = "0b9e4a52-1c5d-4f8e-9a3b-2d7c6e5f4a3b"
OTHER = "f47ac10b-58cc-4372-a567-0e02b2c3d479"


def near(within: str) -> RuleSpec:
    """Make a numeric rule."""
    return RuleSpec(name="within", within=within)


@pytest.mark.parametrize(
    ("rule", "legacy", "new", "alike"),
    [
        (UUID, ONE, OTHER, True),
        (UUID, ONE.upper(), OTHER.upper(), True),
        (UUID, ONE.replace("-", ""), OTHER.replace("-", ""), True),
        (UUID, ONE, OTHER.upper(), False),
        (UUID, ONE, OTHER.replace("-", ""), False),
        (UUID, ONE, OTHER + " ", False),
        (UUID, ONE, OTHER[:-1], False),
        (UUID, ONE, "", False),
        (UUID, ONE, None, False),
        (UUID, ONE, b"12", False),
        (UUID, ONE, (b"\xff",), False),
        (IDENTIFIER, "req_8sK2", "req_99Zx-", True),
        (IDENTIFIER, b"17", b"23455", True),
        (IDENTIFIER, "17", b"17", False),
        (IDENTIFIER, "a b", "ab", False),
        (IDENTIFIER, "", "ab", False),
        (IDENTIFIER, "a" * 257, "ab", False),
        (IDENTIFIER, b"15e-1", b"2", False),
        (IDENTIFIER, b"-1", b"2", False),
        (COUNTER, b"7", b"8", True),
        (COUNTER, b"8", b"7", True),
        (COUNTER, b"0", b"1000", True),
        (COUNTER, b"0", b"1001", False),
        (RuleSpec(name="counter", within="5"), b"10", b"16", False),
        (COUNTER, b"-1", b"1", False),
        (COUNTER, b"1", b"15e-1", False),
        (COUNTER, "1", "2", False),
        (near("0.01"), b"1050e-2", b"1051e-2", True),
        (near("0.01"), b"1050e-2", b"105101e-4", False),
        (near("1"), b"-5e-1", b"5e-1", True),
        (near("1%"), b"100", b"101", True),
        (near("1%"), b"100", b"10101e-2", False),
        (near("1%"), b"-100", b"-99", True),
        (near("1%"), b"0", b"1e-9", False),
        (near("1"), "1", "2", False),
        (near("1"), True, b"1", False),
        (near("1"), None, b"1", False),
        (near("1"), plain_number("1e400"), b"1", False),
        (near("1"), plain_number("1" + "0" * 900), plain_number("1" + "0" * 899 + "1"), True),
        (near("1"), plain_number("1" + "0" * 900), plain_number("1" + "0" * 899 + "2"), False),
    ],
)
def test_values_obey_a_rule_or_not(rule: RuleSpec, legacy: object, new: object, *, alike: bool) -> None:
    """Each rule permits what it says and nothing beside it."""
    assert are_alike(rule, legacy, new) is alike


@pytest.mark.parametrize(
    ("later", "legacy", "new", "alike"),
    [
        ("new", b"7", b"8", True),
        ("new", b"8", b"7", False),
        ("legacy", b"8", b"7", True),
        ("legacy", b"7", b"8", False),
        ("new", b"7", b"7", True),
    ],
)
def test_a_counter_does_not_run_backwards(later: str, legacy: object, new: object, *, alike: bool) -> None:
    """Where one side was clearly asked later, its counter is not behind."""
    assert are_alike(COUNTER, legacy, new, later) is alike


decimals = st.builds(
    lambda sign, digits, exponent: f"{sign}{digits}e{exponent}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**30).map(str),
    st.integers(-400, 400).map(str),
)


@given(decimals, decimals, st.sampled_from(["0.01", "5", "1000000", "1%", "0.5%", "100%"]))
def test_distances_are_exact(one: str, other: str, within: str) -> None:
    """Whether two numbers are near is computed without rounding, whatever their size."""
    left, right = Fraction(one), Fraction(other)
    allowed = abs(left) * Fraction(within[:-1]) / 100 if within.endswith("%") else Fraction(within)

    assert are_alike(near(within), plain_number(one), plain_number(other)) == (abs(left - right) <= allowed)


@given(st.sampled_from(sorted(SCALAR_RULES)), st.data())
def test_any_values_get_an_answer(name: str, data: st.DataObject) -> None:
    """No value makes a rule fail."""
    values = st.one_of(
        st.none(), st.booleans(), st.text(), st.binary().map(lambda raw: (raw,)), st.just([]), st.just({}),
        st.integers().map(lambda number: plain_number(str(number))),
    )  # fmt: skip
    rule = RuleSpec(name=name, within="5", within_ns=10**9)  # type: ignore[arg-type]  # the names come from the table

    assert are_alike(rule, data.draw(values), data.draw(values)) in (True, False)
