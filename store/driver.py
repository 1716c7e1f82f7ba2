"""psycopg as we use it: imported once, its deadlines, and our sentences for what it raises.

Rules of this file:

1. Deadlines shut the socket down, they do not cancel: psycopg answers a cancellation by asking the server, which is
   what may not answer. The next use connects anew.
2. No message holds a password, or the text of a URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from store.database import DEADLINE_S, StoreError

try:
    import psycopg
except ImportError as error:
    raise StoreError(
        f"PostgreSQL needs psycopg, which cannot be imported ({error}); install Matapalo with its extra: "
        "pip install 'matapalo[postgres]'"
    ) from error

__all__ = ("Deadline", "first_line", "psycopg", "sentence", "sever", "severing")

# It warns of lost connections on stderr, beside the exception that we turn into a sentence.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_NEXT: Final[Mapping[str, str]] = {
    "28P01": "correct the user or the password in `database`; nodes try again",
    "28000": "correct the user in `database`, or the server's pg_hba.conf; nodes try again",
    "3D000": "create the database, or correct its name in `database`; nodes try again",
    "42501": "grant this user what `matapalo db check` lists",
    "42P01": "run `matapalo db migrate`; if it has nothing to do, `matapalo db check` finds a pooler in between",
    "3F000": "run `matapalo db migrate`",
    "42703": "run `matapalo db migrate`",
    "25006": "it is read-only: point `database` at the primary",
    "53100": "free some space on the server",
    "53300": "raise max_connections of the server; a node needs six",
    "57P03": "it is starting or ending; nodes try again",
    "57014": f"it took longer than {DEADLINE_S:g} s: look at the server's load",
    "55P03": "another node, or somebody's open transaction, holds its lock",
    "P0001": "the audit only grows",
}
"""SQLSTATE to what to do about it."""

_WORDS: Final = (
    (re.compile(r"password authentication failed|no password supplied"), "28P01"),
    (
        re.compile(r"authentication failed|no pg_hba\.conf entry|role .* does not exist|not permitted to log in"),
        "28000",
    ),
    (re.compile(r"database .* does not exist|no such database"), "3D000"),
    (re.compile(r"permission denied for database"), "42501"),
    (re.compile(r"too many c|remaining connection slots"), "53300"),
    (re.compile(r"the database system is"), "57P03"),
)
"""What a server (or PgBouncer) says when it refuses a connection to the SQLSTATE that it sends along: libpq keeps that
one to itself until a connection stands."""

_ANSWERED: Final = re.compile(r"failed: \S+:  ")
"""libpq writes the server's own words behind their severity and two blanks, whatever language the server speaks."""


class Deadline:
    """Know whether a socket was shut down because its time was over."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False


@contextmanager
def severing(
    connection: psycopg.AsyncConnection[Any],  # Any: of whatever rows
    deadline_s: float | None = None,
) -> Iterator[Deadline]:
    """Shut the connection's socket down if the block takes longer than that; ``None``: :data:`DEADLINE_S`."""
    seconds = DEADLINE_S if deadline_s is None else deadline_s
    deadline = Deadline()

    def end() -> None:
        deadline.is_over = True
        sever(connection)

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield deadline
    except psycopg.OperationalError as error:
        if deadline.is_over:
            raise psycopg.errors.ConnectionTimeout(f"no answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def sever(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut the socket down, so that whoever waits for it fails at once."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


def sentence(name: str, error: BaseException) -> str:
    """Say what is wrong with a PostgreSQL and what to do next, without a password."""
    if isinstance(error, TimeoutError | psycopg.errors.ConnectionTimeout):
        return f"{name} did not answer in time; look at its load; nodes try again"
    said = first_line(error)
    *_, words = _ANSWERED.split(said)
    if advice := _NEXT.get(getattr(error, "sqlstate", None) or _code_of(words)):
        return f"{name} refuses ({words}); {advice}"
    if words != said:
        return (
            f"{name} refuses ({words}); look at user and name in `database`, and at the server's log; nodes try again"
        )
    if isinstance(error, psycopg.OperationalError | OSError):
        return f"{name} cannot be reached ({said}); look at it, and at `database`; nodes try again"
    return f"{name} cannot be used: {said}"


def _code_of(said: str) -> str:
    """Find the SQLSTATE of a refused connection in its words; empty: they are others."""
    return next((code for words, code in _WORDS if words.search(said)), "")


def first_line(error: BaseException) -> str:
    """Give the core of what libpq or the server says."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    return first.removeprefix("connection failed: ").removeprefix("FATAL:").strip()
