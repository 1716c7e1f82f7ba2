"""Rules of what DeepDiff is asked."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest

from console.commands.structure import structure_of


def comparison(legacy: str | None, new: str) -> dict[str, Any]:  # Any: JSON
    """Make a comparison with two bodies."""
    return {side: {"body": body, "body_base64": None} for side, body in (("legacy", legacy), ("new", new))}


def test_members_with_two_underscores_and_equal_decimals_are_told_apart() -> None:
    """What DeepDiff leaves out by default is compared; numbers are exact."""
    assert "root['__a']" in structure_of(comparison('{"__a": 1}', '{"__a": 2}'))
    assert "root" in structure_of(comparison("0.1", "0.10000000000000000001"))
    assert "the same" in structure_of(comparison('{"a": 1, "b": 2}', '{"b":2,"a":1}'))


@pytest.mark.parametrize("body", [None, "no json", "[" * 100_000, " " * 300_000, "[" * 5_000 + "]" * 5_000])
def test_what_deepdiff_cannot_take_is_refused(body: str | None) -> None:
    """Missing, broken, deep and large bodies are refused with a sentence."""
    with pytest.raises(click.ClickException, match="the body of legacy"):
        structure_of(comparison(body, "{}"))


def test_only_who_asks_for_the_structure_waits_for_deepdiff() -> None:
    """`diff` without --structure does not import DeepDiff."""
    code = "import sys, console.commands.diffs, console.commands.structure; sys.exit('deepdiff' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
