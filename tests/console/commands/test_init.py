"""``matapalo init``."""

from __future__ import annotations

from pathlib import Path

from tests.console.commands.conftest import Cli

LEGACY = "http://127.0.0.1:3000"
NEW = "http://127.0.0.1:4000"


def test_the_first_file_is_valid(cli: Cli, tmp_path: Path) -> None:
    """What init writes passes check, and the next two commands are printed."""
    printed = cli("init", "--legacy", LEGACY, "--new", NEW)

    assert printed.code == 0
    assert "matapalo check -c matapalo.yaml" in printed.out
    assert (tmp_path / "matapalo.yaml").exists()
    assert cli("check").code == 0


def test_a_file_is_never_replaced_unasked(cli: Cli, tmp_path: Path) -> None:
    """A file that is there stays as it is, unless --force says otherwise."""
    file = tmp_path / "mine.yaml"
    file.write_text("precious")

    refused = cli("init", "--legacy", LEGACY, "-o", "mine.yaml")

    assert refused.code == 1
    assert "mine.yaml exists already" in refused.err
    assert file.read_text() == "precious"
    assert cli("init", "--legacy", LEGACY, "-o", "mine.yaml", "--force", "--json").json == {"file": "mine.yaml"}
    assert file.read_text() != "precious"


def test_stdout_gets_the_bare_file(cli: Cli, tmp_path: Path) -> None:
    """``-o -`` prints the configuration and writes nothing."""
    printed = cli("init", "--legacy", LEGACY, "-o", "-")

    assert LEGACY in printed.out
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_url_and_a_wrong_place_are_one_sentence(cli: Cli) -> None:
    """What cannot be a backend, or cannot be written, is exit code 1 with the reason."""
    wrong = cli("init", "--legacy", "not a url")
    nowhere = cli("init", "--legacy", LEGACY, "-o", "missing/dir/m.yaml")

    assert (wrong.code, nowhere.code) == (1, 1)
    assert "expected a URL such as" in wrong.err
    assert "missing/dir/m.yaml cannot be written" in nowhere.err
