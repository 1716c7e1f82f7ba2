"""How commands print."""

from __future__ import annotations

import pytest

from console.commands.admin import Answer
from console.commands.output import flag_words, percent, print_change, print_json, print_table


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ({"stage": "legacy", "percent": 0.0, "sample": 0.0}, "legacy"),
        ({"stage": "canary", "percent": 12.5, "sample": 100.0}, "canary 12.5% (copies 100%)"),
        ({"stage": "live", "percent": 0.0, "sample": 1.0}, "live (copies 1%)"),
    ],
)
def test_a_flag_reads_like_the_flip_that_makes_it(flag: dict[str, object], words: str) -> None:
    """Stage, percent where it counts, and the sample where something is copied."""
    assert flag_words(flag) == words


def test_no_share_is_not_zero() -> None:
    """Without traffic there is no share, and that is not 0 %."""
    assert (percent(None), percent(0.0), percent(4.80)) == ("-", "0%", "4.8%")


def test_a_pipe_gets_whole_cells_and_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing is cut, coloured or read as markup, so grep and awk work."""
    long = "x" * 2_000

    print_table(["NAME", "WHAT"], [["[red]orders", long]])

    title, row = capsys.readouterr().out.splitlines()
    assert title.split() == ["NAME", "WHAT"]
    assert row.split() == ["[red]orders", long]
    assert "\x1b" not in row


def test_json_is_one_object_in_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is indented and keeps letters as they are."""
    print_json({"name": "añejo"})

    assert capsys.readouterr().out == '{\n  "name": "añejo"\n}\n'


def test_nothing_changed_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A change that was already so says it and is no problem."""
    answer = Answer(status=200, body={"changed": False, "revision": 13, "workers": {"acked": [], "missing": []}})

    assert print_change(answer, as_json=False) == 0
    assert "already so" in capsys.readouterr().out


def test_a_release_of_nothing_is_in_force_on_those_who_serve(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no hold was taken away nobody had to acknowledge it, and all workers serve what they served."""
    body = {"changed": False, "revision": 7, "workers": {"acked": [0, 1]}, "holds": {"acked": []}}

    print_change(Answer(status=200, body=body), as_json=False)

    assert "revision 7 · in force on 2 workers" in capsys.readouterr().out
