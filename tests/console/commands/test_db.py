"""Rules of ``matapalo db``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from console.commands.group import Door, run
from tests.store.made import fill
from tests.support.postgres import PASSWORD, PostgresServer

CONFIG = "state_dir: {state_dir}\nbackends: {{old: {{url: 'http://127.0.0.1:9'}}}}\ndatabase: {database}\n"


def matapalo(*words: str) -> int:
    """Run the command line."""
    return run(list(words), Door(serve=lambda *_: 0))


@pytest.mark.needs("postgres")
def test_the_way_from_files_to_a_postgresql(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Check names what is missing, migrate makes it once, copy fills it once; no word of it holds the password."""
    url = postgres_server.url(postgres_server.database())
    monkeypatch.setenv("DB", url)
    config = tmp_path / "m.yaml"
    config.write_text(CONFIG.format(state_dir=tmp_path, database="env:DB"))
    asyncio.run(fill(tmp_path))

    missing = matapalo("db", "check", "-c", str(config))
    made, again = (matapalo("db", "migrate", "-c", str(config)) for _ in range(2))
    copied = matapalo("db", "copy", "-c", str(config), "--json")
    second = matapalo("db", "copy", "-c", str(config))
    told = capfd.readouterr()

    assert (missing, made, again, copied, second) == (1, 0, 0, 0, 1)
    assert "run `matapalo db migrate`" in told.out
    assert "Nothing to do" in told.out
    shown = json.loads(told.out[told.out.index("{") : told.out.rindex("}") + 1])
    assert shown["rows"]["audit"] == 2
    assert "is not empty" in told.err
    assert PASSWORD not in told.out + told.err


def test_files_need_no_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With SQLite, migrate and check say that there is nothing to do for them, and how to share a database."""
    config = tmp_path / "m.yaml"
    config.write_text(CONFIG.format(state_dir=tmp_path, database="sqlite"))

    results = [matapalo("db", command, "-c", str(config)) for command in ("migrate", "check")]

    assert results == [1, 1]
    assert "postgresql://" in capfd.readouterr().err
