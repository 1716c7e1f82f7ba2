"""Rules of the chain of schema revisions."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from store import chain, migrate
from store.schema import HEAD


def test_the_head_that_the_code_knows_is_the_head_of_the_chain() -> None:
    """store.schema.HEAD is the newest revision, and the chain has no branches."""
    assert migrate.chain().get_heads() == [HEAD]


def test_known_revisions_are_those_of_the_chain() -> None:
    """Every revision of the chain is known, any other is not."""
    assert migrate.knows("0001")
    assert not migrate.knows("9999")


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    """A file at the head stays as it is."""
    path = str(tmp_path / "flags.db")
    migrate.upgrade(path, "flags")
    before = Path(path).read_bytes()

    migrate.upgrade(path, "flags")

    assert Path(path).read_bytes() == before


def test_two_files_may_be_upgraded_at_the_same_time(tmp_path: Path) -> None:
    """Both files are built side by side at a first start without mixing up."""
    threads = [
        threading.Thread(target=migrate.upgrade, args=(str(tmp_path / f"{file}.db"), file))
        for file in ("flags", "evidence")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    tables = {}
    for file in ("flags", "evidence"):
        found = sqlite3.connect(tmp_path / f"{file}.db")
        tables[file] = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found.close()
    assert "flags" in tables["flags"]
    assert "divergences" in tables["evidence"]
    assert "divergences" not in tables["flags"]


def test_a_failed_upgrade_leaves_no_half_schema(tmp_path: Path) -> None:
    """When one statement of the chain fails, none of the tables before it stays."""
    path = tmp_path / "flags.db"
    blocked = sqlite3.connect(path)
    blocked.execute("CREATE TABLE idempotency (x)")
    blocked.commit()
    blocked.close()

    with pytest.raises(sqlite3.Error):
        migrate.upgrade(str(path), "flags")

    found = sqlite3.connect(path)
    tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found.close()
    assert tables == {"idempotency"}


def test_entries_of_a_former_version_join_the_chain(tmp_path: Path) -> None:
    """The audit of a former version is chained by the upgrade, as new entries are, and still refuses changes."""
    path = str(tmp_path / "flags.db")
    migrate.upgrade(path, "flags", "0003")
    old = sqlite3.connect(path)
    for number in (1, 2, 3):
        old.execute(
            "INSERT INTO audit (id, at, actor, source, kind, routes, reason, revision, before, after) "
            "VALUES (?, 'then', 'ops', 'api', 'flip', '[\"orders\"]', 'why', ?, '{\"a\": 0.5}', '{}')",
            (number, number),
        )
    old.commit()
    old.close()

    migrate.upgrade(path, "flags")

    new = sqlite3.connect(path)
    new.row_factory = sqlite3.Row
    rows = new.execute("SELECT * FROM audit ORDER BY id").fetchall()
    with pytest.raises(sqlite3.Error, match="append-only"):
        new.execute("UPDATE audit SET reason = 'another'")
    new.close()
    previous = chain.GENESIS
    for row in rows:
        body = {name: json.loads(row[name]) for name in ("routes", "before", "after", "evidence", "builds")}
        assert chain.digest({**dict(row), **body, "forced": False}) == row["hash"]
        assert row["previous"] == previous
        previous = row["hash"]
    assert len(rows) == 3
