"""Each setting of a style does its work alone, with Go 1.27 and with an older one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shadow.style import Style
from tests.support.goprogram import run_go

ODD = {
    "gson": (Style(html="<>&='", upper_hex=False), '"\\u003c\\u003e\\u0026\\u003d\\u0027é"'),
    "rapidjson": (Style(non_ascii="all", upper_hex=True, html="<>&"), '"\\u003C\\u003E\\u0026=\'\\u00E9"'),
    "indented": (Style(indent="    ", colon=True, html=""), '{\n    "a": [\n        "é"\n    ],\n    "z": []\n}'),
    "sortedindent": (Style(indent="  ", is_sorted=True, html=""), '{\n  "a": [\n    "é"\n  ],\n  "z": []\n}'),
    "sortedspaced": (Style(comma=True, is_sorted=True, html=""), '{"a":["é"], "z":[]}'),
    "nothing": (Style(), '{"z":[],"a":["é"]}'),
    "astral": (Style(non_ascii="astral", html=""), '"é\\ud83d\\ude00"'),
    "control": (Style(short_control=True, delete=True, solidus=True), '"\\b\\f\\u0001\\u007f\\/\\\\u0008"'),
    "separators": (Style(line_separator=False, html=""), '"\u2028\\\\u2028"'),
}
VALUES = {
    "gson": ["string", "<>&='é"],
    "rapidjson": ["string", "<>&='é"],
    "indented": ["object", ["a", ["array", ["string", "é"]]], ["z", ["array"]]],
    "astral": ["string", "é😀"],
    "control": ["string", "\b\f\x01\x7f/\\u0008"],
    "separators": ["string", "\u2028\\u2028"],
}
UNSORTED = ["object", ["z", ["array"]], ["a", ["array", ["string", "é"]]]]


@pytest.mark.parametrize(
    ("part", "modern"),
    [
        pytest.param("go", True, marks=pytest.mark.needs("go")),
        pytest.param("go-older", False, marks=pytest.mark.needs("go-older")),
    ],
)
def test_single_settings_do_what_they_say(
    part: str, modern: bool, part_path: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each setting of a style does its work alone; a style that knows nothing is encoding/json itself."""
    rows = [(name, VALUES.get(name, UNSORTED)) for name in ODD]

    written = run_go(part_path(part), tmp_path, {name: style for name, (style, _) in ODD.items()}, rows, modern=modern)

    assert {name: body.decode() for (name, _), body in zip(rows, written, strict=True)} == {
        name: wanted for name, (_, wanted) in ODD.items()
    }
