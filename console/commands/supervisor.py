"""The door of the ``--local`` commands: the supervisor's own socket in ``state_dir``.

It needs no admin API, no token, no database and no valid configuration file; whoever may write
``state_dir`` may use it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import TypeVar

import click

from config.errors import ConfigError
from config.loader import load
from console.commands.admin import OutOfReachError
from console.commands.options import DEFAULT_CONFIG
from shadow import link

ANSWER_TIMEOUT_S = 10.0
"""The supervisor waits 2 s for its workers' acknowledgements; the rest is a busy machine."""

T = TypeVar("T", link.HoldsChanged, link.RestartStep)


def state_dir_of(state_dir: str | None, config_path: str | None) -> str:
    """Find the server's state directory: as named, or as its configuration file names it.

    Raises: click.ClickException when the file cannot say.
    """
    if state_dir is not None:
        return state_dir
    try:
        return load(config_path or DEFAULT_CONFIG).state_dir
    except ConfigError as error:
        first = error.problems[0]
        what = (
            f"no usable {DEFAULT_CONFIG} here ({first.message})"
            if config_path is None
            else f"{config_path} cannot be used ({first})"
        )
        raise click.ClickException(
            f"{what}; say where the server's state is: --state-dir DIR (its `state_dir`)"
        ) from error


def ask(home: str, request: link.ChangeHolds | link.RestartWorkers, answer: type[T]) -> Iterator[T]:
    """Send one request to the supervisor and yield its answers as they come; the caller stops at the last one.

    Bound: 10 s to the first answer; each may say how long the next one can take (``within_s``).
    Raises: OutOfReachError when no supervisor answers there.
    """
    path = os.path.join(home, "supervisor.sock")
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    reader = link.FrameReader()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(path)
            connection.sendall(link.frame(request))
            while (left_s := deadline - time.monotonic()) > 0:
                connection.settimeout(left_s)
                data = connection.recv(65_536)
                if not data:
                    break
                for message, _ in reader.feed(data):
                    if isinstance(message, answer) and message.request == request.request:
                        yield message
                        deadline = time.monotonic() + getattr(message, "within_s", 0.0) + ANSWER_TIMEOUT_S
            reason = "it closed the connection without an answer"
    except (OSError, link.LinkError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise OutOfReachError(
        f"the supervisor does not answer at {path} ({reason}); is `matapalo serve` running on this machine, and is "
        "--state-dir its `state_dir`?"
    )
