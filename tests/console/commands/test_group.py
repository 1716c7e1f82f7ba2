"""The command line as a whole: every command is listed, imported late, and says the same twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from console.commands.group import COMMANDS
from console.commands.group import cli as group

ROOT = Path(__file__).resolve().parents[3]
HELP_S = 0.35
PROMISED = (
    *("serve", "demo", "init", "check", "schema", "explain", "status", "routes", "nodes", "flip", "rollback"),
    *("hold", "release", "shadow", "autopilot", "undo", "deployed", "gate", "evidence"),
    *("audit", "token", "db", "diffs", "diff"),
    *("compare", "causes", "encoding", "recheck", "tolerate", "reload", "restart"),
)


def command_named(name: str) -> click.Command:
    """Load one command as the group does."""
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def test_every_promised_command_is_there_and_no_other() -> None:
    """The commands are exactly those that work; what comes later is absent, not pretended."""
    assert tuple(COMMANDS) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_the_table_of_contents_says_what_the_command_says(name: str) -> None:
    """The line in ``matapalo --help`` is the first line of the command's own help."""
    command = command_named(name)

    assert (command.help or "").splitlines()[0] == COMMANDS[name][1]
    assert command.name == name


@pytest.mark.parametrize("name", [name for name in PROMISED if name not in ("serve", "demo")])
def test_every_command_speaks_json(name: str) -> None:
    """Every command that answers takes --json."""
    command = command_named(name)
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    silent = [one.name for one in commands if not any("--json" in parameter.opts for parameter in one.params)]

    assert silent == []


@pytest.mark.alone
def test_help_is_quick_and_imports_no_command() -> None:
    """``matapalo --help`` answers within a third of a second, because it imports nothing but click."""
    probe = (
        "import sys; from matapalo import main; code = main(['--help']);"
        "late = {'rich', 'httpx2', 'yaml', 'msgspec', 'uvloop'} & set(sys.modules);"
        "sys.exit(code or ('imported: %s' % late if late else 0))"
    )

    times = []
    for _ in range(3):
        before = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - before)
        assert done.returncode == 0, done.stderr

    assert min(times) < HELP_S, f"{min(times):.2f} s"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nosuch"], 2, "No such command 'nosuch'"),
        ([], 2, "Usage: matapalo"),
        (["flip", "--nosuch"], 2, "No such option"),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
    ],
)
def test_exit_codes_of_the_group(words: list[str], code: int, sentence: str) -> None:
    """A wrong command line is exit code 2 with a sentence on stderr; help and version are 0."""
    done = subprocess.run(
        [sys.executable, "-m", "matapalo", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == code, done.stderr
    assert sentence in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_output_on_a_full_disk_is_one_sentence() -> None:
    """A command whose output finds no space says so, with exit code 1, and nobody reads a traceback."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "matapalo", "causes"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: no space is left where this prints to")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    """``_MATAPALO_COMPLETE=bash_source matapalo`` prints a completion script, as CONTRIBUTING and --help promise."""
    done = subprocess.run(
        [sys.executable, "-m", "matapalo"],
        cwd=ROOT,
        env={**os.environ, "_MATAPALO_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "_MATAPALO_COMPLETE" in done.stdout + done.stderr
