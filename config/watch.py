"""Which files a configuration is made of, so that somebody can watch them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from config.loader import files_read
from config.spec import ConfigSpec


def files_of(what: ConfigSpec | str | Path, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Name the files of a loaded configuration, or those that the file at a path would read now.

    Shape: absolute paths, the main one first; for a path also when the file is wrong, then as far as it can be read.
    Order: main file, then includes in reading order.
    Runs: blocks on the files when given a path.
    """
    if isinstance(what, ConfigSpec):
        return what.files
    return files_read(what, environ)
