"""The table of causes."""

from __future__ import annotations

import pytest

from shadow.causes import CAUSES, Severity


def test_every_cause_stands_under_its_own_name() -> None:
    """A cause is found by its name."""
    assert all(name == cause.name for name, cause in CAUSES.items())


def test_the_table_cannot_be_changed() -> None:
    """The vocabulary is closed: nobody adds to it while the program runs."""
    with pytest.raises(TypeError):
        CAUSES["new"] = CAUSES["key_order"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["number.integral_float", "framing.bom", "key.duplicate", "time.zone"])
def test_what_some_parser_sees_is_not_cosmetic(name: str) -> None:
    """Only what every conforming parser reads alike is cosmetic."""
    assert CAUSES[name].severity is not Severity.COSMETIC
