"""A state directory as a node that ran before leaves its two files: at the newest schema, with nothing in them.

Making both schemas anew costs a start 0.6 s of CPU, for Alembic mostly. The product makes them here once per test
process, and every node gets a copy. What a start itself writes, the moment at which the evidence began for example,
is not in them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from store.database import File
from store.sqlite import SqliteDatabase

FILES: Final[tuple[File, ...]] = ("flags", "evidence")


def lay_empty_files(state_dir: Path) -> None:
    """Make *state_dir* with both files in it, as the product would have made them."""
    state_dir.mkdir(mode=0o700)
    for name, content in _contents().items():
        place = state_dir / name
        place.touch(mode=0o600)
        place.write_bytes(content)


@cache
def _contents() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        with ThreadPoolExecutor(1) as thread:  # the caller may stand on a loop already
            thread.submit(asyncio.run, _make(directory)).result()
        return {one.name: one.read_bytes() for one in Path(directory).iterdir()}


async def _make(directory: str) -> None:
    for file in FILES:
        database = await SqliteDatabase.open(f"{directory}/{file}.db", file)
        await database.close()  # the last to leave folds the log into the file
