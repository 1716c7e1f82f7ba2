"""Rules of places: a problem found late still points at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import Problem
from config.loader import load
from config.places import located

TEXT = """\
listen:
  - {address: 127.0.0.1:80}
  - address: 127.0.0.1:443
    tls:
      cert: a.pem
      key: a.key
admin: {tokens: [{name: ops, role: operator, token: "env:OPS"}]}
include: [more.yaml]
backends: {old: {url: "http://old"}}
"""


@pytest.mark.parametrize(
    ("where", "spot"),
    [
        ("listen[1].tls", "main.yaml:5:7"),
        ("listen[1].tls.cert", "main.yaml:5:13"),
        ("admin.tokens.ops.token", "main.yaml:7:53"),
        ("backends.new.url", "more.yaml:1:23"),
    ],
)
def test_a_late_problem_points_at_its_value(tmp_path: Path, where: str, spot: str) -> None:
    """Keys, places in lists and names of items lead to the line and column, in included files, too."""
    (tmp_path / "main.yaml").write_text(TEXT)
    (tmp_path / "more.yaml").write_text('backends: {new: {url: "http://new"}}')
    config = load(tmp_path / "main.yaml")

    (found,) = located([Problem(config.files[0], 0, 0, where, "is wrong")], config)

    assert str(found) == f"{tmp_path}/{spot}: {where}: is wrong"


def test_a_listener_without_its_list_is_found(tmp_path: Path) -> None:
    """One listener may stand there without the list."""
    (tmp_path / "main.yaml").write_text(
        'listen: {address: 127.0.0.1:443, tls: {cert: a, key: b}}\nbackends: {old: {url: "http://old"}}'
    )
    config = load(tmp_path / "main.yaml")

    (found,) = located([Problem(config.files[0], 0, 0, "listen[0].tls", "is wrong")], config)

    assert (found.line, found.column) == (1, 39)


def test_what_no_file_has_keeps_its_words(tmp_path: Path) -> None:
    """A key that a default made keeps line 0 and is printed without a line."""
    (tmp_path / "main.yaml").write_text('backends: {old: {url: "http://old"}}')
    config = load(tmp_path / "main.yaml")
    problem = Problem(config.files[0], 0, 0, "listen[3].tls", "is wrong")

    assert located([problem], config) == (problem,)
