"""Go code for numbers, moments and durations; test_gocode.py compares what it writes with recorded bodies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shadow.dialects import DURATIONS, FLOATS, TIMES
from shadow.gotypes import durations, go_string, marshalers, moments, numbers
from shadow.style import Style
from tests.support.goprogram import run_go


def test_nothing_is_written_for_what_go_does_by_itself() -> None:
    """Without evidence, or where legacy writes as Go does, there is no code."""
    for style in (Style(), Style(floats=("Go", "JavaScript"))):
        assert numbers(style, modern=True) == moments(style, modern=True) == durations(style, modern=True) == []
        assert marshalers(style) == {}


def test_a_tab_is_escaped() -> None:
    """An indent of tabs is a Go string on one line."""
    assert go_string("\t") == '"\\t"'


FLOAT_VALUES = ["1.0", "-2.5", "1e16", "1e-5", "1e-7", "1e21", "0.1", "123456789.5", "5e-324", "-0.0"]


@pytest.mark.parametrize(
    ("part", "modern"),
    [
        pytest.param("go", True, marks=pytest.mark.needs("go")),
        pytest.param("go-older", False, marks=pytest.mark.needs("go-older")),
    ],
)
def test_go_spells_as_the_dialects_do(
    part: str, modern: bool, part_path: Callable[[str], Path], tmp_path: Path
) -> None:
    """The generated code and the dialect that found the style write the same lexemes."""
    styles: dict[str, Style] = {}
    rows: list[tuple[str, list[str]]] = []
    wanted: list[str] = []
    for number, (name, dialect) in enumerate(FLOATS.items()):
        if name != "Go":
            styles[f"float{number}"] = Style(floats=(name,))
            rows += [(f"float{number}", ["float", value]) for value in FLOAT_VALUES]
            wanted += [dialect.spell(float(value)) for value in FLOAT_VALUES]
    for number, name in enumerate(TIMES):
        styles[f"time{number}"] = Style(times=(name,))
        rows.append((f"time{number}", ["moment", "2024-01-02T03:04:05.12Z"]))
    for number, name in enumerate(DURATIONS):
        styles[f"duration{number}"] = Style(durations=(name,))
        rows.append((f"duration{number}", ["duration", "90m1.5s"]))
    wanted += [
        '"2024-01-02T03:04:05Z"',
        '"2024-01-02T03:04:05.120Z"',
        '"2024-01-02T03:04:05.120000Z"',
        '"2024-01-02T03:04:05.120Z"',
        '"2024-01-02T03:04:05.120000Z"',
        '"2024-01-02T03:04:05.120000+00:00"',
        '"2024-01-02 03:04:05.120000+00:00"',
        '"Tue, 02 Jan 2024 03:04:05 GMT"',
        "1704164645120",
        "5401500",
        "5401.5",
        '"P0DT01H30M01.500000S"',
    ]

    assert [body.decode() for body in run_go(part_path(part), tmp_path, styles, rows, modern=modern)] == wanted
