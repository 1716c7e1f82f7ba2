"""Which files to watch."""

from __future__ import annotations

from pathlib import Path

from config import files_of, load

MAIN = 'include: [routes/*.yaml]\nbackends: {old: {url: "http://old"}}\n'


def test_a_configuration_names_the_files_it_was_read_from(tmp_path: Path) -> None:
    """A loaded configuration and its path name the same files, main file first."""
    (tmp_path / "main.yaml").write_text(MAIN)
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/a.yaml").write_text("routes: []\n")

    files = files_of(load(tmp_path / "main.yaml"))

    assert files == (str(tmp_path / "main.yaml"), str(tmp_path / "routes/a.yaml"))
    assert files_of(tmp_path / "main.yaml") == files


def test_a_new_file_is_seen_by_the_path_before_it_is_loaded(tmp_path: Path) -> None:
    """A file that begins to match a pattern is among the files of the path at once."""
    (tmp_path / "main.yaml").write_text(MAIN)
    (tmp_path / "routes").mkdir()
    before = files_of(tmp_path / "main.yaml")

    (tmp_path / "routes/b.yaml").write_text("routes: []\n")

    assert files_of(tmp_path / "main.yaml") == (*before, str(tmp_path / "routes/b.yaml"))


def test_a_wrong_file_is_still_watched(tmp_path: Path) -> None:
    """A broken or missing file is named, so that its repair is noticed."""
    (tmp_path / "main.yaml").write_text("a: [")

    assert files_of(tmp_path / "main.yaml") == (str(tmp_path / "main.yaml"),)
    assert files_of(tmp_path / "gone.yaml") == (str(tmp_path / "gone.yaml"),)


def test_variables_in_includes_are_put_in(tmp_path: Path) -> None:
    """An include may depend on the environment, and so does what is watched."""
    (tmp_path / "main.yaml").write_text(MAIN.replace("routes/", "${WHERE}/").replace("[", '["').replace("]", '"]'))
    (tmp_path / "live").mkdir()
    (tmp_path / "live/a.yaml").write_text("routes: []\n")

    assert files_of(tmp_path / "main.yaml", {"WHERE": "live"})[1:] == (str(tmp_path / "live/a.yaml"),)
