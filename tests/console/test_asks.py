"""Rules of reading what a call asks."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.asks import Field, read, schema_of
from console.call import Call
from console.calls import CALLS
from console.problem import ProblemError

SHARE = Field(name="percent", kind="percent", help="")
NAMES = st.sampled_from(("stage", "percent", "all", "cursor", "x"))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(0, 10_000))
def test_every_share_in_steps_of_a_hundredth_is_exact(share_bp: int) -> None:
    """Any share from 0 to 100 in steps of 0.01 is taken exactly, as number and as text."""
    percent = share_bp / 100

    assert read((SHARE,), {"percent": percent}) == {"percent": share_bp}
    assert read((SHARE,), {"percent": f"{percent:.2f}"}) == {"percent": share_bp}
    assert read((SHARE,), {"percent": f"{percent:.2f}%"}) == {"percent": share_bp}


@pytest.mark.parametrize("value", [-1, 100.01, 140, math.inf, math.nan, 0.001, True, "5 %", "five", "", [], 1e300])
def test_what_is_no_share_is_named(value: object) -> None:
    """A share outside 0 to 100, finer than 0.01 or no number is refused by name with what was expected."""
    with pytest.raises(ProblemError) as caught:
        read((SHARE,), {"percent": value})

    assert caught.value.faults[0]["where"] == "percent"
    assert "expected a share from 0 to 100" in caught.value.detail


@given(st.sampled_from(CALLS), st.dictionaries(NAMES, JSON_VALUES))
def test_any_json_is_read_or_refused(call: Call, asked: dict[str, object]) -> None:
    """Whatever JSON comes as a body, it is read or refused with a problem that can itself be sent."""
    fields = call.fields
    try:
        values = read(fields, asked)
    except ProblemError as problem:
        json.dumps(problem.body()).encode()
    else:
        assert set(values) == {field.name for field in fields}


def test_a_missing_field_has_its_default_and_null_is_missing() -> None:
    """An absent field and null are the same; a required one is then a fault."""
    fields = (
        Field(name="limit", kind="integer", help="", default=50),
        Field(name="on", kind="flag", help="", required=True),
    )

    assert read(fields, {"limit": None, "on": False}) == {"limit": 50, "on": False}
    with pytest.raises(ProblemError, match="on is missing; expected true or false"):
        read(fields, {"on": None})


def test_a_choice_is_one_of_its_values() -> None:
    """A closed set of values is listed in the fault and in the schema."""
    field = Field(name="to", kind="choice", help="", choices=("legacy", "shadow"))

    assert read((field,), {"to": "shadow"}) == {"to": "shadow"}
    with pytest.raises(ProblemError, match="to is 'new'; expected one of legacy, shadow"):
        read((field,), {"to": "new"})
    assert schema_of(field)["enum"] == ["legacy", "shadow", None]


@pytest.mark.parametrize("name", ["make_token", "rotate_token"])
@pytest.mark.parametrize("expires", ["0s", "0.0d", "0"])
def test_a_token_that_never_lived_is_not_asked_for(name: str, expires: str) -> None:
    """A token that ends as it is made is refused with what is expected; an overlap of nothing is an overlap."""
    fields = [field for call in CALLS if call.name == name for field in call.fields]
    rest = {field.name: "viewer" for field in fields if field.required}

    with pytest.raises(ProblemError, match=f"expires is '{expires}'; expected a duration such as 90d, longer than 0s"):
        read(fields, {**rest, "expires": expires})
    if name == "rotate_token":
        assert read(fields, {"overlap": "0s", "expires": "1ms"})["overlap"] == 0
