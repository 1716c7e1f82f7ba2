"""The snapshot at rest, ``state_dir/snapshot``: where a start finds it without control and without a database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from console.journal import Journal
from rules.snapshot import SnapshotError, SnapshotSpec, decode

WRITE_S: Final = 5.0
"""How long a change waits for ``state_dir/snapshot``."""


class AtRest:
    """Keep the newest snapshot on the disk.

    Runs: on control's loop; the disk is waited for in a thread.
    """

    def __init__(self, state_dir: str, journal: Journal, current: Callable[[], bytes]) -> None:
        self._state_dir, self._journal, self._current = state_dir, journal, current
        self.error = ""
        """Why the disk has an older snapshot; empty: it has the newest."""
        self._written = b""
        self._writing = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "snapshot")

    async def write(self) -> None:
        """Have the current snapshot on the disk, unless it is there.

        A disk that refuses is noted in ``error``: the flags themselves are safe in the database.
        """
        try:
            async with asyncio.timeout(WRITE_S), self._writing:
                raw = self._current()
                if raw is self._written:
                    return
                path = os.path.join(self._state_dir, "snapshot")
                await asyncio.get_running_loop().run_in_executor(self._writer, _write_whole, path, raw)
                self._written = raw
                self.error = ""
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or f"no answer within {WRITE_S:g} s"
            self.error = (
                f"{self._state_dir}/snapshot cannot be written ({reason}); "
                "a start without control would serve an older one"
            )
            self._journal.say("snapshot.failed", self.error)

    def close(self) -> None:
        """Write nothing more."""
        self._writer.shutdown(wait=False, cancel_futures=True)


def read_snapshot(state_dir: str) -> SnapshotSpec | None:
    """Read ``state_dir/snapshot``; ``None``: there is none.

    Raises: SnapshotError when it cannot be read.
    """
    try:
        with open(os.path.join(state_dir, "snapshot"), "rb") as file:
            return decode(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(f"{state_dir}/snapshot cannot be read: {error.strerror or error}") from error


def _write_whole(path: str, raw: bytes) -> None:
    """Replace a file so that a reader, or a crash, finds the old or the new one, whole.

    Runs: in a thread; two fsyncs.
    """
    temporary = f"{path}.control.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
