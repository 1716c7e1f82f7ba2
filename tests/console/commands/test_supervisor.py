"""Rules of reaching a supervisor that may not be there; what it is asked: test_local.py and test_restart.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.console.commands.conftest import Cli


@pytest.mark.parametrize("words", [("rollback", "--all", "--local"), ("restart", "--local")])
def test_a_missing_supervisor_is_one_sentence(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Where no supervisor answers, the command names the socket and what to check, and ends with 3."""
    printed = cli(*words, "--state-dir", str(tmp_path))

    assert printed.code == 3
    assert f"the supervisor does not answer at {tmp_path / 'supervisor.sock'}" in printed.err


def test_a_supervisor_that_hangs_up_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    """A socket whose owner is dead is no answer."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "supervisor.sock"))

    assert cli("restart", "--local", "--state-dir", str(tmp_path)).code == 3


def test_a_configuration_that_cannot_be_read_asks_for_the_directory(cli: Cli, tmp_path: Path) -> None:
    """With a broken file the command says what to name instead."""
    (tmp_path / "matapalo.yaml").write_text("listen: [")

    printed = cli("restart", "--local", "-c", str(tmp_path / "matapalo.yaml"))

    assert printed.code == 1
    assert "--state-dir DIR" in printed.err
