"""``matapalo causes``."""

from __future__ import annotations

import pytest

from shadow.causes import CAUSES
from tests.console.commands.conftest import Cli


def test_every_cause_is_listed(cli: Cli) -> None:
    """The list has one line per cause, with its severity; no server is asked."""
    printed = cli("causes")

    assert printed.code == 0
    assert [name for name in CAUSES if f"{name} " not in printed.out] == []
    assert [one["name"] for one in cli("causes", "--json").json["causes"]] == list(CAUSES)


def test_one_cause_is_shown_with_its_fixes(cli: Cli) -> None:
    """One cause in full names who produces it and has code to paste for Go, Node and Python."""
    printed = cli("causes", "escape.html")

    for part in ("cosmetic", "Who: ", "enc.SetEscapeHTML(false)", '"encoding/json"', "jsontext.EscapeForHTML(false)"):
        assert part in printed.out
    assert {fix["for"] for fix in cli("causes", "escape.html", "--json").json["fixes"]} == {
        "go",
        "go127",
        "node",
        "python",
    }


def test_the_fixes_of_one_language_can_be_asked_for(cli: Cli) -> None:
    """``--for`` leaves the other languages out."""
    printed = cli("causes", "escape.html", "--for", "node")

    assert "JSON.stringify" in printed.out
    assert "jsontext" not in printed.out


@pytest.mark.parametrize(("name", "guess"), [("escape.htm", "escape.html"), ("qqqq", "matapalo causes")])
def test_a_name_that_does_not_exist_is_a_usage_error(cli: Cli, name: str, guess: str) -> None:
    """Exit code 2, with the nearest name or the way to the list."""
    printed = cli("causes", name)

    assert printed.code == 2
    assert guess in printed.err
