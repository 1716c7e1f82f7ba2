"""The image: linted, complete, and built by hand here because a test machine has no Docker."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

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
from tests.support.product import wait_until
from tests.support.recorder import Recorder, answer

TEXT = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()


def instructions(name: str) -> list[str]:
    """List what stands behind every instruction of this name."""
    return [line.removeprefix(name).strip() for line in INSTRUCTIONS if line.startswith(name + " ")]


def copied_from_the_checkout() -> list[str]:
    """List the files and directories that the build copies from the context."""
    return [word for line in instructions("COPY") if "--from" not in line for word in shlex.split(line)[:-1]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Make what stage one makes: a fresh environment with the locked requirements and the wheel."""
    environment = new_environment(tmp_path_factory.mktemp("image") / "matapalo")
    environment.install("--require-hashes", "-r", str(ROOT / "requirements.lock"))
    environment.install("--no-deps", str(build_wheel(tmp_path_factory.mktemp("dist"))))
    return environment


@pytest.mark.needs("hadolint")
def test_hadolint_has_nothing_to_say(part_path: Callable[[str], Path]) -> None:
    """The Dockerfile follows hadolint's rules, all of them."""
    done = subprocess.run(
        [str(part_path("hadolint")), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_copies_every_room_and_the_context_lets_it() -> None:
    """Whatever the wheel needs is copied, and .dockerignore admits exactly what is copied."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()

    assert set(wheel["only-include"]) <= set(copied_from_the_checkout())
    assert {line[1:] for line in ignore if line.startswith("!")} == set(copied_from_the_checkout())
    assert "*" in ignore
    assert all((ROOT / name).exists() for name in copied_from_the_checkout())


def test_it_does_not_run_as_root_and_keeps_its_state_in_a_volume() -> None:
    """The user is a number, the state directory a volume, and nothing of a working directory is importable."""
    assert instructions("USER") == ["10001"]
    assert instructions("VOLUME") == ["/var/lib/matapalo"]
    assert any("PYTHONSAFEPATH=1" in line for line in instructions("ENV"))
    assert "state_dir: /var/lib/matapalo" in (ROOT / "docs/container.yaml").read_text()


def test_everything_that_is_installed_is_locked_with_hashes() -> None:
    """No pip call of the build resolves anything by itself."""
    calls = re.findall(r"pip install [^&]*", " ".join(instructions("RUN")))

    assert len(calls) == 3
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in calls)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock", "requirements-dev.lock"])
def test_every_locked_package_has_hashes_and_an_exact_version(name: str) -> None:
    """A lock names one version of each package and the hashes of its files, and no index or mirror."""
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())

    assert all(re.match(r"[a-z0-9-]+==[^ ]+ ", entry) and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in (ROOT / name).read_text()


def test_what_the_image_would_be_answers_and_is_healthy(image: Environment, tmp_path: Path) -> None:
    """The locked requirements and the wheel serve the image's configuration; its own HEALTHCHECK agrees."""
    binary = str(image.home / "bin" / "matapalo")
    with Recorder(answer(b"hello")) as legacy, Recorder(answer(b"hello")) as new:
        listen, admin, health = free_port(), free_port(), free_port()
        text = (ROOT / "docs/container.yaml").read_text()
        for was, now in (
            ("0.0.0.0:8080", f"127.0.0.1:{listen}"),
            ("127.0.0.1:8081", f"127.0.0.1:{admin}"),
            ("0.0.0.0:8082", f"127.0.0.1:{health}"),
            ("/var/lib/matapalo ", f"{tmp_path / 'state'} "),
        ):
            assert was in text
            text = text.replace(was, now)
        (tmp_path / "m.yaml").write_text(text)
        (tmp_path / "config.py").write_text("raise SystemExit('a decoy was imported')")
        environ = {"LEGACY_URL": legacy.url, "NEW_URL": new.url, "PYTHONSAFEPATH": "1"}

        with serving([binary, "serve", "-c", "m.yaml"], tmp_path, f"http://127.0.0.1:{health}/readyz", **environ):
            answered = fetch(f"http://127.0.0.1:{listen}/anything")
            # Docker asks again, too (--retries): a busy machine may be late with one answer.
            wait_until(lambda: check_health(image, health) == 0, "its own HEALTHCHECK agrees")
        sick = check_health(image, health)

    assert answered == (200, b"hello")
    assert sick != 0


def check_health(image: Environment, port: int) -> int:
    """Run the Dockerfile's own HEALTHCHECK command, with the test's port."""
    (line,) = instructions("HEALTHCHECK")
    command = json.loads(line.partition("CMD ")[2])
    assert command[0] == "python"
    words = [str(image.python), *(word.replace("8082", str(port)) for word in command[1:])]
    environ = clean_environ() | {"http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(words, env=environ, capture_output=True, timeout=60, check=False).returncode


def test_the_default_configuration_asks_for_its_two_addresses(image: Environment) -> None:
    """Without LEGACY_URL and NEW_URL the start says which variables it needs, exit code 1."""
    done = subprocess.run(
        [str(image.home / "bin" / "matapalo"), "check", "-c", str(ROOT / "docs/container.yaml")],
        env={name: value for name, value in clean_environ().items() if name not in ("LEGACY_URL", "NEW_URL")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "LEGACY_URL" in done.stderr
    assert "NEW_URL" in done.stderr
