"""The door: installed as operators install it, it runs its own rooms or says whose are in the way."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import matapalo
from tests.support.installed import (
    ROOT,
    Environment,
    build_wheel,
    clean_environ,
    fetch,
    new_environment,
    serving,
)
from tests.support.ports import free_port
from tests.support.recorder import Recorder, answer

DECOYS = ("config.py", "rules.py", "shadow.py", "click.py", "store/__init__.py", "proxy/__init__.py", "console.py")
CONFIG = """\
listen: 127.0.0.1:LISTEN
admin: {{listen: 127.0.0.1:ADMIN}}
health: {{listen: 127.0.0.1:HEALTH}}
state_dir: ./state
backends: {{legacy: {{url: "{url}"}}}}
undeclared: {{backend: legacy}}
routes: []
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel once."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """Install the wheel alone into a fresh environment that sees the locked dependencies."""
    environment = new_environment(tmp_path_factory.mktemp("fresh") / "venv")
    environment.install("--no-deps", str(wheel))
    # A .pth inside a directory that a .pth names is not read: this checkout's editable line stays out.
    environment.see(sysconfig.get_path("purelib"))
    return environment


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """Stand in a directory whose files have the names of our rooms and betray themselves when imported."""
    place = tmp_path / "decoys"
    for name in DECOYS:
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise SystemExit('a decoy was imported')\n")
    return place


def call(command: list[str], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed product to its end."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**clean_environ(), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_the_rooms_and_the_door_and_nothing_else(wheel: Path) -> None:
    """What is installed is six packages, one module and the metadata; every file of the rooms is in it."""
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert tops == {*matapalo.ROOMS, "matapalo.py", next(top for top in tops if top.endswith(".dist-info"))}
    ours = {str(file.relative_to(ROOT)) for room in matapalo.ROOMS for file in (ROOT / room).rglob("*.py")}
    assert ours <= set(names)


def test_the_installed_door_is_not_this_checkout(installed: Environment) -> None:
    """The fresh environment imports the wheel's files, or the guards below would prove nothing."""
    done = call([str(installed.python), "-P", "-c", "import matapalo; print(matapalo.__file__)"], ROOT)

    assert done.stdout.strip().startswith(str(installed.home))


@pytest.mark.parametrize("how", ["script", "module"])
def test_decoys_in_the_working_directory_do_not_win(installed: Environment, decoys: Path, how: str) -> None:
    """`matapalo` and `python -m matapalo` work in a directory that holds files named like our rooms."""
    script = installed.home / "bin" / "matapalo"
    command = [str(script)] if how == "script" else [str(installed.python), "-m", "matapalo"]

    version = call([*command, "--version"], decoys)
    schema = call([*command, "schema"], decoys)

    assert version.returncode == 0, version.stderr
    assert version.stdout == "matapalo 0.1.0\n"
    assert schema.returncode == 0, schema.stderr


@pytest.mark.parametrize("how", ["script", "module", "child"])
def test_decoys_on_pythonpath_are_named_and_refused(installed: Environment, decoys: Path, how: str) -> None:
    """A foreign package that would win is named in one sentence with the next step, exit code 1; it is never run."""
    (decoys / "click.py").unlink()
    command = {
        "script": [str(installed.home / "bin" / "matapalo"), "schema"],
        "module": [str(installed.python), "-m", "matapalo", "schema"],
        "child": [str(installed.python), "-P", "-m", "matapalo", "_worker"],
    }[how]

    done = call(command, Path("/"), PYTHONPATH=str(decoys))

    assert done.returncode == 1
    assert str(decoys / "config.py") in done.stderr
    assert "take it off PYTHONPATH" in done.stderr
    assert "a decoy was imported" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_runs_among_decoys(installed: Environment, decoys: Path) -> None:
    """`serve`, and every child that it starts, works in a directory of decoys and drains on SIGTERM."""
    with Recorder(answer(b"hello")) as backend:
        listen, admin, health = free_port(), free_port(), free_port()
        text = CONFIG.format(url=backend.url)
        for name, port in (("LISTEN", listen), ("ADMIN", admin), ("HEALTH", health)):
            text = text.replace(name, str(port))
        (decoys / "m.yaml").write_text(text)
        command = [str(installed.home / "bin" / "matapalo"), "serve", "-c", "m.yaml"]

        with serving(command, decoys, f"http://127.0.0.1:{health}/readyz"):
            assert fetch(f"http://127.0.0.1:{listen}/x") == (200, b"hello")


def test_foreign_room_is_silent_in_this_checkout() -> None:
    """All rooms resolve to the directory beside the door."""
    assert matapalo.foreign_room() is None


def test_foreign_room_tells_a_missing_room_from_a_foreign_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside another door the rooms are foreign; with no rooms anywhere they are missing."""
    assert "stands in front of" in (matapalo.foreign_room(str(tmp_path)) or "")

    for room in matapalo.ROOMS:
        for name in [name for name in sys.modules if name == room or name.startswith(f"{room}.")]:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    assert "'config' is missing" in (matapalo.foreign_room() or "")


def test_a_bare_directory_named_like_a_room_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without code is named like a file would be."""
    (tmp_path / "config").mkdir()
    monkeypatch.delitem(sys.modules, "config", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    assert (matapalo.foreign_room() or "").startswith(str(tmp_path / "config"))


@pytest.mark.parametrize("child", ["_worker", "_comparer", "_control"])
def test_children_do_not_pay_for_the_command_line(child: str) -> None:
    """A child is dispatched before the commands and rich are imported, and says which arguments it needs."""
    probe = (
        "import sys, matapalo\n"
        "try: matapalo.main([sys.argv[1]])\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, sorted({'rich', 'console.commands.group', 'hypothesis'} & set(sys.modules)))"
    )

    done = call([sys.executable, "-c", probe, child], ROOT)

    assert done.stdout == "2 []\n", done.stderr
    assert "--state-dir" in done.stderr


def test_a_bad_configuration_never_starts(tmp_path: Path) -> None:
    """serve prints every problem of the file with its place and ends with exit code 1."""
    (tmp_path / "m.yaml").write_text("liste: 1\nroutes: 7\nbackends: {}\n")

    done = call([sys.executable, "-m", "matapalo", "serve", "-c", "m.yaml"], tmp_path, PYTHONPATH=str(ROOT))

    assert done.returncode == 1
    assert "m.yaml:1:1: liste:" in done.stderr
    assert "m.yaml:2:" in done.stderr
    assert not (tmp_path / ".matapalo").exists()


def test_the_door_stays_small() -> None:
    """The composition root has fewer than 150 lines, imports no parser of the wire, and joins two rooms only."""
    text = (ROOT / "matapalo.py").read_text()

    assert len(text.splitlines()) < 150
    assert "zttp" not in text


def test_the_children_find_the_door_whatever_directory_they_start_in(tmp_path: Path) -> None:
    """`python -P -m matapalo` works from anywhere, because the checkout is installed, not only stood in."""
    done = call([sys.executable, "-P", "-m", "matapalo", "--version"], tmp_path)

    assert done.returncode == 0, f"{done.stderr}\nrun scripts/install"
