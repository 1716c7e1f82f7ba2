"""Own the state directory: one supervisor at a time, files that are whole or absent.

Rules of this file:

1. The lock is ``flock`` on ``state_dir/lock``. Children inherit the descriptor, so the lock lives
   until the last of them is gone: two controls never write one database, even when a supervisor was
   killed and restarted within its children's drain.
2. A file that another process reads is written beside its place and renamed over it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from config.errors import MatapaloError

ORPHANS_S: Final = 10.0
"""Children of a killed supervisor drain and exit within 5 s; twice that covers a busy machine."""

MAX_SOCKET_PATH: Final = 103
"""Bytes of a Unix socket's path without the closing zero: 107 on Linux, 103 on macOS."""

_POLL_S: Final = 0.02


class StartError(MatapaloError):
    """Matapalo cannot start here; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDir:
    """Hold the claimed state directory."""

    path: str
    lock_fd: int
    """Open as long as this supervisor lives; handed to every child."""

    def place(self, name: str) -> str:
        """Name a file of the state directory."""
        return os.path.join(self.path, name)

    def release(self) -> None:
        """Give this process's share of the lock back."""
        os.close(self.lock_fd)


def claim(path: str, waiting: Callable[[str], None] = lambda _: None) -> StateDir:
    """Create the state directory if it is missing, and lock it for this supervisor and its children.

    Shape: *waiting* is told, once, why this takes longer than usual.
    Raises: StartError if it cannot be used, or another supervisor uses it.
    Runs: blocks up to 10 s while the children of a killed supervisor drain.
    """
    longest = os.path.join(path, "supervisor.sock")
    if len(os.fsencode(longest)) > MAX_SOCKET_PATH:
        raise StartError(
            f"the state directory {path} is too long a path: sockets live in it, and {longest} has more than the "
            f"{MAX_SOCKET_PATH} bytes that a socket's path may have; choose a shorter `state_dir`"
        )
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(_cannot_use(path, error)) from error
    try:
        _lock(path, fd, waiting)
        _try_writing(path)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        os.close(fd)
        raise StartError(_cannot_use(path, error)) from error
    except StartError:
        os.close(fd)
        raise
    return StateDir(path=path, lock_fd=fd)


def write_whole(path: str, data: bytes, *, durable: bool) -> None:
    """Replace a file so that a reader sees the old or the new one, never a part.

    Raises: OSError; the old file is untouched then.
    Cost: with ``durable`` two fsyncs, a few milliseconds on a healthy disk; call it from a thread then.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        _remove(temporary)
        raise
    if durable:
        _sync_directory(os.path.dirname(path))


def _lock(path: str, fd: int, waiting: Callable[[str], None]) -> None:
    deadline: float | None = None
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        holder = _holder(fd)
        if holder is not None and _is_alive(holder):
            raise StartError(
                f"the state directory {path} is in use by the Matapalo with process id {holder}; stop that one "
                "(it drains on SIGTERM) or give this one another `state_dir`"
            )
        if deadline is None:
            deadline = time.monotonic() + ORPHANS_S
            waiting(f"waiting up to {ORPHANS_S:.0f} s for the children of a supervisor that died to leave {path}")
        if time.monotonic() > deadline:
            raise StartError(
                f"the state directory {path} is still in use by children of a supervisor that died; "
                f"they should have ended within {ORPHANS_S:.0f} s: end those named in {path}/children.json, "
                "then start again"
            )
        time.sleep(_POLL_S)


def _holder(fd: int) -> int | None:
    """Read the process id that the lock's holder wrote; ``None``: none yet, or ours from a former container."""
    text = os.pread(fd, 32, 0).strip()
    if not text.isdigit() or int(text) == os.getpid():
        return None
    return int(text)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _try_writing(path: str) -> None:
    """Fail now rather than at the first rollback: a lock file may be writable in a directory that is not."""
    write_whole(os.path.join(path, "probe"), b"", durable=False)
    _remove(os.path.join(path, "probe"))


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _cannot_use(path: str, error: OSError) -> str:
    return (
        f"the state directory {path} cannot be used: {error.strerror or error}; it must be a directory that user id "
        f"{os.geteuid()} may write, with free space; change `state_dir` or its owner"
    )
